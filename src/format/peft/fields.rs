//! The fields of `adapter_config.json`: honoured, without effect on a finished adapter, or
//! refused by name. Not their meaning, which is the rest of this folder's.
//!
//! A field in none of the lists is refused too, unless it is null, false or empty: a trainer
//! that is newer than this reader may compute something else with it.

use super::json::Json;
use super::pattern::{ModulePattern, Pattern};
use super::selection::{Layers, Names, Selection, refuse_empty};
use super::{AdapterConfig, Bias, Ia3, Lora, Method, TokenRows};
use crate::config::MAX_LAYERS;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Largest rank accepted, so that arithmetic on shapes cannot overflow.
pub(super) const MAX_RANK: usize = 1 << 16;
/// Largest size or count accepted of anything else.
const MAX_SIZE: usize = 1 << 22;

/// Fields of every kind that say nothing about the arithmetic.
const COMMON: &[&str] =
    &["auto_mapping", "inference_mode", "peft_version", "revision", "runtime_config", "task_type"];

/// Fields that served the training only, or configure what another field switches on.
fn without_effect(method: &Method) -> &'static [&'static str] {
    match method {
        Method::Lora(_) => &[
            "corda_config",
            "eva_config",
            "loftq_config",
            "lora_dropout",
            "lora_ga_config",
            "megatron_core",
            "merge_weights",
            "qalora_group_size",
        ],
        Method::Ia3(_) => &["init_ia3_weights"],
        Method::Vera { .. } => &["d_initial", "init_weights", "projection_prng_key", "vera_dropout"],
        Method::PromptTuning { .. } => &[
            "encoder_dropout",
            "encoder_hidden_size",
            "encoder_num_layers",
            "encoder_reparameterization_type",
            "num_attention_heads",
            "num_layers",
            "prompt_tuning_init",
            "prompt_tuning_init_text",
            "tokenizer_kwargs",
            "tokenizer_name_or_path",
        ],
        // The file holds what the projection gave: `get_prompt_embedding_to_save`.
        Method::PrefixTuning { .. } => &["encoder_hidden_size", "init_weights", "prefix_projection"],
    }
}

/// Fields that change the arithmetic, and how.
const REFUSED: &[(&str, &str)] = &[
    ("alora_invocation_tokens", "acts from certain tokens on"),
    ("arrow_config", "routes tokens among adapters"),
    ("enable_lora", "adapts parts of a fused projection"),
    ("kasa_config", "truncates the base's weights"),
    ("layer_replication", "repeats layers of the base"),
    ("megatron_config", "splits layers as Megatron does"),
    ("monteclora_config", "samples its weights"),
    ("target_parameters", "adapts parameters that are not modules"),
    ("use_bdlora", "has block-diagonal factors"),
    ("use_qalora", "pools its input"),
    ("velora_config", "brings tensors that are not read"),
];

impl AdapterConfig {
    /// Reads `adapter_config.json`, as any version of PEFT wrote it.
    ///
    /// Errors: `Format` where it is no adapter's config or one that PEFT refuses,
    /// `Unsupported` naming the field or the pattern that is not read.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let json: Json =
            serde_json::from_slice(bytes).map_err(|e| Error::format(format!("adapter_config.json: {e}")))?;
        let Json::Object(entries) = json else {
            return Err(Error::format("adapter_config.json: it is not an object"));
        };
        let mut fields = Fields(entries.into_iter().collect());
        let config = fields.config()?;
        fields.refuse_rest(&config.method)?;
        Ok(config)
    }
}

/// What has not been read yet.
struct Fields(BTreeMap<String, Json>);

