//! From prompts to text, scores and hidden states: who sits where in the cache, and what a text is made of.
//! No adapter is read or trained here.

pub(super) mod chat;
pub(super) mod generate;
pub(super) mod hidden;
pub(super) mod lead;
pub(super) mod logprobs;
pub(super) mod mixed;
pub(super) mod mixture;
pub(super) mod score;
pub(super) mod seat;
pub(super) mod slots;
pub(super) mod stop;
