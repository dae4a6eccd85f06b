//! A tensor of an adapter's file.
//! Not its place, which its name tells.

use crate::error::{Error, Result};

use crate::engine::adapters::numbers::Numbers;

/// A tensor of an adapter's file.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

impl Tensor {
    /// All of its numbers as f32.
    pub(crate) fn values(&self) -> Vec<f32> {
        self.numbers.values()
    }

    /// Errors with `Mismatch` unless it is a matrix.
    pub(crate) fn matrix(&self) -> Result<[usize; 2]> {
        self.shape.as_slice().try_into().map_err(|_| {
            Error::mismatch(format!("tensor `{}`: shape {:?}, expected a matrix", self.name, self.shape))
        })
    }

    /// Errors with `Mismatch` for another shape.
    pub(crate) fn expect(&self, shape: &[usize]) -> Result<()> {
        if self.shape == shape {
            return Ok(());
        }
        Err(Error::mismatch(format!("tensor `{}`: shape {:?}, expected {shape:?}", self.name, self.shape)))
    }

    /// Rows of a table (V, C) that comes whole. It may have fewer than the base's `v`: those were cut to
    /// the `tokens` of the tokenizer, or to fewer, and what is behind them is not asked for.
    ///
    /// Errors with `Mismatch` for rows of tokens that the base or its tokenizer does not have, or another width.
    pub(crate) fn table_rows(&self, v: usize, c: usize, tokens: usize) -> Result<usize> {
        match self.shape[..] {
            [n, width] if width == c && n > v => Err(self.added(n, n - v)),
            [n, width] if width == c && n < v && n > tokens => Err(self.added(n, n - tokens)),
            [n, width] if width == c && n > 0 => Ok(n),
            _ => self.expect(&[v, c]).map(|()| v),
        }
    }

    /// What to do about a table of `n` rows, the last of which are new tokens'.
    pub(crate) fn added(&self, n: usize, new: usize) -> Error {
        let tokens = if new == 1 { "1 token was".to_owned() } else { format!("{new} tokens were") };
        Error::mismatch(format!(
            "tensor `{}`: {n} rows: {tokens} added to this base before the adapter was trained, and the base here \
             does not have them. Load one that has: in Python `base.resize_token_embeddings({n})`, then \
             `save_pretrained` of it and of the adapter's tokenizer into one folder",
            self.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_table_are_the_bases_or_those_of_its_tokens() {
        let rows = |shape: &[usize]| {
            let table =
                Tensor { name: "head".to_owned(), shape: shape.to_vec(), numbers: Numbers::default() };
            table.table_rows(64, 3, 60)
        };
        for n in [1, 59, 60, 64] {
            assert_eq!(rows(&[n, 3]), Ok(n));
        }
        for (n, new) in
            [(61, "1 token was"), (63, "3 tokens were"), (65, "1 token was"), (70, "6 tokens were")]
        {
            let error = rows(&[n, 3]).expect_err("new tokens").to_string();
            assert!(error.contains(&format!("{n} rows: {new} added to this base")), "{error}");
        }
        for shape in [&[64, 4][..], &[0, 3], &[64], &[65, 4]] {
            assert!(rows(shape).expect_err("another width").to_string().contains("expected [64, 3]"));
        }
    }
}
