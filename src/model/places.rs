//! Where a checkpoint's tensors go: rows of the model's matrices by their names, and what has come of them.
//! Not what the matrices are for, which `weights` says.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::plan::{Dtype, TensorId};

use super::matrix::Place;
use super::names::bare;
use super::roles::Role;
use super::weights::Weights;

impl Weights {
    /// Whether the model wants the checkpoint's tensor `name`. Tensors that hold no weights
    /// (masks, inverse frequencies, the copy of a tied head) are declined.
    ///
    /// Errors with `Mismatch` for a tensor that no model of this family has, or of another
    /// shape: computing without it would answer wrongly.
    pub(crate) fn expects(&self, name: &str, shape: &[usize]) -> Result<bool> {
        let bare = bare(name);
        if let Some(place) = self.places.get(bare) {
            let mut expected = place.shape.clone();
            if place.transposed && self.turned {
                expected.reverse();
            }
            if expected != shape {
                return Err(Error::mismatch(format!(
                    "tensor `{name}`: shape {shape:?}, expected {expected:?}"
                )));
            }
            return Ok(true);
        }
        let derived = self.family.derived.iter().any(|end| bare.ends_with(end));
        let is_beside = self.beside.iter().any(|front| bare.starts_with(front));
        if bare == "lm_head.weight" || derived || is_beside {
            return Ok(false);
        }
        Err(Error::mismatch(format!("tensor `{name}`: the architecture in config.json has no such tensor")))
    }

