//! The adapter bank: which adapters are loaded, where their ranks lie, and which mixes of them
//! are on the device.
//!
//! Loading writes an adapter's block of ranks once. Choosing one, or blending several, is one
//! line of the `mixes` tensor: at most 64 bytes, no object, no plan.

use bytemuck::Zeroable;

use crate::error::{Error, Result};
use crate::model::MIXES;
use crate::plan::{Block, MAX_BLOCKS, MAX_RANKS, Mix};

use super::Engine;

/// Ranks start and end at multiples of this, so that kernels take them four at a time.
const RANK_STEP: usize = 4;

/// What an adapter does to one module of the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleDelta {
    /// The module's checkpoint name.
    pub module: String,
    /// R: may be 0 where only gain or shift act
    pub rank: usize,
    /// A (R, C)
    pub a: Vec<f32>,
    /// B (F, R) with the scale folded in
    pub b: Vec<f32>,
    /// y ← y·(1 + gain), (F) or empty
    pub gain: Vec<f32>,
    /// y ← y + shift, (F) or empty
    pub shift: Vec<f32>,
}

/// What an adapter does to one activation: x ← x·(1 + gain) + shift.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointDelta {
    /// A norm's checkpoint name, or a linear map's and `.input`.
    pub point: String,
    /// (C)
    pub gain: Vec<f32>,
    /// (C)
    pub shift: Vec<f32>,
}

/// An adapter in the form the bank takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// One for each module it acts on.
    pub deltas: Vec<ModuleDelta>,
    /// One for each activation it acts on directly.
    pub points: Vec<PointDelta>,
    /// What its file cannot say, and the caller should know.
    pub warnings: Vec<String>,
}

/// Adapters by name, each with its weight; empty is the base.
pub type Choice = Vec<(String, f32)>;

/// What makes cached keys and values valid: the version of each active adapter and the bits of
/// its weight.
pub type MixKey = Vec<(u64, u32)>;

/// What is known of a loaded adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterInfo {
    /// As given when it was loaded.
    pub name: String,
    /// Largest rank of its modules.
    pub rank: usize,
    /// Names of the modules it acts on.
    pub modules: Vec<String>,
    /// Bytes of its own numbers, f32.
    pub bytes: usize,
    /// What its file cannot say, and the caller should know; mostly empty.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
struct Loaded {
    info: AdapterInfo,
    /// Never used twice: a reloaded name is a new version.
    id: u64,
    /// Its place among gains and shifts.
    index: usize,
    /// Its block of ranks.
    ranks: std::ops::Range<usize>,
    deltas: Vec<(Place, ModuleDelta)>,
    points: Vec<(usize, PointDelta)>,
}

