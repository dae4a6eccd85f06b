//! What JavaScript sees: bytes, JSON and plain objects in, promises out. Three WebAssembly modules come
//! of it: the engine's; with the feature `chat-module` the one that renders chat templates; and with `bench-module` the
//! one that measures a GPU.
//! The TypeScript in `src/js` does the reading and fetching, and the OpenAI shapes.

#[cfg(feature = "bench-module")]
#[allow(unreachable_pub, reason = "wasm-bindgen takes no other functions")]
mod bench;
#[cfg(feature = "chat-module")]
mod chat;
#[cfg(not(any(feature = "bench-module", feature = "chat-module")))]
mod engine;
mod error;

type JsResult<T> = std::result::Result<T, error::Thrown>;
