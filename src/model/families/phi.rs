//! Phi-1, 1.5 and 2: attention and feed-forward side by side behind one LayerNorm, biases everywhere, on the head
//! too, and rotary positions on a part of each head. Not `phi-msft`, whose files have other names.

use super::{Family, llama};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Norm, Order, Scales};
use crate::model::fields::{
    ACTIVATION, CONTEXT, Fields, HEAD_DIM, HEADS, HIDDEN_SIZE, INTERMEDIATE_SIZE, KV_HEADS, Key, LAYERS,
};
use crate::model::names::{Module, Role};

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
    let heads = fields.needed(HEADS)?;
    let layers = fields.layers(LAYERS)?;
    Ok(Blueprint {
        family: &FAMILY,
        vocab_size: fields.vocab_size()?,
        hidden_size: fields.needed(HIDDEN_SIZE)?,
        intermediate_size: fields.needed(INTERMEDIATE_SIZE)?,
        num_attention_heads: heads,
        num_key_value_heads: fields.count(KV_HEADS)?.unwrap_or(heads),
        head_dim,
        rotary_dim,
        max_position_embeddings: fields.count_or(CONTEXT, 2048)?,
        learned_positions: false,
        order: Order::Serial,
        ropes: vec![fields.rope()?],
        norm: Norm::Layer(fields.epsilon(LAYER_NORM_EPS, 1e-5)?),
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        scales: Scales::default(),
        activation: fields.activation(ACTIVATION, activation)?,
        gated: false,
        qkv_grouped: false,
        encoder: None,
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        head_bias: false,
        tie_word_embeddings: fields.tied(false)?,
        bos_token_id: fields.bos()?,
        eos_token_ids: fields.eos()?,
        layers: vec![LayerSpec::default(); layers],
    })
}
