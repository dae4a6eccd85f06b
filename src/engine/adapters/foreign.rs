//! Adapters of other trainers, as PEFT folders: those of mlx-lm and of mistral-finetune.
//! Not their arithmetic, which is LoRA's: only names, the order of rows, and where the scale stands.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::format::peft::{AdapterConfig, Method, unwrapped};
use crate::format::safetensors::Header;
use crate::format::{TensorData, TensorInfo, write};
use crate::json;

use crate::engine::adapters::base::Base;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::turn::half_split;
use crate::engine::adapters::turn::transpose;

/// What mistral-finetune and its readers take where no file says.
const MISTRAL_SCALING: f64 = 2.0;

/// A PEFT folder made of another, and what its reader should know.
pub(crate) struct Converted {
    pub files: AdapterFiles,
    pub warnings: Vec<String>,
}

/// A tensor of the new folder: its name, shape and values.
type Tensor = (String, Vec<usize>, Vec<f32>);

impl Base<'_> {
    /// The PEFT folder that another trainer's config and weights mean; `None` for one of PEFT's own.
    /// mistral-finetune's config is its `params.json`, or nothing where that is not there.
    ///
    /// Errors with `Format`, `Unsupported` and `Mismatch` naming the field or the tensor.
    pub(crate) fn other_trainers(&self, config: &[u8], weights: &[u8]) -> Result<Option<Converted>> {
        if config.is_empty() && is_mistral(weights) {
            return self.of_mistral(&Map::new(), weights).map(Some);
        }
        // What is no object is the other reader's to refuse.
        let Ok(fields) = json::read::<Map<String, Value>>("adapter_config.json", config) else {
            return Ok(None);
        };
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        if has(&["peft_type"]) {
            Ok(None)
        } else if has(&["fine_tune_type", "lora_parameters", "lora_layers"]) {
            self.of_mlx(&fields, weights).map(Some)
        } else if has(&["lora", "n_layers"]) {
            self.of_mistral(&fields, weights).map(Some)
        } else {
            Ok(None)
        }
    }

    /// mlx-lm: `{module}.lora_a` (C_in, R) and `.lora_b` (R, C_out), on a table (V, R) and (R, C), and
    /// with DoRA `.m` (C_out); `scale` multiplies as it is; `num_layers` counts from the end, and what
    /// lies before is not used.
    fn of_mlx(&self, fields: &Map<String, Value>, weights: &[u8]) -> Result<Converted> {
        let config = Mlx::of(fields)?;
        let layers = self.model.config.layers.len();
        let first = config.layers.map_or(0, |n| layers.saturating_sub(n));
        let embedding = self.model.weights.embedding();
        let ties = self.model.config.tie_word_embeddings;
        let (mut tensors, mut keys, mut unused) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (info, values) in read("adapters.safetensors", weights)? {
            let name = unwrapped(&info.name);
            let Some((module, factor)) = name.rsplit_once('.') else { return Err(no_place(&info, "mlx-lm")) };
            let is_key = |keys: &Vec<String>| keys.iter().any(|each| *each == key(module) || each == module);
            let is_left_out = config.keys.as_ref().is_some_and(|keys| !is_key(keys));
            let module = self.model.weights.full_name(module);
            if is_left_out || layer_of(&module).is_some_and(|layer| layer < first) {
                unused.insert(module);
                continue;
            }
            let rank = config.rank;
            let (of, name) = (Matrix { info: &info, values, rank }, |part: &str| tensor(&module, part));
            let is_table = module == embedding;
            match factor {
                "lora_a" if is_table => {
                    let (v, r, values) = of.rows()?;
                    if ties {
                        tensors.push((tensor("lm_head", "lora_B.weight"), vec![v, r], values.clone()));
                    }
                    tensors.push((name("lora_embedding_A"), vec![r, v], transpose(&values, r)));
                }
                "lora_b" if is_table => {
                    let (c, r, values) = of.cols()?;
                    if ties {
                        tensors.push((tensor("lm_head", "lora_A.weight"), vec![r, c], transpose(&values, r)));
                    }
                    tensors.push((name("lora_embedding_B"), vec![c, r], values));
                }
                "lora_a" => {
                    let (c, r, values) = of.rows()?;
                    tensors.push((name("lora_A.weight"), vec![r, c], transpose(&values, r)));
                }
                "lora_b" => {
                    let (f, r, values) = of.cols()?;
                    tensors.push((name("lora_B.weight"), vec![f, r], values));
                }
                "m" if config.dora && !is_table => {
                    tensors.push((name("lora_magnitude_vector"), info.shape.clone(), of.values));
                }
                _ => return Err(no_place(&info, "mlx-lm")),
            }
            if is_table && config.dora {
                return Err(Error::unsupported(format!(
                    "tensor `{}`: mlx-lm's DoRA of an embedding",
                    info.name
                )));
            }
            if is_table && ties {
                keys.insert("lm_head".to_owned());
            }
            keys.insert(key(&module));
        }
        keys.extend(config.keys.iter().flatten().cloned());
        let mut peft = lora(&keys, config.rank, config.scale * config.rank as f64, "lora_parameters")?;
        if first > 0 {
            peft = peft.in_layers(first..layers)?;
        }
        if let Method::Lora(lora) = &mut peft.method {
            lora.use_dora = config.dora;
        }
        peft.base_model_name_or_path = self.name.map(str::to_owned).or(config.model);
        let mut warnings = config.warnings;
        if let Some(module) = unused.first() {
            warnings.push(format!(
                "tensors of {} modules that num_layers or keys in adapter_config.json leave out are not used: `{module}`, …",
                unused.len()
            ));
        }
        Ok(Converted { files: files(&peft, tensors)?, warnings })
    }

    /// mistral-finetune: Mistral's own names, with the rows of queries and keys in pairs of rotation.
    fn of_mistral(&self, fields: &Map<String, Value>, weights: &[u8]) -> Result<Converted> {
        let mut warnings = Vec::new();
        let lora_fields = fields.get("lora").and_then(Value::as_object);
        let scaling = match lora_fields.and_then(|lora| lora.get("scaling")) {
            Some(value) => number("params.json", "lora.scaling", value)?,
            None => {
                warnings.push(format!(
                    "params.json does not tell the LoRA's scaling, which is taken to be {MISTRAL_SCALING}, as \
                     Mistral's own programs take it"
                ));
                MISTRAL_SCALING
            }
        };
        let given = lora_fields.and_then(|lora| lora.get("rank"));
        let mut rank = given.map(|value| size("params.json", "lora.rank", value)).transpose()?;
        let (mut tensors, mut keys) = (Vec::new(), BTreeSet::new());
        for (info, mut values) in read("lora.safetensors", weights)? {
            let name = unwrapped(&info.name);
            let Some((module, part, turns)) = mistral_name(&name) else {
                return Err(no_place(&info, "mistral-finetune"));
            };
            let module = self.model.weights.full_name(&module);
            let [rows, cols] = info.shape[..] else { return Err(no_matrix(&info)) };
            let here = if part == "lora_A" { rows } else { cols };
            if *rank.get_or_insert(here) != here {
                return Err(wrong_rank(&info, rank.unwrap_or_default()));
            }
            if turns && part == "lora_B" {
                let d = self.model.config.head_dim;
                if rows % d != 0 {
                    return Err(Error::mismatch(format!(
                        "tensor `{}`: shape {:?}, expected rows in heads of {d}",
                        info.name, info.shape
                    )));
                }
                values = half_split(&values, cols, d);
            }
            tensors.push((tensor(&module, &format!("{part}.weight")), info.shape.clone(), values));
            keys.insert(key(&module));
        }
        let rank = rank.unwrap_or_default();
        let mut peft = lora(&keys, rank, scaling * rank as f64, "lora")?;
        peft.base_model_name_or_path = self.name.map(str::to_owned);
        Ok(Converted { files: files(&peft, tensors)?, warnings })
    }
}

