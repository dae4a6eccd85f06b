//! SmolLM3: Llama of which some layers do not rotate queries and keys.
//! Their windows, where asked for, are those layers' alone.

use super::{Family, llama};
use crate::error::{Error, Result};
use crate::model::blueprint::{Blueprint, LayerSpec};
use crate::model::fields::{Fields, HEAD_DIM, Key, LAYERS};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family =
    Family { name: "SmolLM3", model_type: "smollm3", architecture: "smollm3", blueprint, ..llama::FAMILY };

/// What transformers takes where a config says nothing, and llama.cpp always.
const DEFAULT_INTERVAL: usize = 4;
const DEFAULT_THETA: f64 = 2e6;

const INTERVAL: Key = Key::new("no_rope_layer_interval", "");
/// 1 for a layer that rotates, 0 for one that does not.
const ROTATES: Key = Key::new("no_rope_layers", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let rotates = rotates(fields, fields.layers(LAYERS)?)?;
    let asked = fields.flag(llama::WINDOW_ASKED)?.unwrap_or(false);
    let window = llama::window(fields, None)?.filter(|_| asked);
    let windows = llama::windows(fields, window, rotates.len(), |l| !rotates[l])?;
    let layer = |(window, rotates): (Option<usize>, &bool)| LayerSpec {
        window,
        rope: usize::from(!rotates),
        ..LayerSpec::default()
    };
    let layers = windows.into_iter().zip(&rotates).map(layer).collect();
    let head_dim = fields.head_dim(HEAD_DIM, llama::SIZES, None)?;
    let ropes = vec![fields.rope_by(DEFAULT_THETA)?, Rope::Identity];
    let like_llama = llama::built(fields, head_dim, ropes, layers)?;
    Ok(Blueprint { family: &FAMILY, tie_word_embeddings: fields.tied(true)?, ..like_llama })
}

/// Which layers rotate: as the list says, or all but every so manieth.
fn rotates(fields: &Fields, layers: usize) -> Result<Vec<bool>> {
    let interval = fields.count(INTERVAL)?.unwrap_or(DEFAULT_INTERVAL);
    let Some(list) = fields.counts(ROTATES)? else {
        if interval == 0 {
            return Err(fields.refused(INTERVAL, 0));
        }
        return Ok((0..layers).map(|l| (l + 1) % interval != 0).collect());
    };
    if list.len() != layers {
        return Err(Error::mismatch(format!(
            "config.json: no_rope_layers has {} entries, expected num_hidden_layers {layers}",
            list.len()
        )));
    }
    Ok(list.into_iter().map(|rotates| rotates != 0).collect())
}
