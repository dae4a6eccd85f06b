//! Mistral: Llama with a window, which llama.cpp does not tell from it.

use super::{Family, llama};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::{Fields, HEAD_DIM};

pub(super) const FAMILY: Family =
    Family { name: "Mistral", model_type: "mistral", blueprint, ..llama::FAMILY };

/// What transformers takes where a config names no window.
const DEFAULT_WINDOW: usize = 4096;

pub(super) fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let window = match (llama::window(fields, Some(DEFAULT_WINDOW))?, fields.flag(llama::WINDOW_ASKED)?) {
        (Some(window), asked @ Some(false)) => return Err(llama::refused_window(window, asked, "mistral")),
        (window, _) => window,
    };
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    Ok(Blueprint { family: &FAMILY, ..llama::of(fields, head_dim, (window, 0))? })
}
