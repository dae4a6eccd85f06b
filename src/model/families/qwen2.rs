//! Qwen2 and Qwen2.5: Llama with biases on q, k and v, and a window on its later layers where asked for.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::{Fields, HEAD_DIM, Key};

pub(super) const FAMILY: Family = Family {
    name: "Qwen2",
    model_type: "qwen2",
    architecture: "qwen2",
    modules: llama::PLAIN,
    harmless: &["attention.layer_norm_epsilon"],
    blueprint,
    ..llama::FAMILY
};

/// What transformers takes where a config names none.
const DEFAULT_WINDOW: usize = 4096;
const FIRST_WITH_WINDOW: Key = Key::new("max_window_layers", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let has_bias = fields.has_tensor("blk.0.attn_q.bias").unwrap_or(true);
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    let like_llama = llama::of(fields, head_dim, window(fields)?)?;
    let o_bias = fields.has_tensor("blk.0.attn_output.bias").unwrap_or(false);
    Ok(Blueprint { family: &FAMILY, qkv_bias: has_bias, o_bias, ..like_llama })
}

/// The window, if it is asked for, and the first layer that has it; GGUF metadata do not say which.
pub(super) fn window(fields: &Fields) -> Result<(Option<usize>, usize)> {
    if fields.are_metadata() {
        return Ok((None, 0));
    }
    let window = llama::window(fields, Some(DEFAULT_WINDOW))?;
    let asked = fields.flag(llama::WINDOW_ASKED)?.unwrap_or(false);
    Ok((window.filter(|_| asked), fields.count(FIRST_WITH_WINDOW)?.unwrap_or(28)))
}
