//! The scaling of rotary frequencies as `rope_parameters` and `rope_scaling` of `config.json` describe it, by
//! the names and defaults of transformers (`modeling_rope_utils.py`). Not the bases, nor GGUF's keys.

use serde_json::Value as Json;

use super::value::Field;
use crate::error::{Error, Result};
use crate::model::rope::{RopeScaling, Yarn};

/// What stands beside the object: how long contexts may be, how long they were at first, and what the family
/// reads of the object itself.
pub(super) struct Beside {
    pub(super) longest: f64,
    pub(super) original: Option<f64>,
    pub(super) known: Vec<&'static str>,
}

/// Errors with `Format` for a field that is missing or no positive number, `Unsupported` naming a kind or a
/// field that is not read.
pub(super) fn scaling(object: &Json, beside: &Beside) -> Result<RopeScaling> {
    let kind = object.get("rope_type").or_else(|| object.get("type"));
    let kind = kind.filter(|kind| !kind.is_null()).map_or("default", |kind| kind.as_str().unwrap_or("?"));
    let known: &[&str] = match kind {
        "default" => &[],
        "linear" | "dynamic" => &["factor"],
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor"],
        "yarn" => {
            &["factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"]
        }
        "longrope" | "su" => &["factor", "attention_factor", "short_factor", "long_factor"],
        other => {
            return Err(Error::unsupported(format!("config.json: rope_type `{other}` is not supported")));
        }
    };
    check_fields(object, kind, known, &beside.known)?;
    let number = |key: &str| match object.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|n| n.is_finite() && *n > 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::format(format!(
                "config.json: rope_scaling field `{key}` is {}, expected a positive number",
                Field::Json(value).shown()
            ))),
        },
    };
    let need = |key: &str| {
        number(key)?
            .ok_or_else(|| Error::format(format!("config.json: rope_scaling field `{key}` is missing")))
    };
    let original = || -> Result<f64> {
        Ok(beside.original.or(number("original_max_position_embeddings")?).unwrap_or(beside.longest))
    };
    Ok(match kind {
        "linear" => RopeScaling::Linear { factor: need("factor")? },
        "dynamic" => RopeScaling::Dynamic { factor: need("factor")?, original: beside.longest },
        "llama3" => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_max_position_embeddings: need("original_max_position_embeddings")?,
        },
        "yarn" => {
            let original = original()?;
            let factor = number("factor")?.unwrap_or(beside.longest / original);
            let attention_factor = match (number("attention_factor")?, number("mscale")?) {
                (Some(said), _) => said,
                (None, m) => match (m, number("mscale_all_dim")?) {
                    (Some(m), Some(all)) => Yarn::mscale(factor, m) / Yarn::mscale(factor, all),
                    _ => Yarn::mscale(factor, 1.0),
                },
            };
            let betas = [number("beta_fast")?.unwrap_or(32.0), number("beta_slow")?.unwrap_or(1.0)];
            let truncate = object.get("truncate").and_then(Json::as_bool).unwrap_or(true);
            RopeScaling::Yarn(Yarn { factor, attention_factor, betas, original, truncate })
        }
        "longrope" | "su" => {
            let original = original()?;
            let factor = number("factor")?.unwrap_or(beside.longest / original);
            let attention_factor = match number("attention_factor")? {
                Some(said) => said,
                None if factor <= 1.0 => 1.0,
                None => (1.0 + factor.ln() / original.ln()).sqrt(),
            };
            let factors = [numbers(object, "short_factor")?, numbers(object, "long_factor")?];
            RopeScaling::LongRope { factors, original, attention_factor }
        }
        _ => RopeScaling::None,
    })
}

/// Refuses what neither this kind of scaling nor the family knows.
pub(super) fn check_fields(object: &Json, kind: &str, known: &[&str], of_family: &[&str]) -> Result<()> {
    for (key, value) in object.as_object().into_iter().flatten() {
        let harmless = match key.as_str() {
            "rope_theta" | "rope_type" | "type" | "original_max_position_embeddings" | "finetuned" => true,
            key if of_family.contains(&key) => true,
            "partial_rotary_factor" => value.as_f64() == Some(1.0),
            "factor" if kind == "default" => value.as_f64() == Some(1.0),
            "attention_factor" if !known.contains(&"attention_factor") => value.as_f64() == Some(1.0),
            key => known.contains(&key),
        };
        if !harmless && !value.is_null() {
            return Err(Error::unsupported(format!(
                "config.json: {key} {} in rope_parameters of type {kind} is not supported",
                Field::Json(value).shown()
            )));
        }
    }
    Ok(())
}

/// A list of positive numbers.
fn numbers(object: &Json, key: &str) -> Result<Vec<f32>> {
    let items = object.get(key).and_then(Json::as_array);
    let number = |item: &Json| item.as_f64().map(|n| n as f32).filter(|n| n.is_finite() && *n > 0.0);
    items.and_then(|items| items.iter().map(number).collect()).ok_or_else(|| {
        Error::format(format!("config.json: rope_scaling field `{key}` is no list of positive numbers"))
    })
}
