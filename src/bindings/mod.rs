//! What JavaScript sees: bytes, JSON and plain objects in, promises out. Two WebAssembly modules come
//! of it: the engine's and, with the feature `chat-module`, the one that renders chat templates.
//! The TypeScript in `src/js` does the reading and fetching, and the OpenAI shapes.

#[cfg(not(feature = "chat-module"))]
mod bench;
#[cfg(feature = "chat-module")]
mod chat;
#[cfg(not(feature = "chat-module"))]
mod engine;
mod error;

type JsResult<T> = std::result::Result<T, error::Thrown>;
