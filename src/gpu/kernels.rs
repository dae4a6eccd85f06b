//! The table of kernels: name, WGSL text, workgroup size. Nothing here touches a device.
//!
//! "Import" is concatenation: WGSL takes declarations in any order.

use crate::plan::Dtype;

/// One compute pipeline's worth of WGSL.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// File stem and entry point.
    pub name: &'static str,
    /// The op it implements: file stem of its twin.
    pub twin: &'static str,
    /// Its own file, then what it includes from `shaders/shared`.
    pub parts: &'static [&'static str],
    /// How it reads a weight, the last of its parts; empty where it reads none.
    pub weight: &'static str,
    /// Type of that weight.
    pub dtype: Dtype,
    /// Value of its override `WORKGROUP_SIZE`.
    pub workgroup_size: u32,
}

/// A file of `shaders/`, as `shaders/build.rs` leaves it.
macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".wgsl"))
    };
}

const REDUCE: &str = wgsl!("shared/reduce");
const ROW: &str = wgsl!("shared/row");
const MIX: &str = wgsl!("shared/mix");
const LANES: &str = wgsl!("shared/lanes");
const RANKS: &str = wgsl!("shared/ranks");
const REPLACED: &str = wgsl!("shared/replaced");
const FEW_ROWS: &str = wgsl!("shared/few_rows");
const LINEAR: &str = wgsl!("shared/linear");
const NOISE: &str = wgsl!("shared/noise");
const TRAINING: &str = wgsl!("shared/training");
const ACT: &str = wgsl!("shared/act");
const TILE: &str = wgsl!("shared/tile");
const RANK: &str = wgsl!("shared/rank");

const WEIGHT_F32: &str = wgsl!("shared/weight_f32");
const WEIGHT_F32X4: &str = wgsl!("shared/weight_f32x4");
/// `shared/weight_<name>` by that name, which is a type's.
const WEIGHTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/weights.rs"));

macro_rules! kernel {
    ($name:literal of $twin:literal, $size:literal $(, $shared:ident)*) => {
        kernel!($name of $twin over "", $size $(, $shared)*)
    };
    ($name:literal of $twin:literal over $weight:expr, $size:literal $(, $shared:ident)*) => {
        Kernel {
            name: $name,
            twin: $twin,
            parts: &[wgsl!($name) $(, $shared)*],
            weight: $weight,
            dtype: Dtype::F32,
            workgroup_size: $size,
        }
    };
}

/// y[n] = table[token[n]] (+ positions[pos[n]])
pub const EMBED: Kernel = kernel!("embed" of "embed" over WEIGHT_F32, 64, ROW);
/// y = y · (1 + gains) + shifts + γ ∘ a[token] · b + replaced rows of the active adapters
pub const EMBED_DELTA: Kernel = kernel!("embed_delta" of "embed_delta", 64, REPLACED, MIX, ROW);
/// logits += replaced rows of the active adapters · x
pub const HEAD_DELTA: Kernel = kernel!("head_delta" of "head_delta", 64, LANES, REPLACED, MIX, ROW);
/// y = x̂ · weight (+ bias), and z of the adapters that read it
pub const NORM: Kernel = kernel!("norm" of "norm", 64, REDUCE, LANES, RANKS, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), many rows
pub const LINEAR_TILE: Kernel = kernel!("linear" of "linear" over WEIGHT_F32, 64, TILE, LINEAR, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), one row
pub const LINEAR_VEC: Kernel =
    kernel!("linear_vec" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), few rows
pub const LINEAR_ROWS: Kernel =
    kernel!("linear_rows" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), more than one row on a software adapter
