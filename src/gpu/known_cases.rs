//! For every kernel a step on a few made-up numbers, which fill more than one tile of it and leave
//! its last one half empty. Nothing here touches a device.

use bytemuck::Zeroable;

use crate::activation::Activation;
use crate::plan::{
    ABSENT, AttentionInputs, Block, Delta, Dtype, GradOp, INACTIVE, Mix, Op, RING, Replaced, Sampling,
    Shrink, Slice, TensorId, Tensors, Training,
};

use super::kernels::Kernel;

/// Columns of activations; a packed weight's come in 64s.
const C: usize = 128;
/// Outputs, or tokens.
const F: usize = 40;
/// Positions.
const S: usize = 150;
const SLOTS: usize = 2;
/// Heads of queries, those of keys, and their size.
const H: usize = 4;
const K: usize = 2;
const D: usize = 72;
/// Ranks.
const R: usize = 8;
const ADAPTERS: usize = 2;

/// A step, its tensors' contents, and its rows.
#[derive(Debug)]
pub struct Case {
    /// The step that the kernel computes.
    pub op: Op,
    /// Of all its tensors, outputs included.
    pub contents: Vec<(TensorId, Vec<u32>)>,
    /// How many rows.
    pub n: usize,
}

impl Case {
    /// The kernel's, in tensors declared behind those that are there.
    pub fn of(kernel: &Kernel, tensors: &mut Tensors) -> Self {
        let n = match kernel.name {
            "linear_vec" => 1,
            "linear_rows" => 7,
            "linear_block" => 11,
            "attention" => 8,
            "sample" => 3,
            _ => 20,
        };
        let mut made = Made { tensors, contents: Vec::new(), n };
        Self { op: made.step(kernel), contents: made.contents, n }
    }
}

struct Made<'a> {
    tensors: &'a mut Tensors,
    contents: Vec<(TensorId, Vec<u32>)>,
    /// Rows, of which the third is inactive.
    n: usize,
}

