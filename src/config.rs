//! Older names of what a model is, until their users know the new ones. Nothing of its own.

pub use crate::activation::Activation;
pub use crate::model::{Blueprint as ModelConfig, Norm};
