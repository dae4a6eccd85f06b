//! Bytes to validated views: safetensors files and their shard indexes, GGUF, PEFT folders.
//! Not a fetcher: it reads what it is handed, and trusts none of it.
//!
//! A weight file never has to be in memory whole. [`safetensors::Header`] needs the first
//! bytes of a file only, and says where each tensor lies; each
//! [`TensorInfo`] then decodes its own bytes as they arrive.

pub(crate) mod digest;
mod foreign;
pub mod gguf;
pub mod peft;
pub mod safetensors;
mod safetensors_write;
mod shard_index;
mod tensor;
mod unique_map;

pub use foreign::{explained, refuse_foreign};
pub use safetensors_write::{TensorData, write};
pub use shard_index::ShardIndex;
pub use tensor::{SourceDtype, TensorInfo};
