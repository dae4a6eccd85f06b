//! The engine's saved sessions for JavaScript: a file's head and parts, one call each.

use wasm_bindgen::prelude::*;

use crate::engine::{Choice, Restoring};

use super::convert::{Weights, from_js};
use super::{JsEngine, JsResult};

#[wasm_bindgen(js_class = Engine)]
impl JsEngine {
    /// The beginning of the file of what the cache holds of the first text of batch `id`.
    #[wasm_bindgen(js_name = sessionHead)]
    pub async fn session_head(&self, id: u32) -> JsResult<Vec<u8>> {
        let generation = self.generations.take(id)?;
        let head = async { self.engine()?.session_head(&generation).await }.await;
        self.generations.put(id, generation);
        Ok(head?)
    }

    /// Part `part` of that file; the batch must not have gone on since.
    #[wasm_bindgen(js_name = sessionPart)]
    pub async fn session_part(&self, id: u32, part: usize) -> JsResult<Vec<u8>> {
        let generation = self.generations.take(id)?;
        let bytes = async { self.engine()?.session_part(&generation, part).await }.await;
        self.generations.put(id, generation);
        Ok(bytes?)
    }

    /// How many bytes of a session's file are its head, from its first 16.
    #[wasm_bindgen(js_name = sessionHeadBytes)]
    pub fn session_head_bytes(first: &[u8]) -> JsResult<f64> {
        Ok(Restoring::head_bytes(first)? as f64)
    }

    /// Where the parts of a file lie, from its head: [start, end, start, end, ..], offsets in bytes.
    #[wasm_bindgen(js_name = sessionParts)]
    pub fn session_parts(head: &[u8]) -> JsResult<Vec<f64>> {
        Ok(Restoring::parts(head)?
            .into_iter()
            .flat_map(|part| [part.start as f64, part.end as f64])
            .collect())
    }

    /// Begins to restore a session of `file_bytes` under {name: weight}; undefined is the engine's own choice.
    /// Returns the number that `checkPart`, `restorePart` and `endRestoring` take.
    #[wasm_bindgen(js_name = openSession)]
    pub async fn open_session(&self, head: Vec<u8>, file_bytes: f64, weights: JsValue) -> JsResult<u32> {
        let weights: Option<Weights> = from_js(weights)?;
        let choice: Option<Choice> = weights.map(|weights| weights.into_iter().collect());
        let restoring = self.engine()?.open_session(&head, file_bytes as u64, choice.as_ref()).await?;
        Ok(self.sessions.add(restoring))
    }

    /// Checks the next part of session `id`.
    #[wasm_bindgen(js_name = checkPart)]
    pub fn check_part(&self, id: u32, part: usize, bytes: &[u8]) -> JsResult<()> {
        Ok(self.sessions.see(id, |session| session.check(part, bytes))??)
    }

    /// Writes the next part of session `id`, once all are checked.
    #[wasm_bindgen(js_name = restorePart)]
    pub fn restore_part(&self, id: u32, part: usize, bytes: &[u8]) -> JsResult<()> {
        let mut engine = self.engine()?;
        Ok(self.sessions.see(id, |session| engine.restore_part(session, part, bytes))??)
    }

    /// Forgets session `id`, and gives its tokens, which need not be computed again; throws if parts are missing.
    #[wasm_bindgen(js_name = endRestoring)]
    pub fn end_restoring(&self, id: u32) -> JsResult<Vec<u32>> {
        let mut engine = self.engine()?;
        Ok(engine.end_restoring(self.sessions.remove(id)?)?)
    }
}
