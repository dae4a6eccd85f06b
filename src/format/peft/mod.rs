//! A PEFT folder's two files: what `adapter_config.json` asks for, and which module each
//! tensor of `adapter_model.safetensors` belongs to.
//! Not the arithmetic: it knows no architecture, opens no file and computes no weight.
//!
//! The config is authoritative. Each of its fields is honoured, or known to have no effect on
//! a finished adapter, or refused by name; so is each tensor's name.
//!
//! ```
//! use lorakeet::format::peft::{AdapterConfig, Role, part_of};
//!
//! let config = AdapterConfig::from_json(
//!     br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}"#,
//! )?;
//! let part = part_of("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", &config)?;
//! assert_eq!((part.module.as_str(), part.role), ("model.layers.0.self_attn.q_proj", Role::LoraA));
//! assert!(config.targets(&part.module, true, false));
//! assert_eq!((config.rank(&part.module)?, config.scale(&part.module)?), (4, 2.0));
//! # Ok::<(), lorakeet::Error>(())
//! ```
//!
//! What PEFT means was read from its version 0.21; the function names in comments are its.

mod combined;
mod config;
mod fields;
mod json;
mod part;
mod pattern;
mod pickle;
mod projections;
mod regex;
mod selection;
mod write;

pub use part::{Part, Role, part_of, unwrapped};
pub use pickle::refuse_pickle;

use crate::error::{Error, Result};
use pattern::ModulePattern;
use selection::Selection;

/// What one `adapter_config.json` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// The kind of adapter, and what only that kind has.
    pub method: Method,
    /// Name or path of the model it was trained on, as the trainer wrote it.
    pub base_model_name_or_path: Option<String>,
    /// Which biases of the base come with the adapter.
    pub bias: Bias,
    /// Modules that come whole; see [`AdapterConfig::saves`].
    pub modules_to_save: Vec<String>,
    /// Whether the trainer took the base's linear weights for (in, out). PEFT corrects it by
    /// the layer's type, so that the adapter's own tensors are the same either way.
    pub fan_in_fan_out: bool,
    selection: Selection,
    /// VeRA: the seed of A and B where they are not in the file.
    projection_prng_key: Option<u32>,
}

/// The kinds of adapter that are read, by `peft_type`.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// `LORA`: y += scale · B (A x)
    Lora(Lora),
    /// `IA3`: inputs (feed-forward modules) or outputs (others) times a vector
    Ia3(Ia3),
    /// `VERA`: y += λ_b ∘ (B (λ_d ∘ (A x))), A and B shared by all modules, which take the
    /// first columns of A and the first rows of B. See [`AdapterConfig::vera_projections`].
    Vera {
        /// `R`
        r: usize,
    },
    /// `PROMPT_TUNING`: rows put in front of the embedded text, (num_virtual_tokens, token_dim).
    /// `P_TUNING` too: its encoder is gone from the file, which holds what it gave.
    PromptTuning {
        /// Rows.
        num_virtual_tokens: usize,
        /// `C`
        token_dim: usize,
    },
    /// `PREFIX_TUNING`: keys and values put in front of every layer's,
    /// (num_virtual_tokens, num_layers · 2 · token_dim): [key; value] of each layer in turn
    PrefixTuning {
        /// Rows.
        num_virtual_tokens: usize,
        /// `K · D` of the base, which PEFT calls a token's size.
        token_dim: usize,
        /// `L`
        num_layers: usize,
        /// `K`
        num_attention_heads: usize,
    },
}

/// What only a LoRA config has.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// `R` where no pattern says otherwise; see [`AdapterConfig::rank`].
    pub r: usize,
    /// Numerator of the scale where no pattern says otherwise; see [`AdapterConfig::scale`].
    pub lora_alpha: f64,
    /// Whether the scale is alpha / √R (arXiv:2312.03732) and not alpha / R.
    pub use_rslora: bool,
    /// Whether each module's weight is renormalised to a magnitude (arXiv:2402.09353).
    pub use_dora: bool,
    /// Whether B has a bias; it is scaled as B is.
    pub lora_bias: bool,
    /// Whether a tied head follows what is done to the embedding.
    pub ensure_weight_tying: bool,
    /// Embedding rows that are replaced; see [`AdapterConfig::token_rows`].
    pub trainable_token_indices: Vec<TokenRows>,
    rank_pattern: Vec<(ModulePattern, usize)>,
    alpha_pattern: Vec<(ModulePattern, f64)>,
}