impl Loaded {
    /// Whether any module or activation is scaled or shifted.
    fn is_affine(&self) -> bool {
        let scales = |(_, d): &(Place, ModuleDelta)| !d.gain.is_empty() || !d.shift.is_empty();
        !self.points.is_empty() || self.deltas.iter().any(scales)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    site: usize,
    part: usize,
}

/// A line of the `mixes` tensor.
#[derive(Clone, Debug, Default)]
struct Line {
    key: MixKey,
    users: usize,
    released: u64,
}

/// The loaded adapters and the lines of the `mixes` tensor.
#[derive(Debug)]
pub struct Adapters {
    loaded: Vec<Loaded>,
    /// Line 0 is the base.
    lines: Vec<Line>,
    /// Applied where a request names none.
    default: Choice,
    next_id: u64,
    clock: u64,
}

impl Default for Adapters {
    fn default() -> Self {
        let lines = vec![Line::default(); MIXES];
        Self { loaded: Vec::new(), lines, default: Choice::new(), next_id: 1, clock: 0 }
    }
}

impl Adapters {
    fn find(&self, name: &str) -> Result<&Loaded> {
        self.loaded.iter().find(|l| l.info.name == name).ok_or_else(|| {
            let known: Vec<_> = self.loaded.iter().map(|l| format!("`{}`", l.info.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::argument(format!("adapter `{name}` is not loaded; loaded are {known}"))
        })
    }

    /// Errors with `Argument` if a running generation uses adapter `id`, called `name`.
    fn check_idle(&self, name: &str, id: u64) -> Result<()> {
        let uses = |line: &Line| line.users > 0 && line.key.iter().any(|(used, _)| *used == id);
        if self.lines.iter().any(uses) {
            return Err(Error::argument(format!("adapter `{name}` is in use by a running generation")));
        }
        Ok(())
    }

    /// The blocks of a choice. Errors with `Argument` for an unknown name, a weight that is no
    /// number, a name twice, or more adapters than a mix holds.
    fn mix(&self, choice: &Choice) -> Result<(MixKey, Mix)> {
        let (mut key, mut mix) = (MixKey::new(), Mix::zeroed());
        for (name, weight) in choice {
            let loaded = self.find(name)?;
            if !weight.is_finite() {
                return Err(Error::argument(format!("adapter `{name}`: weight {weight}, expected a number")));
            }
            if key.iter().any(|(id, _)| *id == loaded.id) {
                return Err(Error::argument(format!("adapter `{name}` is named twice")));
            }
            if *weight == 0.0 {
                continue;
            }
            let at = mix.n_blocks as usize;
            let Some(block) = mix.blocks.get_mut(at) else {
                return Err(Error::argument(format!(
                    "a mix of {} adapters, expected at most {MAX_BLOCKS}",
                    choice.len()
                )));
            };
            *block =
                Block::new(loaded.ranks.start, loaded.ranks.len(), loaded.index, loaded.is_affine(), *weight);
            mix.n_blocks += 1;
            key.push((loaded.id, weight.to_bits()));
        }
        // Sums run in the order of the blocks; the same mix must give the same bits.
        let mut order: Vec<usize> = (0..key.len()).collect();
        order.sort_by_key(|&i| key[i]);
        let blocks = mix.blocks;
        order.iter().enumerate().for_each(|(to, &from)| mix.blocks[to] = blocks[from]);
        key.sort_unstable();
        Ok((key, mix))
    }

    /// The lowest block of `len` ranks that no adapter has.
    fn free_ranks(&self, len: usize) -> std::ops::Range<usize> {
        let mut taken: Vec<_> = self.loaded.iter().map(|l| l.ranks.clone()).collect();
        taken.sort_by_key(|range| range.start);
        let start = taken.iter().fold(
            0,
            |start, next| {
                if next.start >= start + len { start } else { start.max(next.end) }
            },
        );
        start..start + len
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
    /// if the name is empty or its adapter is in use, `Memory`.
    pub fn add_adapter(&mut self, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        if name.is_empty() {
            return Err(Error::argument("an adapter needs a name"));
        }
        let deltas = adapter.deltas.into_iter().map(|delta| Ok((self.place(&delta)?, delta)));
        let deltas = deltas.collect::<Result<Vec<_>>>()?;
        let points = adapter.points.into_iter().map(|delta| Ok((self.place_point(&delta)?, delta)));
        let points = points.collect::<Result<Vec<_>>>()?;
        let replaced = self.adapters.find(name).ok().map(|loaded| loaded.id);
        if let Some(id) = replaced {
            self.adapters.check_idle(name, id)?;
        }
        let rank = deltas.iter().map(|(_, d)| d.rank).max().unwrap_or(0);
        let numbers = |d: &ModuleDelta| d.a.len() + d.b.len() + d.gain.len() + d.shift.len();
        let info = AdapterInfo {
            name: name.to_owned(),
            rank,
            modules: deltas
                .iter()
                .map(|(_, d)| &d.module)
                .chain(points.iter().map(|(_, d)| &d.point))
                .cloned()
                .collect(),
            bytes: 4 * deltas.iter().map(|(_, d)| numbers(d)).sum::<usize>()
                + 4 * points.iter().map(|(_, d)| d.gain.len() + d.shift.len()).sum::<usize>(),
            warnings: adapter.warnings,
        };
        let adapters = &mut self.adapters;
        let ranks = adapters.free_ranks(rank.next_multiple_of(RANK_STEP).max(RANK_STEP));
        if ranks.end > MAX_RANKS {
            return Err(Error::memory(format!(
                "adapter `{name}`: rank {rank}, the bank stacks at most {MAX_RANKS} ranks of all adapters"
            )));
        }
        let index = adapters.free_index();
        let id = adapters.next_id;
        adapters.next_id += 1;
        adapters.loaded.push(Loaded { info: info.clone(), id, index, ranks, deltas, points });
        self.make_room()?;
        self.adapters.loaded.retain(|loaded| Some(loaded.id) != replaced);
        Ok(info)
    }

    /// Takes an adapter out of the bank, and out of the default choice.
    ///
    /// Errors with `Argument` if it is not loaded, or a running generation uses it.
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        let id = self.adapters.find(name)?.id;
        self.adapters.check_idle(name, id)?;
        self.adapters.loaded.retain(|loaded| loaded.id != id);
        self.adapters.default.retain(|(chosen, _)| chosen != name);
        Ok(())
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

    /// The line of the `mixes` tensor for a choice, written now if it is not there, and the key
    /// under which the cache may remember what it computes. Give the line back when done.
    pub(super) fn acquire_mix(&mut self, choice: Option<&Choice>) -> Result<(usize, MixKey)> {
        let adapters = &mut self.adapters;
        let (key, mix) = adapters.mix(choice.unwrap_or(&adapters.default))?;
        if key.is_empty() {
            return Ok((0, key));
        }
        let there = adapters.lines.iter().skip(1).position(|line| line.key == key);
        let line = match there {
            Some(at) => at + 1,
            None => {
                let free = adapters.lines.iter().enumerate().skip(1).filter(|(_, line)| line.users == 0);
                let (at, _) = free.min_by_key(|(_, line)| line.released).ok_or_else(|| {
                    Error::argument(format!("{} mixes of adapters are in use at once", MIXES - 1))
                })?;
                let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&mix));
                let used = 1 + 3 * mix.n_blocks as usize;
                self.backend.upload(self.model.bank.mixes, at * words.len(), &words[..used]);
                adapters.lines[at].key = key.clone();
                at
            }
        };
        adapters.lines[line].users += 1;
        Ok((line, key))
    }

    /// Gives a line back. Its contents stay, for the next who asks for the same mix.
    pub(super) fn release_mix(&mut self, line: usize) {
        if line > 0 {
            let adapters = &mut self.adapters;
            adapters.clock += 1;
            adapters.lines[line].users -= 1;
            adapters.lines[line].released = adapters.clock;
        }
    }

    /// Where a delta goes, once its shapes are known to fit.
    fn place(&self, delta: &ModuleDelta) -> Result<Place> {
        let ModuleDelta { module, rank, a, b, gain, shift } = delta;
        let bank = &self.model.bank;
        let (site, part) = bank.find(module).ok_or_else(|| unknown(module))?;
        let [inputs, outputs] = bank.sites[site].shape(part);
        let fits = |what: &str, len: usize, shape: [usize; 2]| {
            if len == shape[0] * shape[1] {
                return Ok(());
            }
            Err(Error::mismatch(format!("module `{module}`: {what} of {len} elements, expected {shape:?}")))
        };
        fits("A", a.len(), [*rank, inputs])?;
        fits("B", b.len(), [outputs, *rank])?;
        for (what, values) in [("gain", gain), ("shift", shift)] {
            if !values.is_empty() {
                fits(what, values.len(), [outputs, 1])?;
            }
        }
        Ok(Place { site, part })
    }

    fn place_point(&self, delta: &PointDelta) -> Result<usize> {
        let PointDelta { point, gain, shift } = delta;
        let bank = &self.model.bank;
        let at = bank
            .find_point(point)
            .ok_or_else(|| Error::mismatch(format!("`{point}`: this base model has no such activation")))?;
        let cols = bank.points[at].cols;
        for (what, len) in [("gain", gain.len()), ("shift", shift.len())] {
            if len != cols {
                return Err(Error::mismatch(format!("`{point}`: {what} of {len} elements, expected {cols}")));
            }
        }
        Ok(at)
    }

    /// Writes the adapter loaded last, in a larger bank if it does not fit; on an error it is
    /// taken out again, and the others are as they were.
    fn make_room(&mut self) -> Result<()> {
        let bank = &self.model.bank;
        let adapters = &self.adapters;
        let newest = adapters.loaded.last().expect("one was just loaded");
        let sites: Vec<usize> = newest.deltas.iter().map(|(place, _)| place.site).collect();
        let points: Vec<usize> = newest.points.iter().map(|(point, _)| *point).collect();
        let fits = newest.ranks.end <= bank.ranks
            && newest.index < bank.adapters
            && sites.iter().all(|&site| bank.sites[site].enabled)
            && points.iter().all(|&point| bank.points[point].enabled);
        if fits {
            self.write_adapter(adapters.loaded.len() - 1);
            return Ok(());
        }
        let ranks = newest.ranks.end.next_power_of_two().max(bank.ranks);
        let count = (newest.index + 1).next_power_of_two().max(bank.adapters).max(2);
        let before = self.model.bank.clone();
        self.model.bank.enable(sites, points);
        if let Err(e) = self.reshape(ranks, count) {
            // What fitted before fits again.
            self.adapters.loaded.pop();
            let (ranks, count) = (before.ranks, before.adapters);
            self.model.bank = before;
            self.reshape(ranks, count)?;
            return Err(e);
        }
        Ok(())
    }

    /// Gives the bank other sizes and writes every adapter into it.
    fn reshape(&mut self, ranks: usize, count: usize) -> Result<()> {
        let model = &mut self.model;
        model.bank.reshape(&mut model.tensors, ranks, count)?;
        self.backend.allocate(&model.tensors)?;
        self.plans = Default::default();
        (0..self.adapters.loaded.len()).for_each(|i| self.write_adapter(i));
        Ok(())
    }

    /// Writes an adapter's block at every enabled site; zeros where it does nothing.
    fn write_adapter(&mut self, i: usize) {
        let loaded = &self.adapters.loaded[i];
        let bank = &self.model.bank;
        for (s, site) in bank.sites.iter().enumerate().filter(|(_, site)| site.enabled) {
            let (c, f, len) = (site.inputs, site.outputs(), loaded.ranks.len());
            let mut b = vec![0.0f32; len * f];
            let mut rows = [vec![0.0f32; f], vec![0.0f32; f]];
            for part in 0..site.parts() {
                let mut a = vec![0.0f32; len * c];
                let here = Place { site: s, part };
                for (_, delta) in loaded.deltas.iter().filter(|(place, _)| *place == here) {
                    a[..delta.a.len()].copy_from_slice(&delta.a);
                    let first = site.edges[part];
                    for (column, line) in delta.b.chunks_exact(delta.rank.max(1)).enumerate() {
                        line.iter().enumerate().for_each(|(r, value)| b[r * f + first + column] = *value);
                    }
                    for (row, values) in rows.iter_mut().zip([&delta.gain, &delta.shift]) {
                        row[first..][..values.len()].copy_from_slice(values);
                    }
                }
                let first = (part * bank.ranks + loaded.ranks.start) * c;
                self.backend.upload(site.a, first, bytemuck::cast_slice(&a));
            }
            self.backend.upload(site.b, loaded.ranks.start * f, bytemuck::cast_slice(&b));
            let gain_row = bank.ranks + loaded.index;
            for (row, values) in [gain_row, gain_row + bank.adapters].into_iter().zip(&rows) {
                self.backend.upload(site.b, row * f, bytemuck::cast_slice(values));
            }
        }
        for (p, point) in bank.points.iter().enumerate().filter(|(_, point)| point.enabled) {
            let zeros = PointDelta {
                gain: vec![0.0; point.cols],
                shift: vec![0.0; point.cols],
                ..PointDelta::default()
            };
            let delta = loaded.points.iter().find(|(at, _)| *at == p).map_or(&zeros, |(_, delta)| delta);
            for (row, values) in [(loaded.index, &delta.gain), (bank.adapters + loaded.index, &delta.shift)] {
                self.backend.upload(point.gains, row * point.cols, bytemuck::cast_slice(values));
            }
        }
    }
}

/// A module that is not among the base's linear maps.
pub(super) fn unknown(module: &str) -> Error {
    Error::mismatch(format!("module `{module}`: this base model has no such linear map"))
}
