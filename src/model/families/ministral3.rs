//! Ministral 3: Mistral whose queries grow with their positions; alone, or as the text part of `mistral3`.

use super::{Family, Wrapper, llama};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Scales};
use crate::model::fields::{Fields, HEAD_DIM};

pub(super) const FAMILY: Family = Family {
    name: "Ministral3",
    model_type: "ministral3",
    architecture: "mistral3",
    wrapper: Some(&Wrapper {
        model_type: "mistral3",
        defaults: &[],
        beside: &["vision_tower.", "multi_modal_projector."],
    }),
    blueprint,
    ..llama::FAMILY
};

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let growth = fields.growth()?;
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    let like_llama = llama::of(fields, head_dim, (llama::window(fields, None)?, 0))?;
    Ok(Blueprint { family: &FAMILY, scales: Scales { growth, ..Scales::default() }, ..like_llama })
}
