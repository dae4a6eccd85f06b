//! Lorakeet: compact language models in the browser, with live LoRA adapters.
//! The npm package is the product; this crate is its core, and a program for the terminal.
//!
//! # Examples
//!
//! Open a model, use an adapter, write:
//!
//! ```
//! # #[cfg(not(target_arch = "wasm32"))]
//! # pollster::block_on(async {
//! use std::path::Path;
//!
//! use lorakeet::backend::Backend;
//! use lorakeet::backend::cpu::{Cpu, Kernels};
//! use lorakeet::engine::{EngineOptions, Request, folder};
//!
//! let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
//! let model = Path::new("www/models/novels/novels-q8_0.gguf");
//! let mut engine = folder::open(model, backend, &EngineOptions::default(), |_loaded, _total| {})?;
//! folder::load_adapter(&mut engine, "pirate", Path::new("www/adapters/pirate")).await?;
//! engine.set_adapter(vec![("pirate".to_owned(), 1.0)])?;
//!
//! let prompt = engine.encode("The fox said")?;
//! let mut generation = engine.start(&[Request::greedy(prompt, 12)])?;
//! let mut text = String::new();
//! while !generation.is_finished() {
//!     for delta in engine.next(&mut generation).await? {
//!         text += &delta.text;
//!     }
//! }
//! engine.end(generation);
//! assert!(!text.is_empty());
//! # Ok::<(), lorakeet::Error>(())
//! # }).expect("a model and an adapter");
//! ```
//!
//! Train an adapter, and take it away as a PEFT folder's files:
//!
//! ```
//! # #[cfg(not(target_arch = "wasm32"))]
//! # pollster::block_on(async {
//! # use std::path::Path;
//! # use lorakeet::backend::Backend;
//! # use lorakeet::backend::cpu::{Cpu, Kernels};
//! # use lorakeet::engine::{EngineOptions, folder};
//! use lorakeet::engine::{NewLora, Optimizer, TrainingRoom, Variant, Window};
//! # let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
//! # let model = Path::new("www/models/demo");
//! # let mut engine = folder::open(model, backend, &EngineOptions::default(), |_, _| {})?;
//! let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 8.0, target_modules: vec![], seed: 1 };
//! engine.new_lora("me", &lora).await?;
//! let tokens = engine.encode("Once upon a time there was a fox who could read.")?;
//! let room = TrainingRoom { window: tokens.len(), memory_limit: None };
//! engine.begin_training("me", Optimizer::default(), room).await?;
//! let choice = vec![("me".to_owned(), 1.0)];
//! let mut losses = Vec::new();
//! for _ in 0..3 {
//!     losses.push(engine.train_step(vec![Window::new(tokens.clone(), 1)], &choice, 1e-3).await?);
//! }
//! assert!(losses[2] < losses[0]);
//! engine.end_training().await?;
//! let files = engine.export_adapter("me").await?;
//! # assert!(!files.weights.is_empty());
//! # Ok::<(), lorakeet::Error>(())
//! # }).expect("a model that learns");
//! ```
//!
//! # The map
//!
//! ```text
//! src/kernels, a package of its own:
//!      activation, dtype, control, noise <- twin <- fast <- ops <- plan <- cpu
//!      error, dtype <- tensor <- cache <- ops        dtype <- widen        pool <- fast, ops, cpu
//!      mersenne_twister, order <- svd
//! src, over it:
//!      error, json <- format, tokenizer        dtype, widen <- format
//!      activation, cache, format, ops, plan, svd <- model   ops, plan, shaders/ <- gpu   gpu, cpu, pool <- backend
//!      tokenizer, model, backend, svd <- engine <- bench <- bindings, the terminal program
//! in the engine:
//!      plans <- runner <- adapters <- text <- training <- temp_lora
//!      all of these <- load <- facade <- folder
//! ```
//!
//! `src/grammar` is a package beside them, which knows neither: JSON schemas, Lark and regular expressions as sets of
//! tokens, for a WebAssembly module of its own.
//!
//! An arrow points at what is used; `tests/rust/layers.rs` lets no other exist. What must be fast in a
//! browser is the package in `src/kernels`, which knows nothing of what lies around it.
//!
//! - [`format`] turns bytes into validated views and trusts none of them.
//! - [`tokenizer`] turns text into ids and back.
//! - [`plan`] is the language between the other two halves: tensors by name and shape, and
//!   lists of steps over them. A plan is checked once, when it is built, and replayed.
//! - [`model`] reads what a file says of its model and writes the architecture as plans: a file for each
//!   family, and one for the layer that all of them are made of. It knows no device.
//! - [`backend`] runs plans, in main memory or on a [`gpu`], and knows no architecture. Each op has a
//!   plain CPU twin, a shader and, where time goes, a fast CPU version; the same PyTorch fixtures
//!   judge all of them.
//! - [`engine`] holds a conversation with a model. [`Engine`](engine::Engine) is a facade over owners with
//!   private fields: the runner (the model on its device), adapters, texts and the trainer.
//! - `bindings` is what JavaScript sees of the engine; the TypeScript in `src/js` does the I/O.
//!
//! # The decode loop
//!
//! The state of every sequence (token, position, cache slot, noise) lies on the device. The last
//! step of a decode plan draws the next token and writes it where the first step of the next
//! replay reads it, so K tokens are K replays in one submission and one small read. A replay
//! creates no object and writes no byte; `tests/rust/models.rs` counts.
#![deny(missing_docs)]

pub mod backend;
pub mod bench;
#[cfg(target_arch = "wasm32")]
pub(crate) mod bindings;
pub mod engine;
pub mod format;
pub mod gpu;
pub mod json;
pub mod model;
pub mod tokenizer;
pub mod words;

pub use lorakeet_kernels::{activation, cache, dtype, error, ops, plan, widen};
pub(crate) use lorakeet_kernels::{mersenne_twister, noise, order, svd};

pub use error::{Error, ErrorKind, Result};