impl Made<'_> {
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

    fn f32(&mut self, shape: &[usize]) -> TensorId {
        let numbers = self.numbers(shape.iter().product());
        self.put(Dtype::F32, shape, bytemuck::cast_slice(&numbers).to_vec())
    }

    /// The squares, for what is never negative.
    fn squares(&mut self, shape: &[usize]) -> TensorId {
        let numbers = self.numbers(shape.iter().product());
        self.put(Dtype::F32, shape, numbers.iter().map(|x| (x * x).to_bits()).collect())
    }

    fn weight(&mut self, dtype: Dtype, rows: usize, cols: usize) -> TensorId {
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

    fn u32(&mut self, shape: &[usize], words: &[u32]) -> TensorId {
        self.put(Dtype::U32, shape, words.to_vec())
    }

    /// No two rows are at one position.
    fn rows(&mut self) -> TensorId {
        let row = |i: u32| {
            let (slot, mix) = if i == 2 { (INACTIVE, 0) } else { (i % SLOTS as u32, i % 3) };
            [(5 * i + 3) % F as u32, (47 * i + 5) % S as u32, slot, mix]
        };
        let rows: Vec<u32> = (0..self.n as u32).flat_map(row).collect();
        self.u32(&[self.n, 4], &rows)
    }

    /// The base, an adapter, and two.
    fn mixes(&mut self) -> TensorId {
        let mut mixes = [Mix::zeroed(); 3];
        mixes[1].n_blocks = 1;
        mixes[1].blocks[0] = Block::new(4, 3, 1, true, 0.5);
        mixes[2].n_blocks = 2;
        mixes[2].blocks[0] = Block::new(0, 4, 0, true, -1.25);
        mixes[2].blocks[1] = Block::new(4, 3, 1, false, 2.0);
        self.u32(&[3, 16], bytemuck::cast_slice(&mixes))
    }

    fn training(&mut self) -> TensorId {
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

    fn cache(&mut self, s: usize) -> TensorId {
        self.f32(&[SLOTS, s, K * D])
    }

    fn replaced(&mut self) -> Replaced {
        let map: Vec<u32> =
            (0..(ADAPTERS * F) as u32).map(|i| if i % 3 == 0 { ABSENT } else { i % 4 }).collect();
        Replaced { map: self.u32(&[ADAPTERS, F], &map), deltas: self.f32(&[4, C]) }
    }

    fn shrink(&mut self, rows: TensorId, cols: usize, parts: usize, partials: usize) -> Shrink {
        let (mixes, a) = (self.mixes(), self.f32(&[parts * R, cols]));
        let z = self.f32(&[self.n, parts * partials * R]);
        Shrink { rows, mixes, a, z, ranks: R, partials }
    }

    fn linear(&mut self, dtype: Dtype, cols: usize) -> Op {
        let (rows, mixes) = (self.rows(), self.mixes());
        let (z, b) = (self.f32(&[self.n, 2 * R]), self.f32(&[R + 2 * ADAPTERS, F]));
        let delta = Delta { rows, mixes, z, b, ranks: R, partials: 1, parts: [24, usize::MAX] };
        Op::Linear {
            x: self.f32(&[self.n, cols]),
            weight: Slice { tensor: self.weight(dtype, F, cols), first: 0 },
            bias: Some(self.f32(&[F])),
            y: self.f32(&[self.n, F]),
            accumulate: true,
            delta: Some(delta),
        }
    }

    fn attention(&mut self) -> AttentionInputs {
        let (rows, q) = (self.rows(), self.f32(&[self.n, H * D]));
        let (k_cache, v_cache) = (self.cache(S), self.cache(S));
        AttentionInputs { rows, q, k_cache, v_cache, head_dim: D, scale: 0.125, window: 0 }
    }

    /// A greedy slot, and one that draws; both have one row.
    fn sample(&mut self) -> Op {
        let greedy = Sampling { repetition_penalty: 1.5, top_p: 1.0, ..Sampling::zeroed() };
        let draws = Sampling { temperature: 0.5, top_k: 20, top_p: 0.75, min_p: 0.0625, seed: 7, ..greedy };
        let sampling = self.u32(&[SLOTS, 12], bytemuck::cast_slice(&[greedy, draws]));
        // More tokens than a workgroup has invocations.
        let v = 600;
        Op::Sample {
            logits: self.f32(&[self.n, v]),
            sampling,
            seen: self.u32(&[SLOTS, v.div_ceil(32)], &[0xf0f0; SLOTS * 19]),
            rows: self.rows(),
            ring: self.u32(&[SLOTS, RING], &[0; SLOTS * RING]),
        }
    }

    fn step(&mut self, &Kernel { name, dtype, .. }: &Kernel) -> Op {
        match name {
            "embed" => Op::Embed {
                rows: self.rows(),
                table: Slice { tensor: self.weight(dtype, F - 10, C), first: 5 },
                positions: Some(self.f32(&[S, C])),
                y: self.f32(&[self.n, C]),
            },
            "embed_delta" => Op::EmbedDelta {
                rows: self.rows(),
                mixes: self.mixes(),
                a: self.f32(&[R, F]),
                b: self.f32(&[R + 2 * ADAPTERS, C]),
                ranks: R,
                replaced: Some(self.replaced()),
                y: self.f32(&[self.n, C]),
            },
            "head_delta" => Op::HeadDelta {
                rows: self.rows(),
                mixes: self.mixes(),
                x: self.f32(&[self.n, C]),
                replaced: self.replaced(),
                logits: self.f32(&[self.n, F]),
            },
            "norm" => {
                let rows = self.rows();
                Op::Norm {
                    x: self.f32(&[self.n, C]),
                    weight: self.f32(&[C]),
                    bias: Some(self.f32(&[C])),
                    y: self.f32(&[self.n, C]),
                    eps: 0.125,
                    centred: true,
                    shrink: Some(self.shrink(rows, C, 2, 1)),
                }
            }
            // The tile alone takes columns that are no fours; packed ones always are.
            "linear" if dtype == Dtype::F32 => self.linear(dtype, 18),
            "linear" | "linear_vec" | "linear_rows" | "linear_block" => self.linear(dtype, C),
            "shrink" => {
                let rows = self.rows();
                Op::Shrink { x: self.f32(&[self.n, C]), shrink: self.shrink(rows, C, 2, 1) }
            }
            "affine" => Op::Affine {
                rows: self.rows(),
                mixes: self.mixes(),
                gains: self.f32(&[2 * ADAPTERS, C]),
                x: self.f32(&[self.n, C]),
            },
            "activation" => Op::Activation {
                x: self.f32(&[self.n, 2 * C]),
                y: self.f32(&[self.n, C]),
                kind: Activation::Silu,
                gated: true,
            },
            "split_qkv" => Op::SplitQkv {
                rows: self.rows(),
                qkv: self.f32(&[self.n, (H + 2 * K) * D]),
                rope: self.f32(&[S, D]),
                q: self.f32(&[self.n, H * D]),
                k_cache: self.cache(S),
                v_cache: self.cache(S),
                head_dim: D,
            },
            "attention" => {
                let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, .. } = self.attention();
                let (y, shrink) = (self.f32(&[self.n, H * D]), Some(self.shrink(rows, H * D, 1, H)));
                Op::Attention { rows, q, k_cache, v_cache, y, head_dim, scale, window: 100, shrink }
            }
            "sample" => self.sample(),
            _ => Op::Grad(self.grad_step(name, dtype)),
        }
    }

    fn grad_step(&mut self, name: &str, dtype: Dtype) -> GradOp {
        match name {
            "linear_grad" => GradOp::Linear {
                dy: self.f32(&[self.n, F]),
                weight: Slice { tensor: self.weight(dtype, F - 3, C), first: 3 },
                dx: self.f32(&[self.n + 1, C]),
                dx_first: 1,
                accumulate: true,
            },
            "shrink_grad" => GradOp::Shrink {
                rows: self.rows(),
                mixes: self.mixes(),
                dy: self.f32(&[self.n, F]),
                b: self.f32(&[R, F]),
                dz: self.f32(&[self.n, 2 * R]),
                ranks: R,
                parts: [24, usize::MAX],
            },
            "expand_grad" => GradOp::Expand {
                rows: self.rows(),
                mixes: self.mixes(),
                dz: self.f32(&[self.n, 2 * R]),
                a: self.f32(&[2 * R, C]),
                dx: self.f32(&[self.n, C]),
                ranks: R,
                accumulate: true,
            },
            "outer_grad" => GradOp::Outer {
                rows: self.rows(),
                u: self.f32(&[self.n, F]),
                u_first: 3,
                v: self.f32(&[self.n, C]),
                g: self.f32(&[F, C]),
                g_first: 1,
                count: 35,
                cols: [4, 100],
            },
            "rms_norm_grad" | "layer_norm_grad" => {
                let [x, weight] = [self.f32(&[self.n, C]), self.f32(&[C])];
                let [dy, dx] = [self.f32(&[self.n, C]), self.f32(&[self.n, C])];
                let eps = 0.125;
                if name == "rms_norm_grad" {
                    GradOp::RmsNorm { x, weight, dy, dx, eps }
                } else {
                    GradOp::LayerNorm { x, weight, dy, dx, eps }
                }
            }
            "activation_grad" => GradOp::Activation {
                x: self.f32(&[self.n, 2 * C]),
                dy: self.f32(&[self.n, C]),
                dx: self.f32(&[self.n, 2 * C]),
                kind: Activation::Silu,
                gated: true,
            },
            "attention_grad_q" => GradOp::AttentionQ {
                forward: self.attention(),
                dy: self.f32(&[self.n, H * D]),
                dq: self.f32(&[self.n, H * D]),
                stats: self.f32(&[self.n, 2 * H]),
            },
            "attention_grad_kv" => GradOp::AttentionKv {
                forward: self.attention(),
                dy: self.f32(&[self.n, H * D]),
                stats: self.f32(&[self.n, 2 * H]),
                dk_cache: self.cache(S),
                dv_cache: self.cache(S),
            },
            "split_qkv_grad" => GradOp::SplitQkv {
                rows: self.rows(),
                dq: self.f32(&[self.n, H * D]),
                dk_cache: self.cache(S),
                dv_cache: self.cache(S),
                rope: self.f32(&[S, D]),
                dqkv: self.f32(&[self.n, (H + 2 * K) * D]),
                head_dim: D,
            },
            "keep_rows" => {
                GradOp::KeepRows { rows: self.rows(), x: self.f32(&[self.n, C]), y: self.f32(&[S, C]) }
            }
            "recall_rows" => {
                GradOp::RecallRows { rows: self.rows(), y: self.f32(&[S, C]), x: self.f32(&[self.n, C]) }
            }
            "cross_entropy" => {
                let target = |i: u32| if i == 2 { INACTIVE } else { 7 * i % F as u32 };
                let targets: Vec<u32> = (0..self.n as u32).map(target).collect();
                GradOp::CrossEntropy {
                    training: self.training(),
                    targets: self.u32(&[self.n], &targets),
                    logits: self.f32(&[self.n, F]),
                    loss: self.f32(&[self.n]),
                }
            }
            "square_sum" => GradOp::SquareSum { g: self.f32(&[F, C]), sums: self.squares(&[3]), index: 1 },
            "adam_w" => GradOp::AdamW {
                training: self.training(),
                sums: self.squares(&[3]),
                g: self.f32(&[F, C]),
                m: self.f32(&[F, C]),
                v: self.squares(&[F, C]),
                g_first: 7,
                param: self.f32(&[self.n, C]),
                param_first: 3,
                len: 1000,
            },
            "dropout" => GradOp::Dropout {
                training: self.training(),
                rows: self.rows(),
                x: self.f32(&[self.n, C]),
                y: self.f32(&[self.n, C]),
                site: 5,
                accumulate: true,
            },
            other => unreachable!("kernel `{other}` has a case"),
        }
    }
}
