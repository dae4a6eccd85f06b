//! Adapters of mlx-lm as PEFT folders.
//! Not their arithmetic, which is LoRA's: only names, the order of rows, and where the scale stands.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::format::peft::unwrapped;

use super::{Converted, key, lora, no_matrix, no_place, number, read, size, tensor, wrong_rank};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::kinds::Method;
use crate::engine::adapters::turn::transpose;

/// What mlx-lm's `adapter_config.json` says of the arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct Mlx {
    pub(super) rank: usize,
    pub(super) scale: f64,
    dora: bool,
    /// Counted from the last one; `None` is all.
    layers: Option<usize>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) model: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Mlx {
    pub(super) fn of(fields: &Map<String, Value>) -> Result<Self> {
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

impl Base<'_> {
    /// mlx-lm: `{module}.lora_a` (C_in, R) and `.lora_b` (R, C_out), on a table (V, R) and (R, C), and
    /// with DoRA `.m` (C_out); `scale` multiplies as it is; `num_layers` counts from the end, and what
    /// lies before is not used.
    pub(super) fn of_mlx(&self, config: Mlx, weights: &[u8]) -> Result<Converted> {
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
        peft.common.base_model_name_or_path = self.name.map(str::to_owned).or(config.model);
        let mut warnings = config.warnings;
        if let Some(module) = unused.first() {
            warnings.push(format!(
                "tensors of {} modules that num_layers or keys in adapter_config.json leave out are not used: `{module}`, …",
                unused.len()
            ));
        }
        Converted::of(peft, tensors, warnings)
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

/// The number of the layer that a module lies in.
fn layer_of(module: &str) -> Option<usize> {
    module.split('.').find_map(|part| part.parse().ok())
}