/// What mlx-lm's `adapter_config.json` says of the arithmetic.
struct Mlx {
    rank: usize,
    scale: f64,
    dora: bool,
    /// Counted from the last one; `None` is all.
    layers: Option<usize>,
    keys: Option<Vec<String>>,
    model: Option<String>,
    warnings: Vec<String>,
}

impl Mlx {
    fn of(fields: &Map<String, Value>) -> Result<Self> {
        const FILE: &str = "adapter_config.json";
        let wrong = |field: &str, value: &Value, expected: &str| {
            Error::format(format!("{FILE}: field `{field}` is {value}, expected {expected}"))
        };
        let old_dora = fields.get("use_dora").is_some_and(|value| *value == Value::Bool(true));
        let dora = match fields.get("fine_tune_type") {
            None => old_dora,
            Some(Value::String(name)) if name == "lora" => old_dora,
            Some(Value::String(name)) if name == "dora" => true,
            Some(Value::String(name)) if name == "full" => {
                return Err(Error::unsupported(format!(
                    "{FILE}: fine_tune_type `full` of mlx-lm, which is no adapter but whole weights; make a model \
                     of them with `mlx_lm.fuse`"
                )));
            }
            Some(other) => return Err(wrong("fine_tune_type", other, "\"lora\" or \"dora\"")),
        };
        let Some(Value::Object(lora)) = fields.get("lora_parameters") else {
            return Err(Error::format(format!("{FILE}: field `lora_parameters` of mlx-lm is missing")));
        };
        let of = |name: &str| {
            let field = format!("lora_parameters.{name}");
            lora.get(name)
                .map(|value| (field.clone(), value))
                .ok_or_else(|| Error::format(format!("{FILE}: field `{field}` is missing")))
        };
        let (field, value) = of("rank")?;
        let rank = size(FILE, &field, value)?;
        let (field, value) = of("scale")?;
        let scale = number(FILE, &field, value)?;
        let keys = match lora.get("keys") {
            None | Some(Value::Null) => None,
            Some(Value::Array(keys)) if keys.iter().all(Value::is_string) => {
                Some(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(other) => return Err(wrong("lora_parameters.keys", other, "a list of names")),
        };
        let known = ["rank", "scale", "dropout", "keys", "alpha"];
        if let Some(field) = lora.keys().find(|field| !known.contains(&field.as_str())) {
            return Err(Error::unsupported(format!(
                "{FILE}: field `lora_parameters.{field}` is unknown and may change the arithmetic"
            )));
        }
        let mut warnings = Vec::new();
        if lora.contains_key("alpha") {
            warnings.push(
                "adapter_config.json: `lora_parameters.alpha` is not used, as mlx-lm does not use it; its first \
                 releases multiplied `scale` by alpha / rank: if one of them made this adapter, give it that weight"
                    .to_owned(),
            );
        }
        let layers = match fields.get("num_layers").or_else(|| fields.get("lora_layers")) {
            None | Some(Value::Null) => None,
            // Python's slice from -0 on is all of it.
            Some(value) => match value.as_i64() {
                Some(n) => usize::try_from(n).ok().filter(|n| *n > 0),
                None => return Err(wrong("num_layers", value, "an integer")),
            },
        };
        let model = fields.get("model").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { rank, scale, dora, layers, keys, model, warnings })
    }
}

/// A factor whose one side is the rank.
struct Matrix<'a> {
    info: &'a TensorInfo,
    values: Vec<f32>,
    rank: usize,
}

