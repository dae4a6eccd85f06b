//! An engine's owners, handed to work that needs several of them.
//! Not an engine: it lends what one has, for a call.

use crate::engine::adapters::Adapters;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::training::Trainer;
use crate::tokenizer::Tokenizer;

/// An engine's owners, for as long as a call takes.
pub(crate) struct Owners<'a> {
    pub(crate) runner: &'a mut Runner,
    pub(crate) adapters: &'a mut Adapters,
    pub(crate) texts: &'a mut Texts,
    pub(crate) trainer: &'a mut Trainer,
    pub(crate) tokenizer: &'a Tokenizer,
}
