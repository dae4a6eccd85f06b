//! A PEFT folder's files as validated views: the fields of `adapter_config.json` by name, patterns of
//! modules, the parts of a tensor's name.
//! Not what they mean: which fields and tensors there are, each kind of adapter says (`engine`).

mod fields;
mod json;
mod name;
mod names;
mod pattern;
mod pickle;
mod regex;
mod selection;
mod written;

pub use pickle::refuse_pickle;

pub(crate) use fields::{Fields, MAX_RANK, MAX_SIZE, in_range, names, number, wrong};
pub(crate) use json::Json;
pub(crate) use name::{Path, before, unnamed, unwrapped};
pub(crate) use names::Names;
pub(crate) use pattern::{ModulePattern, Pattern, first};
pub(crate) use selection::{Layers, Selection};
pub(crate) use written::Written;
