//! The table of kernels: name, WGSL text, workgroup size. Nothing here touches a device.
//!
//! "Import" is concatenation: WGSL takes declarations in any order.

/// One compute pipeline's worth of WGSL.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// File stem and entry point.
    pub name: &'static str,
    /// The op it implements: file stem of its twin.
    pub twin: &'static str,
    /// Its own file, then what it includes from `shaders/shared`.
    pub parts: &'static [&'static str],
    /// Value of its override `WORKGROUP_SIZE`.
    pub workgroup_size: u32,
}

const REDUCE: &str = include_str!("../../../shaders/shared/reduce.wgsl");
const ROW: &str = include_str!("../../../shaders/shared/row.wgsl");
const MIX: &str = include_str!("../../../shaders/shared/mix.wgsl");
const LANES: &str = include_str!("../../../shaders/shared/lanes.wgsl");
const RANKS: &str = include_str!("../../../shaders/shared/ranks.wgsl");
const REPLACED: &str = include_str!("../../../shaders/shared/replaced.wgsl");
const FEW_ROWS: &str = include_str!("../../../shaders/shared/few_rows.wgsl");
const LINEAR: &str = include_str!("../../../shaders/shared/linear.wgsl");

macro_rules! kernel {
    ($name:literal of $twin:literal, $size:literal $(, $shared:ident)*) => {
        Kernel {
            name: $name,
            twin: $twin,
            parts: &[include_str!(concat!("../../../shaders/", $name, ".wgsl")) $(, $shared)*],
            workgroup_size: $size,
        }
    };
}

/// y[n] = table[token[n]] (+ positions[pos[n]])
pub const EMBED: Kernel = kernel!("embed" of "embed", 64, ROW);
/// y = y · (1 + gains) + shifts + γ ∘ a[token] · b + replaced rows of the active adapters
pub const EMBED_DELTA: Kernel = kernel!("embed_delta" of "embed_delta", 64, REPLACED, MIX, ROW);
/// logits += replaced rows of the active adapters · x
pub const HEAD_DELTA: Kernel = kernel!("head_delta" of "head_delta", 64, LANES, REPLACED, MIX, ROW);
/// y = x̂ · weight (+ bias), and z of the adapters that read it
pub const NORM: Kernel = kernel!("norm" of "norm", 64, REDUCE, LANES, RANKS, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), many rows
pub const LINEAR_TILE: Kernel = kernel!("linear" of "linear", 64, LINEAR, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), one row
pub const LINEAR_VEC: Kernel = kernel!("linear_vec" of "linear", 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// y = delta(x Wᵀ) (+ bias) (+ y), few rows
pub const LINEAR_ROWS: Kernel = kernel!("linear_rows" of "linear", 64, FEW_ROWS, LINEAR, LANES, MIX, ROW);
/// z = γ ∘ A·x of the active adapters
pub const SHRINK: Kernel = kernel!("shrink" of "shrink", 64, LANES, RANKS, MIX, ROW);
/// y = act(x), or act(gate) ∘ up
pub const ACTIVATION: Kernel = kernel!("activation" of "activation", 64);
/// q rotated; k rotated and v into the cache
pub const SPLIT_QKV: Kernel = kernel!("split_qkv" of "split_qkv", 64, ROW);
/// y = softmax(scale · q · Kᵀ) · V, and z of the adapters that read it
pub const ATTENTION: Kernel = kernel!("attention" of "attention", 64, REDUCE, MIX, ROW);
/// x = x · (1 + gains) + shifts of the active adapters
pub const AFFINE: Kernel = kernel!("affine" of "affine", 64, MIX, ROW);
/// Draws the next tokens
pub const SAMPLE: Kernel = kernel!("sample" of "sample", 256, ROW, REDUCE);

/// Every kernel, for the tests that read them all.
pub const ALL: &[Kernel] = &[
    EMBED,
    EMBED_DELTA,
    HEAD_DELTA,
    NORM,
    LINEAR_TILE,
    LINEAR_VEC,
    LINEAR_ROWS,
    SHRINK,
    AFFINE,
    ACTIVATION,
    SPLIT_QKV,
    ATTENTION,
    SAMPLE,
];

impl Kernel {
    /// The WGSL handed to the device.
    pub fn source(&self) -> String {
        self.parts.join("\n")
    }
}
