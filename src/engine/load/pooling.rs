//! What sentence-transformers says of an encoder's states: `1_Pooling/config.json`.
//! Not its other modules: a vector has length 1 in any case, and who prompts knows the prompts.

use serde_json::{Map, Value as Json};

use crate::engine::load::loader::Loader;
use crate::error::{Error, Result};
use crate::json;
use crate::model::Pooling;

/// The file, beside `config.json`.
pub(crate) const POOLING_FILE: &str = "1_Pooling/config.json";

/// What is read, and what it means.
const MODES: [(&str, Pooling); 3] = [
    ("pooling_mode_cls_token", Pooling::Cls),
    ("pooling_mode_mean_tokens", Pooling::Mean),
    ("pooling_mode_lasttoken", Pooling::Last),
];

impl Loader {
    /// Whether the model makes embeddings alone, so that [`read_pooling`](Self::read_pooling) is of use.
    pub fn is_encoder(&self) -> bool {
        self.model.config.encoder.is_some()
    }

    /// Takes how states become one vector from sentence-transformers' file.
    ///
    /// Errors with `Format` if it is not such a file, `Unsupported` naming a way that is not computed.
    pub fn read_pooling(&mut self, bytes: &[u8]) -> Result<()> {
        let config: Map<String, Json> = json::read(POOLING_FILE, bytes)?;
        let on = |(name, value): &(&String, &Json)| {
            name.starts_with("pooling_mode_") && **value == Json::Bool(true)
        };
        let asked: Vec<&str> = config.iter().filter(on).map(|(name, _)| name.as_str()).collect();
        let pooling = match asked[..] {
            [only] => MODES.iter().find(|(name, _)| *name == only).map(|(_, pooling)| *pooling),
            [] => return Err(Error::format(format!("{POOLING_FILE}: no `pooling_mode_` is true"))),
            _ => None,
        };
        let pooling = pooling.ok_or_else(|| {
            Error::unsupported(format!(
                "{POOLING_FILE}: {}: not supported, expected one of {}",
                asked.join(" and "),
                MODES.map(|(name, _)| name).join(", ")
            ))
        })?;
        if let Some(encoder) = &mut self.model.config.encoder {
            encoder.pooling = Some(pooling);
        }
        Ok(())
    }
}
