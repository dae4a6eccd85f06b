//! What the modules of a model are called in checkpoints and by llama.cpp.
//! Not the names themselves, which each family has in a table; no reader of files.

use super::blueprint::Family;
use super::families;
use super::roles::{Module, RowOrder};

/// A tensor that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GgufTensor {
    /// Checkpoint name, without the base model's prefix.
    pub(crate) name: String,
    pub(crate) order: RowOrder,
}

/// A linear map that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GgufLinear {
    /// Checkpoint name, without the base model's prefix.
    pub(crate) module: String,
    pub(crate) order: RowOrder,
    /// Whether the checkpoint stores (C_in, C_out), which llama.cpp turns round.
    pub(crate) turned: bool,
}

impl Family {
    /// A module's path as checkpoints write it, from its path in a GGUF file; with what is special of it.
    fn of_gguf(&self, path: &str) -> Option<(String, &Module)> {
        let (layer, stem) = match path.strip_prefix("blk.") {
            Some(path) => path.split_once('.').map(|(layer, stem)| (Some(layer), stem))?,
            None => (None, path),
        };
        let module = |module: &&Module| module.gguf == stem && module.role.in_layers() == layer.is_some();
        let module = self.modules.iter().find(module)?;
        let path = match layer {
            Some(layer) => format!("{}.{layer}.{}", self.layer, module.checkpoint),
            None => module.checkpoint.to_owned(),
        };
        Some((path, module))
    }
}

/// The tensor that llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if there is none.
pub(crate) fn checkpoint_tensor(family: &Family, tensor: &str) -> Option<GgufTensor> {
    let (path, end) = tensor.rsplit_once('.')?;
    let (path, module) = family.of_gguf(path)?;
    Some(GgufTensor { name: format!("{path}.{end}"), order: module.order })
}

/// What llama.cpp calls tensor `name` of a checkpoint; `None` if it has no name for it.
pub(crate) fn gguf_name(family: &Family, name: &str) -> Option<String> {
    let (path, end) = bare(name).rsplit_once('.')?;
    let in_layer = path.strip_prefix(family.layer).and_then(|path| path.strip_prefix('.'));
    let (layer, stem) = match in_layer.and_then(|path| path.split_once('.')) {
        Some((layer, stem)) => (Some(layer), stem),
        None => (None, path),
    };
    let module = |module: &&Module| module.checkpoint == stem && module.role.in_layers() == layer.is_some();
    let Module { gguf, .. } = family.modules.iter().find(module)?;
    Some(layer.map_or_else(|| format!("{gguf}.{end}"), |layer| format!("blk.{layer}.{gguf}.{end}")))
}

/// The linear map whose weight llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if it is
/// not one.
pub(crate) fn gguf_linear(family: &Family, tensor: &str) -> Option<GgufLinear> {
    let (module, &Module { role, turned, order, .. }) = family.of_gguf(tensor.strip_suffix(".weight")?)?;
    role.is_linear().then_some(GgufLinear { module, order, turned })
}

/// What models of texts and more put in front of their text part's names.
const WRAPPERS: [&str; 2] = ["model.language_model.", "language_model."];

/// Whether a name is one of a model of texts and more.
pub(crate) fn is_wrapped(name: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper))
}

/// The name without the prefix that a headless checkpoint leaves out.
///
/// The head is `lm_head` here, whatever a family calls it.
pub(super) fn bare(name: &str) -> &str {
    for head in families::ALL.iter().map(|family| family.head) {
        match name.strip_prefix(head) {
            Some("") => return "lm_head",
            Some(".weight") => return "lm_head.weight",
            Some(".bias") => return "lm_head.bias",
            _ => {}
        }
    }
    let name = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)).unwrap_or(name);
    families::ALL.iter().find_map(|family| name.strip_prefix(family.prefix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{checkpoint_tensor, gguf_name};
    use crate::model::families::ALL;

    #[test]
    fn every_tensor_has_one_name_in_each_kind_of_file() {
        for family in ALL {
            let names: BTreeSet<_> =
                family.modules.iter().map(|module| module.path(family.layer, 7)).collect();
            assert_eq!(names.len(), family.modules.len(), "{family:?}: a name twice");
            for name in names {
                let tensor = format!("{name}.weight");
                let gguf = gguf_name(family, &tensor).expect("in the table");
                assert_eq!(checkpoint_tensor(family, &gguf).expect("back").name, tensor, "{family:?}");
                assert_eq!(
                    gguf_name(family, &format!("{}{tensor}", family.prefix)),
                    Some(gguf),
                    "{family:?}"
                );
            }
            assert_eq!(gguf_name(family, "layers.7.nonsense.weight"), None);
        }
        let types: BTreeSet<_> = ALL.iter().map(|family| family.model_type).collect();
        assert_eq!(types.len(), ALL.len(), "a model_type twice");
    }
}
