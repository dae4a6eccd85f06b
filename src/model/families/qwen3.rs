//! Qwen3: Llama with a norm of each head of queries and keys, and heads of a size of their own.
//! Not its models with experts, whose files have other names.

use super::{Family, llama, qwen2};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec};
use crate::model::fields::{Fields, HEAD_DIM, RMS_NORM_EPS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "Qwen3",
    model_type: "qwen3",
    architecture: "qwen3",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        Module::new(Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::MlpNorm, "post_attention_layernorm", "ffn_norm"),
        Module::new(Role::Gate, "mlp.gate_proj", "ffn_gate"),
        Module::new(Role::Up, "mlp.up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

/// What transformers takes where a config says nothing.
const DEFAULT_HEAD_DIM: usize = 128;

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, Some(DEFAULT_HEAD_DIM))?;
    let head_norm = Some(fields.epsilon(RMS_NORM_EPS, 1e-6)?);
    let like_llama = llama::of(fields, head_dim, qwen2::window(fields)?)?;
    let layers = like_llama.layers.into_iter().map(|layer| LayerSpec { head_norm, ..layer }).collect();
    Ok(Blueprint { family: &FAMILY, layers, ..like_llama })
}
