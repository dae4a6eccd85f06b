//! Models of texts and more: their text part as a config of its own, and reasons why others are refused.
//! Not the text part's arithmetic, which its family reads.

use serde_json::{Map, Value as Json};

use super::{ALL, Family, listed};
use crate::error::{Error, Result};

/// Keys that a model of texts and more has outside of its text part, whose they are.
const OUTER: [&str; 4] = ["bos_token_id", "eos_token_id", "quantization_config", "tie_word_embeddings"];

/// The config of the text part.
///
/// Errors with `Format` if there is none, `Unsupported` if it is a model of another family.
pub(super) fn text_part(family: &Family, config: &Map<String, Json>) -> Result<Map<String, Json>> {
    let Some(Json::Object(inner)) = config.get("text_config") else {
        return Err(Error::format("config.json: field `text_config` is missing"));
    };
    let mut inner = inner.clone();
    match inner.remove("model_type") {
        Some(Json::String(model_type)) if model_type == family.model_type => {}
        other => {
            let (found, expected) = (other.unwrap_or_default(), family.model_type);
            return Err(Error::unsupported(format!(
                "config.json: model_type {found} in text_config, expected `{expected}`"
            )));
        }
    }
    for key in OUTER {
        if let Some(value) = config.get(key).filter(|value| !value.is_null()) {
            inner.insert(key.to_owned(), value.clone());
        }
    }
    let defaults = family.wrapper.map_or(&[][..], |wrapper| wrapper.defaults);
    for &(key, value) in defaults {
        inner.entry(key).or_insert_with(|| value.into());
    }
    Ok(inner)
}

/// Why a model of no known family is refused.
pub(super) fn unknown(model_type: &str, config: &Map<String, Json>) -> Error {
    let has = |keys: &[&str]| keys.iter().any(|key| config.get(*key).is_some_and(|value| !value.is_null()));
    let why = if has(&["num_experts", "num_local_experts", "n_routed_experts"]) {
        "a mixture of experts, which is not supported".to_owned()
    } else if has(&["vision_config", "img_processor", "audio_config"]) {
        "a model of texts and more, which is not supported".to_owned()
    } else {
        let types: Vec<_> = ALL.iter().filter_map(|family| family.wrapper).map(|w| w.model_type).collect();
        format!("expected one of {}, {}", listed(|family| family.model_type), types.join(", "))
    };
    Error::unsupported(format!("config.json: model_type `{model_type}`, {why}"))
}
