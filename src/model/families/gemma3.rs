//! The text models of Gemma 3: Gemma 2 with norms of each head in the place of caps, and another rotation in
//! layers with a window.

use super::{Family, Wrapper, gemma, gemma2};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Scales};
use crate::model::fields::{Fields, RMS_NORM_EPS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "Gemma3",
    model_type: "gemma3_text",
    architecture: "gemma3",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        Module::new(Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::AttentionPostNorm, "post_attention_layernorm", "post_attention_norm"),
        Module::new(Role::MlpNorm, "pre_feedforward_layernorm", "ffn_norm"),
        Module::new(Role::Gate, "mlp.gate_proj", "ffn_gate"),
        Module::new(Role::Up, "mlp.up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::MlpPostNorm, "post_feedforward_layernorm", "post_ffw_norm"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    wrapper: Some(&Wrapper {
        model_type: "gemma3",
        defaults: &[
            ("vocab_size", 262_208),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("max_position_embeddings", 131_072),
        ],
        beside: &["vision_tower.", "multi_modal_projector."],
    }),
    harmless: &[],
    blueprint,
    ..gemma::FAMILY
};

/// What transformers takes where a config says nothing: of layers that see all keys, and of the others.
const DEFAULT_THETAS: [f64; 2] = [1e6, 1e4];
/// Every so manieth layer sees all keys.
const PERIOD: usize = 6;
/// Layers of the one model that llama.cpp scales queries of otherwise.
const LAYERS_OF_27B: usize = 62;

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let head_norm = Some(fields.epsilon(RMS_NORM_EPS, 1e-6)?);
    let layer = |window: Option<usize>| {
        let rope = usize::from(window.is_some());
        LayerSpec { window, rope, head_norm, ..LayerSpec::default() }
    };
    let layers = gemma2::windows(fields, PERIOD)?.into_iter().map(layer).collect();
    let ropes = fields.ropes_by_type(DEFAULT_THETAS)?.to_vec();
    let like_gemma = gemma::of(fields, gemma::head_dim(fields)?, ropes, layers)?;
    let logit_cap = fields.factor(gemma2::LOGIT_CAP)?.unwrap_or(0.0);
    Ok(Blueprint {
        family: &FAMILY,
        attention_scale: gemma2::attention_scale(fields, &like_gemma, LAYERS_OF_27B)?,
        activation: fields.activation(gemma::HIDDEN_ACTIVATION, Activation::GeluTanh)?,
        scales: Scales { logit_cap, ..like_gemma.scales },
        ..like_gemma
    })
}
