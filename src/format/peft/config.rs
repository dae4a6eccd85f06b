//! From the fields of `adapter_config.json` to an [`AdapterConfig`].
//! Not a list of fields; `fields` says which may be left over.

use super::fields::{Fields, in_range, names, number, wrong};
use super::json::Json;
use super::selection::{Layers, Names, Selection, refuse_empty};
use super::{AdapterConfig, Bias, Ia3, Lora, Method, TokenRows};
use crate::error::{Error, Result};
use crate::format::explained;
use crate::json;

/// Largest rank accepted, so that arithmetic on shapes cannot overflow.
pub(super) const MAX_RANK: usize = 1 << 16;
/// Most layers accepted.
const MAX_LAYERS: usize = 1024;
/// Largest size or count accepted of anything else.
const MAX_SIZE: usize = 1 << 22;

/// Why an adapter is refused that PEFT can convert.
const CUT_OUT: &str = "its A and B fit only the base they were cut out of; convert it in Python with \
                       `save_pretrained(folder, path_initial_model_for_weight_conversion=…)`";

impl AdapterConfig {
    /// Reads `adapter_config.json`, as any version of PEFT wrote it.
    ///
    /// Errors: `Format` where it is no adapter's config or one that PEFT refuses,
    /// `Unsupported` naming the field or the pattern that is not read.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(|e| explained("adapter_config.json", bytes, e))
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let json: Json = json::read("adapter_config.json", bytes)?;
        let Json::Object(entries) = json else {
            return Err(Error::format("adapter_config.json: it is not an object"));
        };
        let mut fields = Fields(entries);
        let config = fields.config()?;
        fields.refuse_rest(&config.method)?;
        Ok(config)
    }
}

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
        let mut projection_prng_key = None;
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
                projection_prng_key = self.projection_prng_key()?;
                (Method::Vera { r: self.size("r", Some(256), MAX_RANK)? }, bias)
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
            projection_prng_key,
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
            if patterned && self.get(field).is_some() {
                return Err(Error::format(format!(
                    "adapter_config.json: field `{field}` needs target_modules to be a list"
                )));
            }
        }
        selection.layers = self.layers()?;
        let lora = Lora {
            r: self.size("r", Some(8), MAX_RANK)?,
            lora_alpha: match self.take_any("lora_alpha") {
                Some(Json::Number(0.0)) => {
                    return Err(wrong("lora_alpha", &Json::Number(0.0), "another number"));
                }
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

    /// The seed, unless A and B are in the file. PyTorch uses its low 32 bits.
    fn projection_prng_key(&mut self) -> Result<Option<u32>> {
        let seed = match self.take("projection_prng_key") {
            None => Some(0),
            Some(value) => {
                let seed = value.as_integer();
                Some(seed.ok_or_else(|| wrong("projection_prng_key", &value, "an integer"))? as u32)
            }
        };
        match self.take("save_projection") {
            None | Some(Json::Bool(true)) => Ok(None),
            Some(Json::Bool(false)) => Ok(seed),
            Some(other) => Err(wrong("save_projection", &other, "true or false")),
        }
    }

    fn virtual_tokens(&mut self, peft_type: &str) -> Result<Method> {
        let num_virtual_tokens = self.size("num_virtual_tokens", None, MAX_SIZE)?;
        let token_dim = self.size("token_dim", None, MAX_SIZE)?;
        // PEFT makes 1 of null where a decoder is adapted.
        let submodules = match self.take("num_transformer_submodules") {
            Some(value) => in_range("num_transformer_submodules", &value, 1..=MAX_SIZE)?,
            None => 1,
        };
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
        let indices: Option<Vec<i64>> = match self.get("layers_to_transform") {
            None if texts.is_empty() => return Ok(None),
            None => {
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

    fn bias(&mut self, only: &str) -> Result<Bias> {
        match self.take("bias") {
            None => Ok(Bias::None),
            Some(Json::String(name)) if name == "none" => Ok(Bias::None),
            Some(Json::String(name)) if name == "all" => Ok(Bias::All),
            Some(Json::String(name)) if name == only => Ok(Bias::Targets),
            Some(other) => Err(wrong("bias", &other, &format!("none, {only} or all"))),
        }
    }
}
