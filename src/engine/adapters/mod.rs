//! The adapter bank: which adapters are loaded, where their ranks lie, and which mixes of them
//! are on the device.
//!
//! Loading writes an adapter's block of ranks once. Choosing one, or blending several, is one
//! line of the `mixes` tensor: at most 64 bytes, no object, no plan.

pub(super) mod adapter;
pub(super) mod bank;
pub(super) mod combine;
mod export;
pub(super) mod files;
mod foreign;
pub(super) mod gguf;
pub(super) mod loaded;
mod merge;
pub(super) mod merged;
mod mixes;
pub(super) mod new_lora;
mod peft;
mod peft_rows;
mod place;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::MIXES;
use crate::plan::{MAX_BLOCKS, MAX_RANKS, TensorId};

use crate::engine::Engine;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::loaded::{AdapterInfo, Choice, Loaded, padded};
use crate::engine::adapters::merged::Merged;
use crate::engine::adapters::mixes::Line;

/// The loaded adapters and the lines of the `mixes` tensor.
#[derive(Debug)]
pub struct Adapters {
    pub(in crate::engine) loaded: Vec<Loaded>,
    /// Line 0 is the base.
    lines: Vec<Line>,
    /// Applied where a request names none.
    pub(in crate::engine) default: Choice,
    pub(in crate::engine) merged: Option<Merged>,
    /// Name of the one that is being trained.
    pub(in crate::engine) trainee: Option<String>,
    /// The trainee's moments as its last finished step left them; none before the first.
    pub(in crate::engine) moments: Vec<(TensorId, Vec<u32>)>,
    /// Merges so far.
    pub(in crate::engine) merges: u32,
    pub(in crate::engine) next_id: u64,
    clock: u64,
}

impl Default for Adapters {
    fn default() -> Self {
        let lines = vec![Line::default(); MIXES];
        Self {
            loaded: Vec::new(),
            lines,
            default: Choice::new(),
            merged: None,
            trainee: None,
            moments: Vec::new(),
            merges: 0,
            next_id: 1,
            clock: 0,
        }
    }
}

impl Adapters {
    pub(in crate::engine) fn find(&self, name: &str) -> Result<&Loaded> {
        self.loaded.iter().find(|l| l.info.name == name).ok_or_else(|| {
            let known: Vec<_> = self.loaded.iter().map(|l| format!("`{}`", l.info.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::argument(format!("adapter `{name}` is not loaded; loaded are {known}"))
        })
    }

    pub(in crate::engine) fn find_mut(&mut self, name: &str) -> Result<&mut Loaded> {
        let id = self.find(name)?.id;
        Ok(self.loaded.iter_mut().find(|loaded| loaded.id == id).expect("it was just found"))
    }

    /// Gives an adapter another name, in the engine's own choice and in what is merged too.
    ///
    /// Errors with `Argument` if it is not loaded.
    pub(in crate::engine) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.find_mut(from)?.info.name = to.to_owned();
        let merged = self.merged.iter_mut().flat_map(|merged| &mut merged.choice);
        for (name, _) in self.default.iter_mut().chain(merged).filter(|(name, _)| name == from) {
            *name = to.to_owned();
        }
        Ok(())
    }

    /// Errors with `Argument` if adapter `name` is merged into the weights.
    fn check_unmerged(&self, name: &str) -> Result<()> {
        if self.merged.as_ref().is_some_and(|merged| merged.has(name)) {
            return Err(Error::argument(format!(
                "adapter `{name}` is merged into the weights, unmerge it first"
            )));
        }
        Ok(())
    }

    /// Errors with `Argument` if adapter `id`, called `name`, is merged, or a running generation
    /// uses it.
    pub(in crate::engine) fn check_idle(&self, name: &str, id: u64) -> Result<()> {
        self.check_unmerged(name)?;
        self.check_untrained(name)?;
        self.check_unused(name, id)
    }

    /// Errors with `Argument` if adapter `name` is being trained.
    pub(in crate::engine) fn check_untrained(&self, name: &str) -> Result<()> {
        if self.trainee.as_deref() == Some(name) {
            return Err(Error::argument(format!("adapter `{name}` is being trained, end that first")));
        }
        Ok(())
    }

    /// The loaded adapters of a choice that act, with their weights. Errors with `Argument` for
    /// an unknown name, a weight that is no number or that virtual tokens cannot have, a name
    /// twice or one that is merged, virtual tokens twice, or more adapters than a mix holds.
    pub(in crate::engine) fn active(&self, choice: &Choice) -> Result<Vec<(&Loaded, f32)>> {
        let mut active: Vec<(&Loaded, f32)> = Vec::new();
        for (name, weight) in choice {
            let loaded = self.find(name)?;
            if !weight.is_finite() {
                return Err(Error::argument(format!("adapter `{name}`: weight {weight}, expected a number")));
            }
            if active.iter().any(|(other, _)| other.id == loaded.id) {
                return Err(Error::argument(format!("adapter `{name}` is named twice")));
            }
            if *weight == 0.0 {
                continue;
            }
            self.check_unmerged(name)?;
            if active.len() == MAX_BLOCKS {
                return Err(Error::argument(format!(
                    "a mix of {} adapters, expected at most {MAX_BLOCKS}",
                    choice.len()
                )));
            }
            if loaded.n_virtual > 0 {
                if *weight != 1.0 {
                    return Err(Error::argument(format!(
                        "adapter `{name}`: weight {weight}, expected 1 or 0: virtual tokens are there or not"
                    )));
                }
                if let Some((other, _)) = active.iter().find(|(other, _)| other.n_virtual > 0) {
                    return Err(Error::argument(format!(
                        "adapters `{}` and `{name}` both have virtual tokens, expected one such",
                        other.info.name
                    )));
                }
            }
            // Sums run in the order of the blocks; the same mix must give the same bits.
            let at = active.partition_point(|(before, _)| before.id < loaded.id);
            active.insert(at, (loaded, *weight));
        }
        Ok(active)
    }

    fn free_index(&self) -> usize {
        (0..).find(|i| self.loaded.iter().all(|l| l.index != *i)).expect("integers do not run out")
    }
}

impl Engine {
    /// Puts an adapter into the bank under `name`; an adapter of that name is replaced, and
    /// what was cached under it is not used again.
    ///
    /// Errors with `Mismatch` naming a module or shape that this base does not have, `Argument`
    /// if the name is empty or its adapter is in use or merged, `Memory`; everything is as it was then.
    pub fn add_adapter(&mut self, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        let loaded = self.fitted(name, adapter, None)?;
        let grown = self.grown_for(&loaded)?;
        self.put(loaded, grown)
    }

