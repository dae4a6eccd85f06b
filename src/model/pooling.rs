//! Which of a text's hidden states, or which mean of them, stands for the whole.
//! Not the arithmetic, which is the engine's.

use crate::words::words;

/// How the hidden states of a text become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over its tokens.
    #[default]
    Mean,
    /// That of the last token, which alone has seen all of them in a decoder.
    Last,
    /// That of the first token.
    Cls,
}

words!(Pooling, "pooling", ["mean" => Self::Mean, "last" => Self::Last, "cls" => Self::Cls]);
