//! Of the facade: keys and values of a text to a file and back.

use crate::error::Result;

use super::super::{Choice, Generation, Restoring};
use super::Engine;

impl Engine {
    /// The beginning of the file of what the cache holds of a generation's first text. Errors with `Argument`, `Device`.
    pub async fn session_head(&mut self, generation: &Generation) -> Result<Vec<u8>> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        generation.session_head(&self.runner, &self.adapters)
    }

    /// Part `i` of that file; the generation must not have gone on since. Errors with `Argument`, `Device`.
    pub async fn session_part(&mut self, generation: &Generation, i: usize) -> Result<Vec<u8>> {
        generation.session_part(&mut self.runner, i).await
    }

    /// A saved session of `file_bytes` that is to be restored for `choice`, of which nothing is changed yet. Errors with
    /// `Format`, `Mismatch` naming what is another here, `Argument`, `Device`.
    pub async fn open_session(
        &mut self,
        head: &[u8],
        file_bytes: u64,
        choice: Option<&Choice>,
    ) -> Result<Restoring> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        Restoring::open(&self.runner, &self.adapters, (head, file_bytes), choice)
    }

    /// Writes the next part, once all are [checked](Restoring::check). Errors with `Argument`.
    pub fn restore_part(&mut self, restoring: &mut Restoring, i: usize, bytes: &[u8]) -> Result<()> {
        self.texts.restore_part(&mut self.runner, &mut self.adapters, restoring, (i, bytes))
    }

    /// Ends it, and tells the tokens that need not be computed again. Errors with `Argument` if parts are missing,
    /// `Device`.
    pub fn end_restoring(&mut self, restoring: Restoring) -> Result<Vec<u32>> {
        self.texts.end_restoring(&self.runner, &mut self.adapters, restoring)
    }
}
