//! Threads for the CPU, which JavaScript starts: each is an instance of this module over the same memory.
//! Not what they compute.

use wasm_bindgen::prelude::*;

use crate::backend::cpu;

/// The calling thread is about to serve: a CPU that is opened from now on may have it.
#[wasm_bindgen(js_name = enlistThread)]
pub fn enlist() {
    cpu::enlist();
}

/// Computes for who has the thread, and for the next. It does not return.
#[wasm_bindgen(js_name = serveThread)]
pub fn serve() {
    cpu::serve()
}

/// Address of a word. A 1 in it says that a thread has trapped, so that nobody waits for its work.
#[wasm_bindgen(js_name = threadFailure)]
pub fn failure() -> *const u32 {
    cpu::failure()
}
