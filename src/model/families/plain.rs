//! The blueprint that those of all families are made of: each says what is otherwise with it.
//! Not read from files: that is each family's.

use super::Family;
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Norm, Order, Scales};
use crate::model::fields::{CONTEXT, Fields, HEADS, HIDDEN_SIZE, INTERMEDIATE_SIZE, KV_HEADS};
use crate::model::rope::Rope;

/// How large a model is.
pub(super) struct Sizes {
    /// `V`
    pub(super) vocab: usize,
    /// `C`
    pub(super) hidden: usize,
    /// `F`
    pub(super) intermediate: usize,
    /// `H`
    pub(super) heads: usize,
    /// `K`
    pub(super) kv_heads: usize,
    /// `D`
    pub(super) head_dim: usize,
    /// Longest context in tokens.
    pub(super) context: usize,
}

impl Sizes {
    /// By the names that most families have for them.
    pub(super) fn read(fields: &Fields, head_dim: usize) -> Result<Self> {
        let heads = fields.needed(HEADS)?;
        Ok(Self {
            vocab: fields.vocab_size()?,
            hidden: fields.needed(HIDDEN_SIZE)?,
            intermediate: fields.needed(INTERMEDIATE_SIZE)?,
            heads,
            kv_heads: fields.count(KV_HEADS)?.unwrap_or(heads),
            head_dim,
            context: fields.count_or(CONTEXT, 2048)?,
        })
    }
}

/// A decoder whose attention and feed-forward, gated by SiLU, follow each other; with `biased`, they are not gated
/// and have biases. Its head is its own, it begins and ends texts with no token, and heads are rotated wholly by the
/// first of `ropes`.
pub(super) fn plain(
    family: &'static Family,
    sizes: &Sizes,
    norm: Norm,
    ropes: Vec<Rope>,
    layers: Vec<LayerSpec>,
    biased: bool,
) -> Blueprint {
    Blueprint {
        family,
        vocab_size: sizes.vocab,
        hidden_size: sizes.hidden,
        intermediate_size: sizes.intermediate,
        num_attention_heads: sizes.heads,
        num_key_value_heads: sizes.kv_heads,
        head_dim: sizes.head_dim,
        rotary_dim: sizes.head_dim,
        max_position_embeddings: sizes.context,
        learned_positions: false,
        ropes,
        neighbours: false,
        order: Order::Serial,
        norm,
        norm_bias: matches!(norm, Norm::Layer(_)),
        attention_scale: 1.0 / (sizes.head_dim as f32).sqrt(),
        scales: Scales::default(),
        activation: Activation::Silu,
        gated: !biased,
        qkv_grouped: false,
        qkv_bias: biased,
        o_bias: biased,
        mlp_bias: biased,
        head_bias: false,
        is_text_part: false,
        tie_word_embeddings: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        encoder: None,
        layers,
    }
}
