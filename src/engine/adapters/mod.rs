//! The adapter bank: which adapters are loaded, where their ranks lie, and which mixes of them
//! are on the device.
//!
//! Loading writes an adapter's block of ranks once. Choosing one, or blending several, is one
//! line of the `mixes` tensor: at most 64 bytes, no object, no plan.

pub(super) mod adapter;
pub(super) mod arithmetic;
pub(super) mod bank;
pub(super) mod base;
pub(super) mod combination;
pub(super) mod export;
pub(super) mod foreign;
pub(super) mod gguf;
pub(super) mod lead;
pub(super) mod merge;
pub(super) mod new_lora;
pub(super) mod peft;
pub(super) mod peft_rows;
pub(super) mod weighted;

use std::ops::Range;

use bytemuck::Zeroable;

use crate::error::{Error, Result};
use crate::model::{MIXES, Model};
use crate::plan::{Block, MAX_BLOCKS, MAX_RANKS, Mix};

use crate::engine::adapters::adapter::{Adapter, Lead, ModuleDelta};
use crate::engine::adapters::bank::{Places, feeds_cache, modules_of};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::export::AdapterFiles;
use crate::engine::adapters::lead::check_lead;
use crate::engine::adapters::merge::Merged;
use crate::engine::runner::Runner;

/// Ranks start and end at multiples of this, so that kernels take them four at a time.
const RANK_STEP: usize = 4;

/// Adapters by name, each with its weight; empty is the base.
pub type Choice = Vec<(String, f32)>;

/// What makes cached keys and values valid: the version of each active adapter and the bits of
/// its weight, and which merge the weights hold, if any.
pub type MixKey = Vec<(u64, u32)>;

/// A choice of adapters, looked up once: what a sequence needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// All that act, in the order of their blocks.
    key: MixKey,
    /// What the `mixes` tensor is to say.
    mix: Mix,
    /// Under what the cache may remember what is computed: adapters that leave no trace in it are not
    /// part of it.
    pub(crate) cache_key: MixKey,
    /// Ids of the virtual tokens that come before a text.
    pub(crate) lead: Vec<u32>,
}

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
    /// Bytes of its own numbers, f32.
    pub bytes: usize,
    /// What its files cannot say, or say and do not have, and the caller should know; mostly empty.
    pub warnings: Vec<String>,
}

/// An adapter in the bank.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub info: AdapterInfo,
    /// Never used twice: a reloaded name is a new version.
    pub id: u64,
    /// Its place among gains, shifts and maps.
    pub index: usize,
    /// Its ranks.
    pub ranks: Range<usize>,
    /// Its rows among all replaced ones: the embedding's, then the head's.
    pub rows: Range<usize>,
    /// Its virtual tokens among all that have an embedding.
    pub prompts: Range<usize>,
    /// P: its virtual tokens, with an embedding or with given keys and values.
    pub n_virtual: usize,
    /// Factor on its weight in every mix: alpha / R of an adapter whose B is trained without it.
    pub scale: f32,
    /// Whether what it does shows in cached keys and values.
    pub feeds_cache: bool,
    pub adapter: Adapter,
    /// Where its deltas and points act.
    pub places: Places,
    /// The folder it came from.
    pub files: Option<AdapterFiles>,
    /// What that folder called its base.
    pub base: Option<String>,
    /// B with the scale in it, and the folder, while no step has changed the adapter that is trained.
    pub untrained: Option<(Vec<Vec<f32>>, AdapterFiles)>,
}

impl Loaded {
    /// Whether gradients pass through it: it is a plain LoRA of linear maps.
    pub fn trains_through(&self) -> bool {
        let rows = self.adapter.rows.iter().all(|rows| rows.tokens.is_empty());
        !self.is_affine() && rows && self.n_virtual == 0
    }

    /// Whether any module or activation is scaled or shifted.
    fn is_affine(&self) -> bool {
        let scales = |d: &ModuleDelta| !d.gain.is_empty() || !d.shift.is_empty();
        !self.adapter.points.is_empty() || self.adapter.deltas.iter().any(scales)
    }
}

/// A line of the `mixes` tensor.
#[derive(Clone, Debug, Default)]
struct Line {
    key: MixKey,
    /// What is written there; none before the first use.
    mix: Option<Mix>,
    users: usize,
    released: u64,
}

