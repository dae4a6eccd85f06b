//! What an engine is asked to make room for. What comes of it is `room`'s.

use crate::plan::Dtype;

/// How much an engine makes room for.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Tokens a sequence may have; by default what the model was made for, at most 2048.
    pub context_length: Option<usize>,
    /// Sequences generated or remembered at once; by default up to 8, as 128 MiB allow.
    pub batch: Option<usize>,
    /// Type of the linear maps, the embedding and the head in memory; by default f32, or, of a GGUF
    /// file, for each the narrowest type that keeps its numbers. A matrix whose columns are no
    /// multiple of 64 stays f32.
    pub dtype: Option<Dtype>,
    /// Type of keys and values in the cache, one of [`CACHE_TYPES`](crate::cache::CACHE_TYPES); by default
    /// f32. Heads that it does not fit have a wider one, see [`held_type`](crate::cache::held_type).
    pub kv_dtype: Option<Dtype>,
}
