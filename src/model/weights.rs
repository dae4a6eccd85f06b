//! Where a checkpoint's tensors go. Their names are the families'.
//!
//! q, k and v become one matrix, gate and up another, so that each is one dispatch; GPT-2's
//! Conv1D weights (in, out) are turned to (out, in). A matrix too large for one binding is cut
//! into runs of rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::plan::{Dtype, Slice, TensorId, Tensors};

use super::bank::Bank;
use super::blueprint::{Blueprint, Norm};
use super::families::Family;
use super::names::{Role, bare};

/// A matrix of the model, (rows, cols), cut into runs of rows where it is too large.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The runs, in order.
    pub slices: Vec<Slice>,
    dtype: Dtype,
    rows: usize,
    cols: usize,
}

/// A weight and its optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    /// (F, C)
    pub weight: Matrix,
    /// (F)
    pub bias: Option<TensorId>,
    /// Where in the bank adapters act on it.
    pub site: usize,
}

/// Scale and, for LayerNorm, shift.
#[derive(Debug)]
pub(super) struct NormWeights {
    /// (C)
    pub weight: TensorId,
    /// (C)
    pub bias: Option<TensorId>,
    /// Where in the bank adapters act on its output.
    pub point: usize,
}

/// One block of the decoder.
#[derive(Debug)]
pub(super) struct Layer {
    pub attention_norm: NormWeights,
    /// ((H + 2K)·D, C) = [q; k; v]
    pub qkv: Linear,
    /// (C, H·D)
    pub o: Linear,
    /// Where in the bank adapters act on the input of `o`.
    pub o_input: usize,
    pub mlp_norm: NormWeights,
    /// (F, C), or (2F, C) = [gate; up]
    pub up: Linear,
    /// (C, F)
    pub down: Linear,
    /// Where in the bank adapters act on the input of `down`.
    pub down_input: usize,
}

/// Every weight, and how far each checkpoint tensor has been loaded.
#[derive(Debug)]
pub struct Weights {
    /// (V, C)
    pub(super) embed: Matrix,
    /// (S, C), for learned positions
    pub(super) positions: Option<TensorId>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: NormWeights,
    /// (V, C); the embedding itself where tied
    pub(super) head: Linear,
    family: &'static Family,
    places: BTreeMap<String, Place>,
    /// Whether linear maps come as (out, in), whatever checkpoints have.
    turned: bool,
}

/// Where one checkpoint tensor goes.
#[derive(Debug)]
struct Place {
    /// Shape in the checkpoint.
    shape: Vec<usize>,
    target: Matrix,
    /// First row of `target` it fills.
    first: usize,
    transposed: bool,
    /// Rows of `target` filled so far.
    loaded: usize,
}

impl Weights {
    pub(super) fn declare(
        config: &Blueprint,
        tensors: &mut Tensors,
        bank: &mut Bank,
        dtype_of: &dyn Fn(&str) -> Dtype,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut declare = Declare { tensors, bank, dtype_of, max_bytes, places: BTreeMap::new(), config };
        let (v, c) = (config.vocab_size, config.hidden_size);
        let family = config.family;
        let name = |role| family.module(role, 0);
        let embedding = name(Role::Embedding);
        let table = format!("{embedding}.weight");
        let embed = declare.matrix(&table, dtype_of(&table), v, c)?;
        declare.place(&table, &embed, 0, v, false);
        declare.bank.embed = declare.bank.site(declare.tensors, &embedding, v, &[(embedding.clone(), c)])?;
        let positions = if config.learned_positions {
            let (s, name) = (config.max_position_embeddings, format!("{}.weight", name(Role::Positions)));
            let table = declare.matrix(&name, Dtype::F32, s, c)?;
            declare.place(&name, &table, 0, s, false);
            Some(declare.whole(&table, &name)?)
        } else {
            None
        };
        let layers = (0..config.layers.len()).map(|l| declare.layer(l)).collect::<Result<_>>()?;
        let norm = declare.norm(&name(Role::LastNorm))?;
        let head = [("lm_head".to_owned(), v)];
        let head = if config.tie_word_embeddings {
            let site = declare.bank.site(declare.tensors, "lm_head", c, &head)?;
            Linear { weight: embed.clone(), bias: None, site }
        } else {
            let turned = family.turns(Role::Head);
            declare.linear("lm_head", v, c, &head, turned, false)?
        };
        let places = declare.places;
        Ok(Self { embed, positions, layers, norm, head, family, places, turned: false })
    }