/// The loaded adapters and the lines of the `mixes` tensor.
#[derive(Debug)]
pub struct Adapters {
    pub(crate) loaded: Vec<Loaded>,
    /// Line 0 is the base.
    lines: Vec<Line>,
    /// Applied where a request names none.
    pub(crate) default: Choice,
    pub(crate) merged: Option<Merged>,
    /// Merges so far.
    pub(crate) merges: u32,
    pub(crate) next_id: u64,
    clock: u64,
    /// Tokens that the base's tokenizer has.
    tokenizer_tokens: usize,
    /// What exported adapters call the base, if it is known.
    base_name: Option<String>,
}

impl Adapters {
    /// None yet, over a base whose tokenizer has so many tokens.
    pub(crate) fn new(tokenizer_tokens: usize) -> Self {
        let lines = vec![Line::default(); MIXES];
        Self {
            loaded: Vec::new(),
            lines,
            default: Choice::new(),
            merged: None,
            merges: 0,
            next_id: 1,
            clock: 0,
            tokenizer_tokens,
            base_name: None,
        }
    }

    /// Tells what exported adapters are to call the base; an empty name takes that back.
    pub(crate) fn set_base_name(&mut self, name: &str) {
        self.base_name = Some(name.to_owned()).filter(|name| !name.is_empty());
    }

    /// The adapters of requests that name none.
    pub(crate) fn default_choice(&self) -> &Choice {
        &self.default
    }

