//! `config.json` to a [`ModelConfig`]: what is read, what is checked, what is refused by name.
//! Not the arithmetic: an architecture that is not implemented ends here.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json;

use super::keys::{self, shortened};
use super::{Activation, Family, MAX_LAYERS, ModelConfig, Norm, Positions, RopeScaling, out_of_range};

/// GPT-2's names for what later configs call otherwise.
const OLDER_NAMES: &[(&str, &str)] = &[
    ("n_embd", "hidden_size"),
    ("n_inner", "intermediate_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_positions", "max_position_embeddings"),
    ("activation_function", "hidden_act"),
];

/// The window of Mistral and Qwen2 where a config names none, as transformers has it.
const DEFAULT_WINDOW: u64 = 4096;

/// The JSON keys that are read; what may be beside them, `keys` says.
#[derive(Deserialize)]
struct Json {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f32>,
    layer_norm_epsilon: Option<f32>,
    hidden_act: Option<String>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    bos_token_id: Option<Value>,
    eos_token_id: Option<Value>,
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`, the older (`rope_theta`, `rope_scaling`) and the
    /// newer (`rope_parameters`, `layer_types`) spelling alike.
    ///
    /// Errors: `Format` where the JSON is not a config, `Unsupported` naming the field whose
    /// arithmetic is not implemented, `Mismatch` where fields contradict each other.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let mut fields: Map<String, Value> = json::read("config.json", bytes)?;
        let Some(Value::String(model_type)) = fields.remove("model_type") else {
            return Err(Error::format("config.json: field `model_type` is missing"));
        };
        let family = match model_type.as_str() {
            "llama" | "mistral" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "gpt2" => Family::Gpt2,
            other => {
                return Err(Error::unsupported(format!(
                    "config.json: model_type `{other}`, expected one of llama, mistral, qwen2, gpt2"
                )));
            }
        };
        let older_names = if family == Family::Gpt2 { OLDER_NAMES } else { &[] };
        for (older, name) in older_names {
            rename(&mut fields, older, name)?;
        }
        if family != Family::Gpt2 {
            default_window(&mut fields, &model_type)?;
        }
        keys::check(&fields, family)?;
        let json = Json::deserialize(Value::Object(fields))
            .map_err(|e| Error::format(format!("config.json: {e}")))?;
        let config = match family {
            Family::Llama | Family::Qwen2 => Self::llama(&json, family, &model_type)?,
            Family::Gpt2 => Self::gpt2(&json)?,
        };
        config.check().map_err(|e| e.context("config.json"))?;
        Ok(config)
    }

    fn llama(json: &Json, family: Family, model_type: &str) -> Result<Self> {
        let hidden_size = required(json.hidden_size, "hidden_size")?;
        let heads = required(json.num_attention_heads, "num_attention_heads")?;
        let layers = required(json.num_hidden_layers, "num_hidden_layers")?;
        let head_dim = match json.head_dim {
            Some(d) => d,
            None if heads > 0 && hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(Error::mismatch(format!(
                    "config.json: hidden_size {hidden_size} is no multiple of num_attention_heads {heads}"
                )));
            }
        };
        let attention_bias = json.attention_bias.unwrap_or(false);
        Ok(Self {
            family,
            vocab_size: required(json.vocab_size, "vocab_size")?,
            hidden_size,
            intermediate_size: required(json.intermediate_size, "intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: json.num_key_value_heads.unwrap_or(heads),
            head_dim,
            max_position_embeddings: json.max_position_embeddings.unwrap_or(2048),
            norm: Norm::Rms(json.rms_norm_eps.unwrap_or(1e-6)),
            activation: activation(json.hidden_act.as_deref().unwrap_or("silu"))?,
            gated: true,
            positions: rotary(json)?,
            windows: windows(json, model_type, layers)?,
            qkv_bias: family == Family::Qwen2 || attention_bias,
            o_bias: family == Family::Llama && attention_bias,
            mlp_bias: json.mlp_bias.unwrap_or(false),
            tie_word_embeddings: json.tie_word_embeddings.unwrap_or(false),
            bos_token_id: token_ids(json.bos_token_id.as_ref(), "bos_token_id")?.first().copied(),
            eos_token_ids: token_ids(json.eos_token_id.as_ref(), "eos_token_id")?,
        })
    }

    fn gpt2(json: &Json) -> Result<Self> {
        let hidden_size = required(json.hidden_size, "n_embd")?;
        let heads = required(json.num_attention_heads, "n_head")?;
        let layers = required(json.num_hidden_layers, "n_layer")?;
        if layers > MAX_LAYERS {
            return Err(too_large("n_layer", layers));
        }
        if heads == 0 || hidden_size % heads != 0 {
            return Err(Error::mismatch(format!(
                "config.json: n_embd {hidden_size} is no multiple of n_head {heads}"
            )));
        }
        Ok(Self {
            family: Family::Gpt2,
            vocab_size: required(json.vocab_size, "vocab_size")?,
            hidden_size,
            intermediate_size: match json.intermediate_size {
                Some(f) => f,
                None => hidden_size.checked_mul(4).ok_or_else(|| too_large("n_embd", hidden_size))?,
            },
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: hidden_size / heads,
            max_position_embeddings: required(json.max_position_embeddings, "n_positions")?,
            norm: Norm::Layer(json.layer_norm_epsilon.unwrap_or(1e-5)),
            activation: activation(json.hidden_act.as_deref().unwrap_or("gelu_new"))?,
            gated: false,
            positions: Positions::Learned,
            windows: vec![None; layers],
            qkv_bias: true,
            o_bias: true,
            mlp_bias: true,
            tie_word_embeddings: json.tie_word_embeddings.unwrap_or(true),
            bos_token_id: token_ids(json.bos_token_id.as_ref(), "bos_token_id")?.first().copied(),
            eos_token_ids: token_ids(json.eos_token_id.as_ref(), "eos_token_id")?,
        })
    }

    /// Takes the end tokens that `generation_config.json` names, as transformers does.
    ///
    /// Errors with `Format` if it is not such a file.
    pub fn read_generation_config(&mut self, bytes: &[u8]) -> Result<()> {
        let json: Value = json::read("generation_config.json", bytes)?;
        let ids = token_ids(json.get("eos_token_id"), "eos_token_id")?;
        if !ids.is_empty() {
            self.eos_token_ids = ids;
        }
        self.check().map_err(|e| e.context("config.json"))
    }
}

fn required(value: Option<usize>, name: &str) -> Result<usize> {
    value.ok_or_else(|| Error::format(format!("config.json: field `{name}` is missing")))
}

fn too_large(name: &str, value: usize) -> Error {
    out_of_range(name, value).context("config.json")
}

/// A window that is not named, or by MLC's name, of which -1 is none.
fn default_window(fields: &mut Map<String, Value>, model_type: &str) -> Result<()> {
    const MLC: &str = "sliding_window_size";
    if fields.get(MLC).and_then(Value::as_i64) == Some(-1) {
        fields.remove(MLC);
        fields.entry("sliding_window").or_insert(Value::Null);
    }
    rename(fields, MLC, "sliding_window")?;
    if model_type != "llama" {
        fields.entry("sliding_window").or_insert(DEFAULT_WINDOW.into());
    }
    Ok(())
}

/// Gives a key its other name.
///
/// Errors with `Mismatch` if both are there and differ.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) -> Result<()> {
    let Some(value) = fields.remove(from).filter(|value| !value.is_null()) else { return Ok(()) };
    match fields.get(to) {
        None | Some(Value::Null) => drop(fields.insert(to.to_owned(), value)),
        Some(other) if *other == value => {}
        Some(other) => {
            let [value, other] = [&value, other].map(shortened);
            return Err(Error::mismatch(format!(
                "config.json: {from} {value} and {to} {other}, which mean the same"
            )));
        }
    }
    Ok(())
}

fn activation(name: &str) -> Result<Activation> {
    Ok(match name {
        "silu" | "swish" => Activation::Silu,
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        other => {
            return Err(Error::unsupported(format!("config.json: hidden_act `{other}` is not supported")));
        }
    })
}

/// `rope_parameters` (newer) carries theta and scaling in one object; `rope_scaling` (older)
/// names its kind `rope_type` or `type`.
fn rotary(json: &Json) -> Result<Positions> {
    let null = Value::Null;
    let given = |value: &Option<Value>| value.clone().filter(|value| !value.is_null());
    let (newer, older) = (given(&json.rope_parameters), given(&json.rope_scaling));
    if newer.is_some() && older.is_some() && newer != older {
        return Err(Error::mismatch(
            "config.json: rope_parameters and rope_scaling differ, expected one of them",
        ));
    }
    let object = newer.as_ref().or(older.as_ref()).unwrap_or(&null);
    if !object.is_null() && !object.is_object() {
        return Err(Error::format("config.json: rope_scaling is not an object"));
    }
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let need = |key: &str| {
        number(key)
            .filter(|n| n.is_finite() && *n > 0.0)
            .ok_or_else(|| Error::format(format!("config.json: rope_scaling field `{key}` is missing")))
    };
    let inner = number("rope_theta");
    if let (Some(outer), Some(inner)) = (json.rope_theta, inner)
        && outer != inner
    {
        return Err(Error::mismatch(format!(
            "config.json: rope_theta {outer}, and {inner} in rope_parameters"
        )));
    }
    let theta = json.rope_theta.or(inner).unwrap_or(10_000.0);
    if !(theta.is_finite() && theta > 0.0) {
        return Err(Error::format(format!("config.json: rope_theta {theta}, expected a positive number")));
    }
    let kind = object.get("rope_type").or_else(|| object.get("type"));
    let kind = kind.filter(|kind| !kind.is_null()).map(|kind| kind.as_str().unwrap_or("?"));
    if matches!(kind, None | Some("default" | "linear" | "llama3")) {
        check_rope_keys(object, kind.unwrap_or("default"))?;
    }
    let scaling = match kind {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: need("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_max_position_embeddings: need("original_max_position_embeddings")?,
        },
        Some(other) => {
            return Err(Error::unsupported(format!("config.json: rope_type `{other}` is not supported")));
        }
    };
    Ok(Positions::Rotary { theta, scaling })
}

/// Refuses what the kinds of scaling that are read do not know.
fn check_rope_keys(object: &Value, kind: &str) -> Result<()> {
    let known: &[&str] = match kind {
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor"],
        "linear" => &["factor"],
        _ => &[],
    };
    for (key, value) in object.as_object().into_iter().flatten() {
        let harmless = match key.as_str() {
            "rope_theta" | "rope_type" | "type" | "original_max_position_embeddings" | "finetuned" => true,
            "partial_rotary_factor" | "attention_factor" => value.as_f64() == Some(1.0),
            "factor" if kind == "default" => value.as_f64() == Some(1.0),
            key => known.contains(&key),
        };
        if !harmless && !value.is_null() {
            return Err(Error::unsupported(format!(
                "config.json: {key} {} in rope_parameters of type {kind} is not supported",
                shortened(value)
            )));
        }
    }
    Ok(())
}

/// Which layers look back only `sliding_window` keys: `layer_types` where given; else all
/// (Mistral) or those from `max_window_layers` on (Qwen2 with `use_sliding_window`).
fn windows(json: &Json, model_type: &str, layers: usize) -> Result<Vec<Option<usize>>> {
    if layers > MAX_LAYERS {
        return Err(too_large("num_hidden_layers", layers));
    }
    let window = match (model_type, json.sliding_window, json.use_sliding_window) {
        (_, None, _) | ("qwen2", _, None) | ("qwen2" | "llama", _, Some(false)) => None,
        ("mistral", window, None | Some(true)) | ("qwen2", window, Some(true)) => window,
        (_, Some(window), asked) => {
            let asked = asked.map_or(String::new(), |asked| format!(" with use_sliding_window {asked}"));
            return Err(Error::unsupported(format!(
                "config.json: sliding_window {window}{asked} in a {model_type} is not supported"
            )));
        }
    };
    if window == Some(0) {
        return Err(too_large("sliding_window", 0));
    }
    if let Some(types) = &json.layer_types {
        if types.len() != layers {
            return Err(Error::mismatch(format!(
                "config.json: layer_types has {} entries, expected num_hidden_layers {layers}",
                types.len()
            )));
        }
        return types
            .iter()
            .map(|t| match t.as_str() {
                "full_attention" => Ok(None),
                "sliding_attention" if window.is_some() => Ok(window),
                "sliding_attention" => Err(Error::unsupported(
                    "config.json: layer type `sliding_attention` without a sliding_window is not supported",
                )),
                other => {
                    Err(Error::unsupported(format!("config.json: layer type `{other}` is not supported")))
                }
            })
            .collect();
    }
    let first = if model_type == "qwen2" { json.max_window_layers.unwrap_or(28) } else { 0 };
    Ok((0..layers).map(|l| window.filter(|_| l >= first)).collect())
}

/// A token id, a list of them, or nothing.
fn token_ids(value: Option<&Value>, name: &str) -> Result<Vec<u32>> {
    let one = |v: &Value| {
        v.as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::format(format!("config.json: {name} {v} is not a token id")))
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(v) => Ok(vec![one(v)?]),
    }
}
