//! Which modules of a base a config means, by name.
//! Not a list of any base's modules; `check_target_module_exists` is followed to the letter.

use super::fields::{Fields, names, wrong};
use super::json::Json;
use super::names::Names;
use super::pattern::Pattern;
use crate::error::{Error, Result};

/// `target_modules` and everything that narrows it; nothing by default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    pub(crate) target: Names,
    pub(crate) exclude: Option<Names>,
    /// Patterns for modules that come whole, which are never adapted.
    pub(crate) saved: Vec<Pattern>,
    pub(crate) layers: Option<Layers>,
}

/// `layers_to_transform` and `layers_pattern`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layers {
    pub(crate) indices: Vec<i64>,
    /// As in the config; empty is any.
    pub(crate) texts: Vec<String>,
    patterns: Vec<Pattern>,
}

impl Default for Selection {
    fn default() -> Self {
        Self::of_suffixes(&[])
    }
}

impl Selection {
    /// Modules whose names end so.
    pub(crate) fn of_suffixes(names: &[&str]) -> Self {
        let target = Names::List(names.iter().map(|&name| name.to_owned()).collect());
        Self { target, exclude: None, saved: Vec::new(), layers: None }
    }

    /// Takes `target_modules`; what lies in one of `modules_to_save` is not adapted.
    ///
    /// Errors with `Format` where the field is missing or holds something else, `Unsupported` naming a
    /// pattern that cannot be read.
    pub(crate) fn read(fields: &mut Fields, modules_to_save: &[String]) -> Result<Self> {
        let missing = || Error::format("adapter_config.json: field `target_modules` is missing");
        let target = match fields.take("target_modules").ok_or_else(missing)? {
            Json::String(text) if text.eq_ignore_ascii_case("all-linear") => Names::AllLinear,
            other => names("target_modules", &other)?,
        };
        let saved = |name: &String| Pattern::start(name, |m| format!(r"(^|.*\.){m}($|\..*)"));
        let saved = modules_to_save.iter().map(saved).collect::<Result<_>>()?;
        Ok(Self { target, exclude: None, saved, layers: None })
    }

    pub(crate) fn includes(&self, module: &str, is_linear: bool, is_output_head: bool) -> bool {
        if self.exclude.as_ref().is_some_and(|exclude| exclude.name_or_match(module, false))
            || self.saved.iter().any(|pattern| pattern.is_match(module))
            || !self.target.name_or_match(module, is_linear && !is_output_head)
        {
            return false;
        }
        match (&self.layers, &self.target) {
            // A whole name is meant whatever its layer.
            (Some(_), Names::List(names)) if names.iter().any(|name| name == module) => true,
            (Some(layers), Names::List(_)) => layers.include(module),
            _ => true,
        }
    }
}

impl Layers {
    /// Takes `layers_to_transform` and `layers_pattern`; none is every layer.
    ///
    /// Errors with `Format` for other values, or a pattern alone; as [`Layers::new`] does.
    pub(crate) fn read(fields: &mut Fields) -> Result<Option<Self>> {
        let texts = match fields.take("layers_pattern") {
            Some(Json::String(text)) if text.is_empty() => Vec::new(),
            Some(Json::String(text)) => vec![text],
            Some(list) => list
                .as_strings()
                .ok_or_else(|| wrong("layers_pattern", &list, "a pattern or a list of them"))?,
            None => Vec::new(),
        };
        let indices: Option<Vec<i64>> = match fields.get("layers_to_transform") {
            None if texts.is_empty() => return Ok(None),
            None => {
                return Err(Error::format(
                    "adapter_config.json: field `layers_pattern` needs layers_to_transform",
                ));
            }
            Some(Json::List(list)) => list.iter().map(Json::as_integer).collect(),
            Some(one) => one.as_integer().map(|index| vec![index]),
        };
        let given = fields.take("layers_to_transform").unwrap_or(Json::Null);
        let indices = indices
            .ok_or_else(|| wrong("layers_to_transform", &given, "a layer's number or a list of them"))?;
        if indices.is_empty() { Ok(None) } else { Self::new(indices, texts).map(Some) }
    }

    /// Errors with `Unsupported` naming a pattern that cannot be read.
    pub(crate) fn new(indices: Vec<i64>, texts: Vec<String>) -> Result<Self> {
        let patterns = if texts.is_empty() {
            vec![Pattern::start(r".*?\.[^.]*", |p| format!(r"{p}\.\d+\."))?]
        } else {
            let one = |text: &String| Pattern::start(text, |p| format!(r"(?:^|.*?\.){p}\.\d+\."));
            texts.iter().map(one).collect::<Result<_>>()?
        };
        Ok(Self { indices, texts, patterns })
    }

    /// Whether the first number that the first fitting pattern leads to is among the indices.
    fn include(&self, module: &str) -> bool {
        let Some(front) = self.patterns.iter().find_map(|pattern| pattern.matched(module)) else {
            return false;
        };
        // What was matched ends in the number and a dot.
        let number = front.strip_suffix('.').and_then(|front| front.rsplit('.').next());
        let index = number.and_then(|n| n.parse::<i64>().ok());
        index.is_some_and(|index| self.indices.contains(&index))
    }
}
