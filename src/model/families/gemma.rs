//! Gemma 1: Llama with scaled embeddings, gates of GELU, and weights of norms that checkpoints have less one.
//! What the later Gemmas have in common with it, they take from here.

use super::{Family, llama};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Scales};
use crate::model::fields::{ACTIVATION, Fields, HEAD_DIM, Key, LAYERS};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Gemma",
    model_type: "gemma",
    architecture: "gemma",
    modules: llama::PLAIN,
    norm_offset: 1.0,
    // which transformers' code for this family no longer looks at
    harmless: &["hidden_activation"],
    blueprint,
    ..llama::FAMILY
};

/// What transformers takes where a config says nothing.
const DEFAULT_HEAD_DIM: usize = 256;
/// Beside `hidden_act`, which the later families do not look at.
pub(super) const HIDDEN_ACTIVATION: Key = Key::new("hidden_activation", "");

/// A config that says `gelu` means its approximation, as transformers has it.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let layers = vec![LayerSpec::default(); fields.layers(LAYERS)?];
    let like_later = of(fields, head_dim(fields)?, vec![fields.rope()?], layers)?;
    let activation = match fields.activation(ACTIVATION, Activation::GeluTanh)? {
        Activation::Gelu => Activation::GeluTanh,
        activation => activation,
    };
    Ok(Blueprint { family: &FAMILY, activation, ..like_later })
}

/// `D`
pub(super) fn head_dim(fields: &Fields) -> Result<usize> {
    fields.head_dim(HEAD_DIM, llama::SIZES, Some(DEFAULT_HEAD_DIM))
}

/// What all Gemmas have in common. The factor √C on embeddings is the embedding module's in transformers,
/// which virtual tokens do not pass.
pub(super) fn of(
    fields: &Fields,
    head_dim: usize,
    ropes: Vec<Rope>,
    layers: Vec<LayerSpec>,
) -> Result<Blueprint> {
    let like_llama = llama::built(fields, head_dim, ropes, layers)?;
    let scales = Scales { embedding: (like_llama.hidden_size as f32).sqrt(), ..Scales::default() };
    Ok(Blueprint { scales, tie_word_embeddings: fields.tied(true)?, ..like_llama })
}
