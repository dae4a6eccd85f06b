//! Cohere's Command R and Aya: attention and feed-forward side by side behind one LayerNorm without a bias, rotary
//! positions of neighbours, and scaled logits. Not with norms of heads.

use super::{Family, llama, phi};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Order, Scales};
use crate::model::fields::{ACTIVATION, Fields, HEAD_DIM, Key, LAYERS};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Cohere",
    model_type: "cohere",
    architecture: "command-r",
    modules: llama::PLAIN,
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

/// What transformers takes where a config says nothing.
const DEFAULT_THETA: f64 = 500_000.0;
const DEFAULT_LOGIT_SCALE: f32 = 0.0625;

const ATTENTION_BIAS: Key = Key::new("attention_bias", "");
const LOGIT_SCALE: Key = Key::new("logit_scale", "logit_scale");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let layers = vec![LayerSpec::default(); fields.layers(LAYERS)?];
    Ok(Blueprint { family: &FAMILY, ..of(fields, vec![fields.rope_by(DEFAULT_THETA)?], layers)? })
}

/// A model of this kind with these rotations and layers.
pub(super) fn of(fields: &Fields, ropes: Vec<Rope>, layers: Vec<LayerSpec>) -> Result<Blueprint> {
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    let like_phi = phi::layer_normed(fields, phi::LAYER_NORM_EPS, head_dim, ropes, layers)?;
    let bias = fields.flag(ATTENTION_BIAS)?.unwrap_or(false);
    let default_scale = if fields.are_metadata() { 1.0 } else { DEFAULT_LOGIT_SCALE };
    let logits = fields.factor(LOGIT_SCALE)?.unwrap_or(default_scale);
    Ok(Blueprint {
        order: Order::ParallelOneNorm,
        norm_bias: false,
        neighbours: true,
        scales: Scales { logits, ..Scales::default() },
        activation: fields.activation(ACTIVATION, Activation::Silu)?,
        gated: true,
        qkv_bias: fields.has_tensor("blk.0.attn_q.bias").unwrap_or(bias),
        o_bias: fields.has_tensor("blk.0.attn_output.bias").unwrap_or(bias),
        mlp_bias: false,
        tie_word_embeddings: fields.tied(true)?,
        ..like_phi
    })
}
