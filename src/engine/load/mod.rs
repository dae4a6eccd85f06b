//! From files to an engine, on a first device or on another.
//! What the files mean is told by `format` and `config`.

pub(super) mod describe;
#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
pub(super) mod gguf_model;
pub(super) mod loader;
pub(super) mod recover;
pub(super) mod room;
