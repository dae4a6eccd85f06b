//! Granite 3: Llama with factors on embeddings, attention scores, residuals and logits.
//! Not its models with experts or with state spaces, whose files have other names.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Scales};
use crate::model::fields::{Fields, HEAD_DIM, Key};

pub(super) const FAMILY: Family =
    Family { name: "Granite", model_type: "granite", architecture: "granite", blueprint, ..llama::FAMILY };

const ATTENTION: Key = Key::new("attention_multiplier", "attention.scale");
const EMBEDDING: Key = Key::new("embedding_multiplier", "embedding_scale");
const LOGITS: Key = Key::new("logits_scaling", "logit_scale");
const RESIDUAL: Key = Key::new("residual_multiplier", "residual_scale");

/// Factors are 1 where nothing is said; that of attention is 1 / √D in GGUF metadata without one. Virtual
/// tokens are scaled like all that comes into the first layer.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let like_llama = llama::of(fields, fields.head_dim(HEAD_DIM, llama::SIZES, None)?, (None, 0))?;
    let factor = |key| Ok(fields.factor(key)?.unwrap_or(1.0));
    let by_heads = if fields.are_metadata() { like_llama.attention_scale } else { 1.0 };
    let embedding = factor(EMBEDDING)?;
    let scales = Scales {
        embedding,
        virtual_tokens: embedding,
        residual: factor(RESIDUAL)?,
        logits: 1.0 / factor(LOGITS)?,
        ..Scales::default()
    };
    let attention_scale = fields.factor(ATTENTION)?.unwrap_or(by_heads);
    Ok(Blueprint { family: &FAMILY, attention_scale, scales, ..like_llama })
}
