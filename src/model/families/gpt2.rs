//! GPT-2: LayerNorm, learned positions, biases everywhere, and linear maps stored (in, out).

use super::Family;
use super::plain::{Sizes, plain};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Norm};
use crate::model::fields::{self as field, Fields, INTERMEDIATE_SIZE, Key, LAYER_NORM_EPS};
use crate::model::roles::{Module, Role};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Gpt2",
    model_type: "gpt2",
    architecture: "gpt2",
    prefix: "transformer.",
    layer: "h",
    modules: &[
        Module::new(Role::Embedding, "wte", "token_embd"),
        Module::new(Role::Positions, "wpe", "position_embd"),
        Module::new(Role::AttentionNorm, "ln_1", "attn_norm"),
        Module::new(Role::Qkv, "attn.c_attn", "attn_qkv").turned(),
        Module::new(Role::O, "attn.c_proj", "attn_output").turned(),
        Module::new(Role::MlpNorm, "ln_2", "ffn_norm"),
        Module::new(Role::Up, "mlp.c_fc", "ffn_up").turned(),
        Module::new(Role::Down, "mlp.c_proj", "ffn_down").turned(),
        Module::new(Role::LastNorm, "ln_f", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    norm_offset: 0.0,
    head: "lm_head",
    wrapper: None,
    derived: &[".attn.bias", ".attn.masked_bias"],
    harmless: &[
        // heads for other tasks, and what the table of positions was made for
        "n_ctx",
        "n_special",
        "predict_special_tokens",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        // llama.cpp's, of norms and positions that are not these
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "rope.scaling.factor",
        "rope.scaling.type",
    ],
    blueprint,
};

const ACTIVATION: Key = field::ACTIVATION.older("activation_function");
const CONTEXT: Key = field::CONTEXT.older("n_positions");
pub(super) const HEADS: Key = field::HEADS.older("n_head");
const HIDDEN_SIZE: Key = field::HIDDEN_SIZE.older("n_embd");
/// What the size of a head follows from.
pub(super) const SIZES: [Key; 2] = [HIDDEN_SIZE, HEADS];
const INNER_SIZE: Key = INTERMEDIATE_SIZE.older("n_inner");
const LAYERS: Key = field::LAYERS.older("n_layer");
/// llama.cpp says of any model what transformers' code for this one does not look at.
pub(super) const HEAD_DIM: Key = Key::new("", "attention.key_length");
pub(super) const KV_HEADS: Key = Key::new("", "attention.head_count_kv");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let heads = fields.needed(HEADS)?;
    of(fields, fields.head_dim(HEAD_DIM, SIZES, None)?, fields.count(KV_HEADS)?.unwrap_or(heads))
}

/// A model of this kind with heads of this size, and so many of keys and values.
pub(super) fn of(fields: &Fields, head_dim: usize, kv_heads: usize) -> Result<Blueprint> {
    let hidden = fields.needed(HIDDEN_SIZE)?;
    let sizes = Sizes {
        vocab: fields.vocab_size()?,
        hidden,
        intermediate: fields.count_or(INNER_SIZE, hidden.saturating_mul(4))?,
        heads: fields.needed(HEADS)?,
        kv_heads,
        head_dim,
        context: fields.needed(CONTEXT)?,
    };
    let norm = Norm::Layer(fields.epsilon(LAYER_NORM_EPS, 1e-5)?);
    let layers = vec![LayerSpec::default(); fields.layers(LAYERS)?];
    Ok(Blueprint {
        learned_positions: true,
        activation: fields.activation(ACTIVATION, Activation::GeluTanh)?,
        tie_word_embeddings: fields.tied(true)?,
        bos_token_id: fields.bos()?,
        eos_token_ids: fields.eos()?,
        ..plain(&FAMILY, &sizes, norm, vec![Rope::Identity], layers, true)
    })
}
