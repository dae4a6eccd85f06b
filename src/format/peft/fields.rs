//! The fields of `adapter_config.json` by name: what is taken, and what may be left.
//! Not their meaning, which the kinds of adapter know.
//!
//! A field that is neither taken nor known to be without effect is refused, unless it is null,
//! false or empty: a newer trainer may compute something else with it.

use super::json::Json;
use super::names::Names;
use super::pattern::{ModulePattern, Pattern};
use crate::error::{Error, Result};
use crate::json;

/// Fields of every kind that say nothing about the arithmetic.
const COMMON: &[&str] =
    &["auto_mapping", "inference_mode", "peft_version", "revision", "runtime_config", "task_type"];

/// Fields that change the arithmetic, and how.
const REFUSED: &[(&str, &str)] = &[
    ("alora_invocation_tokens", "acts from certain tokens on"),
    ("arrow_config", "routes tokens among adapters"),
    ("enable_lora", "adapts parts of a fused projection"),
    ("kasa_config", "truncates the base's weights"),
    ("layer_replication", "repeats layers of the base"),
    ("megatron_config", "splits layers as Megatron does"),
    ("monteclora_config", "samples its weights"),
    ("target_parameters", "adapts parameters that are not modules"),
    ("use_bdlora", "has block-diagonal factors"),
    ("use_qalora", "pools its input"),
    ("velora_config", "brings tensors that are not read"),
];

/// Largest rank accepted, so that arithmetic on shapes cannot overflow.
pub(crate) const MAX_RANK: usize = 1 << 16;
/// Largest size or count accepted of anything else.
pub(crate) const MAX_SIZE: usize = 1 << 22;

/// What has not been read yet.
pub(crate) struct Fields(Vec<(String, Json)>);

impl Fields {
    /// Those of a file's bytes.
    ///
    /// Errors with `Format` where it is no JSON object, or a field appears twice.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self> {
        match json::read("adapter_config.json", bytes)? {
            Json::Object(entries) => Ok(Self(entries)),
            _ => Err(Error::format("adapter_config.json: it is not an object")),
        }
    }

    /// Patterns in the order of the file.
    pub(crate) fn patterns<V>(
        &mut self,
        field: &str,
        value: impl Fn(&str, &Json) -> Result<V>,
    ) -> Result<Vec<(ModulePattern, V)>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Json::Object(entries)) => entries
                .iter()
                .map(|(key, v)| Ok((ModulePattern::new(key)?, value(&format!("{field}.{key}"), v)?)))
                .collect(),
            Some(other) => Err(wrong(field, &other, "an object")),
        }
    }

    /// The value of a field, unless it is null.
    pub(crate) fn take(&mut self, field: &str) -> Option<Json> {
        self.take_any(field).filter(|value| *value != Json::Null)
    }

    /// The value of a field, null too: for numbers that PEFT has a default for, which null is not.
    pub(crate) fn take_any(&mut self, field: &str) -> Option<Json> {
        let at = self.0.iter().position(|(name, _)| name == field)?;
        Some(self.0.remove(at).1)
    }

    /// The value of a field, unless it is null; it stays.
    pub(crate) fn get(&self, field: &str) -> Option<&Json> {
        let (_, value) = self.0.iter().find(|(name, _)| name == field)?;
        Some(value).filter(|value| **value != Json::Null)
    }

    pub(crate) fn switch(&mut self, field: &str) -> Result<bool> {
        match self.take(field) {
            None => Ok(false),
            Some(Json::Bool(on)) => Ok(on),
            Some(other) => Err(wrong(field, &other, "true or false")),
        }
    }

    pub(crate) fn string(&mut self, field: &str) -> Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(field, &other, "a name")),
        }
    }

    pub(crate) fn strings(&mut self, field: &str) -> Result<Vec<String>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(list) => list.as_strings().ok_or_else(|| wrong(field, &list, "a list of names")),
        }
    }

    /// The same, where no name is empty: such a one would fit every module.
    pub(crate) fn filled_strings(&mut self, field: &str) -> Result<Vec<String>> {
        let names = self.strings(field)?;
        if names.iter().any(String::is_empty) {
            return Err(Error::format(format!("adapter_config.json: field `{field}` holds an empty name")));
        }
        Ok(names)
    }

    /// Names or a pattern; nothing where the field is empty.
    pub(crate) fn names(&mut self, field: &str) -> Result<Option<Names>> {
        self.take(field).filter(|value| !value.is_unset()).map(|value| names(field, &value)).transpose()
    }

    pub(crate) fn size(&mut self, field: &str, default: Option<usize>, most: usize) -> Result<usize> {
        // Null is not PEFT's default.
        let value = if default.is_some() { self.take_any(field) } else { self.take(field) };
        match (value, default) {
            (Some(value), _) => in_range(field, &value, 1..=most),
            (None, Some(size)) => Ok(size),
            (None, None) => Err(Error::format(format!("adapter_config.json: field `{field}` is missing"))),
        }
    }

    /// Refuses what is left and in use; `without_effect` are fields of the kind that change nothing.
    pub(crate) fn refuse_rest(self, without_effect: &[&str]) -> Result<()> {
        for (field, value) in &self.0 {
            let field = field.as_str();
            if COMMON.contains(&field) || without_effect.contains(&field) {
                continue;
            }
            // PEFT takes `{}` for a config of defaults, and so for switched on.
            let is_object = matches!(value, Json::Object(_));
            if let Some((_, does)) = REFUSED.iter().find(|(name, _)| *name == field)
                && (is_object || !value.is_unset())
            {
                return Err(Error::unsupported(format!(
                    "adapter_config.json: field `{field}` is {value}: an adapter that {does} is not supported"
                )));
            }
            if !value.is_unset() {
                return Err(Error::unsupported(format!(
                    "adapter_config.json: field `{field}` is unknown and may change the arithmetic"
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn names(field: &str, value: &Json) -> Result<Names> {
    match value {
        Json::String(text) => Pattern::full(text).map(Names::Pattern),
        list => match list.as_strings() {
            Some(names) => Ok(Names::List(names)),
            None => Err(wrong(field, list, "a pattern or a list of names")),
        },
    }
}

pub(crate) fn number(field: &str, value: &Json) -> Result<f64> {
    match *value {
        // f32 must hold it.
        Json::Number(n) if n.abs() <= f64::from(f32::MAX) => Ok(n),
        _ => Err(wrong(field, value, "a number")),
    }
}

pub(crate) fn in_range(field: &str, value: &Json, range: std::ops::RangeInclusive<usize>) -> Result<usize> {
    let size = value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
    size.ok_or_else(|| wrong(field, value, &format!("an integer from {} to {}", range.start(), range.end())))
}

pub(crate) fn wrong(field: &str, value: &Json, expected: &str) -> Error {
    Error::format(format!("adapter_config.json: field `{field}` is {value}, expected {expected}"))
}
