//! GPT-NeoX, Pythia and RedPajama: LayerNorm, biases everywhere but on the head, q, k and v fused head by head, and
//! attention and feed-forward side by side, each behind a norm of its own, or one after the other.

use super::{Family, llama, phi, stablelm};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Order};
use crate::model::fields::{ACTIVATION, Fields, HEAD_DIM, Key, LAYERS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "GptNeoX",
    model_type: "gpt_neox",
    architecture: "gptneox",
    prefix: "gpt_neox.",
    head: "embed_out",
    modules: &[
        Module::new(Role::Embedding, "embed_in", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Qkv, "attention.query_key_value", "attn_qkv").by_part(),
        Module::new(Role::O, "attention.dense", "attn_output"),
        Module::new(Role::MlpNorm, "post_attention_layernorm", "ffn_norm"),
        Module::new(Role::Up, "mlp.dense_h_to_4h", "ffn_up"),
        Module::new(Role::Down, "mlp.dense_4h_to_h", "ffn_down"),
        Module::new(Role::LastNorm, "final_layer_norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    derived: &[".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq"],
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

const ATTENTION_BIAS: Key = Key::new("attention_bias", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let bias = fields.flag(ATTENTION_BIAS)?.unwrap_or(true);
    let parallel = fields.flag(stablelm::PARALLEL)?.unwrap_or(true);
    let head_dim = fields.any_head_dim(HEAD_DIM, llama::SIZES, None)?;
    let (rope, rotary_dim) = fields.neox_rope(head_dim)?;
    let layers = vec![LayerSpec::default(); fields.layers(LAYERS)?];
    Ok(Blueprint {
        family: &FAMILY,
        rotary_dim,
        activation: fields.activation(ACTIVATION, Activation::Gelu)?,
        order: if parallel { Order::Parallel } else { Order::Serial },
        qkv_grouped: true,
        qkv_bias: fields.has_tensor("blk.0.attn_qkv.bias").unwrap_or(bias),
        o_bias: fields.has_tensor("blk.0.attn_output.bias").unwrap_or(bias),
        ..phi::layer_normed(fields, phi::LAYER_NORM_EPS, head_dim, vec![rope], layers)?
    })
}
