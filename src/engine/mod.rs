//! A model one can talk to: loading, scoring, generation and training over one backend.
//! I/O is the caller's; nothing here fetches or opens a file (`folder` apart, native only).
//!
//! [`Engine`] is a facade over owners: `runner` has the
//! model on its device, `adapters` what is loaded beside it, `text` the sequences, `training` the adapter
//! that is trained; `temp_lora` works over all of them, and `load` makes them from files.

mod adapters;
mod facade;
#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
mod load;
mod owners;
mod plans;
mod runner;
mod temp_lora;
mod text;
mod training;

pub use adapters::adapter::{Adapter, Core, ModuleDelta, PointDelta};
pub use adapters::combine::arithmetic::MajoritySign;
pub use adapters::combine::combination::{Combination, CombinationType};
pub use adapters::common::Bias;
pub use adapters::config::AdapterConfig;
pub use adapters::files::AdapterFiles;
pub use adapters::foreign::{Folder, FolderPart};
pub use adapters::kinds::{Method, PrefixTuning, PromptTuning, Role, VirtualTokens};
pub use adapters::loaded::{AdapterInfo, Choice};
pub use adapters::new_lora::NewLora;
pub use adapters::part::{Part, part_of};
pub use facade::Engine;
pub use load::describe::Description;
pub use load::loader::Loader;
pub use load::options::EngineOptions;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use load::pooling::POOLING_FILE;
pub use load::room::{declared, needs};
pub use load::told::StoredType;
pub use temp_lora::{ChunkLosses, ChunkReport, Evaluation, Kv, Preset, TempEvent, TempLora, TempLoraOptions};
pub use text::constraint::{Constraint, Ending, Supplied};
pub use text::logprobs::TokenLogprobs;
pub use text::request::Delta;
pub use text::request::Usage;
pub use text::request::{Finish, Overflow, Request};
pub use text::sampling::samplers::Samplers;
pub(crate) use text::sequence::Generation;
pub use text::session::Restoring;
pub use training::dataset::Asked;
pub use training::memory::TrainingRoom;
pub use training::optimizer::Optimizer;
pub use training::options::TrainOptions;
pub(crate) use training::program::Saved;
pub use training::program::StepReport;
pub use training::program::{Program, TrainEvent};
pub use training::schedule::Schedule;
pub(crate) use training::train::Step;
pub use training::windows::{Loss, Window};

pub use crate::model::{Pooling, Variant};
