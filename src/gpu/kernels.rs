//! What a kernel is: name, WGSL text, workgroup size. Which ones there are is said by the files of `ops`.
//! Nothing here touches a device.
//!
//! "Import" is concatenation: WGSL takes declarations in any order.

use crate::plan::Dtype;

/// One compute pipeline's worth of WGSL.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// File stem and entry point.
    pub name: &'static str,
    /// The op that it computes, see [`Op::name`](crate::ops::Op::name).
    pub op: &'static str,
    /// Its own file, then what it includes from `shaders/shared`.
    pub parts: &'static [&'static str],
    /// How it reads a weight, or a cache, or writes one: the last of its parts; empty where it does not.
    pub weight: &'static str,
    /// Type of that weight, or cache.
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

pub(super) const REDUCE: &str = wgsl!("shared/reduce");
pub(super) const RMS: &str = wgsl!("shared/rms");
pub(super) const NORMED_ROW: &str = wgsl!("shared/normed_row");
pub(super) const FOUR_WEIGHTS: &str = wgsl!("shared/four_weights");
pub(super) const HEADS: &str = wgsl!("shared/heads");
/// How queries grow with their positions.
pub(super) const GROWTH: &str = wgsl!("shared/growth");
pub(super) const ROW: &str = wgsl!("shared/row");
pub(super) const WINDOW: &str = wgsl!("shared/window");
pub(super) const MIX: &str = wgsl!("shared/mix");
pub(super) const LANES: &str = wgsl!("shared/lanes");
pub(super) const RANKS: &str = wgsl!("shared/ranks");
pub(super) const REPLACED: &str = wgsl!("shared/replaced");
pub(super) const FEW_ROWS: &str = wgsl!("shared/few_rows");
pub(super) const LINEAR: &str = wgsl!("shared/linear");
pub(super) const NOISE: &str = wgsl!("shared/noise");
pub(super) const TRAINING: &str = wgsl!("shared/training");
pub(super) const CAP: &str = wgsl!("shared/cap");
pub(super) const ACT: &str = wgsl!("shared/act");
pub(super) const TILE: &str = wgsl!("shared/tile");
pub(super) const WIDE_TILE: &str = wgsl!("shared/wide_tile");
pub(super) const RANK: &str = wgsl!("shared/rank");

pub(super) const WEIGHT_F32: &str = wgsl!("shared/weight_f32");
pub(super) const WEIGHT_F32X4: &str = wgsl!("shared/weight_f32x4");
/// `shared/weight_<name>` by that name, which is a type's.
const WEIGHTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/weights.rs"));

pub(super) const CACHE_F32: &str = wgsl!("shared/cache_f32");
pub(super) const CACHE_F32X4: &str = wgsl!("shared/cache_f32x4");
pub(super) const CACHE_FOURS: &str = wgsl!("shared/cache_fours");
pub(super) const STORE_F16: &str = wgsl!("shared/store_f16");
/// How keys and values are read, by type.
const CACHES: &[(&str, &str)] = &[
    ("f32", CACHE_F32),
    ("f32x4", CACHE_F32X4),
    ("fours", CACHE_FOURS),
    ("f16", wgsl!("shared/cache_f16")),
    ("q8", wgsl!("shared/cache_q8")),
];
/// How they are written, where they are packed.
const STORES: &[(&str, &str)] = &[("f16", STORE_F16), ("q8", wgsl!("shared/store_q8"))];

/// A kernel of the op and the entry point of one name, or `name of op`; then the weight that it reads,
/// its workgroup size, and what it includes.
macro_rules! kernel {
    ($name:literal $(over $weight:ident)?, $size:literal $(, $shared:ident)*) => {
        $crate::gpu::kernels::kernel!($name of $name $(over $weight)?, $size $(, $shared)*)
    };
    ($name:literal of $op:literal, $size:literal $(, $shared:ident)*) => {
        $crate::gpu::kernels::kernel!($name, $op, "", $size $(, $shared)*)
    };
    ($name:literal of $op:literal over $weight:ident, $size:literal $(, $shared:ident)*) => {
        $crate::gpu::kernels::kernel!($name, $op, $crate::gpu::kernels::$weight, $size $(, $shared)*)
    };
    ($name:literal, $op:literal, $weight:expr, $size:literal $(, $shared:ident)*) => {
        $crate::gpu::kernels::Kernel {
            name: $name,
            op: $op,
            parts: &[$crate::gpu::kernels::wgsl!($name) $(, $crate::gpu::kernels::$shared)*],
            weight: $weight,
            dtype: $crate::plan::Dtype::F32,
            workgroup_size: $size,
        }
    };
}
pub(super) use {kernel, wgsl};

impl Kernel {
    /// The kernel as an adapter of `lanes` lanes runs it: one lane makes fewer and fatter
    /// invocations, which in workgroups of 64 would not keep all cores of a software adapter busy.
    pub(crate) fn on(self, lanes: u32) -> Self {
        if lanes == 1 { Self { workgroup_size: self.workgroup_size.min(32), ..self } } else { self }
    }

    /// What it may read its weight by, by type: one of the lists above.
    fn texts(&self) -> &'static [(&'static str, &'static str)] {
        let has_it = |texts: &&[(&str, &str)]| texts.iter().any(|(_, text)| *text == self.weight);
        [CACHES, STORES].into_iter().find(has_it).unwrap_or(WEIGHTS)
    }

    /// The kernel for a weight, or a cache, of this type.
    pub fn over(self, dtype: Dtype) -> Self {
        if !dtype.is_packed() {
            return self;
        }
        let text = self.texts().iter().find(|(name, _)| *name == dtype.name());
        let (_, weight) = text.expect("every packed type that fits has a text");
        Self { weight, dtype, ..self }
    }

    /// The kernel for every type of weight it reads; itself alone if it reads none.
    pub(crate) fn variants(self) -> impl Iterator<Item = Self> {
        let texts = if self.weight.is_empty() { &[] } else { self.texts() };
        let has_it = move |dtype: &&Dtype| texts.iter().any(|(name, _)| *name == dtype.name());
        let packed = Dtype::PACKED.iter().filter(has_it).filter(move |dtype| **dtype != self.dtype);
        std::iter::once(self).chain(packed.map(move |&dtype| self.over(dtype)))
    }

    /// The WGSL handed to the device.
    pub fn source(&self) -> String {
        [self.parts, &[self.weight]].concat().join("\n")
    }
}
