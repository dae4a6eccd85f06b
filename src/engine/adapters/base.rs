//! The base model as whoever reads an adapter's files sees it: its architecture, and its own weights.
//! Not the adapters that are loaded: what a file means does not depend on them.

use crate::backend::Backend;
use crate::engine::adapters::loaded::unknown;
use crate::engine::adapters::merged::Merged;
use crate::engine::runner::Runner;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::plan::TensorId;

/// Elements of the base read at once.
const PIECE_ELEMENTS: usize = 1 << 20;

/// The base model, for as long as files are read.
pub(crate) struct Base<'a> {
    pub(crate) model: &'a Model,
    backend: &'a mut Backend,
    /// What its weights hold beside its own numbers.
    merged: Option<&'a Merged>,
    /// Tokens that its tokenizer has.
    pub(crate) tokenizer_tokens: usize,
    /// What exported adapters call it, if it is known.
    pub(crate) name: Option<&'a str>,
}

impl<'a> Base<'a> {
    /// The base of a runner.
    pub(crate) fn new(
        runner: &'a mut Runner,
        merged: Option<&'a Merged>,
        tokenizer_tokens: usize,
        name: Option<&'a str>,
    ) -> Self {
        let (model, backend) = runner.parts();
        Self { model, backend, merged, tokenizer_tokens, name }
    }

    /// (C, F) of a linear map.
    pub(crate) fn shape(&self, module: &str) -> Result<[usize; 2]> {
        let bank = &self.model.bank;
        let (site, part) = bank.find(module).ok_or_else(|| unknown(module))?;
        Ok(bank.sites[site].shape(part))
    }

    /// A vector of the base by name, if it has it.
    pub(crate) async fn vector(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.model.weights.vector(name) {
            Some((tensor, first, count)) => Ok(Some(self.read_f32(tensor, first, count).await?)),
            None => Ok(None),
        }
    }

    /// The base's own numbers, whatever is merged into them; of a matrix, whole rows.
    pub(crate) async fn read_f32(
        &mut self,
        tensor: TensorId,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
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
    pub(crate) async fn each_row(&mut self, module: &str, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
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

    /// Errors with `Mismatch` where a field of `adapter_config.json` says another number than this base's.
    pub(crate) fn expect_field(&self, field: &str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Error::mismatch(format!("adapter_config.json: {field} {got}, this base has {expected}")))
    }
}
