//! The SHA-256 of a file that is never in memory as a whole, which the browser's own digest asks for.
//! Not where it is compared: that is the download's.

use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;

/// A digest whose file is still arriving.
#[derive(Debug, Default)]
#[wasm_bindgen(js_name = Sha256)]
pub struct JsSha256(Sha256);

#[wasm_bindgen(js_class = Sha256)]
impl JsSha256 {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes, in 64 hexadecimal digits; the next bytes begin another.
    pub fn finish(&mut self) -> String {
        self.0.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