impl Fields {
    fn config(&mut self) -> Result<AdapterConfig> {
        let peft_type = match self.take("peft_type") {
            Some(Json::String(name)) => name,
            Some(other) => return Err(wrong("peft_type", &other, "a name")),
            None => return Err(Error::format("adapter_config.json: field `peft_type` is missing")),
        };
        let modules_to_save = self.strings("modules_to_save")?;
        refuse_empty("modules_to_save", &modules_to_save)?;
        let mut selection = Selection::of_suffixes(&[]);
        let (method, bias) = match peft_type.as_str() {
            "LORA" => {
                selection = self.selection(&modules_to_save)?;
                selection.exclude = self.names("exclude_modules")?;
                let bias = self.bias("lora_only")?;
                (Method::Lora(self.lora(&mut selection)?), bias)
            }
            "IA3" => {
                selection = self.selection(&modules_to_save)?;
                selection.exclude = self.names("exclude_modules")?;
                (Method::Ia3(self.ia3(&selection)?), Bias::None)
            }
            "VERA" => {
                selection = self.selection(&modules_to_save)?;
                selection.layers = self.layers()?;
                let bias = self.bias("vera_only")?;
                (self.vera()?, bias)
            }
            "PROMPT_TUNING" | "P_TUNING" | "PREFIX_TUNING" => (self.virtual_tokens(&peft_type)?, Bias::None),
            other => {
                return Err(Error::unsupported(format!(
                    "adapter_config.json: peft_type `{other}`, expected one of LORA, IA3, VERA, PROMPT_TUNING, \
                     P_TUNING, PREFIX_TUNING"
                )));
            }
        };
        Ok(AdapterConfig {
            method,
            base_model_name_or_path: self.string("base_model_name_or_path")?,
            bias,
            modules_to_save,
            fan_in_fan_out: self.switch("fan_in_fan_out")?,
            selection,
        })
    }

    /// `target_modules`, and what `modules_to_save` keeps from being adapted.
    fn selection(&mut self, modules_to_save: &[String]) -> Result<Selection> {
        let missing = || Error::format("adapter_config.json: field `target_modules` is missing");
        let target = match self.take("target_modules").ok_or_else(missing)? {
            Json::String(text) if text.eq_ignore_ascii_case("all-linear") => Names::AllLinear,
            other => names("target_modules", &other)?,
        };
        let saved =
            modules_to_save.iter().map(|name| Selection::saved_pattern(name)).collect::<Result<_>>()?;
        Ok(Selection { target, exclude: None, saved, layers: None })
    }

    fn lora(&mut self, selection: &mut Selection) -> Result<Lora> {
        self.refuse_changed_base()?;
        let patterned = !matches!(selection.target, Names::List(_));
        for field in ["layers_to_transform", "layers_pattern"] {
            if patterned && self.0.get(field).is_some_and(|value| *value != Json::Null) {
                return Err(Error::format(format!(
                    "adapter_config.json: field `{field}` needs target_modules to be a list"
                )));
            }
        }
        selection.layers = self.layers()?;
        let lora = Lora {
            r: self.size("r", Some(8), MAX_RANK)?,
            lora_alpha: match self.take("lora_alpha") {
                Some(alpha) => number("lora_alpha", &alpha)?,
                None => 8.0,
            },
            use_rslora: self.switch("use_rslora")?,
            use_dora: self.switch("use_dora")?,
            lora_bias: self.switch("lora_bias")?,
            ensure_weight_tying: self.switch("ensure_weight_tying")?,
            trainable_token_indices: self.token_rows()?,
            rank_pattern: self.patterns("rank_pattern", |name, rank| in_range(name, rank, 1..=MAX_RANK))?,
            alpha_pattern: self.patterns("alpha_pattern", number)?,
        };
        if lora.lora_bias && lora.use_dora {
            return Err(Error::format(
                "adapter_config.json: fields `lora_bias` and `use_dora` exclude each other",
            ));
        }
        Ok(lora)
    }

    /// Refuses A and B that were cut out of the base's weights: they fit only what was left.
    fn refuse_changed_base(&mut self) -> Result<()> {
        let init = match self.take("init_lora_weights") {
            None | Some(Json::Bool(_)) => return Ok(()),
            Some(Json::String(name)) => name,
            Some(other) => return Err(wrong("init_lora_weights", &other, "true, false or a name")),
        };
        let lower = init.to_ascii_lowercase();
        let why = match lower.as_str() {
            "gaussian" | "eva" | "orthogonal" | "mica" => return Ok(()),
            "loftq" => "its A and B fit only the base that LoftQ quantised",
            "olora" | "lora_ga" => CUT_OUT,
            name if name.starts_with("pissa") || name.starts_with("corda") => CUT_OUT,
            _ => "it is unknown and may have changed the base",
        };
        Err(Error::unsupported(format!(
            "adapter_config.json: field `init_lora_weights` is \"{init}\": {why}"
        )))
    }