/// What only an (IA)³ config has; see [`AdapterConfig::is_feedforward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3 {
    feedforward_modules: selection::Names,
}

/// Rows of one embedding that the adapter replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRows {
    /// End of the embedding's name; `None` is the input embedding.
    pub module: Option<String>,
    /// Token ids, in the order of the delta tensor's rows.
    pub indices: Vec<u32>,
}

/// Which biases of the base were trained, and replace the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// `none`
    None,
    /// `lora_only`, `vera_only`: those of the targeted modules.
    Targets,
    /// `all`: every bias of the base.
    All,
}

impl AdapterConfig {
    /// A plain LoRA over the modules whose names end in one of `target_modules`, for export.
    ///
    /// Errors with `Argument` if the rank is 0 or too large, alpha 0 or not finite, or the list
    /// empty.
    pub fn lora(r: usize, lora_alpha: f64, target_modules: &[&str]) -> Result<Self> {
        if lora_alpha == 0.0 {
            return Err(Error::argument("LoRA of alpha 0, which would do nothing"));
        }
        if r == 0 || r > config::MAX_RANK || !lora_alpha.is_finite() || target_modules.is_empty() {
            return Err(Error::argument(format!(
                "LoRA of rank {r}, alpha {lora_alpha} over {} target_modules, expected rank 1 to {}, a finite \
                 alpha and at least one module",
                target_modules.len(),
                config::MAX_RANK
            )));
        }
        Ok(Self {
            method: Method::Lora(Lora::plain(r, lora_alpha)),
            base_model_name_or_path: None,
            bias: Bias::None,
            modules_to_save: Vec::new(),
            fan_in_fan_out: false,
            selection: Selection::of_suffixes(target_modules),
            projection_prng_key: None,
        })
    }

    /// Gives the one module of this name a rank and an alpha of its own, for export.
    ///
    /// Errors with `Argument` if this is no LoRA, or the numbers are refused as in
    /// [`AdapterConfig::lora`].
    pub fn set_module(&mut self, module: &str, r: usize, lora_alpha: f64) -> Result<()> {
        let name = self.method.peft_type();
        let Method::Lora(lora) = &mut self.method else {
            return Err(Error::argument(format!("module `{module}`: an adapter of type {name} has no rank")));
        };
        if r == 0 || r > config::MAX_RANK || !lora_alpha.is_finite() {
            return Err(Error::argument(format!("module `{module}`: rank {r}, alpha {lora_alpha}")));
        }
        // In front: the first pattern that fits decides.
        lora.rank_pattern.retain(|(pattern, _)| pattern.text() != module);
        lora.rank_pattern.insert(0, (ModulePattern::new(module)?, r));
        lora.alpha_pattern.retain(|(pattern, _)| pattern.text() != module);
        lora.alpha_pattern.insert(0, (ModulePattern::new(module)?, lora_alpha));
        Ok(())
    }

    /// Gives the one module of this name a rank of its own, and the alpha that leaves its scale
    /// as it is, for export. Nothing changes where it has that rank.
    ///
    /// Errors as [`AdapterConfig::set_module`] does.
    pub fn keep_scale(&mut self, module: &str, r: usize) -> Result<()> {
        if self.rank(module)? == r {
            return Ok(());
        }
        let rslora = matches!(&self.method, Method::Lora(lora) if lora.use_rslora);
        let divisor = if rslora { (r as f64).sqrt() } else { r as f64 };
        self.set_module(module, r, f64::from(self.scale(module)?) * divisor)
    }

    /// The same adapter, of the modules in these layers only.
    ///
    /// No error is known: the pattern for them is PEFT's own.
    pub fn in_layers(mut self, layers: std::ops::Range<usize>) -> Result<Self> {
        let indices = layers.map(|layer| layer as i64).collect();
        self.selection.layers = Some(selection::Layers::new(indices, Vec::new())?);
        Ok(self)
    }

