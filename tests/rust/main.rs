//! The tests in Rust: one program, since linking one for each file takes minutes.
//! Not the pages', which are in `tests/web`.
#![cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "a browser runs a part of them"))]

mod common;

// Natively and in a browser: one body.
mod adapter_kernels;
mod adapters;
mod dtype;
mod encoders;
mod grads;
mod hidden;
mod kernels;
mod models;
mod rounded;
mod sampling;
mod training;
mod updates;
mod virtual_tokens;

#[cfg(not(target_arch = "wasm32"))]
mod adapter_folders;
#[cfg(not(target_arch = "wasm32"))]
mod chat;
#[cfg(not(target_arch = "wasm32"))]
mod config;
#[cfg(not(target_arch = "wasm32"))]
mod config_scales;
#[cfg(not(target_arch = "wasm32"))]
mod cost;
#[cfg(not(target_arch = "wasm32"))]
mod formats;
#[cfg(not(target_arch = "wasm32"))]
mod gguf;
#[cfg(not(target_arch = "wasm32"))]
mod gguf_adapters;
#[cfg(not(target_arch = "wasm32"))]
mod gguf_models;
#[cfg(not(target_arch = "wasm32"))]
mod gguf_tokenizer;
#[cfg(not(target_arch = "wasm32"))]
mod gpu_report;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
mod inspect;
#[cfg(not(target_arch = "wasm32"))]
mod known_answers;
#[cfg(not(target_arch = "wasm32"))]
mod kv_dtype;
#[cfg(not(target_arch = "wasm32"))]
mod layers;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
mod learning_program;
#[cfg(not(target_arch = "wasm32"))]
mod loading;
#[cfg(not(target_arch = "wasm32"))]
mod lora_xs;
#[cfg(not(target_arch = "wasm32"))]
mod memory;
#[cfg(not(target_arch = "wasm32"))]
mod merge;
#[cfg(not(target_arch = "wasm32"))]
mod not_numbers;
#[cfg(not(target_arch = "wasm32"))]
mod ops;
#[cfg(not(target_arch = "wasm32"))]
mod pace;
#[cfg(not(target_arch = "wasm32"))]
mod peft;
#[cfg(not(target_arch = "wasm32"))]
mod real_gemma3;
#[cfg(not(target_arch = "wasm32"))]
mod real_models;
#[cfg(not(target_arch = "wasm32"))]
mod recover;
#[cfg(not(target_arch = "wasm32"))]
mod samplers;
#[cfg(not(target_arch = "wasm32"))]
mod sessions;
#[cfg(not(target_arch = "wasm32"))]
mod shader_costs;
#[cfg(not(target_arch = "wasm32"))]
mod shaders;
#[cfg(not(target_arch = "wasm32"))]
mod stops;
#[cfg(not(target_arch = "wasm32"))]
mod stories;
#[cfg(not(target_arch = "wasm32"))]
mod styles;
#[cfg(not(target_arch = "wasm32"))]
mod temp_lora;
#[cfg(not(target_arch = "wasm32"))]
mod temp_lora_text;
#[cfg(not(target_arch = "wasm32"))]
mod tensors;
#[cfg(not(target_arch = "wasm32"))]
mod threads;
#[cfg(not(target_arch = "wasm32"))]
mod tokenizer;
#[cfg(not(target_arch = "wasm32"))]
mod tokenizer_files;
#[cfg(not(target_arch = "wasm32"))]
mod weighted;
#[cfg(not(target_arch = "wasm32"))]
mod words;
#[cfg(not(target_arch = "wasm32"))]
mod wrapped;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
