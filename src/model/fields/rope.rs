//! The rotation of positions as files describe it: `rope_parameters` and `rope_scaling` of
//! `config.json`, `rope.*` of GGUF metadata. Not the angles that follow from it.

use serde_json::{Map, Value as Json};

use super::scaling::{Beside, check_fields, scaling};
use super::value::Field;
use super::{CONTEXT, Fields, Key, Source};
use crate::error::{Error, Result};
use crate::format::gguf::{Header, LONG_ROPE_FACTORS, ROPE_FACTORS};
use crate::model::rope::{Rope, RopeScaling, Yarn};
use crate::ops::Growth;

const FACTOR: Key = Key::new("", "rope.scaling.factor");
const THETA: Key = Key::new("rope_theta", "rope.freq_base");
const LOCAL_THETA: Key = Key::new("rope_local_base_freq", "rope.freq_base_swa");
const TYPE: Key = Key::new("", "rope.scaling.type");
const LONGEST: Key = Key::new("max_position_embeddings", "");
const ORIGINAL: Key = Key::new("original_max_position_embeddings", "rope.scaling.original_context_length");
const ATTENTION_FACTOR: Key = Key::new("", "rope.scaling.attn_factor");
const BETA_FAST: Key = Key::new("", "rope.scaling.yarn_beta_fast");
const BETA_SLOW: Key = Key::new("", "rope.scaling.yarn_beta_slow");
/// What takes the factor on cos and sin back: `mscale_all_dim` of `rope_parameters`.
const LOG_MULTIPLIER: Key = Key::new("", "rope.scaling.yarn_log_multiplier");
const TEMPERATURE: Key = Key::new("", "attention.temperature_scale");
const TEMPERATURE_LENGTH: Key = Key::new("", "attention.temperature_length");
const PARTIAL: Key = Key::new("partial_rotary_factor", "");
/// GPT-NeoX's own names for both.
const NEOX_THETA: Key = THETA.older("rotary_emb_base");
const NEOX_PARTIAL: Key = PARTIAL.older("rotary_pct");
const QUERY_GROWTH: &str = "llama_4_scaling_beta";
pub(super) const ROTATED: Key = Key::new("", "rope.dimension_count");

/// By their names in `layer_types`.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

