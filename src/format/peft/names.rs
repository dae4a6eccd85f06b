//! A list of modules, by their names or by a pattern.
//! Not what the list is for.

use super::pattern::Pattern;

/// `target_modules`, `exclude_modules` or `feedforward_modules`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Names {
    /// Whole names, or their ends.
    List(Vec<String>),
    /// A pattern for the whole name.
    Pattern(Pattern),
    /// `all-linear`
    AllLinear,
}

impl Names {
    /// The whole name is in the list, or ends in `.` and one of it, or fits the pattern.
    pub(crate) fn name_or_match(&self, module: &str, is_body_linear: bool) -> bool {
        match self {
            Self::List(names) => names.iter().any(|name| is_or_ends(module, name)),
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::AllLinear => is_body_linear,
        }
    }

    /// The name ends in one of the list, or fits the pattern.
    pub(crate) fn end_or_match(&self, module: &str) -> bool {
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
