//! The rotation of positions as files describe it: `rope_parameters` and `rope_scaling` of
//! `config.json`, `rope.*` of GGUF metadata. Not the angles that follow from it.

use serde_json::{Map, Value as Json};

use super::value::Field;
use super::{Fields, Key, Source};
use crate::error::{Error, Result};
use crate::format::gguf::{Header, ROPE_FACTORS};
use crate::model::rope::{Rope, RopeScaling};

const FACTOR: Key = Key::new("", "rope.scaling.factor");
const THETA: Key = Key::new("rope_theta", "rope.freq_base");
const TYPE: Key = Key::new("", "rope.scaling.type");

impl Fields<'_> {
    /// The rotation that all layers share; by base 10,000 where nothing is said.
    pub(crate) fn rope(&self) -> Result<Rope> {
        match self.source {
            Source::Config(map) => self.of_parameters(map),
            Source::Metadata { header, .. } => self.of_keys(header),
        }
    }

    /// The base of the rotation of layers of one kind, as `rope_parameters` has it, or an older field, or
    /// `default`. Nothing may scale it.
    pub(crate) fn theta(&self, older: Key, kind: &str, default: f64) -> Result<f64> {
        let mut theta = self.number(older)?;
        match self.source {
            Source::Config(map) => {
                self.known("rope_parameters");
                for (name, of_kind) in
                    map.get("rope_parameters").and_then(Json::as_object).into_iter().flatten()
                {
                    let named = of_kind.get("rope_type").and_then(Json::as_str).unwrap_or("default");
                    if !of_kind.is_object() || named != "default" {
                        return Err(Error::unsupported(format!(
                            "config.json: rope_parameters `{name}` {} is not supported",
                            Field::Json(of_kind).shown()
                        )));
                    }
                    check_parameters(of_kind, "default")?;
                    if name == kind {
                        theta = of_kind.get("rope_theta").and_then(Json::as_f64).or(theta);
                    }
                }
            }
            Source::Metadata { .. } => match self.text(TYPE)? {
                None | Some("none") => {}
                Some(other) => return Err(self.refused(TYPE, format_args!("`{other}`"))),
            },
        }
        let theta = theta.unwrap_or(default);
        if theta.is_finite() && theta > 0.0 {
            Ok(theta)
        } else {
            Err(Error::format(format!("{} is {theta}, expected a positive number", self.name(older))))
        }
    }

    /// `rope_parameters` (newer) carries theta and scaling in one object; `rope_scaling` (older)
    /// names its kind `rope_type` or `type`.
    fn of_parameters(&self, map: &Map<String, Json>) -> Result<Rope> {
        let null = Json::Null;
        let given = |name: &'static str| {
            self.known(name);
            map.get(name).filter(|value| !value.is_null())
        };
        let (newer, older) = (given("rope_parameters"), given("rope_scaling"));
        if newer.is_some() && older.is_some() && newer != older {
            return Err(Error::mismatch(
                "config.json: rope_parameters and rope_scaling differ, expected one of them",
            ));
        }
        let object = newer.or(older).unwrap_or(&null);
        if !object.is_null() && !object.is_object() {
            return Err(Error::format("config.json: rope_scaling is not an object"));
        }
        let number = |key: &str| object.get(key).and_then(Json::as_f64);
        let need = |key: &str| {
            number(key)
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| Error::format(format!("config.json: rope_scaling field `{key}` is missing")))
        };
        let (outer, inner) = (self.number(THETA)?, number("rope_theta"));
        if let (Some(outer), Some(inner)) = (outer, inner)
            && outer != inner
        {
            return Err(Error::mismatch(format!(
                "config.json: rope_theta {outer}, and {inner} in rope_parameters"
            )));
        }
        let theta = outer.or(inner).unwrap_or(10_000.0);
        if !(theta.is_finite() && theta > 0.0) {
            return Err(Error::format(format!(
                "config.json: rope_theta {theta}, expected a positive number"
            )));
        }
        let kind = object.get("rope_type").or_else(|| object.get("type"));
        let kind = kind.filter(|kind| !kind.is_null()).map(|kind| kind.as_str().unwrap_or("?"));
        if matches!(kind, None | Some("default" | "linear" | "llama3")) {
            check_parameters(object, kind.unwrap_or("default"))?;
        }
        let scaling = match kind {
            None | Some("default") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor: need("factor")? },
            Some("llama3") => RopeScaling::Llama3 {
                factor: need("factor")?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original_max_position_embeddings: need("original_max_position_embeddings")?,
            },
            Some(other) => {
                return Err(Error::unsupported(format!("config.json: rope_type `{other}` is not supported")));
            }
        };
        Ok(Rope::Rotary { theta, scaling })
    }

    fn of_keys(&self, header: &Header) -> Result<Rope> {
        let theta = self.number(THETA)?.unwrap_or(10_000.0);
        let factor = self.number(FACTOR)?.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        for (key, value) in [(THETA, theta), (FACTOR, factor)] {
            if !(value.is_finite() && value > 0.0) {
                let name = self.name(key);
                return Err(Error::format(format!("{name} is {value}, expected a positive number")));
            }
        }
        let linear = match self.text(TYPE)? {
            Some("none") => false,
            None | Some("linear") => factor != 1.0,
            Some(other) => return Err(self.refused(TYPE, format_args!("`{other}`"))),
        };
        let scaling = match (header.tensor(ROPE_FACTORS).is_some(), linear) {
            (true, true) => {
                return Err(self.refused(FACTOR, format_args!("beside tensor `{ROPE_FACTORS}`")));
            }
            (true, false) => RopeScaling::Factors(Vec::new()),
            (false, true) => RopeScaling::Linear { factor },
            (false, false) => RopeScaling::None,
        };
        Ok(Rope::Rotary { theta, scaling })
    }
}

/// Refuses what the kinds of scaling that are read do not know.
fn check_parameters(object: &Json, kind: &str) -> Result<()> {
    let known: &[&str] = match kind {
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor"],
        "linear" => &["factor"],
        _ => &[],
    };
    for (key, value) in object.as_object().into_iter().flatten() {
        let harmless = match key.as_str() {
            "rope_theta" | "rope_type" | "type" | "original_max_position_embeddings" | "finetuned" => true,
            "partial_rotary_factor" | "attention_factor" => value.as_f64() == Some(1.0),
            "factor" if kind == "default" => value.as_f64() == Some(1.0),
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
