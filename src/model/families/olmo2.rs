//! OLMo 2: Llama with norms behind its blocks and none in front, and norms of all heads of queries, and of keys,
//! together.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Norm};
use crate::model::fields::{Fields, HEAD_DIM, RMS_NORM_EPS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "OLMo2",
    model_type: "olmo2",
    architecture: "olmo2",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        Module::new(Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::AttentionPostNorm, "post_attention_layernorm", "post_attention_norm"),
        Module::new(Role::Gate, "mlp.gate_proj", "ffn_gate"),
        Module::new(Role::Up, "mlp.up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::MlpPostNorm, "post_feedforward_layernorm", "post_ffw_norm"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    // Its own default, that of all its norms.
    let eps = fields.epsilon(RMS_NORM_EPS, 1e-5)?;
    let like_llama = llama::of(fields, fields.head_dim(HEAD_DIM, llama::SIZES, None)?, (None, 0))?;
    let layer = |layer| LayerSpec { head_norm: Some(eps), norms_all_heads: true, ..layer };
    let layers = like_llama.layers.into_iter().map(layer).collect();
    Ok(Blueprint { family: &FAMILY, norm: Norm::Rms(eps), layers, ..like_llama })
}
