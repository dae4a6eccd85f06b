//! StarCoder2: Llama with LayerNorm, biases everywhere but on the head, and a feed-forward block that is not gated.

use super::{Family, llama, phi};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec};
use crate::model::fields::{ACTIVATION, Fields, HEAD_DIM, Key, LAYERS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "StarCoder2",
    model_type: "starcoder2",
    architecture: "starcoder2",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::MlpNorm, "post_attention_layernorm", "ffn_norm"),
        Module::new(Role::Up, "mlp.c_fc", "ffn_up"),
        Module::new(Role::Down, "mlp.c_proj", "ffn_down"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    // other spellings, and what transformers' code has one value for
    harmless: &[
        "activation_function",
        "layer_norm_epsilon",
        "mlp_type",
        "norm_type",
        "residual_dropout",
        "scale_attention_softmax_in_fp32",
    ],
    blueprint,
    ..llama::FAMILY
};

const BIAS: Key = Key::new("use_bias", "");
const EPS: Key = Key::new("norm_epsilon", "attention.layer_norm_epsilon");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    let windows =
        llama::windows(fields, llama::window(fields, None)?, fields.layers(LAYERS)?, |_| true)?.into_iter();
    let layers = windows.map(|window| LayerSpec { window, ..LayerSpec::default() }).collect();
    let like_phi = phi::layer_normed(fields, EPS, head_dim, vec![fields.rope()?], layers)?;
    let bias = fields.flag(BIAS)?.unwrap_or(true);
    Ok(Blueprint {
        family: &FAMILY,
        activation: fields.activation(ACTIVATION, Activation::GeluTanh)?,
        qkv_bias: fields.has_tensor("blk.0.attn_q.bias").unwrap_or(bias),
        o_bias: fields.has_tensor("blk.0.attn_output.bias").unwrap_or(bias),
        mlp_bias: fields.has_tensor("blk.0.ffn_up.bias").unwrap_or(bias),
        tie_word_embeddings: fields.tied(true)?,
        ..like_phi
    })
}
