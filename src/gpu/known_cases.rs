//! What the steps are made of on which kernels are tried: a few made-up numbers. Which of them a kernel's step
//! has is said by the file of its op. Nothing here touches a device.

use bytemuck::Zeroable;

use crate::ops::{AttentionInputs, DownProjection, Replaced};
use crate::plan::{ABSENT, Block, Dtype, INACTIVE, Mix, TensorId, Tensors, Training};

/// Columns of activations.
pub(super) const C: usize = 128;
/// Outputs, or tokens.
pub(super) const F: usize = 40;
/// Positions.
pub(super) const S: usize = 150;
pub(super) const SLOTS: usize = 2;
/// Heads of queries, those of keys, and their size.
pub(super) const H: usize = 4;
pub(super) const K: usize = 2;
pub(super) const D: usize = 72;
/// Ranks.
pub(super) const R: usize = 8;
pub(super) const ADAPTERS: usize = 2;

/// Columns of a weight of this type: as many as activations have, or one block.
pub(super) fn columns(dtype: Dtype) -> usize {
    if dtype.fits(C) { C } else { 256 }
}

/// The size of heads over a cache of this type, which those packed have to fit.
pub(super) fn head_dim(dtype: Dtype) -> usize {
    if dtype.is_packed() { 96 } else { D }
}

/// A case in the making.
pub(super) struct Made<'a> {
    tensors: &'a mut Tensors,
    pub(super) contents: Vec<(TensorId, Vec<u32>)>,
    /// Rows, of which the third is inactive.
    pub(super) n: usize,
}

impl<'a> Made<'a> {
    /// Nothing yet, in tensors declared behind those that are there.
    pub(super) fn new(tensors: &'a mut Tensors) -> Self {
        Self { tensors, contents: Vec::new(), n: 20 }
    }

    fn put(&mut self, dtype: Dtype, shape: &[usize], words: Vec<u32>) -> TensorId {
        let id = self.tensors.declare("known answer", dtype, shape).expect("small");
        self.contents.push((id, words));
        id
    }

    /// Bits that look random and are the same for the same place in a case.
    fn bits(&self, len: usize) -> Vec<u32> {
        let seed = 1 + self.contents.len() as u32;
        let one = |i: u32| {
            let bits = (i + 1).wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b);
            (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d)
        };
        (0..len as u32).map(one).collect()
    }

    /// Numbers of 32 between ±1, likewise.
    fn numbers(&self, len: usize) -> Vec<f32> {
        self.bits(len).into_iter().map(|bits| ((bits >> 27) as f32 - 15.5) / 16.0).collect()
    }

    pub(super) fn f32(&mut self, shape: &[usize]) -> TensorId {
        let numbers = self.numbers(shape.iter().product());
        self.put(Dtype::F32, shape, bytemuck::cast_slice(&numbers).to_vec())
    }

    /// The squares, for what is never negative.
    pub(super) fn squares(&mut self, shape: &[usize]) -> TensorId {
        let numbers = self.numbers(shape.iter().product());
        self.put(Dtype::F32, shape, numbers.iter().map(|x| (x * x).to_bits()).collect())
    }

    pub(super) fn weight(&mut self, dtype: Dtype, rows: usize, cols: usize) -> TensorId {
        let mut words = Vec::new();
        if dtype.can_pack() {
            self.numbers(rows * cols).chunks_exact(cols).for_each(|row| dtype.pack(row, &mut words));
        } else {
            // Any codes will do, and halves between 1/16 and 1/8 of either sign.
            let (width, halves) = (dtype.row_words(cols), dtype.halves(cols));
            let is_half = |i: usize| halves.contains(&(i % width));
            let bits = self.bits(rows * width).into_iter().enumerate();
            words.extend(
                bits.map(|(i, bits)| if is_half(i) { bits & 0x83ff_83ff | 0x2c00_2c00 } else { bits }),
            );
        }
        self.put(dtype, &[rows, cols], words)
    }

    pub(super) fn u32(&mut self, shape: &[usize], words: &[u32]) -> TensorId {
        self.put(Dtype::U32, shape, words.to_vec())
    }

    /// No two rows are at one position.
    pub(super) fn rows(&mut self) -> TensorId {
        let row = |i: u32| {
            let (slot, mix) = if i == 2 { (INACTIVE, 0) } else { (i % SLOTS as u32, i % 3) };
            [(5 * i + 3) % F as u32, (47 * i + 5) % S as u32, slot, mix]
        };
        let rows: Vec<u32> = (0..self.n as u32).flat_map(row).collect();
        self.u32(&[self.n, 4], &rows)
    }

    /// The base, an adapter, and two.
    pub(super) fn mixes(&mut self) -> TensorId {
        let mut mixes = [Mix::zeroed(); 3];
        mixes[1].n_blocks = 1;
        mixes[1].blocks[0] = Block::new(4, 3, 1, true, 0.5);
        mixes[2].n_blocks = 2;
        mixes[2].blocks[0] = Block::new(0, 4, 0, true, -1.25);
        mixes[2].blocks[1] = Block::new(4, 3, 1, false, 2.0);
        self.u32(&[3, 16], bytemuck::cast_slice(&mixes))
    }

    pub(super) fn training(&mut self) -> TensorId {
        let training = Training {
            seed: 3,
            dropout: 0.25,
            loss_weight: 0.125,
            max_norm: 1.0,
            learning_rate: 0.5,
            weight_decay: 0.25,
            eps: 0.0625,
            rates: [0.25, 0.125],
            corrections: [0.5, 0.75],
            padding: 0,
        };
        self.u32(&[12], bytemuck::cast_slice(&[training]))
    }

    pub(super) fn cache(&mut self, dtype: Dtype, head_dim: usize) -> TensorId {
        let shape = [SLOTS, S, K * head_dim];
        let mut words = Vec::new();
        let numbers = self.numbers(shape.iter().product());
        numbers.chunks_exact(S * K * head_dim).for_each(|slot| dtype.pack(slot, &mut words));
        self.put(dtype, &shape, words)
    }

    pub(super) fn replaced(&mut self) -> Replaced {
        let map: Vec<u32> =
            (0..(ADAPTERS * F) as u32).map(|i| if i % 3 == 0 { ABSENT } else { i % 4 }).collect();
        Replaced { map: self.u32(&[ADAPTERS, F], &map), deltas: self.f32(&[4, C]) }
    }

    pub(super) fn shrink(
        &mut self,
        rows: TensorId,
        cols: usize,
        parts: usize,
        partials: usize,
    ) -> DownProjection {
        let (mixes, a) = (self.mixes(), self.f32(&[parts * R, cols]));
        let z = self.f32(&[self.n, parts * partials * R]);
        DownProjection { rows, mixes, a, z, ranks: R, partials }
    }

    /// Over a cache of this type.
    pub(super) fn attention(&mut self, dtype: Dtype) -> AttentionInputs {
        self.attention_of(dtype, head_dim(dtype))
    }

    /// The same, of heads of another size.
    pub(super) fn attention_of(&mut self, dtype: Dtype, d: usize) -> AttentionInputs {
        let (rows, q) = (self.rows(), self.f32(&[self.n, H * d]));
        let (k_cache, v_cache) = (self.cache(dtype, d), self.cache(dtype, d));
        AttentionInputs { rows, q, k_cache, v_cache, head_dim: d, scale: 0.125, cap: 0.75, window: 0 }
    }
}
