//! Lorakeet: compact language models in the browser, with live LoRA adapters.
#![deny(missing_docs)]

pub mod backend;
pub mod config;
pub mod engine;
pub mod error;
pub mod format;
pub mod model;
pub mod plan;
pub mod tokenizer;

pub use error::{Error, ErrorKind, Result};
