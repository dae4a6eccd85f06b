//! GPT-J: attention and feed-forward side by side behind one LayerNorm, biases on the feed-forward block and the
//! head, and rotary positions of neighbours in a part of each head.

use super::{Family, gpt2};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Order};
use crate::model::fields::{Fields, Key};
use crate::model::roles::{Module, Role};
use crate::model::rope::{Rope, RopeScaling};

pub(super) const FAMILY: Family = Family {
    name: "GptJ",
    model_type: "gptj",
    architecture: "gptj",
    modules: &[
        Module::new(Role::Embedding, "wte", "token_embd"),
        Module::new(Role::AttentionNorm, "ln_1", "attn_norm"),
        Module::new(Role::Q, "attn.q_proj", "attn_q"),
        Module::new(Role::K, "attn.k_proj", "attn_k"),
        Module::new(Role::V, "attn.v_proj", "attn_v"),
        Module::new(Role::O, "attn.out_proj", "attn_output"),
        Module::new(Role::Up, "mlp.fc_in", "ffn_up"),
        Module::new(Role::Down, "mlp.fc_out", "ffn_down"),
        Module::new(Role::LastNorm, "ln_f", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    // heads for other tasks, and what transformers' code has one value for
    harmless: &[
        "rope_scaling",
        "rotary",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    ],
    blueprint,
    ..gpt2::FAMILY
};

const ROTATED: Key = Key::new("rotary_dim", "rope.dimension_count");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    if fields.count(ROTATED)?.is_none() && fields.mentions(ROTATED) {
        return Err(fields.refused(ROTATED, "null"));
    }
    let head_dim = fields.any_head_dim(gpt2::HEAD_DIM, gpt2::SIZES, None)?;
    Ok(Blueprint {
        family: &FAMILY,
        learned_positions: false,
        order: Order::ParallelOneNorm,
        ropes: vec![Rope::Rotary { theta: 10_000.0, scaling: RopeScaling::None }],
        neighbours: true,
        rotary_dim: fields.count_or(ROTATED, 64)?,
        qkv_bias: false,
        o_bias: false,
        head_bias: true,
        tie_word_embeddings: fields.tied(false)?,
        ..gpt2::of(fields, head_dim, fields.needed(gpt2::HEADS)?)?
    })
}
