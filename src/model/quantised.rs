//! Checkpoints whose weights a library has quantised its own way: known by their config and their tensors,
//! so that they are refused by name. Not a reader of them.

use serde_json::Value as Json;

use crate::error::{Error, Result};

/// What those who have such a checkpoint can take.
const INSTEAD: &str = "take the model as it was before, with `dtype` q8 or q4, or a GGUF file of it";

/// `quant_method` of transformers' `quantization_config`, and who does it.
const METHODS: &[(&str, &str)] = &[
    ("awq", "AWQ"),
    ("bitsandbytes", "bitsandbytes"),
    ("compressed-tensors", "compressed-tensors"),
    ("exl2", "EXL2"),
    ("fbgemm_fp8", "FBGEMM"),
    ("fp8", "FP8"),
    ("gptq", "GPTQ"),
    ("hqq", "HQQ"),
    ("mxfp4", "MXFP4"),
    ("torchao", "torchao"),
];

/// The last part of the name of a tensor that such weights need, and who writes it.
const ENDS: &[(&str, &str)] = &[
    ("SCB", "bitsandbytes"),
    ("absmax", "bitsandbytes"),
    ("nested_absmax", "bitsandbytes"),
    ("nested_quant_map", "bitsandbytes"),
    ("quant_map", "bitsandbytes"),
    ("weight_format", "bitsandbytes"),
    ("g_idx", "GPTQ or AWQ"),
    ("qweight", "GPTQ or AWQ"),
    ("qzeros", "GPTQ or AWQ"),
    ("weight_packed", "compressed-tensors"),
    ("weight_scale", "compressed-tensors"),
    ("weight_shape", "compressed-tensors"),
    ("weight_zero_point", "compressed-tensors"),
    ("weight_scale_inv", "FP8"),
    ("W_q", "HQQ"),
    ("q_groups", "EXL2"),
    ("q_invperm", "EXL2"),
    ("q_scale", "EXL2"),
    ("q_weight", "EXL2"),
    ("biases", "MLX"),
    ("scales", "GPTQ, AWQ or MLX"),
];

/// The error for field `name` of config.json, whose `value` tells how the weights were quantised.
pub(super) fn refused_config(name: &str, value: &Json) -> Error {
    let method = value.get("quant_method").and_then(Json::as_str);
    let known = method.and_then(|method| METHODS.iter().find(|(word, _)| *word == method));
    let by = known.map_or_else(String::new, |(_, by)| format!(" (here {by})"));
    Error::unsupported(format!("config.json: {name}: quantised checkpoints{by} are not supported; {INSTEAD}"))
}

/// Whether weights of a checkpoint in safetensors can be among tensors like `name`, of type `dtype`.
///
/// Errors with `Unsupported`, naming the library, where they are quantised its own way.
pub(crate) fn check_tensor(name: &str, dtype: &str) -> Result<()> {
    let end = name.rsplit('.').next().unwrap_or_default();
    let known = ENDS.iter().find(|(last, _)| *last == end).map(|(_, by)| *by);
    let by = match known {
        Some(by) => by,
        None if name.contains(".quant_state.") => "bitsandbytes",
        None if end == "weight" && ["I8", "U8", "I32", "U32"].contains(&dtype) => {
            return Err(Error::unsupported(format!(
                "tensor `{name}`: {dtype}, expected floats: quantised checkpoints are not supported; {INSTEAD}"
            )));
        }
        None => return Ok(()),
    };
    Err(Error::unsupported(format!(
        "tensor `{name}`: weights quantised by {by} are not supported; {INSTEAD}"
    )))
}