    /// The base, as files of adapters are read over it.
    pub(crate) fn base<'a>(&'a self, runner: &'a mut Runner) -> Base<'a> {
        Base::new(runner, self.merged.as_ref(), self.tokenizer_tokens, self.base_name.as_deref())
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Loaded> {
        self.loaded.iter().find(|l| l.info.name == name).ok_or_else(|| {
            let known: Vec<_> = self.loaded.iter().map(|l| format!("`{}`", l.info.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::argument(format!("adapter `{name}` is not loaded; loaded are {known}"))
        })
    }

    /// The adapters of a line of the mixes.
    pub(crate) fn of_line(&self, line: usize) -> impl Iterator<Item = &Loaded> {
        let key = &self.lines[line].key;
        self.loaded.iter().filter(|loaded| key.iter().any(|(id, _)| *id == loaded.id))
    }

    pub(crate) fn find_mut(&mut self, name: &str) -> Result<&mut Loaded> {
        let id = self.find(name)?.id;
        Ok(self.loaded.iter_mut().find(|loaded| loaded.id == id).expect("it was just found"))
    }

    /// Gives an adapter another name, in the engine's own choice and in what is merged too.
    ///
    /// Errors with `Argument` if it is not loaded.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
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
    pub(crate) fn check_idle(&self, name: &str, id: u64) -> Result<()> {
        self.check_unmerged(name)?;
        self.check_unused(name, id)
    }

    /// Errors with `Argument` if a running generation uses adapter `id`, called `name`.
    pub(crate) fn check_unused(&self, name: &str, id: u64) -> Result<()> {
        let uses = |line: &Line| line.users > 0 && line.key.iter().any(|(used, _)| *used == id);
        if self.lines.iter().any(uses) {
            return Err(Error::argument(format!("adapter `{name}` is in use by a running generation")));
        }
        Ok(())
    }

    /// The loaded adapters of a choice that act, with their weights. Errors with `Argument` for
    /// an unknown name, a weight that is no number or that virtual tokens cannot have, a name
    /// twice or one that is merged, virtual tokens twice, or more adapters than a mix holds.
    pub(crate) fn active(&self, choice: &Choice) -> Result<Vec<(&Loaded, f32)>> {
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

    /// The line of a key.
    fn mix(&self, key: &MixKey) -> Mix {
        let mut mix = Mix { n_blocks: key.len() as u32, ..Mix::zeroed() };
        for (block, (id, weight)) in mix.blocks.iter_mut().zip(key) {
            let loaded = self.loaded.iter().find(|loaded| loaded.id == *id);
            let Some(Loaded { ranks, index, scale, .. }) = loaded else { continue };
            let is_affine = loaded.is_some_and(Loaded::is_affine);
            *block = Block::new(ranks.start, ranks.len(), *index, is_affine, f32::from_bits(*weight) * scale);
        }
        mix
    }

    fn free_index(&self) -> usize {
        (0..).find(|i| self.loaded.iter().all(|l| l.index != *i)).expect("integers do not run out")
    }
}

/// Ranks that an adapter of this rank occupies.
pub(crate) fn padded(rank: usize) -> usize {
    rank.next_multiple_of(RANK_STEP).max(RANK_STEP)
}

impl Adapters {
    /// Puts an adapter into the bank under `name`; an adapter of that name is replaced, and
    /// what was cached under it is not used again.
    ///
    /// Errors with `Mismatch` naming a module or shape that this base does not have, `Argument`
    /// if the name is empty or its adapter is in use or merged, `Memory`; everything is as it was then.
    pub(crate) fn add(&mut self, runner: &mut Runner, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        let loaded = self.fitted(runner, name, adapter, None)?;
        let grown = self.grown_for(runner, &loaded)?;
        self.put(runner, loaded, grown)
    }

    /// An adapter with its place in the bank, which may have to grow for it.
    pub(crate) fn fitted(
        &self,
        runner: &Runner,
        name: &str,
        adapter: Adapter,
        files: Option<AdapterFiles>,
    ) -> Result<Loaded> {
        if name.is_empty() {
            return Err(Error::argument("an adapter needs a name"));
        }
        let places = Places::of(runner.model(), &adapter)?;
        let n_virtual = check_lead(runner.model(), &adapter)?;
        if let Ok(replaced) = self.find(name) {
            self.check_idle(name, replaced.id)?;
        }
        let rank = adapter.deltas.iter().map(|d| d.rank).max().unwrap_or(0);
        let info = AdapterInfo {
            name: name.to_owned(),
            rank,
            modules: modules_of(runner.model(), &adapter),
            virtual_tokens: n_virtual,
            bytes: adapter.bytes(),
            warnings: adapter.warnings.clone(),
        };
        let ranks = free(self.loaded.iter().map(|l| &l.ranks), padded(rank));
        if ranks.end > MAX_RANKS {
            return Err(Error::memory(format!(
                "adapter `{name}`: rank {rank}, the bank stacks at most {MAX_RANKS} ranks of all adapters"
            )));
        }
        let rows = adapter.rows.iter().map(|rows| rows.tokens.len()).sum();
        let prompts = if let Some(Lead::Prompt(_)) = adapter.lead { n_virtual } else { 0 };
        Ok(Loaded {
            id: self.next_id,
            index: self.free_index(),
            ranks,
            rows: free(self.loaded.iter().map(|l| &l.rows), rows),
            prompts: free(self.loaded.iter().map(|l| &l.prompts), prompts),
            n_virtual,
            scale: 1.0,
            feeds_cache: feeds_cache(&runner.model().bank, &adapter, &places),
            info,
            adapter,
            places,
            files,
            base: None,
            untrained: None,
        })
    }

    /// Loads a copy of an adapter under another name.
    ///
    /// Errors with `Argument` if `from` is not loaded or `to` is in use, `Memory`.
    pub(crate) async fn copy(&mut self, runner: &mut Runner, from: &str, to: &str) -> Result<()> {
        let Loaded { adapter, scale, files, base, .. } = self.find(from)?;
        let (adapter, scale, files, base) = (adapter.clone(), *scale, files.clone(), base.clone());
        self.add_reserved(runner, to, adapter, files).await?;
        let copy = self.find_mut(to)?;
        (copy.scale, copy.base) = (scale, base);
        Ok(())
    }

    /// Takes an adapter out of the bank, and out of the default choice.
    ///
    /// Errors with `Argument` if it is not loaded, is merged, or a running generation uses it.
    pub(crate) fn delete(&mut self, runner: &mut Runner, name: &str) -> Result<()> {
        let id = self.find(name)?.id;
        self.check_idle(name, id)?;
        self.loaded.retain(|loaded| loaded.id != id);
        self.default.retain(|(chosen, _)| chosen != name);
        self.give_room_back(runner)
    }

    /// What is loaded, in the order of loading.
    pub(crate) fn list(&self) -> impl Iterator<Item = &AdapterInfo> {
        self.loaded.iter().map(|loaded| &loaded.info)
    }

    /// Chooses the adapters of requests that name none, and writes the line that switches to
    /// them unless it is still there.
    ///
    /// Errors with `Argument` for a name that is not loaded, a weight that is no number, or
    /// more adapters than a mix holds.
    pub(crate) fn set_default(&mut self, runner: &mut Runner, choice: Choice) -> Result<()> {
        let chosen = self.choose(runner.model(), Some(&choice))?;
        let line = self.acquire_mix(runner, &chosen)?;
        self.release_mix(line);
        self.default = choice;
        Ok(())
    }

    /// What a choice comes to; `None` is the engine's own.
    ///
    /// Errors with `Argument` as [`active`](Self::active).
    pub(crate) fn choose(&self, model: &Model, choice: Option<&Choice>) -> Result<Chosen> {
        let active = self.active(choice.unwrap_or(&self.default))?;
        let entry = |(loaded, weight): &(&Loaded, f32)| (loaded.id, weight.to_bits());
        let key: MixKey = active.iter().map(entry).collect();
        let feeding = active.iter().filter(|(loaded, _)| loaded.feeds_cache).map(entry);
        let cache_key = feeding.chain(self.merged.as_ref().map(Merged::key)).collect();
        let leading = active.iter().find(|(loaded, _)| loaded.n_virtual > 0);
        let lead = leading.map_or(0..0, |(loaded, _)| {
            let first = model.config.vocab_size + loaded.prompts.start;
            first..first + loaded.n_virtual
        });
        Ok(Chosen { mix: self.mix(&key), key, cache_key, lead: lead.map(|id| id as u32).collect() })
    }

    /// The line of the `mixes` tensor for a choice, written now if it is not there. Give it back when done.
    ///
    /// Errors with `Argument` if every line is in use.
    pub(crate) fn acquire_mix(&mut self, runner: &mut Runner, chosen: &Chosen) -> Result<usize> {
        let Chosen { key, mix, .. } = chosen;
        if key.is_empty() {
            return Ok(0);
        }
        let there = self.lines.iter().skip(1).position(|line| line.key == *key);
        let line = match there {
            Some(at) => at + 1,
            None => {
                let free = self.lines.iter().enumerate().skip(1).filter(|(_, line)| line.users == 0);
                let (at, _) = free.min_by_key(|(_, line)| line.released).ok_or_else(|| {
                    Error::argument(format!("{} mixes of adapters are in use at once", MIXES - 1))
                })?;
                (self.lines[at].key, self.lines[at].mix) = (key.clone(), Some(*mix));
                self.write_mix(runner, at);
                at
            }
        };
        self.lines[line].users += 1;
        Ok(line)
    }

    /// Writes a line of the `mixes` tensor.
    fn write_mix(&self, runner: &mut Runner, line: usize) {
        if let Some(mix) = &self.lines[line].mix {
            let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(mix));
            let used = 1 + 3 * mix.n_blocks as usize;
            runner.upload(runner.model().bank.mixes, line * words.len(), &words[..used]);
        }
    }

    /// Writes the lines that running generations use once more, with another scale of adapter `id`.
    pub(crate) fn rescale_lines(&mut self, runner: &mut Runner, id: u64) {
        for at in 1..MIXES {
            let line = &self.lines[at];
            if line.users > 0 && line.key.iter().any(|(used, _)| *used == id) {
                self.lines[at].mix = Some(self.mix(&line.key));
                self.write_mix(runner, at);
            }
        }
    }

    /// Writes every adapter and every line that may still be used, as a new device needs them.
    pub(crate) fn write_all(&self, runner: &mut Runner) {
        self.write_adapters(runner);
        (0..MIXES).for_each(|line| self.write_mix(runner, line));
    }

    /// Makes an adapter's numbers a new version: what was cached under the old one is not used. Running
    /// generations go on with the new one.
    pub(crate) fn renew(&mut self, name: &str) -> Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let old = std::mem::replace(&mut self.find_mut(name)?.id, id);
        let used = self.lines.iter_mut().filter(|line| line.users > 0).flat_map(|line| &mut line.key);
        used.filter(|(used, _)| *used == old).for_each(|(used, _)| *used = id);
        Ok(())
    }

    /// Gives a line back. Its contents stay, for the next who asks for the same mix.
    pub(crate) fn release_mix(&mut self, line: usize) {
        if line > 0 {
            self.clock += 1;
            self.lines[line].users -= 1;
            self.lines[line].released = self.clock;
        }
    }

    /// Errors with `Argument` for a choice that cannot be made, `Unsupported` if gradients do not pass
    /// through all of it.
    pub(crate) fn check_trains_through(&self, choice: &Choice) -> Result<()> {
        match self.active(choice)?.into_iter().find(|(loaded, _)| !loaded.trains_through()) {
            Some((loaded, _)) => Err(Error::unsupported(format!(
                "adapter `{}`: it is no plain LoRA, another cannot be trained beside it",
                loaded.info.name
            ))),
            None => Ok(()),
        }
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
