//! Phi-1, 1.5 and 2: attention and feed-forward side by side behind one LayerNorm, biases everywhere, on the head
//! too, and rotary positions on a part of each head. Not `phi-msft`, whose files have other names.

use super::plain::{Sizes, plain};
use super::{Family, llama};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Norm, Order};
use crate::model::fields::{ACTIVATION, Fields, HEAD_DIM, Key, LAYERS};
use crate::model::roles::{Module, Role};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Phi",
    model_type: "phi",
    architecture: "phi2",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::O, "self_attn.dense", "attn_output"),
        Module::new(Role::Up, "mlp.fc1", "ffn_up"),
        Module::new(Role::Down, "mlp.fc2", "ffn_down"),
        Module::new(Role::LastNorm, "final_layernorm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

pub(super) const LAYER_NORM_EPS: Key = Key::new("layer_norm_eps", "attention.layer_norm_epsilon");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    Ok(Blueprint { order: Order::ParallelOneNorm, head_bias: true, ..of(fields, 0.5, Activation::GeluTanh)? })
}

/// A model of one kind of layers with LayerNorm and biases everywhere but on the head, that rotates this part
/// of each head where nothing is said.
pub(super) fn of(fields: &Fields, rotated: f64, activation: Activation) -> Result<Blueprint> {
    let head_dim = fields.any_head_dim(HEAD_DIM, llama::SIZES, None)?;
    let rotary_dim = fields.rotary_dim(head_dim, rotated)?;
    let layers = vec![LayerSpec::default(); fields.layers(LAYERS)?];
    let like_phi = layer_normed(fields, LAYER_NORM_EPS, head_dim, vec![fields.rope()?], layers)?;
    Ok(Blueprint { rotary_dim, activation: fields.activation(ACTIVATION, activation)?, ..like_phi })
}

/// The same with heads of this size, which are rotated wholly.
pub(super) fn layer_normed(
    fields: &Fields,
    eps: Key,
    head_dim: usize,
    ropes: Vec<Rope>,
    layers: Vec<LayerSpec>,
) -> Result<Blueprint> {
    let norm = Norm::Layer(fields.epsilon(eps, 1e-5)?);
    Ok(Blueprint {
        tie_word_embeddings: fields.tied(false)?,
        bos_token_id: fields.bos()?,
        eos_token_ids: fields.eos()?,
        ..plain(&FAMILY, &Sizes::read(fields, head_dim)?, norm, ropes, layers, true)
    })
}
