//! Rows of packed weights taken apart: codes of 8 bits, and what they count in. An element is
//! code · scale − offset. Not how words hold them: each type's file says that.

use super::Coded;

/// Runs that are read together; scales and offsets are filled up with zeros to whole groups.
pub(crate) const GROUP: usize = 4;

/// Room for one row taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    /// Read first: they lie first, and memory is fastest in order.
    pub(crate) codes: Codes,
    /// What they count in.
    pub(crate) scales: Scales,
    /// Elements that share a scale: 16 or 32.
    pub(crate) run: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Codes {
    how: Coded,
    /// Words of codes of a row.
    words: usize,
    codes: Vec<i8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scales {
    how: Coded,
    /// Words of codes of a row.
    words: usize,
    /// Runs of a row.
    runs: usize,
    scales: Vec<f32>,
    offsets: Vec<f32>,
}

/// A number for each run, in groups.
pub(crate) type Runs<'a> = &'a [[f32; GROUP]];

impl Integers {
    pub(super) fn new(how: Coded, cols: usize, words: usize) -> Self {
        let runs = cols / how.run;
        let room = runs.next_multiple_of(GROUP);
        let codes = vec![0; if how.codes.is_some() { cols } else { 0 }];
        let (scales, offsets) = (vec![0.0; room], vec![0.0; if how.offsets { room } else { 0 }]);
        Self {
            codes: Codes { how, words, codes },
            scales: Scales { how, words, runs, scales, offsets },
            run: how.run,
        }
    }

    /// Widens a row to f32.
    pub(super) fn widen(&mut self, words: &[u32], row: &mut [f32]) {
        let (codes, (scales, offsets)) = (self.codes.read(words), self.scales.read(words));
        let runs =
            row.chunks_exact_mut(self.run).zip(codes.chunks_exact(self.run)).zip(scales.as_flattened());
        if offsets.is_empty() {
            for ((row, codes), &scale) in runs {
                row.iter_mut().zip(codes).for_each(|(x, &code)| *x = f32::from(code) * scale);
            }
        } else {
            for (((row, codes), &scale), &offset) in runs.zip(offsets.as_flattened()) {
                row.iter_mut().zip(codes).for_each(|(x, &code)| *x = f32::from(code) * scale - offset);
            }
        }
    }
}

impl Codes {
    /// The codes of a row, (C).
    #[inline]
    pub(crate) fn read<'a>(&'a mut self, words: &'a [u32]) -> &'a [i8] {
        let words = &words[..self.words];
        let Some(codes) = self.how.codes else { return bytemuck::cast_slice(words) };
        codes(words, &mut self.codes);
        &self.codes
    }
}

impl Scales {
    /// The scales of a row, and its offsets; none of these where the type has none.
    #[inline]
    pub(crate) fn read(&mut self, words: &[u32]) -> (Runs<'_>, Runs<'_>) {
        let (codes, halves) = words.split_at(self.words);
        let offsets = self.runs.min(self.offsets.len());
        (self.how.scales)(codes, halves, &mut self.scales[..self.runs], &mut self.offsets[..offsets]);
        (self.scales.as_chunks().0, self.offsets.as_chunks().0)
    }
}