    fn ia3(&mut self, selection: &Selection) -> Result<Ia3> {
        let feedforward_modules = match self.take("feedforward_modules") {
            Some(value) => names("feedforward_modules", &value)?,
            None => return Err(Error::format("adapter_config.json: field `feedforward_modules` is missing")),
        };
        if let (Names::List(all), Names::List(some)) = (&selection.target, &feedforward_modules)
            && let Some(stray) = some.iter().find(|name| !all.contains(name))
        {
            return Err(Error::format(format!(
                "adapter_config.json: field `feedforward_modules` holds `{stray}`, which target_modules does not"
            )));
        }
        Ok(Ia3 { feedforward_modules })
    }

    fn vera(&mut self) -> Result<Method> {
        if self.take("save_projection") == Some(Json::Bool(false)) {
            return Err(Error::unsupported(
                "adapter_config.json: field `save_projection` is false: A and B are not in the file, and \
                 PyTorch's random numbers are not reproduced",
            ));
        }
        Ok(Method::Vera { r: self.size("r", Some(256), MAX_RANK)? })
    }

    fn virtual_tokens(&mut self, peft_type: &str) -> Result<Method> {
        let num_virtual_tokens = self.size("num_virtual_tokens", None, MAX_SIZE)?;
        let token_dim = self.size("token_dim", None, MAX_SIZE)?;
        let submodules = self.size("num_transformer_submodules", Some(1), MAX_SIZE)?;
        if submodules != 1 {
            return Err(Error::unsupported(format!(
                "adapter_config.json: field `num_transformer_submodules` is {submodules}, expected 1: a decoder"
            )));
        }
        if peft_type != "PREFIX_TUNING" {
            return Ok(Method::PromptTuning { num_virtual_tokens, token_dim });
        }
        let num_layers = self.size("num_layers", None, MAX_LAYERS)?;
        let num_attention_heads = self.size("num_attention_heads", None, MAX_SIZE)?;
        if token_dim % num_attention_heads != 0 {
            return Err(Error::format(format!(
                "adapter_config.json: token_dim {token_dim} is no multiple of num_attention_heads \
                 {num_attention_heads}"
            )));
        }
        Ok(Method::PrefixTuning { num_virtual_tokens, token_dim, num_layers, num_attention_heads })
    }

    fn layers(&mut self) -> Result<Option<Layers>> {
        let texts = match self.take("layers_pattern") {
            Some(Json::String(text)) if text.is_empty() => Vec::new(),
            Some(Json::String(text)) => vec![text],
            Some(list) => list
                .as_strings()
                .ok_or_else(|| wrong("layers_pattern", &list, "a pattern or a list of them"))?,
            None => Vec::new(),
        };
        let indices: Option<Vec<i64>> = match self.0.get("layers_to_transform") {
            None | Some(Json::Null) if texts.is_empty() => return Ok(None),
            None | Some(Json::Null) => {
                return Err(Error::format(
                    "adapter_config.json: field `layers_pattern` needs layers_to_transform",
                ));
            }
            Some(Json::List(list)) => list.iter().map(Json::as_integer).collect(),
            Some(one) => one.as_integer().map(|index| vec![index]),
        };
        let given = self.take("layers_to_transform").unwrap_or(Json::Null);
        let indices = indices
            .ok_or_else(|| wrong("layers_to_transform", &given, "a layer's number or a list of them"))?;
        if indices.is_empty() { Ok(None) } else { Layers::new(indices, texts).map(Some) }
    }

