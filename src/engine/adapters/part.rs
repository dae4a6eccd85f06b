//! The place of each tensor of an adapter's file: which module of the base it belongs to, and what it is
//! to it. Not a check that the base has such a module, or that all tensors are there.

use crate::error::{Error, Result};
use crate::format::peft::{Path, before, unnamed, unwrapped};

use crate::engine::adapters::common::Bias;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::kinds::Role;

/// Ends of modules whose weight PEFT saves, unasked, where the vocabulary was resized.
const EMBEDDINGS: &[&str] = &["embed_tokens", "lm_head", "wte", "embed_in", "embed_out"];

/// A weight that comes whole.
pub(super) const SAVED_WEIGHT: Role = "modules_to_save.weight";
/// A bias that comes whole.
pub(super) const SAVED_BIAS: Role = "modules_to_save.bias";
/// A bias that replaces the base's.
pub(super) const BASE_BIAS: Role = "bias";
/// What PEFT writes and does not use: under `bias: all`, two more copies of the bias of a module in
/// `modules_to_save`, which stands in the file under its own name too.
pub(super) const UNUSED: [Role; 2] = ["modules_to_save.bias, unused", "original_module.bias, unused"];

/// One tensor's place: which module of the base, and which part of its adaptation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// As the base names it: `model.layers.0.self_attn.q_proj`. Empty for what belongs to the
    /// whole model.
    pub module: String,
    /// What the tensor is to it.
    pub role: Role,
}

/// The place of the tensor `name` of an adapter with this config, whatever wrappers its name has.
///
/// Errors with `Mismatch` for a name that has none: nothing in a file is skipped.
pub fn part_of(name: &str, config: &AdapterConfig) -> Result<Part> {
    let unwrapped = unwrapped(name);
    let path = Path::of(&unwrapped);
    let placed =
        config.method.place(path).or_else(|| of_base(path, config).filter(|(module, _)| !module.is_empty()));
    let (module, role) = placed.ok_or_else(|| {
        Error::mismatch(format!(
            "tensor `{name}`: adapter_config.json (peft_type {}) has no place for it",
            config.method.peft_type()
        ))
    })?;
    Ok(Part { module: module.to_owned(), role })
}

/// A parameter that replaces the base's.
fn of_base<'a>(path: Path<'a>, config: &AdapterConfig) -> Option<(&'a str, Role)> {
    let Path { front, last, .. } = path;
    let is_bias = last == "bias";
    if !is_bias && last != "weight" {
        return None;
    }
    let saved = if is_bias { SAVED_BIAS } else { SAVED_WEIGHT };
    // As it lies in memory: only some ways of saving leave the wrapper in the name.
    for (wrapper, unused) in ["modules_to_save", "original_module"].into_iter().zip(UNUSED) {
        let Some(module) = before(unnamed(front), wrapper).filter(|module| config.saves(module)) else {
            continue;
        };
        if is_bias && config.common.bias == Bias::All {
            return Some((module, unused));
        }
        return (wrapper == "modules_to_save").then_some((module, saved));
    }
    if config.saves(front) {
        return Some((front, saved));
    }
    // The layer an adapter wraps; older PEFTs wrapped none.
    let inner = before(front, "base_layer");
    if is_bias {
        return (config.common.bias != Bias::None).then_some((inner.unwrap_or(front), BASE_BIAS));
    }
    match inner {
        Some(module) => Some((before(module, "token_adapter").unwrap_or(module), saved)),
        None => {
            let name = front.rsplit('.').next().unwrap_or_default();
            EMBEDDINGS.contains(&name).then_some((front, saved))
        }
    }
}