pub const LINEAR_BLOCK: Kernel =
    kernel!("linear_block" of "linear" over WEIGHT_F32X4, 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// z = γ ∘ A·x of the active adapters
pub const SHRINK: Kernel = kernel!("shrink" of "shrink", 64, LANES, RANKS, MIX, ROW);
/// y = act(x), or act(gate) ∘ up
pub const ACTIVATION: Kernel = kernel!("activation" of "activation", 64, ACT);
/// q rotated; k rotated and v into the cache
pub const SPLIT_QKV: Kernel = kernel!("split_qkv" of "split_qkv", 64, ROW);
/// y = softmax(scale · q · Kᵀ) · V, and z of the adapters that read it
pub const ATTENTION: Kernel = kernel!("attention" of "attention", 64, REDUCE, MIX, ROW);
/// x = x · (1 + gains) + shifts of the active adapters
pub const AFFINE: Kernel = kernel!("affine" of "affine", 64, MIX, ROW);
/// Draws the next tokens
pub const SAMPLE: Kernel = kernel!("sample" of "sample", 256, ROW, REDUCE, NOISE);

/// dx = dy · W (+ dx)
pub const LINEAR_GRAD: Kernel = kernel!("linear_grad" of "linear_grad" over WEIGHT_F32, 64, TILE);
/// dz = γ ∘ dy·Bᵀ of the active adapters
pub const SHRINK_GRAD: Kernel = kernel!("shrink_grad" of "shrink_grad", 64, TILE, RANK, MIX, ROW);
/// dx = dz·A of the active adapters (+ dx)
pub const EXPAND_GRAD: Kernel = kernel!("expand_grad" of "expand_grad", 64, TILE, RANK, MIX, ROW);
/// g += uᵀ·v over the active rows
pub const OUTER_GRAD: Kernel = kernel!("outer_grad" of "outer_grad", 64, TILE, ROW);
/// dx += dy · d rms_norm / dx
pub const RMS_NORM_GRAD: Kernel = kernel!("rms_norm_grad" of "rms_norm_grad", 64, REDUCE);
/// dx += dy · d layer_norm / dx
pub const LAYER_NORM_GRAD: Kernel = kernel!("layer_norm_grad" of "layer_norm_grad", 64, REDUCE);
/// dx = dy · d activation / dx
pub const ACTIVATION_GRAD: Kernel = kernel!("activation_grad" of "activation_grad", 64, ACT);
/// dq, and the statistics of the softmax
pub const ATTENTION_GRAD_Q: Kernel = kernel!("attention_grad_q" of "attention_grad_q", 64, ROW, REDUCE);
/// dK and dV of the visible positions
pub const ATTENTION_GRAD_KV: Kernel = kernel!("attention_grad_kv" of "attention_grad_kv", 64, ROW);
/// dqkv of dq and the gradient caches
pub const SPLIT_QKV_GRAD: Kernel = kernel!("split_qkv_grad" of "split_qkv_grad", 64, ROW);
/// y[pos[n]] = x[n]
pub const KEEP_ROWS: Kernel = kernel!("keep_rows" of "keep_rows", 64, ROW);
/// x[n] = y[pos[n]]
pub const RECALL_ROWS: Kernel = kernel!("recall_rows" of "recall_rows", 64, ROW);
/// The loss, and its gradient by the logits
pub const CROSS_ENTROPY: Kernel = kernel!("cross_entropy" of "cross_entropy", 256, TRAINING, ROW, REDUCE);
/// sums[index] = Σ g²
pub const SQUARE_SUM: Kernel = kernel!("square_sum" of "square_sum", 256, REDUCE);
/// A step of AdamW
pub const ADAM_W: Kernel = kernel!("adam_w" of "adam_w", 256, TRAINING, REDUCE);
/// y = x ∘ keep / (1 − p) (+ y)
pub const DROPOUT: Kernel = kernel!("dropout" of "dropout", 64, TRAINING, ROW, NOISE);

/// Every kernel, for the tests that read them all.
pub const ALL: &[Kernel] = &[
    EMBED,
    EMBED_DELTA,
    HEAD_DELTA,
    NORM,
    LINEAR_TILE,
    LINEAR_VEC,
    LINEAR_ROWS,
    LINEAR_BLOCK,
    SHRINK,
    AFFINE,
    ACTIVATION,
    SPLIT_QKV,
    ATTENTION,
    SAMPLE,
    LINEAR_GRAD,
    SHRINK_GRAD,
    EXPAND_GRAD,
    OUTER_GRAD,
    RMS_NORM_GRAD,
    LAYER_NORM_GRAD,
    ACTIVATION_GRAD,
    ATTENTION_GRAD_Q,
    ATTENTION_GRAD_KV,
    SPLIT_QKV_GRAD,
    KEEP_ROWS,
    RECALL_ROWS,
    CROSS_ENTROPY,
    SQUARE_SUM,
    ADAM_W,
    DROPOUT,
];

impl Kernel {
    /// The kernel as an adapter of `lanes` lanes runs it: one lane makes fewer and fatter
    /// invocations, which in workgroups of 64 would not keep all cores of a software adapter busy.
    pub fn on(self, lanes: u32) -> Self {
        if lanes == 1 { Self { workgroup_size: self.workgroup_size.min(32), ..self } } else { self }
    }

    /// The kernel for a weight of this type.
    pub fn over(self, dtype: Dtype) -> Self {
        if !dtype.is_packed() {
            return self;
        }
        let text = WEIGHTS.iter().find(|(name, _)| *name == dtype.name());
        let (_, weight) = text.expect("every packed type has a text");
        Self { weight, dtype, ..self }
    }

    /// The kernel for every type of weight it reads; itself alone if it reads none.
    pub fn variants(self) -> impl Iterator<Item = Self> {
        let packed = Dtype::PACKED.iter().filter(move |_| !self.weight.is_empty());
        std::iter::once(self).chain(packed.map(move |&dtype| self.over(dtype)))
    }

    /// The WGSL handed to the device.
    pub fn source(&self) -> String {
        [self.parts, &[self.weight]].concat().join("\n")
    }
}
