//! Adapters of mistral-finetune as PEFT folders.
//! Not their arithmetic, which is LoRA's: only names, the order of rows, and where the scale stands.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::format::peft::unwrapped;
use crate::format::safetensors::Header;

use super::{Converted, key, lora, no_matrix, no_place, number, read, size, tensor, wrong_rank};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::turn::half_split;

/// What mistral-finetune and its readers take where no file says.
const MISTRAL_SCALING: f64 = 2.0;

/// What its `params.json` says of the arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct Mistral {
    /// The scale itself.
    pub(super) scaling: f64,
    pub(super) rank: Option<usize>,
    pub(super) warnings: Vec<String>,
}

impl Mistral {
    /// No fields where there is no such file.
    pub(super) fn of(fields: &Map<String, Value>) -> Result<Self> {
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
        let rank = given.map(|value| size("params.json", "lora.rank", value)).transpose()?;
        Ok(Self { scaling, rank, warnings })
    }
}

impl Base<'_> {
    /// mistral-finetune: Mistral's own names, with the rows of queries and keys in pairs of rotation.
    pub(super) fn of_mistral(&self, config: Mistral, weights: &[u8]) -> Result<Converted> {
        let Mistral { scaling, mut rank, warnings } = config;
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
        peft.common.base_model_name_or_path = self.name.map(str::to_owned);
        Converted::of(peft, tensors, warnings)
    }
}

/// `layers.0.attention.wq.lora_A.weight` in the words of Hugging Face: module, factor, and whether
/// rotations turn its output.
pub(super) fn mistral_name(name: &str) -> Option<(String, &str, bool)> {
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

/// Whether a file's tensors have Mistral's names.
pub(super) fn is_mistral(weights: &[u8]) -> bool {
    let Ok(header) = Header::from_file_bytes(weights) else { return false };
    header.tensors.iter().any(|info| mistral_name(&unwrapped(&info.name)).is_some())
}