impl Matrix<'_> {
    /// (N, R): N, R, values
    fn rows(self) -> Result<(usize, usize, Vec<f32>)> {
        match self.info.shape[..] {
            [n, r] if r == self.rank => Ok((n, r, self.values)),
            [_, _] => Err(wrong_rank(self.info, self.rank)),
            _ => Err(no_matrix(self.info)),
        }
    }

    /// (R, N): N, R, values (N, R)
    fn cols(self) -> Result<(usize, usize, Vec<f32>)> {
        match self.info.shape[..] {
            [r, n] if r == self.rank => Ok((n, r, transpose(&self.values, n))),
            [_, _] => Err(wrong_rank(self.info, self.rank)),
            _ => Err(no_matrix(self.info)),
        }
    }
}

/// `layers.0.attention.wq.lora_A.weight` in the words of Hugging Face: module, factor, and whether
/// rotations turn its output.
fn mistral_name(name: &str) -> Option<(String, &str, bool)> {
    let (front, part) = name.strip_suffix(".weight")?.rsplit_once('.')?;
    let (front, map) = front.rsplit_once('.')?;
    let (layer, block) = front.strip_prefix("layers.")?.split_once('.')?;
    let module = match (block, map) {
        ("attention", "wq") => "self_attn.q_proj",
        ("attention", "wk") => "self_attn.k_proj",
        ("attention", "wv") => "self_attn.v_proj",
        ("attention", "wo") => "self_attn.o_proj",
        ("feed_forward", "w1") => "mlp.gate_proj",
        ("feed_forward", "w2") => "mlp.down_proj",
        ("feed_forward", "w3") => "mlp.up_proj",
        _ => return None,
    };
    let part = Some(part).filter(|part| matches!(*part, "lora_A" | "lora_B"))?;
    Some((format!("layers.{layer}.{module}"), part, matches!(map, "wq" | "wk")))
}