impl Fields<'_> {
    /// The rotation that all layers share; by base 10,000 where nothing is said.
    pub(crate) fn rope(&self) -> Result<Rope> {
        self.rope_by(10_000.0)
    }

    /// The same, by base `default` where nothing is said.
    pub(crate) fn rope_by(&self, default: f64) -> Result<Rope> {
        match self.source {
            Source::Config(map) => self.of_parameters(map, THETA, default),
            Source::Metadata { header, .. } => self.of_keys(header, default),
        }
    }

    /// The rotation that all layers of a GPT-NeoX share, and `E` of heads of `D` elements.
    pub(crate) fn neox_rope(&self, head_dim: usize) -> Result<(Rope, usize)> {
        let rotary_dim = self.rotary_part(NEOX_PARTIAL, head_dim, 0.25)?;
        let rope = match self.source {
            Source::Config(map) => self.of_parameters(map, NEOX_THETA, 10_000.0)?,
            Source::Metadata { header, .. } => self.of_keys(header, 10_000.0)?,
        };
        Ok((rope, rotary_dim))
    }

    /// How queries grow with their positions, as `rope_parameters` have it, or GGUF metadata, where they may not
    /// grow. To be asked for before the rotation.
    ///
    /// Errors with `Format` if it is missing or no positive numbers.
    pub(crate) fn growth(&self) -> Result<Growth> {
        let parameters = match self.source {
            Source::Config(map) => map.get("rope_parameters"),
            Source::Metadata { .. } => return self.growth_of_keys(),
        };
        self.known(QUERY_GROWTH);
        let number = |name: &str| {
            let number = parameters.and_then(|object| object.get(name)).and_then(Json::as_f64);
            number.filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| {
                Error::format(format!(
                    "config.json: field `{name}` is missing in rope_parameters, or is no positive number"
                ))
            })
        };
        let every = number("original_max_position_embeddings")?;
        if every.fract() != 0.0 || every > f64::from(u32::MAX) {
            return Err(Error::unsupported(format!(
                "config.json: original_max_position_embeddings {every} in rope_parameters, expected a count"
            )));
        }
        Ok(Growth { beta: number(QUERY_GROWTH)? as f32, every: every as u32 })
    }

    fn growth_of_keys(&self) -> Result<Growth> {
        let every = self.count(TEMPERATURE_LENGTH)?.filter(|&every| every > 0);
        let every = every.map_or_else(|| self.count(ORIGINAL), |every| Ok(Some(every)))?;
        let Some(beta) = self.factor(TEMPERATURE)? else { return Ok(Growth::default()) };
        match every.and_then(|every| u32::try_from(every).ok()).filter(|&every| every > 0) {
            Some(every) => Ok(Growth { beta, every }),
            None => Err(self.missing(ORIGINAL, "a count above 0")),
        }
    }

    /// The rotations of layers that see all keys and of layers with a window, where they differ: in
    /// `rope_parameters` each has an object of its own; older files scale only the former. Bases are
    /// `defaults` where nothing is said.
    pub(crate) fn ropes_by_type(&self, defaults: [f64; 2]) -> Result<[Rope; 2]> {
        let map = match self.source {
            Source::Config(map) => map,
            Source::Metadata { header, .. } => {
                let theta = self.positive(LOCAL_THETA)?.unwrap_or(defaults[1]);
                let windowed = Rope::Rotary { theta, scaling: RopeScaling::None };
                return Ok([self.of_keys(header, defaults[0])?, windowed]);
            }
        };
        let newer = map.get("rope_parameters").and_then(Json::as_object);
        let unknown = |name: &&String| !LAYER_TYPES.contains(&name.as_str());
        if let Some(name) = newer.and_then(|types| types.keys().find(unknown)) {
            return Err(Error::unsupported(format!(
                "config.json: {name} in rope_parameters of layers by type is not supported"
            )));
        }
        let of_type = |i: usize, key: Key| {
            let mut alone = map.clone();
            let own = newer.and_then(|types| types.get(LAYER_TYPES[i]));
            alone.insert("rope_parameters".to_owned(), own.cloned().unwrap_or_default());
            if newer.is_some() || i == 1 {
                alone.remove("rope_scaling");
            }
            self.of_parameters(&alone, key, defaults[i])
        };
        Ok([of_type(0, THETA)?, of_type(1, LOCAL_THETA)?])
    }

    /// A number above 0.
    fn positive(&self, key: Key) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(Error::format(format!("{} is {value}, expected a positive number", self.name(key))))
            }
            value => Ok(value),
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
                    check_fields(of_kind, "default", &[], &[])?;
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
    fn of_parameters(&self, map: &Map<String, Json>, key: Key, default: f64) -> Result<Rope> {
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
        let (outer, inner) = (self.number(key)?, number("rope_theta"));
        if let (Some(outer), Some(inner)) = (outer, inner)
            && outer != inner
        {
            return Err(Error::mismatch(format!(
                "{} {outer}, and {inner} in rope_parameters",
                self.name(key)
            )));
        }
        let theta = outer.or(inner).unwrap_or(default);
        if !(theta.is_finite() && theta > 0.0) {
            return Err(Error::format(format!(
                "config.json: rope_theta {theta}, expected a positive number"
            )));
        }
        let asked =
            [PARTIAL.json, QUERY_GROWTH].into_iter().filter(|name| self.asked.borrow().contains(name));
        let beside = Beside {
            longest: self.number(LONGEST)?.unwrap_or(2048.0),
            original: self.number(ORIGINAL)?,
            known: asked.collect(),
        };
        let scaling = scaling(object, &beside)?;
        Ok(Rope::Rotary { theta, scaling })
    }

    fn of_keys(&self, header: &Header, default: f64) -> Result<Rope> {
        let theta = self.number(THETA)?.unwrap_or(default);
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
            Some("yarn") => return Ok(Rope::Rotary { theta, scaling: self.yarn(factor)? }),
            Some("longrope") => false,
            Some(other) => return Err(self.refused(TYPE, format_args!("`{other}`"))),
        };
        if header.tensor(LONG_ROPE_FACTORS).is_some() {
            return Ok(Rope::Rotary { theta, scaling: self.long_rope()? });
        }
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

    /// YaRN as llama.cpp has it, whose keys leave out what is nowhere but as in the paper.
    fn yarn(&self, factor: f64) -> Result<RopeScaling> {
        let back = match self.number(LOG_MULTIPLIER)? {
            None => 1.0,
            Some(m) if m.is_finite() && m >= 0.0 => Yarn::mscale(factor, m),
            Some(m) => return Err(self.refused(LOG_MULTIPLIER, m)),
        };
        let said = self.number(ATTENTION_FACTOR)?.unwrap_or(1.0);
        let attention_factor = said * Yarn::mscale(factor, 1.0) / back;
        let betas = [self.number(BETA_FAST)?.unwrap_or(32.0), self.number(BETA_SLOW)?.unwrap_or(1.0)];
        let original = self.original()?;
        Ok(RopeScaling::Yarn(Yarn { factor, attention_factor, betas, original, truncate: true }))
    }

    /// The factors are tensors.
    fn long_rope(&self) -> Result<RopeScaling> {
        let attention_factor = self.number(ATTENTION_FACTOR)?.unwrap_or(1.0);
        Ok(RopeScaling::LongRope { factors: [vec![], vec![]], original: self.original()?, attention_factor })
    }

    /// Context length of the original training.
    fn original(&self) -> Result<f64> {
        Ok(match self.count(ORIGINAL)? {
            Some(original) => original as f64,
            None => self.needed(CONTEXT)? as f64,
        })
    }

    /// `E` of heads of `D` elements, of which a family rotates this part where nothing is said. To be asked
    /// for before the rotation.
    pub(crate) fn rotary_dim(&self, head_dim: usize, default: f64) -> Result<usize> {
        self.rotary_part(PARTIAL, head_dim, default)
    }

    fn rotary_part(&self, key: Key, head_dim: usize, default: f64) -> Result<usize> {
        if self.are_metadata() {
            return Ok(self.count(ROTATED)?.unwrap_or(head_dim));
        }
        self.known(PARTIAL.json);
        let inner = match self.source {
            Source::Config(map) => map.get("rope_parameters").or_else(|| map.get("rope_scaling")),
            Source::Metadata { .. } => None,
        };
        let inner = inner.and_then(|object| object.get(PARTIAL.json)).and_then(Json::as_f64);
        let part = self.number(key)?.or(inner).unwrap_or(default);
        Ok((head_dim as f64 * part) as usize)
    }
}
