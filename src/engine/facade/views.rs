//! Of the facade: what of an engine can be looked at.

use crate::backend::Backend;
use crate::model::{Blueprint, Model};
use crate::tokenizer::Tokenizer;

use super::super::StoredType;
use super::Engine;

impl Engine {
    /// The architecture.
    pub fn config(&self) -> &Blueprint {
        &self.runner.model().config
    }

    /// The tensors and plans.
    pub fn model(&self) -> &Model {
        self.runner.model()
    }

    /// Where it runs.
    pub fn backend(&self) -> &Backend {
        self.runner.backend()
    }

    /// The text codec.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the caller should know of the model's files.
    pub fn warnings(&self) -> &[String] {
        &self.told.warnings
    }

    /// The types in which a GGUF file has its tensors, and in which they are held; none of other files.
    pub fn stored_types(&self) -> &[StoredType] {
        &self.told.types
    }
}
