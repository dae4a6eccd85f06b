//! Cohere's Command R7B: Command R of which most layers have a window, and the others no rotation.

use super::{Family, cohere, gemma2, llama};
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec};
use crate::model::fields::Fields;
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Cohere2",
    model_type: "cohere2",
    architecture: "cohere2",
    modules: llama::PLAIN,
    // transformers' code has one value for them
    harmless: &[
        "order_of_interleaved_layers",
        "position_embedding_type",
        "rotary_pct",
        "use_embedding_sharing",
    ],
    blueprint,
    ..llama::FAMILY
};

/// Every so manieth layer sees all keys.
const PERIOD: usize = 4;

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let layer = |window: Option<usize>| {
        let rope = usize::from(window.is_none());
        LayerSpec { window, rope, ..LayerSpec::default() }
    };
    let layers = gemma2::windows(fields, PERIOD)?.into_iter().map(layer).collect();
    Ok(Blueprint { family: &FAMILY, ..cohere::of(fields, vec![fields.rope()?, Rope::Identity], layers)? })
}
