//! BERT: an encoder. Every position sees all, and norms stand behind what they norm.
//! No head: neither that of its training nor one for another task is run.

use super::Family;
use super::plain::{Sizes, plain};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Encoder, LayerSpec, Norm};
use crate::model::fields::{self as field, Fields, INTERMEDIATE_SIZE, Key};
use crate::model::roles::{Module, Role};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Bert",
    model_type: "bert",
    architecture: "bert",
    prefix: "bert.",
    head: "lm_head",
    layer: "encoder.layer",
    modules: &[
        Module::new(Role::Embedding, "embeddings.word_embeddings", "token_embd"),
        Module::new(Role::Positions, "embeddings.position_embeddings", "position_embd"),
        Module::new(Role::TokenTypes, "embeddings.token_type_embeddings", "token_types"),
        Module::new(Role::EmbeddingNorm, "embeddings.LayerNorm", "token_embd_norm"),
        Module::new(Role::Q, "attention.self.query", "attn_q"),
        Module::new(Role::K, "attention.self.key", "attn_k"),
        Module::new(Role::V, "attention.self.value", "attn_v"),
        Module::new(Role::O, "attention.output.dense", "attn_output"),
        Module::new(Role::AttentionNorm, "attention.output.LayerNorm", "attn_output_norm"),
        Module::new(Role::Up, "intermediate.dense", "ffn_up"),
        Module::new(Role::Down, "output.dense", "ffn_down"),
        Module::new(Role::MlpNorm, "output.LayerNorm", "layer_output_norm"),
    ],
    norm_offset: 0.0,
    wrapper: None,
    derived: &[
        "embeddings.position_ids",
        // what states are made into for the tasks of its training
        "pooler.dense.weight",
        "pooler.dense.bias",
        "cls.predictions.bias",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
    ],
    harmless: &[
        // what states are made into for the tasks of its training
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        // there is no head to tie
        "tie_word_embeddings",
    ],
    blueprint,
};

const EPS: Key = Key::new("layer_norm_eps", "attention.layer_norm_epsilon");
const KV_HEADS: Key = Key::new("", "attention.head_count_kv");
const HEAD_DIM: Key = Key::new("", "attention.key_length");
const TYPES: Key = Key::new("type_vocab_size", "");
const POSITIONS: Key = Key::new("position_embedding_type", "");
const IS_DECODER: Key = Key::new("is_decoder", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    if fields.flag(IS_DECODER)? == Some(true) {
        return Err(fields.refused(IS_DECODER, "true"));
    }
    if let Some(other) = fields.text(POSITIONS)?.filter(|&kind| kind != "absolute") {
        return Err(fields.refused(POSITIONS, format_args!("`{other}`")));
    }
    let heads = fields.needed(field::HEADS)?;
    let sizes = Sizes {
        vocab: fields.vocab_size()?,
        hidden: fields.needed(field::HIDDEN_SIZE)?,
        intermediate: fields.needed(INTERMEDIATE_SIZE)?,
        heads,
        kv_heads: fields.count(KV_HEADS)?.unwrap_or(heads),
        head_dim: fields.head_dim(HEAD_DIM, [field::HIDDEN_SIZE, field::HEADS], None)?,
        context: fields.needed(field::CONTEXT)?,
    };
    let norm = Norm::Layer(fields.epsilon(EPS, 1e-12)?);
    let layers = vec![LayerSpec::default(); fields.layers(field::LAYERS)?];
    let token_types = match fields.tensor_rows("token_types.weight") {
        Some(rows) => rows,
        None => fields.count(TYPES)?.unwrap_or(2),
    };
    Ok(Blueprint {
        learned_positions: true,
        activation: fields.activation(field::ACTIVATION, Activation::Gelu)?,
        tie_word_embeddings: true,
        encoder: Some(Encoder { token_types, pooling: fields.pooling()? }),
        ..plain(&FAMILY, &sizes, norm, vec![Rope::Identity], layers, true)
    })
}
