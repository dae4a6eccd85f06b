//! From files to an engine, on a first device or on another.
//! What the files mean is told by `format` and `config`.

pub(super) mod describe;
mod gguf_model;
pub(super) mod loader;
pub(super) mod options;
pub(super) mod pooling;
pub(super) mod recover;
pub(super) mod room;
pub(super) mod told;