fn is_mistral(weights: &[u8]) -> bool {
    let Ok(header) = Header::from_file_bytes(weights) else { return false };
    header.tensors.iter().any(|info| mistral_name(&unwrapped(&info.name)).is_some())
}

/// The tensors of a file, widened to f32.
fn read(file: &str, bytes: &[u8]) -> Result<Vec<(TensorInfo, Vec<f32>)>> {
    let header = Header::from_file_bytes(bytes).map_err(|e| e.context(file))?;
    let one = |info: TensorInfo| {
        let values = info.read_f32(info.bytes_in(bytes)?)?;
        Ok((info, values))
    };
    header.tensors.into_iter().map(one).collect()
}

/// PEFT's name of a tensor.
fn tensor(module: &str, part: &str) -> String {
    format!("base_model.model.{module}.{part}")
}

/// The number of the layer that a module lies in.
fn layer_of(module: &str) -> Option<usize> {
    module.split('.').find_map(|part| part.parse().ok())
}

/// What a module is called within its layer, or as a whole where it lies in none.
fn key(module: &str) -> String {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = module.split('.').collect();
    let from = parts.iter().position(|part| is_number(part)).map_or(0, |at| at + 1);
    parts[from..].join(".")
}

fn lora(keys: &BTreeSet<String>, rank: usize, alpha: f64, field: &str) -> Result<AdapterConfig> {
    let targets: Vec<&str> = keys.iter().map(String::as_str).collect();
    AdapterConfig::lora(rank, alpha, &targets).map_err(|e| Error::format(format!("field `{field}`: {e}")))
}

fn files(config: &AdapterConfig, mut tensors: Vec<Tensor>) -> Result<AdapterFiles> {
    tensors.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let twin = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0);
    if let Some([(name, ..), _]) = twin {
        return Err(Error::mismatch(format!("tensor `{name}`: the file has it twice, under two names")));
    }
    let data: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| (name.clone(), shape.clone(), TensorData::F32(values)))
        .collect();
    let weights = write(&data, &[("format".to_owned(), "pt".to_owned())].into())?;
    Ok(AdapterFiles { config: config.to_json().into_bytes(), weights })
}

fn no_place(info: &TensorInfo, trainer: &str) -> Error {
    Error::mismatch(format!("tensor `{}`: an adapter of {trainer} has no place for it", info.name))
}

fn no_matrix(info: &TensorInfo) -> Error {
    Error::mismatch(format!("tensor `{}`: shape {:?}, expected a matrix", info.name, info.shape))
}

fn wrong_rank(info: &TensorInfo, rank: usize) -> Error {
    Error::mismatch(format!("tensor `{}`: shape {:?}, expected rank {rank}", info.name, info.shape))
}

fn number(file: &str, field: &str, value: &Value) -> Result<f64> {
    let number = value.as_f64().filter(|n| *n != 0.0 && n.abs() <= f64::from(f32::MAX));
    number.ok_or_else(|| {
        Error::format(format!("{file}: field `{field}` is {value}, expected a number other than 0"))
    })
}

fn size(file: &str, field: &str, value: &Value) -> Result<usize> {
    let size = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    size.ok_or_else(|| {
        Error::format(format!("{file}: field `{field}` is {value}, expected an integer from 1 on"))
    })
}
