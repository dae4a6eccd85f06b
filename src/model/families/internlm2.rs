//! InternLM2 and 2.5: Llama with other names, whose q, k and v are one tensor, group by group; its authors' code
//! computes it.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::{Fields, HEAD_DIM, Key};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "InternLM2",
    model_type: "internlm2",
    architecture: "internlm2",
    head: "output",
    modules: &[
        Module::new(Role::Embedding, "tok_embeddings", "token_embd"),
        Module::new(Role::AttentionNorm, "attention_norm", "attn_norm"),
        Module::new(Role::Qkv, "attention.wqkv", "attn_qkv"),
        Module::new(Role::O, "attention.wo", "attn_output"),
        Module::new(Role::MlpNorm, "ffn_norm", "ffn_norm"),
        Module::new(Role::Gate, "feed_forward.w1", "ffn_gate"),
        Module::new(Role::Up, "feed_forward.w3", "ffn_up"),
        Module::new(Role::Down, "feed_forward.w2", "ffn_down"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

/// What llama.cpp makes of it is Llama: q, k and v are three maps under Llama's names.
const SPLIT: Family = Family { name: FAMILY.name, architecture: FAMILY.architecture, ..llama::FAMILY };

const BIAS: Key = Key::new("bias", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let like_llama = llama::of(fields, fields.head_dim(HEAD_DIM, llama::SIZES, None)?, (None, 0))?;
    if fields.are_metadata() {
        return Ok(Blueprint { family: &SPLIT, ..like_llama });
    }
    let bias = fields.flag(BIAS)?.unwrap_or(true);
    Ok(Blueprint { family: &FAMILY, qkv_grouped: true, qkv_bias: bias, o_bias: bias, ..like_llama })
}
