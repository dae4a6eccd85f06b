//! A matrix of weights of any type, read row by row.
//! Packed rows are widened as they are read; whoever reads keeps to a few at a time.

use std::ops::Range;

use crate::dtype::Dtype;

/// W (F, C)
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightData<'a> {
    /// What its words hold.
    pub(crate) dtype: Dtype,
    /// Its rows, see [`Dtype`].
    pub(crate) words: &'a [u32],
    /// C
    pub(crate) c: usize,
}

impl<'a> WeightData<'a> {
    /// F
    pub(crate) fn rows(self) -> usize {
        self.words.len() / self.dtype.row_words(self.c)
    }

    /// Some of its rows.
    pub(crate) fn part(self, rows: Range<usize>) -> Self {
        let width = self.dtype.row_words(self.c);
        Self { words: &self.words[rows.start * width..rows.end * width], ..self }
    }

    /// Rows `first..first + count` as f32, (count, C): where they lie, or widened into `space`.
    pub(crate) fn read<'b>(self, first: usize, count: usize, space: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        let width = self.dtype.row_words(self.c);
        let words = &self.words[first * width..][..count * width];
        if !self.dtype.is_packed() {
            return bytemuck::cast_slice(words);
        }
        space.resize(count * self.c, 0.0);
        self.dtype.unpack(words, self.c, space);
        space
    }
}