    /// Names of all tensors, without the base model's prefix.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether the checkpoint has this tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(bare(name))
    }

    /// From now on takes linear maps as (out, in), which GGUF has in every family.
    pub(crate) fn expect_turned(&mut self) {
        self.turned = true;
    }

    /// Whether checkpoints store `name` as (in, out).
    pub(crate) fn is_transposed(&self, name: &str) -> bool {
        self.places.get(bare(name)).is_some_and(|place| place.transposed)
    }

    /// Whether tensor `name` must come in one piece (it is turned round on the way).
    pub(crate) fn wants_whole(&self, name: &str) -> bool {
        self.is_transposed(name) && !self.turned
    }

    /// Takes the next rows of tensor `name`, in order, and hands what is to be written to
    /// `write(tensor, first word, words)`.
    ///
    /// Errors with `Format` if they hold NaN or infinities, or numbers too large for the type they
    /// are held as, `Unsupported` if numbers cannot be rounded to that. Panics if the tensor is not
    /// expected, or gets more rows than it has.
    pub(crate) fn place(
        &mut self,
        name: &str,
        values: &[f32],
        write: impl FnMut(TensorId, usize, &[u32]),
    ) -> Result<()> {
        if !Dtype::F32.all_finite(bytemuck::cast_slice(values), 1) {
            let bad = values.iter().find(|value| !value.is_finite()).unwrap_or(&f32::NAN);
            return Err(Error::format(format!("tensor `{name}`: holds {bad}, expected finite numbers")));
        }
        let place = &self.places[bare(name)];
        let turned: Vec<f32>;
        let values = if place.transposed && !self.turned {
            let [c, f] = place.shape[..] else { panic!("`{name}` is a matrix") };
            assert_eq!(values.len(), c * f, "`{name}` comes in one piece");
            turned = (0..f).flat_map(|f_| (0..c).map(move |c_| values[c_ * f + f_])).collect();
            &turned
        } else {
            values
        };
        let offset: Vec<f32>;
        let values = if place.offset != 0.0 && !self.turned {
            offset = values.iter().map(|value| value + place.offset).collect();
            &offset
        } else {
            values
        };
        let (dtype, cols) = (place.dtype, place.target.cols);
        if self.sum.as_ref().is_some_and(|sum| sum.takes(name)) {
            self.add_to_sum(name, values, write);
            return Ok(());
        }
        if !dtype.is_packed() {
            return self.place_words(name, bytemuck::cast_slice(values), write);
        }
        if !dtype.can_pack() {
            let dtype = dtype.name();
            return Err(Error::unsupported(format!(
                "tensor `{name}`: its numbers cannot be rounded to {dtype}"
            )));
        }
        let mut words = Vec::with_capacity(values.len() / cols * dtype.row_words(cols));
        values.chunks_exact(cols).for_each(|row| dtype.pack(row, &mut words));
        self.place_words(name, &words, write)
    }

    /// Takes the next rows of tensor `name` as [`row_type`](Self::row_type) says they are held.
    ///
    /// Errors and panics as [`place`](Self::place) does.
    pub(crate) fn place_words(
        &mut self,
        name: &str,
        words: &[u32],
        mut write: impl FnMut(TensorId, usize, &[u32]),
    ) -> Result<()> {
        let place = self.places.get_mut(bare(name)).expect("the tensor is expected");
        let (dtype, cols) = (place.dtype, place.target.cols);
        if !dtype.all_finite(words, cols) {
            let held = dtype.name();
            return Err(Error::format(format!(
                "tensor `{name}`: holds NaN, infinities or numbers too large for {held}"
            )));
        }
        let mut digest = Digest::of(bare(name));
        digest.add(place.loaded as u64);
        digest.add_words(words);
        // A sum, as files may hold tensors in any order.
        self.digest = self.digest.wrapping_add(digest.number());
        let (width, mut rest) = (place.row_words(), words);
        for (tensor, row, rows) in place.target.runs(place.first + place.loaded, words.len() / width) {
            let (run, after) = rest.split_at(rows * width);
            write(tensor, row * width, run);
            rest = after;
        }
        place.loaded += words.len() / width;
        assert!(place.loaded <= place.rows(), "`{name}` has fewer rows");
        Ok(())
    }

    /// Takes the next rows of a table that becomes one with another.
    fn add_to_sum(&mut self, name: &str, values: &[f32], mut write: impl FnMut(TensorId, usize, &[u32])) {
        let place = self.places.get_mut(bare(name)).expect("the tensor is expected");
        let (cols, target) = (place.target.cols, place.target.clone());
        place.loaded += values.len() / cols;
        assert!(place.loaded <= place.rows(), "`{name}` has fewer rows");
        let sum = self.sum.as_mut().and_then(|sum| sum.add(name, values, cols, target.rows * cols));
        if let (Some(sum), Some(slice)) = (sum, target.slices.first()) {
            write(slice.tensor, 0, bytemuck::cast_slice(&sum));
        }
    }

    /// How tensor `name` is held.
    pub fn dtype_of(&self, name: &str) -> Option<Dtype> {
        self.places.get(bare(name)).map(|place| place.dtype)
    }

    /// How rows of tensor `name` are held, and their number of columns, if they come as they are held.
    pub(crate) fn row_type(&self, name: &str) -> Option<(Dtype, usize)> {
        let as_held = |place: &&Place| (!place.transposed && place.offset == 0.0) || self.turned;
        let place = self.places.get(bare(name)).filter(as_held)?;
        let is_whole = !self.sum.as_ref().is_some_and(|sum| sum.takes(name));
        is_whole.then_some((place.dtype, place.target.cols))
    }

    /// Elements of matrices by the type they are held as; norms and biases are none.
    pub fn held(&self) -> BTreeMap<Dtype, usize> {
        let mut held = BTreeMap::new();
        for place in self.places.values().filter(|place| place.target.cols > 1) {
            *held.entry(place.dtype).or_default() += place.elements();
        }
        held
    }

    /// A name as whole checkpoints write it.
    pub(crate) fn full_name(&self, name: &str) -> String {
        let bare = bare(name);
        match bare.strip_prefix("lm_head") {
            Some(rest) => format!("{}{rest}", self.family.head),
            None if self.headless => bare.to_owned(),
            None => format!("{}{bare}", self.family.prefix),
        }
    }

    /// Name of the embedding as a module.
    pub(crate) fn embedding(&self) -> String {
        self.full_name(&self.family.module(Role::Embedding, 0))
    }

    /// Name of the head as a module.
    pub(crate) fn head_name(&self) -> &'static str {
        self.family.head
    }

    /// Where the rows (F, C) of a linear map lie: tensor, first row in it, rows. A tied head's
    /// are the embedding's.
    pub fn rows_of(&self, module: &str) -> Option<Vec<(TensorId, usize, usize)>> {
        let bare = bare(module);
        if bare == "lm_head" {
            return Some(self.head.weight.runs(0, self.head.weight.rows));
        }
        let place = self.places.get(&format!("{bare}.weight"))?;
        Some(place.target.runs(place.first, place.rows()))
    }

    /// What checkpoints and PEFT's adapters have less in this tensor than is held.
    pub(crate) fn offset(&self, name: &str) -> f32 {
        self.places.get(bare(name)).map_or(0.0, |place| place.offset)
    }

    /// Where a bias or a norm's weight lies: tensor, first element, elements.
    pub(crate) fn vector(&self, name: &str) -> Option<(TensorId, usize, usize)> {
        let place = self.places.get(bare(name)).filter(|place| place.target.cols == 1)?;
        place.target.runs(place.first, place.shape[0]).first().copied()
    }

    /// Every tensor that holds a part of the checkpoint.
    pub fn tensors(&self) -> BTreeSet<TensorId> {
        self.places.values().flat_map(|place| &place.target.slices).map(|slice| slice.tensor).collect()
    }

    /// Elements of the checkpoint.
    pub fn parameters(&self) -> usize {
        self.places.values().map(Place::elements).sum()
    }

    /// 32-bit words that computing one token's logits reads: all, but of tables used only to
    /// look up a row that row.
    pub fn read_per_token(&self) -> usize {
        let words = |place: &Place| place.rows() * place.row_words();
        let looked_up = |role| {
            let place = self.places.get(&format!("{}.weight", self.family.module(role, 0)));
            place.map_or(0, |place| words(place) - place.row_words())
        };
        let embed_is_head = self.embed.slices == self.head.weight.slices;
        let embed = if embed_is_head { 0 } else { looked_up(Role::Embedding) };
        let positions = if self.positions.is_some() { looked_up(Role::Positions) } else { 0 };
        let all: usize = self.places.values().map(words).sum();
        all - embed - positions
    }

    /// Errors with `Mismatch` naming a tensor that has not come, or not wholly.
    pub(crate) fn check_complete(&self) -> Result<()> {
        let short = |(_, place): &(&String, &Place)| place.loaded < place.rows();
        let missing: Vec<_> =
            self.places.iter().filter(short).map(|(name, _)| self.full_name(name)).collect();
        match missing.split_first() {
            None => Ok(()),
            Some((name, [])) => Err(Error::mismatch(format!("tensor `{name}` is missing"))),
            Some((name, more)) => {
                Err(Error::mismatch(format!("tensor `{name}` is missing, and {} more", more.len())))
            }
        }
    }
}
