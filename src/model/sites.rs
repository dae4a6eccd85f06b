//! Where adapters can act: linear maps with their fused parts, and activations.
//! Not the room that they have there: that is the bank's.

use crate::plan::TensorId;

/// Most layouts: a switch writes a line of the `mixes` of each.
pub(crate) const MAX_LAYOUTS: usize = 8;

/// One linear map that adapters can act on; fused projections are its parts.
#[derive(Clone, Debug)]
pub struct Site {
    /// (parts·R, C), or (R, C) where `stacked`; R as in [`Layout`]
    pub(crate) a: TensorId,
    /// (R + 2·adapters, F)
    pub(crate) b: TensorId,
    /// C
    pub(crate) inputs: usize,
    /// First output of each part, and at the end F.
    pub(crate) edges: Vec<usize>,
    /// Of each part: whether cached keys and values depend on its outputs.
    pub(crate) feeds_cache: Vec<bool>,
    /// Whether any adapter acts here: only then do plans carry the steps.
    pub(crate) enabled: bool,
    /// Whether parts have ranks of their own, one after the other, and not the same ones side by side.
    pub(crate) stacked: bool,
    /// Index of its layout.
    pub(crate) layout: usize,
    /// In which arena A and B lie.
    pub(crate) arena: usize,
}

/// The ranks that some sites have in common.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// (MIXES, 16), see [`Mix`](crate::plan::Mix): where here the ranks of each mix lie
    pub(crate) mixes: TensorId,
    /// `R`: ranks there is room for
    pub(crate) ranks: usize,
}

/// Ranks of an adapter at the parts of a site.
pub(crate) type PartRanks = [usize; 3];

/// A part of a site, as it is declared.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The module's checkpoint name without prefix.
    pub module: String,
    pub(crate) outputs: usize,
    /// Whether cached keys and values depend on its outputs.
    pub(crate) feeds_cache: bool,
}

impl Part {
    pub(crate) fn new(module: impl Into<String>, outputs: usize, feeds_cache: bool) -> Self {
        Self { module: module.into(), outputs, feeds_cache }
    }
}

/// One activation that adapters can scale and shift: the output of a norm, or of norms side by side, or
/// the input of a linear map that shares it with no other.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// (2·adapters, C) = [gains; shifts]
    pub(crate) gains: TensorId,
    /// C
    pub(crate) cols: usize,
    /// Whether any adapter acts here.
    pub(crate) enabled: bool,
}

/// The columns of a point that a norm or an input has: `repeats` times `cols` of them, as heads that one
/// norm serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which point.
    pub(crate) point: usize,
    /// Its first column there.
    pub(crate) first: usize,
    /// Columns that have gains and shifts of their own.
    pub(crate) cols: usize,
    /// How many times they stand there, one behind the other.
    pub(crate) repeats: usize,
    /// Whether cached keys and values depend on it.
    pub(crate) feeds_cache: bool,
}

impl Site {
    /// Projections fused here.
    pub(crate) fn parts(&self) -> usize {
        self.edges.len() - 1
    }

    /// (C, F of one part)
    pub fn shape(&self, part: usize) -> [usize; 2] {
        [self.inputs, self.edges[part + 1] - self.edges[part]]
    }

    /// F
    pub(crate) fn outputs(&self) -> usize {
        self.edges[self.parts()]
    }
}
