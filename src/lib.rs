//! Lorakeet: compact language models in the browser, with live LoRA adapters.
#![deny(missing_docs)]

pub mod backend;
pub mod config;
pub mod error;
pub mod plan;

pub use error::{Error, ErrorKind, Result};
