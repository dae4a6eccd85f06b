//! What is known of a loaded adapter: its name, its numbers, and where in the bank they lie.
//! Not the bank, nor which adapters act.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::model::{Demand, Held, Site, Span, padded};

use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::files::AdapterFiles;

/// Adapters by name, each with its weight; empty is the base.
pub type Choice = Vec<(String, f32)>;

/// What makes cached keys and values valid: the version of each active adapter and the bits of
/// its weight, and which merge the weights hold, if any.
pub(crate) type MixKey = Vec<(u64, u32)>;

/// What is known of a loaded adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterInfo {
    /// As given when it was loaded.
    pub name: String,
    /// Largest rank of its modules.
    pub rank: usize,
    /// Names of the modules it acts on.
    pub modules: Vec<String>,
    /// Tokens it puts in front of every text.
    pub virtual_tokens: usize,
    /// Bytes of main memory that its numbers take: its folder's, and what was computed from that.
    pub bytes: usize,
    /// What its files cannot say, or say and do not have, and the caller should know; mostly empty.
    pub warnings: Vec<String>,
}

/// An adapter in the bank.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) info: AdapterInfo,
    /// Never used twice: a reloaded name is a new version.
    pub(crate) id: u64,
    /// Its place among gains, shifts and maps.
    pub(crate) index: usize,
    /// Its ranks in each layout of the bank.
    pub(crate) ranks: Held,
    /// Its rows among all replaced ones: the embedding's, then the head's.
    pub(crate) rows: Range<usize>,
    /// Its virtual tokens among all that have an embedding.
    pub(crate) prompts: Range<usize>,
    /// P: its virtual tokens, with an embedding or with given keys and values.
    pub(crate) n_virtual: usize,
    /// Whether it is being trained: its B then lies in the bank without the scale, which every mix has.
    pub(crate) trained: bool,
    /// Whether the device has steps of training that its numbers here lack.
    pub(crate) is_ahead: bool,
    /// Whether what it does shows in cached keys and values.
    pub(crate) feeds_cache: bool,
    pub(crate) adapter: Adapter,
    /// Where its deltas and points act.
    pub(crate) places: Places,
    /// The folder it came from.
    pub(crate) files: Option<Arc<AdapterFiles>>,
    /// What that folder called its base.
    pub(crate) base: Option<String>,
}

impl Loaded {
    /// Factor on its weight in every mix.
    pub(crate) fn mix_scale(&self) -> f32 {
        let delta = self.adapter.deltas.first().filter(|_| self.trained);
        delta.map_or(1.0, |delta| delta.scale)
    }

    /// B of one of its modules as the bank has it.
    pub(crate) fn bank_b(&self, delta: &ModuleDelta) -> Vec<f32> {
        if self.trained { delta.b.values() } else { delta.scaled_b() }
    }

    /// Gives it numbers that it has learned: the folder it came from is no longer it.
    pub(crate) fn learn(&mut self, deltas: Vec<ModuleDelta>) {
        (self.files, self.adapter.deltas) = (None, deltas);
        // Until a copy of what the device has learned comes, the numbers are still the file's.
        self.info.bytes = bytes(&self.adapter, self.adapter.deltas.iter().find_map(|delta| delta.a.file()));
    }

    /// Whether gradients pass through it: it is a plain LoRA of linear maps.
    pub(crate) fn trains_through(&self) -> bool {
        let rows = self.adapter.rows.iter().all(|rows| rows.tokens.is_empty());
        !self.is_affine() && rows && self.n_virtual == 0
    }

    /// The ranks it needs, by site. Where its cores are trained they are of one size.
    pub(crate) fn demand(&self) -> Demand {
        let mut demand = Demand::new();
        for (delta, place) in self.adapter.deltas.iter().zip(&self.places.deltas) {
            let rank = if delta.core.is_some() { self.info.rank } else { delta.rank };
            demand.entry(place.site).or_default()[place.part] = padded(rank);
        }
        demand
    }

    /// Its ranks in the layout of a site.
    pub(crate) fn range_at(&self, site: &Site) -> Range<usize> {
        self.ranks[site.layout].clone()
    }

    /// Whether any module or activation is scaled or shifted.
    pub(super) fn is_affine(&self) -> bool {
        let scales = |d: &ModuleDelta| !d.gain.is_empty() || !d.shift.is_empty();
        !self.adapter.points.is_empty() || self.adapter.deltas.iter().any(scales)
    }
}

/// A part of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) site: usize,
    pub(crate) part: usize,
}

/// Where the deltas and the points of an adapter act.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) deltas: Vec<Place>,
    pub(crate) points: Vec<Span>,
}

/// Bytes of main memory that an adapter's numbers take, and the file they came from if that is kept.
pub(crate) fn bytes(adapter: &Adapter, files: Option<&Arc<AdapterFiles>>) -> usize {
    adapter.own_bytes() + files.map_or(0, |files| files.weights.len())
}

/// A module that is not among the base's linear maps.
pub(crate) fn unknown(module: &str) -> Error {
    Error::mismatch(format!("module `{module}`: this base model has no such linear map"))
}
