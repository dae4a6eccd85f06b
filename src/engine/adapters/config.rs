//! What an `adapter_config.json` asks for: what every kind of adapter has, and the kind itself.
//! Not the arithmetic, nor the base's modules.
//!
//! The config is authoritative. Each of its fields is honoured, or known to have no effect on a finished
//! adapter, or refused by name; so is each tensor's name. What PEFT means was read from its version 0.21;
//! the function names in comments are its.
//!
//! ```
//! use lorakeet::engine::{AdapterConfig, part_of};
//!
//! let config = AdapterConfig::from_json(
//!     br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}"#,
//! )?;
//! let part = part_of("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", &config)?;
//! assert_eq!((part.module.as_str(), part.role), ("model.layers.0.self_attn.q_proj", "lora_A"));
//! assert!(config.targets(&part.module, true, false));
//! assert_eq!((config.rank(&part.module)?, config.scale(&part.module)?), (4, 2.0));
//! # Ok::<(), lorakeet::Error>(())
//! ```

use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::explained;
use crate::format::peft::{Fields, Json, Layers, MAX_RANK, Selection, Written, wrong};
use crate::json;

use crate::engine::adapters::common::Common;
use crate::engine::adapters::kinds::{Lora, Method};

/// What one `adapter_config.json` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// The kind of adapter, and what only that kind has.
    pub method: Method,
    /// What more than one kind has.
    pub common: Common,
}

