//! MiniCPM 1 and 2: Llama with factors on embeddings, residuals and logits, which its authors' code computes.
//! Not its models with experts.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Scales};
use crate::model::fields::{Fields, HEAD_DIM, Key};

pub(super) const FAMILY: Family =
    Family { name: "MiniCPM", model_type: "minicpm", architecture: "minicpm", blueprint, ..llama::FAMILY };

const BASE_WIDTH: Key = Key::new("dim_model_base", "");
const DEPTH: Key = Key::new("scale_depth", "");
const EMBEDDING: Key = Key::new("scale_emb", "embedding_scale");
/// llama.cpp's, of the factors themselves.
const LOGITS: Key = Key::new("", "logit_scale");
const RESIDUAL: Key = Key::new("", "residual_scale");

/// Virtual tokens are not scaled. Residuals are multiplied by `scale_depth` / √L, logits by `dim_model_base` / C. GGUF metadata that leave
/// factors out are of the first models, for which llama.cpp knows them.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let like_llama = llama::of(fields, fields.head_dim(HEAD_DIM, llama::SIZES, None)?, (None, 0))?;
    let (c, depth) = (like_llama.hidden_size as f32, (like_llama.layers.len() as f32).sqrt());
    let [of_base, of_depth, of_embedding] =
        if fields.are_metadata() { [256.0, 1.4, 12.0] } else { [c, depth, 1.0] };
    let or = |key, default: f32| Ok(fields.factor(key)?.unwrap_or(default));
    let scales = Scales {
        embedding: or(EMBEDDING, of_embedding)?,
        residual: or(RESIDUAL, or(DEPTH, of_depth)? / depth)?,
        logits: 1.0 / or(LOGITS, c / or(BASE_WIDTH, of_base)?)?,
        ..Scales::default()
    };
    Ok(Blueprint { family: &FAMILY, scales, ..like_llama })
}
