//! What goes wrong, as JavaScript hears of it.

use wasm_bindgen::prelude::*;

use crate::error::Error;

/// A value to throw.
pub struct Thrown(JsValue);

impl From<Error> for Thrown {
    /// An `Error` with a `kind`.
    fn from(error: Error) -> Self {
        let object = js_sys::Error::new(&error.to_string());
        // Setting a property of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&object, &"kind".into(), &error.kind().as_str().into());
        Self(object.into())
    }
}

impl From<JsValue> for Thrown {
    fn from(value: JsValue) -> Self {
        Self(value)
    }
}

impl From<Thrown> for JsValue {
    fn from(thrown: Thrown) -> Self {
        thrown.0
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Runs when the module is instantiated: a panic is our bug, and says where on the console.
#[wasm_bindgen(start)]
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| console_error(&format!("lorakeet: {panic}"))));
}