impl AdapterConfig {
    /// Reads `adapter_config.json`, as any version of PEFT wrote it.
    ///
    /// Errors: `Format` where it is no adapter's config or one that PEFT refuses,
    /// `Unsupported` naming the field or the pattern that is not read.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(|e| explained("adapter_config.json", bytes, e))
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::of(bytes)?;
        let peft_type = match fields.take("peft_type") {
            Some(Json::String(name)) => name,
            Some(other) => return Err(wrong("peft_type", &other, "a name")),
            None => return Err(Error::format("adapter_config.json: field `peft_type` is missing")),
        };
        let mut common = Common::of(Selection::default());
        common.modules_to_save = fields.filled_strings("modules_to_save")?;
        let method = Method::read(&peft_type, &mut fields, &mut common)?;
        common.base_model_name_or_path = fields.string("base_model_name_or_path")?;
        common.fan_in_fan_out = fields.switch("fan_in_fan_out")?;
        fields.refuse_rest(method.without_effect())?;
        Ok(Self { method, common })
    }

    /// The file that PEFT reads, ending in a line break.
    pub fn to_json(&self) -> String {
        let Common { base_model_name_or_path, modules_to_save, .. } = &self.common;
        let mut fields = Written::default();
        let base = base_model_name_or_path.as_deref().map_or(Json::Null, Json::from);
        fields.always("base_model_name_or_path", base);
        fields.always("inference_mode", Json::Bool(true));
        fields.always("peft_type", self.method.peft_type().into());
        fields.always("task_type", "CAUSAL_LM".into());
        fields.add("modules_to_save", Json::from(modules_to_save.as_slice()));
        self.method.write(&self.common, &mut fields);
        fields.into_json()
    }

    /// An `adapter_config.json` that names its base `name`; the same bytes where it names one already.
    ///
    /// Errors with `Format` where it is no object.
    pub fn naming_base(config: &[u8], name: &str) -> Result<Vec<u8>> {
        const FIELD: &str = "base_model_name_or_path";
        let Json::Object(mut entries) = json::read("adapter_config.json", config)? else {
            return Err(Error::format("adapter_config.json: it is not an object"));
        };
        match entries.iter_mut().find(|(field, _)| field == FIELD) {
            Some((_, value)) if !value.is_unset() => return Ok(config.to_vec()),
            Some((_, value)) => *value = name.into(),
            None => entries.insert(0, (FIELD.to_owned(), name.into())),
        }
        Ok(serde_json::to_vec_pretty(&Json::Object(entries)).unwrap_or_default())
    }

    /// A plain LoRA over the modules whose names end in one of `target_modules`, for export.
    ///
    /// Errors with `Argument` if the rank is 0 or too large, alpha 0 or not finite, or the list
    /// empty.
    pub fn lora(r: usize, lora_alpha: f64, target_modules: &[&str]) -> Result<Self> {
        if lora_alpha == 0.0 {
            return Err(Error::argument("LoRA of alpha 0, which would do nothing"));
        }
        if r == 0 || r > MAX_RANK || !lora_alpha.is_finite() || target_modules.is_empty() {
            return Err(Error::argument(format!(
                "LoRA of rank {r}, alpha {lora_alpha} over {} target_modules, expected rank 1 to {MAX_RANK}, a \
                 finite alpha and at least one module",
                target_modules.len(),
            )));
        }
        let method = Method::Lora(Lora::plain(r, lora_alpha));
        Ok(Self { method, common: Common::of(Selection::of_suffixes(target_modules)) })
    }

    fn no_rank(&self) -> Error {
        Error::argument(format!("an adapter of type {} has no rank", self.method.peft_type()))
    }

    /// Its LoRA. Errors with `Argument` for another kind.
    pub(crate) fn as_lora(&self) -> Result<&Lora> {
        if let Method::Lora(lora) = &self.method { Ok(lora) } else { Err(self.no_rank()) }
    }

    /// Gives the one module of this name a rank and an alpha of its own, for export.
    ///
    /// Errors with `Argument` if this is no LoRA, or the numbers are refused as in
    /// [`AdapterConfig::lora`].
    pub fn set_module(&mut self, module: &str, r: usize, lora_alpha: f64) -> Result<()> {
        let no_rank = self.no_rank();
        let Method::Lora(lora) = &mut self.method else {
            return Err(no_rank.context(format_args!("module `{module}`")));
        };
        if r == 0 || r > MAX_RANK || !lora_alpha.is_finite() {
            return Err(Error::argument(format!("module `{module}`: rank {r}, alpha {lora_alpha}")));
        }
        lora.set_module(module, r, lora_alpha)
    }

    /// Gives the one module of this name a rank of its own, and the alpha that leaves its scale
    /// as it is, for export. Nothing changes where it has that rank.
    ///
    /// Errors as [`AdapterConfig::set_module`] does.
    pub(crate) fn keep_scale(&mut self, module: &str, r: usize) -> Result<()> {
        if self.rank(module)? == r {
            return Ok(());
        }
        let divisor = self.as_lora()?.divisor(r);
        self.set_module(module, r, f64::from(self.scale(module)?) * divisor)
    }

    /// The same adapter, of the modules in these layers only.
    ///
    /// No error is known: the pattern for them is PEFT's own.
    pub(crate) fn in_layers(mut self, layers: Range<usize>) -> Result<Self> {
        let indices = layers.map(|layer| layer as i64).collect();
        self.common.selection.layers = Some(Layers::new(indices, Vec::new())?);
        Ok(self)
    }

    /// Whether the adapter acts on the base's `module`.
    ///
    /// `is_linear` and `is_output_head` decide only for `all-linear`, which is every linear
    /// module but the head. A module that comes whole, or lies in one, is never adapted. With
    /// `ensure_weight_tying` a tied head is adapted with the embedding; that is not seen here.
    pub fn targets(&self, module: &str, is_linear: bool, is_output_head: bool) -> bool {
        self.common.selection.includes(module, is_linear, is_output_head)
    }

    /// `R` of the adapter on `module`: that of the first pattern that fits, else `r`.
    ///
    /// Errors with `Argument` for a kind without ranks.
    pub fn rank(&self, module: &str) -> Result<usize> {
        self.method.rank(module).ok_or_else(|| self.no_rank())
    }

    /// The factor of B (A x) on `module`: alpha / R, or alpha / √R with `use_rslora`; 1 for
    /// VeRA. Patterns as in [`AdapterConfig::rank`].
    ///
    /// Errors as that does.
    pub fn scale(&self, module: &str) -> Result<f32> {
        self.rank(module).map(|_| self.method.scale(module))
    }

    /// Whether `module` comes whole: it, or a module it lies in, ends in one of
    /// `modules_to_save`.
    ///
    /// With `ensure_weight_tying` a tied head comes with the embedding; that is not seen here.
    pub fn saves(&self, module: &str) -> bool {
        let parents = module.match_indices('.').filter_map(|(dot, _)| module.get(..dot));
        // `_set_trainable` asks for no dot in front of the suffix.
        let ends = |path: &str| self.common.modules_to_save.iter().any(|end| path.ends_with(end.as_str()));
        parents.chain([module]).any(ends)
    }

    /// Whether a tied head follows what is done to the embedding.
    pub(crate) fn ties(&self) -> bool {
        self.method.ties()
    }

    /// The rows of the embedding `module` that the adapter replaces, if any.
    ///
    /// The head of a model with tied embeddings follows the input embedding, unless it is
    /// named too, with other rows.
    pub fn token_rows(&self, module: &str, is_input_embedding: bool) -> Option<&[u32]> {
        self.method.token_rows(module, is_input_embedding)
    }
}
