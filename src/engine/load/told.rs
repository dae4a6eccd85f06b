//! What a caller is told of a model's files once they are loaded. Not errors.

use crate::dtype::Dtype;

/// Tensors of a GGUF file that are stored in one type and held in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredType {
    /// ggml's name of the type in the file.
    pub stored: String,
    /// The type in memory.
    pub held: Dtype,
    /// How many tensors there are.
    pub tensors: usize,
    /// What they take in the file.
    pub stored_bytes: u64,
    /// What they take in memory.
    pub held_bytes: u64,
}

/// What a model's files say that is no error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// What the caller should know of them.
    pub(crate) warnings: Vec<String>,
    /// The types of a GGUF file; none of other files.
    pub(crate) types: Vec<StoredType>,
}
