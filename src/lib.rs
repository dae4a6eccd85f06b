//! Lorakeet: compact language models in the browser, with live LoRA adapters.
#![deny(missing_docs)]

pub mod backend;
pub mod config;
pub mod engine;
pub mod error;
pub mod format;
#[cfg(target_arch = "wasm32")]
pub mod js;
pub mod model;
pub mod plan;
pub mod tokenizer;

pub use error::{Error, ErrorKind, Result};