    fn token_rows(&mut self) -> Result<Vec<TokenRows>> {
        const FIELD: &str = "trainable_token_indices";
        let rows = |module: Option<String>, list: &Json| {
            let ids = |list: &Json| -> Option<Vec<u32>> {
                let Json::List(items) = list else { return None };
                items.iter().map(|id| id.as_integer().and_then(|id| u32::try_from(id).ok())).collect()
            };
            let indices = ids(list).ok_or_else(|| wrong(FIELD, list, "a list of token ids"))?;
            let mut sorted = indices.clone();
            sorted.sort_unstable();
            if let Some([id, ..]) = sorted.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
                return Err(Error::format(format!("adapter_config.json: field `{FIELD}` holds {id} twice")));
            }
            Ok(TokenRows { module, indices })
        };
        match self.take(FIELD) {
            None => Ok(Vec::new()),
            Some(Json::Object(entries)) => {
                entries.into_iter().map(|(module, list)| rows(Some(module), &list)).collect()
            }
            Some(list) => Ok(vec![rows(None, &list)?]),
        }
    }

    /// Patterns in the order of the file.
    fn patterns<V>(
        &mut self,
        field: &str,
        value: impl Fn(&str, &Json) -> Result<V>,
    ) -> Result<Vec<(ModulePattern, V)>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Json::Object(entries)) => entries
                .iter()
                .map(|(key, v)| Ok((ModulePattern::new(key)?, value(&format!("{field}.{key}"), v)?)))
                .collect(),
            Some(other) => Err(wrong(field, &other, "an object")),
        }
    }

    fn bias(&mut self, only: &str) -> Result<Bias> {
        match self.take("bias") {
            None => Ok(Bias::None),
            Some(Json::String(name)) if name == "none" => Ok(Bias::None),
            Some(Json::String(name)) if name == "all" => Ok(Bias::All),
            Some(Json::String(name)) if name == only => Ok(Bias::Targets),
            Some(other) => Err(wrong("bias", &other, &format!("none, {only} or all"))),
        }
    }

    /// The value of a field, unless it is null.
    fn take(&mut self, field: &str) -> Option<Json> {
        self.0.remove(field).filter(|value| *value != Json::Null)
    }

    fn switch(&mut self, field: &str) -> Result<bool> {
        match self.take(field) {
            None => Ok(false),
            Some(Json::Bool(on)) => Ok(on),
            Some(other) => Err(wrong(field, &other, "true or false")),
        }
    }

    fn string(&mut self, field: &str) -> Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(field, &other, "a name")),
        }
    }

    fn strings(&mut self, field: &str) -> Result<Vec<String>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(list) => list.as_strings().ok_or_else(|| wrong(field, &list, "a list of names")),
        }
    }

    /// Names or a pattern; nothing where the field is empty.
    fn names(&mut self, field: &str) -> Result<Option<Names>> {
        self.take(field).filter(|value| !value.is_unset()).map(|value| names(field, &value)).transpose()
    }

    fn size(&mut self, field: &str, default: Option<usize>, most: usize) -> Result<usize> {
        match (self.take(field), default) {
            (Some(value), _) => in_range(field, &value, 1..=most),
            (None, Some(size)) => Ok(size),
            (None, None) => Err(Error::format(format!("adapter_config.json: field `{field}` is missing"))),
        }
    }

    /// Refuses what is left and in use.
    fn refuse_rest(self, method: &Method) -> Result<()> {
        for (field, value) in &self.0 {
            let field = field.as_str();
            if COMMON.contains(&field) || without_effect(method).contains(&field) {
                continue;
            }
            // PEFT takes `{}` for a config of defaults, and so for switched on.
            let is_object = matches!(value, Json::Object(_));
            if let Some((_, does)) = REFUSED.iter().find(|(name, _)| *name == field)
                && (is_object || !value.is_unset())
            {
                return Err(Error::unsupported(format!(
                    "adapter_config.json: field `{field}` is {value}: an adapter that {does} is not supported"
                )));
            }
            if !value.is_unset() {
                return Err(Error::unsupported(format!(
                    "adapter_config.json: field `{field}` is unknown and may change the arithmetic"
                )));
            }
        }
        Ok(())
    }
}

/// Why an adapter is refused that PEFT can convert.
const CUT_OUT: &str = "its A and B fit only the base they were cut out of; convert it in Python with \
                       `save_pretrained(folder, path_initial_model_for_weight_conversion=…)`";

fn names(field: &str, value: &Json) -> Result<Names> {
    match value {
        Json::String(text) => Pattern::full(text).map(Names::Pattern),
        list => match list.as_strings() {
            Some(names) => Ok(Names::List(names)),
            None => Err(wrong(field, list, "a pattern or a list of names")),
        },
    }
}

fn number(field: &str, value: &Json) -> Result<f64> {
    match *value {
        // f32 must hold it.
        Json::Number(n) if n.abs() <= f64::from(f32::MAX) => Ok(n),
        _ => Err(wrong(field, value, "a number")),
    }
}

fn in_range(field: &str, value: &Json, range: std::ops::RangeInclusive<usize>) -> Result<usize> {
    let size = value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
    size.ok_or_else(|| wrong(field, value, &format!("an integer from {} to {}", range.start(), range.end())))
}

fn wrong(field: &str, value: &Json, expected: &str) -> Error {
    Error::format(format!("adapter_config.json: field `{field}` is {value}, expected {expected}"))
}
