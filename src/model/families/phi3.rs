//! Phi-3, Phi-3.5 and Phi-4 mini: Llama whose q, k and v are one tensor in checkpoints, and gate and up another;
//! rotary positions on a part of each head, by two sets of factors.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::{Fields, HEAD_DIM};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "Phi3",
    model_type: "phi3",
    architecture: "phi3",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Qkv, "self_attn.qkv_proj", "attn_qkv"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::MlpNorm, "post_attention_layernorm", "ffn_norm"),
        Module::new(Role::GateUp, "mlp.gate_up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    // of Microsoft's own code, which transformers' does not look at
    harmless: &["full_attn_mod", "interpolate_factor"],
    blueprint,
    ..llama::FAMILY
};

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let head_dim = fields.any_head_dim(HEAD_DIM, llama::SIZES, None)?;
    let rotary_dim = fields.rotary_dim(head_dim, 1.0)?;
    let window = llama::window(fields, None)?;
    let like_llama = llama::of(fields, head_dim, (window, 0))?;
    Ok(Blueprint { family: &FAMILY, rotary_dim, ..like_llama })
}