    /// An adapter with its place in the bank, which may have to grow for it.
    pub(in crate::engine) fn fitted(
        &self,
        name: &str,
        adapter: Adapter,
        files: Option<AdapterFiles>,
    ) -> Result<Loaded> {
        if name.is_empty() {
            return Err(Error::argument("an adapter needs a name"));
        }
        let places = self.places(&adapter)?;
        let n_virtual = self.check_lead(&adapter)?;
        if let Ok(replaced) = self.adapters.find(name) {
            self.adapters.check_idle(name, replaced.id)?;
        }
        let rank = adapter.deltas.iter().map(|d| d.rank).max().unwrap_or(0);
        let info = AdapterInfo {
            name: name.to_owned(),
            rank,
            modules: self.modules_of(&adapter),
            virtual_tokens: n_virtual,
            bytes: adapter.bytes(),
            warnings: adapter.warnings.clone(),
        };
        let adapters = &self.adapters;
        let ranks = free(adapters.loaded.iter().map(|l| &l.ranks), padded(rank));
        if ranks.end > MAX_RANKS {
            return Err(Error::memory(format!(
                "adapter `{name}`: rank {rank}, the bank stacks at most {MAX_RANKS} ranks of all adapters"
            )));
        }
        let rows = adapter.rows.iter().map(|rows| rows.tokens.len()).sum();
        let prompts = if let Some(Lead::Prompt(_)) = adapter.lead { n_virtual } else { 0 };
        Ok(Loaded {
            id: adapters.next_id,
            index: adapters.free_index(),
            ranks,
            rows: free(adapters.loaded.iter().map(|l| &l.rows), rows),
            prompts: free(adapters.loaded.iter().map(|l| &l.prompts), prompts),
            n_virtual,
            scale: 1.0,
            feeds_cache: self.feeds_cache(&adapter, &places),
            info,
            adapter,
            places,
            files,
            base: None,
            untrained: None,
        })
    }

    /// Takes an adapter out of the bank, and out of the default choice.
    ///
    /// Errors with `Argument` if it is not loaded, is merged, or a running generation uses it.
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        let id = self.adapters.find(name)?.id;
        self.adapters.check_idle(name, id)?;
        self.adapters.loaded.retain(|loaded| loaded.id != id);
        self.adapters.default.retain(|(chosen, _)| chosen != name);
        self.give_room_back()
    }

    /// What is loaded, in the order of loading.
    pub fn list_adapters(&self) -> impl Iterator<Item = &AdapterInfo> {
        self.adapters.loaded.iter().map(|loaded| &loaded.info)
    }

    /// One loaded adapter.
    ///
    /// Errors with `Argument` if it is not loaded.
    pub fn get_adapter(&self, name: &str) -> Result<&AdapterInfo> {
        Ok(&self.adapters.find(name)?.info)
    }

    /// Chooses the adapters of requests that name none, and writes the line that switches to
    /// them unless it is still there.
    ///
    /// Errors with `Argument` for a name that is not loaded, a weight that is no number, or
    /// more adapters than a mix holds.
    pub fn set_adapter(&mut self, choice: Choice) -> Result<()> {
        let (line, _) = self.acquire_mix(Some(&choice))?;
        self.release_mix(line);
        self.adapters.default = choice;
        Ok(())
    }

    /// The adapters of requests that name none.
    pub fn active_adapters(&self) -> &Choice {
        &self.adapters.default
    }
}

/// The lowest range of `len` numbers that is free of the ranges taken.
fn free<'a>(taken: impl Iterator<Item = &'a Range<usize>> + Clone, len: usize) -> Range<usize> {
    let is_free = |start: &usize| {
        taken.clone().all(|range| range.is_empty() || range.end <= *start || *start + len <= range.start)
    };
    // It begins where all do, or where one ends.
    let starts = std::iter::once(0).chain(taken.clone().map(|range| range.end));
    let start = starts.filter(is_free).min().expect("behind the last one is room");
    start..start + len
}
