//! What reading an adapter asks of the base: shapes, and its own numbers.
//! Nothing of the base is changed.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::plan::TensorId;

use crate::engine::adapters::loaded::unknown;
use crate::engine::adapters::merged::Merged;
use crate::engine::adapters::place::shape;

/// Elements of the base read at once.
const PIECE_ELEMENTS: usize = 1 << 20;

/// The base model, whatever is merged into it.
pub(in crate::engine) struct Base<'a> {
    pub model: &'a Model,
    pub backend: &'a mut Backend,
    pub merged: Option<&'a Merged>,
    /// How many the tokenizer has.
    pub tokens: usize,
}

impl Base<'_> {
    /// (C, F) of a linear map.
    pub fn shape(&self, module: &str) -> Result<[usize; 2]> {
        shape(self.model, module)
    }

    /// Errors with `Mismatch` where a field of `adapter_config.json` says another number than this base's.
    pub fn expect_field(&self, field: &str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Error::mismatch(format!("adapter_config.json: {field} {got}, this base has {expected}")))
    }

    /// Errors with `Argument` for a token that it does not have.
    pub fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let v = self.model.config.vocab_size;
        match ids.iter().find(|&&id| id as usize >= v) {
            Some(id) => {
                Err(Error::argument(format!("token id {id}, expected below the vocabulary size {v}")))
            }
            None => Ok(()),
        }
    }

    /// A bias or a norm's weight.
    pub async fn vector(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.model.weights.vector(name) {
            Some((tensor, first, count)) => Ok(Some(self.read_f32(tensor, first, count).await?)),
            None => Ok(None),
        }
    }

    /// Elements of a tensor; of a matrix, whole rows.
    pub async fn read_f32(&mut self, tensor: TensorId, first: usize, count: usize) -> Result<Vec<f32>> {
        let declared = self.model.tensors.get(tensor);
        let (dtype, c, width) = (declared.dtype, declared.row_len(), declared.row_words());
        let mut words = self.backend.read(tensor, first / c * width, count / c * width).await?;
        if let Some(merged) = self.merged {
            merged.unmerge_read(tensor, first, &mut words);
        }
        let mut values = vec![0.0; count];
        dtype.unpack(&words, c, &mut values);
        Ok(values)
    }

    /// Shows `see(row, values (C))` for each row of a matrix or a table.
    pub async fn each_row(&mut self, module: &str, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let model = self.model;
        let runs = model.weights.rows_of(module).ok_or_else(|| unknown(module))?;
        let mut row = 0;
        for (tensor, first, count) in runs {
            let c = model.tensors.get(tensor).row_len();
            let step = (PIECE_ELEMENTS / c).max(1);
            for from in (first..first + count).step_by(step) {
                let n = step.min(first + count - from);
                let values = self.read_f32(tensor, from * c, n * c).await?;
                values.chunks_exact(c).zip(row..).for_each(|(values, row)| see(row, values));
                row += n;
            }
        }
        Ok(())
    }
}
