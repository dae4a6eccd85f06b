//! The name of a tensor in an adapter's file, taken apart.
//! Not which words a kind of adapter has, nor whether the base has such a module.

/// PEFT's name for the adapter while it is in memory; some files keep it.
const ADAPTER: &str = "default";

/// What training puts around a module, and leaves in its name: `torch.compile`, data parallelism,
/// activation checkpointing, FSDP.
const WRAPPERS: &[&str] = &["_orig_mod", "module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"];

/// A tensor's name without the wrappers in it.
pub(crate) fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

/// A tensor's name without wrappers and prefix; its last word, and what stands before.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    bare: &'a str,
    /// All but the last word.
    pub(crate) front: &'a str,
    /// The last word.
    pub(crate) last: &'a str,
}

impl<'a> Path<'a> {
    /// Of a name that [`unwrapped`] has returned.
    pub(crate) fn of(unwrapped: &'a str) -> Self {
        // What transformers injects without a `PeftModel` around it has no prefix.
        let bare = unwrapped.strip_prefix("base_model.model.").unwrap_or(unwrapped);
        let (front, last) = bare.rsplit_once('.').unwrap_or(("", bare));
        Self { bare, front, last }
    }

    /// The name itself, without the adapter's own.
    pub(crate) fn whole(&self) -> &'a str {
        before(self.bare, ADAPTER).unwrap_or(self.bare)
    }

    /// The module of `{module}.{word}[.default][.{parameter}]`.
    pub(crate) fn strip(&self, word: &str, parameter: &str) -> Option<&'a str> {
        let front = if parameter.is_empty() {
            self.bare
        } else if self.last == parameter {
            self.front
        } else {
            return None;
        };
        before(unnamed(front), word)
    }
}

/// A path without the adapter's name at its end.
pub(crate) fn unnamed(path: &str) -> &str {
    before(path, ADAPTER).unwrap_or(path)
}

/// What stands before `.{word}` at the end of a path, if anything does.
pub(crate) fn before<'a>(path: &'a str, word: &str) -> Option<&'a str> {
    path.strip_suffix(word)?.strip_suffix('.').filter(|front| !front.is_empty())
}