    /// Whether the model wants the checkpoint's tensor `name`. Tensors that hold no weights
    /// (masks, inverse frequencies, the copy of a tied head) are declined.
    ///
    /// Errors with `Mismatch` for a tensor that no model of this family has, or of another
    /// shape: computing without it would answer wrongly.
    pub fn expects(&self, name: &str, shape: &[usize]) -> Result<bool> {
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
        if bare == "lm_head.weight" || derived {
            return Ok(false);
        }
        Err(Error::mismatch(format!("tensor `{name}`: the architecture in config.json has no such tensor")))
    }

    /// Names of all tensors, without the base model's prefix.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether the checkpoint has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(bare(name))
    }

    /// From now on takes linear maps as (out, in), which GGUF has in every family.
    pub fn expect_turned(&mut self) {
        self.turned = true;
    }

    /// Whether checkpoints store `name` as (in, out).
    pub fn is_transposed(&self, name: &str) -> bool {
        self.places.get(bare(name)).is_some_and(|place| place.transposed)
    }

    /// Whether tensor `name` must come in one piece (it is turned round on the way).
    pub fn wants_whole(&self, name: &str) -> bool {
        self.is_transposed(name) && !self.turned
    }

    /// Takes the next rows of tensor `name`, in order, and hands what is to be written to
    /// `write(tensor, first word, words)`.
    ///
    /// Errors with `Format` if they hold NaN or infinities, or numbers too large for the type they
    /// are held as. Panics if the tensor is not expected, or gets more rows than it has.
    pub fn place(
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
        let Matrix { dtype, cols, .. } = place.target;
        if !dtype.is_packed() {
            return self.place_words(name, bytemuck::cast_slice(values), write);
        }
        let mut words = Vec::with_capacity(values.len() / cols * dtype.row_words(cols));
        values.chunks_exact(cols).for_each(|row| dtype.pack(row, &mut words));
        self.place_words(name, &words, write)
    }

    /// The type that most elements of matrices are held as.
    pub fn main_dtype(&self) -> Dtype {
        self.held().into_iter().max_by_key(|(_, elements)| *elements).map_or(Dtype::F32, |(dtype, _)| dtype)
    }

    /// Takes the next rows of tensor `name` as [`row_type`](Self::row_type) says they are held.
    ///
    /// Errors and panics as [`place`](Self::place) does.
    pub fn place_words(
        &mut self,
        name: &str,
        words: &[u32],
        mut write: impl FnMut(TensorId, usize, &[u32]),
    ) -> Result<()> {
        let place = self.places.get_mut(bare(name)).expect("the tensor is expected");
        let Matrix { dtype, cols, .. } = place.target;
        if !dtype.all_finite(words, cols) {
            let held = dtype.name();
            return Err(Error::format(format!(
                "tensor `{name}`: holds NaN, infinities or numbers too large for {held}"
            )));
        }
        place.target.write(place.first + place.loaded, words, &mut write);
        place.loaded += words.len() / place.target.row_words();
        assert!(place.loaded <= place.rows(), "`{name}` has fewer rows");
        Ok(())
    }

    /// How tensor `name` is held.
    pub fn dtype_of(&self, name: &str) -> Option<Dtype> {
        self.places.get(bare(name)).map(|place| place.target.dtype)
    }

    /// How rows of tensor `name` are held, and their number of columns, if they come as they are held.
    pub fn row_type(&self, name: &str) -> Option<(Dtype, usize)> {
        let place = self.places.get(bare(name)).filter(|place| !place.transposed || self.turned)?;
        Some((place.target.dtype, place.target.cols))
    }

    /// Elements of matrices by the type they are held as; norms and biases are none.
    pub fn held(&self) -> BTreeMap<Dtype, usize> {
        let mut held = BTreeMap::new();
        for Place { shape, target, .. } in self.places.values().filter(|place| place.target.cols > 1) {
            *held.entry(target.dtype).or_default() += shape.iter().product::<usize>();
        }
        held
    }

    /// A name as whole checkpoints write it.
    pub fn full_name(&self, name: &str) -> String {
        let bare = bare(name);
        if bare.starts_with("lm_head") { bare.to_owned() } else { format!("{}{bare}", self.family.prefix) }
    }

    /// Name of the embedding as a module.
    pub fn embedding(&self) -> String {
        self.full_name(&self.family.module(Role::Embedding, 0))
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

    /// Where a bias or a norm's weight lies: tensor, first element, elements.
    pub fn vector(&self, name: &str) -> Option<(TensorId, usize, usize)> {
        let place = self.places.get(bare(name)).filter(|place| place.target.cols == 1)?;
        place.target.runs(place.first, place.shape[0]).first().copied()
    }

    /// Every tensor that holds a part of the checkpoint.
    pub(super) fn tensors(&self) -> BTreeSet<TensorId> {
        self.places.values().flat_map(|place| &place.target.slices).map(|slice| slice.tensor).collect()
    }

    /// Elements of the checkpoint.
    pub fn parameters(&self) -> usize {
        self.places.values().map(|place| place.shape.iter().product::<usize>()).sum()
    }

    /// 32-bit words that computing one token's logits reads: all, but of tables used only to
    /// look up a row that row.
    pub fn read_per_token(&self) -> usize {
        let looked_up = |table: &Matrix| (table.rows - 1) * table.row_words();
        let all: usize = self.places.values().map(|place| place.rows() * place.target.row_words()).sum();
        let embed_is_head = self.embed.slices == self.head.weight.slices;
        let embed = if embed_is_head { 0 } else { looked_up(&self.embed) };
        let positions = self.positions.and_then(|table| {
            let mut tables = self.places.values().map(|place| &place.target);
            tables.find(|matrix| matrix.slices.iter().any(|slice| slice.tensor == table))
        });
        let positions = positions.map_or(0, looked_up);
        all - embed - positions
    }

    /// Errors with `Mismatch` naming a tensor that has not come, or not wholly.
    pub fn check_complete(&self) -> Result<()> {
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

impl Place {
    /// Rows of `target` it fills.
    fn rows(&self) -> usize {
        self.shape.iter().product::<usize>() / self.target.cols
    }
}

impl Matrix {
    fn row_words(&self) -> usize {
        self.dtype.row_words(self.cols)
    }

    /// Rows `first..first + count` as runs: tensor, first row in it, rows.
    fn runs(&self, first: usize, count: usize) -> Vec<(TensorId, usize, usize)> {
        let end = first + count;
        let ends = self.slices.iter().skip(1).map(|next| next.first).chain([self.rows]);
        let runs = self.slices.iter().zip(ends).map(|(slice, to)| {
            let (a, b) = (first.max(slice.first), end.min(to));
            (slice.tensor, a.saturating_sub(slice.first), b.saturating_sub(a))
        });
        runs.filter(|(_, _, rows)| *rows > 0).collect()
    }

    /// Writes whole rows from row `first` on, slice by slice.
    fn write(&self, first: usize, mut words: &[u32], write: &mut impl FnMut(TensorId, usize, &[u32])) {
        let width = self.row_words();
        for (tensor, row, rows) in self.runs(first, words.len() / width) {
            let (run, rest) = words.split_at(rows * width);
            write(tensor, row * width, run);
            words = rest;
        }
    }
}

struct Declare<'a> {
    config: &'a Blueprint,
    tensors: &'a mut Tensors,
    bank: &'a mut Bank,
    /// Of a linear map, the embedding or the head by its checkpoint name, where it fits.
    dtype_of: &'a dyn Fn(&str) -> Dtype,
    max_bytes: u64,
    places: BTreeMap<String, Place>,
}

impl Declare<'_> {
    fn layer(&mut self, l: usize) -> Result<Layer> {
        let config = self.config;
        let family = config.family;
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |role| family.module(role, l);
        let fused = |what: &str| format!("{}.{l}.{what}", family.layer);
        let attention_norm = self.norm(&name(Role::AttentionNorm))?;
        // One checkpoint tensor for all, or one for each part.
        let q_k_v: &[_] = if family.has(Role::Qkv) {
            &[(Role::Qkv, q + 2 * kv)]
        } else {
            &[(Role::Q, q), (Role::K, kv), (Role::V, kv)]
        };
        let gate_up: &[_] = if config.gated { &[(Role::Gate, f), (Role::Up, f)] } else { &[(Role::Up, f)] };
        let qkv = self.map(&fused("qkv"), c, l, q_k_v, config.qkv_bias)?;
        self.bank.end_cache(qkv.site, attention_norm.point); // until the next layer comes
        Ok(Layer {
            attention_norm,
            qkv,
            o: self.map(&fused("o"), q, l, &[(Role::O, c)], config.o_bias)?,
            o_input: self.bank.point(self.tensors, &format!("{}.input", name(Role::O)), q)?,
            mlp_norm: self.norm(&name(Role::MlpNorm))?,
            up: self.map(&fused("up"), c, l, gate_up, config.mlp_bias)?,
            down: self.map(&fused("down"), f, l, &[(Role::Down, c)], config.mlp_bias)?,
            down_input: self.bank.point(self.tensors, &format!("{}.input", name(Role::Down)), f)?,
        })
    }

    /// A linear map of layer `l`, (role, rows) top to bottom, stored alike.
    fn map(
        &mut self,
        name: &str,
        cols: usize,
        l: usize,
        roles: &[(Role, usize)],
        with_bias: bool,
    ) -> Result<Linear> {
        let family = self.config.family;
        let turned = roles.iter().any(|(role, _)| family.turns(*role));
        let parts: Vec<_> = roles.iter().map(|&(role, rows)| (family.module(role, l), rows)).collect();
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        self.linear(name, rows, cols, &parts, turned, with_bias)
    }

    /// A (rows, cols) matrix filled by `parts`, (checkpoint stem, its rows), top to bottom.
    fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        parts: &[(String, usize)],
        transposed: bool,
        with_bias: bool,
    ) -> Result<Linear> {
        // One type for all parts, that rounds none.
        let dtypes = parts.iter().map(|(stem, _)| (self.dtype_of)(&format!("{stem}.weight")));
        let dtype = dtypes.reduce(Dtype::join).unwrap_or(Dtype::F32);
        let weight = self.matrix(&format!("{name}.weight"), dtype, rows, cols)?;
        let bias =
            if with_bias { Some(self.matrix(&format!("{name}.bias"), Dtype::F32, rows, 1)?) } else { None };
        let mut first = 0;
        for (stem, rows) in parts {
            self.place(&format!("{stem}.weight"), &weight, first, *rows, transposed);
            if let Some(bias) = &bias {
                self.place(&format!("{stem}.bias"), bias, first, *rows, false);
            }
            first += rows;
        }
        let bias = bias.map(|bias| self.whole(&bias, name)).transpose()?;
        let site = self.bank.site(self.tensors, name, cols, parts)?;
        Ok(Linear { weight, bias, site })
    }

    fn norm(&mut self, name: &str) -> Result<NormWeights> {
        let c = self.config.hidden_size;
        let with_bias = matches!(self.config.norm, Norm::Layer(_));
        let mut vector = |what: &str| {
            let name = format!("{name}.{what}");
            let vector = self.matrix(&name, Dtype::F32, c, 1)?;
            self.place(&name, &vector, 0, c, false);
            self.whole(&vector, &name)
        };
        let weight = vector("weight")?;
        let bias = if with_bias { Some(vector("bias")?) } else { None };
        let point = self.bank.point(self.tensors, name, c)?;
        Ok(NormWeights { weight, bias, point })
    }

    /// Declares (rows, cols), or (rows) where `cols` is 1, in as few slices as fit the device.
    fn matrix(&mut self, name: &str, dtype: Dtype, rows: usize, cols: usize) -> Result<Matrix> {
        let dtype = if dtype.fits(cols) { dtype } else { Dtype::F32 };
        let fit = usize::try_from(self.max_bytes / (4 * dtype.row_words(cols) as u64)).unwrap_or(usize::MAX);
        if fit == 0 {
            return Err(Error::unsupported(format!(
                "tensor `{name}`: a row of {cols} exceeds the device's limit"
            )));
        }
        let mut slices = Vec::new();
        for first in (0..rows).step_by(fit) {
            let rows = fit.min(rows - first);
            let shape: &[usize] = if cols == 1 { &[rows] } else { &[rows, cols] };
            let name = if slices.is_empty() { name.to_owned() } else { format!("{name}[{first}..]") };
            slices.push(Slice { tensor: self.tensors.declare(name, dtype, shape)?, first });
        }
        Ok(Matrix { slices, dtype, rows, cols })
    }

    /// The one tensor of a matrix that may not be cut.
    fn whole(&self, matrix: &Matrix, name: &str) -> Result<TensorId> {
        match matrix.slices[..] {
            [slice] => Ok(slice.tensor),
            _ => Err(Error::unsupported(format!("tensor `{name}` exceeds the device's limit"))),
        }
    }

    fn place(&mut self, name: &str, target: &Matrix, first: usize, rows: usize, transposed: bool) {
        let shape = match (target.cols, transposed) {
            (1, _) => vec![rows],
            (cols, true) => vec![cols, rows],
            (cols, false) => vec![rows, cols],
        };
        let place = Place { shape, target: target.clone(), first, transposed, loaded: 0 };
        self.places.insert(name.to_owned(), place);
    }
}