    /// Whether the adapter acts on the base's `module`.
    ///
    /// `is_linear` and `is_output_head` decide only for `all-linear`, which is every linear
    /// module but the head. A module that comes whole, or lies in one, is never adapted. With
    /// `ensure_weight_tying` a tied head is adapted with the embedding; that is not seen here.
    pub fn targets(&self, module: &str, is_linear: bool, is_output_head: bool) -> bool {
        if matches!(self.method, Method::PromptTuning { .. } | Method::PrefixTuning { .. }) {
            return false;
        }
        self.selection.includes(module, is_linear, is_output_head)
    }

    /// `R` of the adapter on `module`: that of the first pattern that fits, else `r`.
    ///
    /// Errors with `Argument` for a kind without ranks.
    pub fn rank(&self, module: &str) -> Result<usize> {
        match &self.method {
            Method::Lora(lora) => Ok(pattern::first(&lora.rank_pattern, module).unwrap_or(lora.r)),
            Method::Vera { r } => Ok(*r),
            other => Err(Error::argument(format!("an adapter of type {} has no rank", other.peft_type()))),
        }
    }

    /// The factor of B (A x) on `module`: alpha / R, or alpha / √R with `use_rslora`; 1 for
    /// VeRA. Patterns as in [`AdapterConfig::rank`].
    pub fn scale(&self, module: &str) -> Result<f32> {
        let r = self.rank(module)? as f64;
        let Method::Lora(lora) = &self.method else { return Ok(1.0) };
        let alpha = pattern::first(&lora.alpha_pattern, module).unwrap_or(lora.lora_alpha);
        Ok((alpha / if lora.use_rslora { r.sqrt() } else { r }) as f32)
    }

    /// Whether (IA)³ multiplies the input of `module` and not its output.
    pub fn is_feedforward(&self, module: &str) -> bool {
        match &self.method {
            // `_check_target_module_feedforward` asks for no dot in front of the suffix.
            Method::Ia3(ia3) => ia3.feedforward_modules.end_or_match(module),
            _ => false,
        }
    }

    /// Whether `module` comes whole: it, or a module it lies in, ends in one of
    /// `modules_to_save`.
    ///
    /// With `ensure_weight_tying` a tied head comes with the embedding; that is not seen here.
    pub fn saves(&self, module: &str) -> bool {
        let parents = module.match_indices('.').filter_map(|(dot, _)| module.get(..dot));
        // `_set_trainable` asks for no dot in front of the suffix.
        parents
            .chain([module])
            .any(|path| self.modules_to_save.iter().any(|end| path.ends_with(end.as_str())))
    }

    /// Whether a tied head follows what is done to the embedding.
    pub fn ties(&self) -> bool {
        matches!(&self.method, Method::Lora(lora) if lora.ensure_weight_tying)
    }

    /// Whether each module that is adapted has a magnitude (DoRA).
    pub fn has_magnitudes(&self) -> bool {
        matches!(&self.method, Method::Lora(lora) if lora.use_dora)
    }

    /// The rows of the embedding `module` that the adapter replaces, if any.
    ///
    /// The head of a model with tied embeddings follows the input embedding, unless it is
    /// named too, with other rows.
    pub fn token_rows(&self, module: &str, is_input_embedding: bool) -> Option<&[u32]> {
        let Method::Lora(lora) = &self.method else { return None };
        let fits = |rows: &&TokenRows| match &rows.module {
            Some(end) => module.ends_with(end.as_str()),
            None => is_input_embedding,
        };
        lora.trainable_token_indices.iter().find(fits).map(|rows| rows.indices.as_slice())
    }
}

impl Method {
    /// The name in `peft_type`.
    pub fn peft_type(&self) -> &'static str {
        match self {
            Self::Lora(_) => "LORA",
            Self::Ia3(_) => "IA3",
            Self::Vera { .. } => "VERA",
            Self::PromptTuning { .. } => "PROMPT_TUNING",
            Self::PrefixTuning { .. } => "PREFIX_TUNING",
        }
    }
}

impl Lora {
    fn plain(r: usize, lora_alpha: f64) -> Self {
        Self {
            r,
            lora_alpha,
            use_rslora: false,
            use_dora: false,
            lora_bias: false,
            ensure_weight_tying: false,
            trainable_token_indices: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
        }
    }
}
