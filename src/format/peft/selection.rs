//! Which modules of a base a config means, by name.
//! Not a list of any base's modules; `check_target_module_exists` is followed to the letter.

use super::pattern::Pattern;
use crate::error::{Error, Result};

/// `target_modules`, `exclude_modules` or `feedforward_modules`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Names {
    /// Whole names, or their ends.
    List(Vec<String>),
    /// A pattern for the whole name.
    Pattern(Pattern),
    /// `all-linear`
    AllLinear,
}

/// `target_modules` and everything that narrows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selection {
    pub(super) target: Names,
    pub(super) exclude: Option<Names>,
    /// Patterns for modules that come whole, which are never adapted.
    pub(super) saved: Vec<Pattern>,
    pub(super) layers: Option<Layers>,
}

/// `layers_to_transform` and `layers_pattern`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layers {
    pub(super) indices: Vec<i64>,
    /// As in the config; empty is any.
    pub(super) texts: Vec<String>,
    patterns: Vec<Pattern>,
}

impl Names {
    /// The whole name is in the list, or ends in `.` and one of it, or fits the pattern.
    fn name_or_match(&self, module: &str, is_body_linear: bool) -> bool {
        match self {
            Self::List(names) => names.iter().any(|name| is_or_ends(module, name)),
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::AllLinear => is_body_linear,
        }
    }

    /// The name ends in one of the list, or fits the pattern.
    pub(super) fn end_or_match(&self, module: &str) -> bool {
        match self {
            Self::List(names) => names.iter().any(|name| module.ends_with(name.as_str())),
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::AllLinear => false,
        }
    }
}

/// Whether `module` is `name`, or ends in `.` and `name`.
fn is_or_ends(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

impl Selection {
    pub(super) fn of_suffixes(names: &[&str]) -> Self {
        let target = Names::List(names.iter().map(|&name| name.to_owned()).collect());
        Self { target, exclude: None, saved: Vec::new(), layers: None }
    }

    /// The pattern that keeps a module in `modules_to_save` from being adapted.
    pub(super) fn saved_pattern(name: &str) -> Result<Pattern> {
        Pattern::start(name, |m| format!(r"(^|.*\.){m}($|\..*)"))
    }

    pub(super) fn includes(&self, module: &str, is_linear: bool, is_output_head: bool) -> bool {
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
    /// Errors with `Unsupported` naming a pattern that cannot be read.
    pub(super) fn new(indices: Vec<i64>, texts: Vec<String>) -> Result<Self> {
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

/// Errors with `Format` for a name that would fit every module.
pub(super) fn refuse_empty(field: &str, names: &[String]) -> Result<()> {
    if names.iter().any(String::is_empty) {
        return Err(Error::format(format!("adapter_config.json: field `{field}` holds an empty name")));
    }
    Ok(())
}
