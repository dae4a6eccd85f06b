//! The lines of the `mixes` tensor: which blends of adapters are on the device, and who uses them.
//! Choosing a blend is one line of at most 64 bytes: no object and no plan is made.

use bytemuck::Zeroable;

use crate::error::{Error, Result};
use crate::model::MIXES;
use crate::plan::{Block, Mix};

use crate::engine::Engine;
use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::{Choice, Loaded, MixKey};

/// A line of the `mixes` tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) key: MixKey,
    /// What is written there; none before the first use.
    mix: Option<Mix>,
    users: usize,
    released: u64,
}

impl Adapters {
    /// Errors with `Argument` if a running generation uses adapter `id`, called `name`.
    pub(in crate::engine) fn check_unused(&self, name: &str, id: u64) -> Result<()> {
        let uses = |line: &Line| line.users > 0 && line.key.iter().any(|(used, _)| *used == id);
        if self.lines.iter().any(uses) {
            return Err(Error::argument(format!("adapter `{name}` is in use by a running generation")));
        }
        Ok(())
    }

    /// The adapters of a line of the mixes.
    pub(in crate::engine) fn of_line(&self, line: usize) -> impl Iterator<Item = &Loaded> {
        let key = &self.lines[line].key;
        self.loaded.iter().filter(|loaded| key.iter().any(|(id, _)| *id == loaded.id))
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
}

impl Engine {
    /// The line of the `mixes` tensor for a choice, written now if it is not there, and the key
    /// under which the cache may remember what it computes: adapters that leave no trace in it
    /// are not part of it. Give the line back when done.
    pub(in crate::engine) fn acquire_mix(&mut self, choice: Option<&Choice>) -> Result<(usize, MixKey)> {
        let adapters = &mut self.adapters;
        let active = adapters.active(choice.unwrap_or(&adapters.default))?;
        let key: MixKey = active.iter().map(|(loaded, weight)| (loaded.id, weight.to_bits())).collect();
        let feeding = active.iter().zip(&key).filter(|((loaded, _), _)| loaded.feeds_cache);
        let cache_key: MixKey = feeding.map(|(_, key)| *key).collect();
        if key.is_empty() {
            return Ok((0, cache_key));
        }
        let mix = adapters.mix(&key);
        let there = adapters.lines.iter().skip(1).position(|line| line.key == key);
        let line = match there {
            Some(at) => at + 1,
            None => {
                let free = adapters.lines.iter().enumerate().skip(1).filter(|(_, line)| line.users == 0);
                let (at, _) = free.min_by_key(|(_, line)| line.released).ok_or_else(|| {
                    Error::argument(format!("{} mixes of adapters are in use at once", MIXES - 1))
                })?;
                (adapters.lines[at].key, adapters.lines[at].mix) = (key, Some(mix));
                self.write_mix(at);
                at
            }
        };
        self.adapters.lines[line].users += 1;
        Ok((line, cache_key))
    }

    /// Writes a line of the `mixes` tensor.
    fn write_mix(&mut self, line: usize) {
        if let Some(mix) = &self.adapters.lines[line].mix {
            let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(mix));
            let used = 1 + 3 * mix.n_blocks as usize;
            self.backend.upload(self.model.bank.mixes, line * words.len(), &words[..used]);
        }
    }

    /// Writes the lines that running generations use once more, with another scale of adapter `id`.
    pub(in crate::engine) fn rescale_lines(&mut self, id: u64) {
        for at in 1..MIXES {
            let line = &self.adapters.lines[at];
            if line.users > 0 && line.key.iter().any(|(used, _)| *used == id) {
                self.adapters.lines[at].mix = Some(self.adapters.mix(&line.key));
                self.write_mix(at);
            }
        }
    }

    /// Writes every line that may still be used.
    pub(in crate::engine) fn write_mixes(&mut self) {
        (0..MIXES).for_each(|line| self.write_mix(line));
    }

    /// Makes an adapter's numbers a new version: what was cached under the old one is not used. Running
    /// generations go on with the new one.
    pub(in crate::engine) fn renew(&mut self, name: &str) -> Result<()> {
        let adapters = &mut self.adapters;
        let id = adapters.next_id;
        adapters.next_id += 1;
        let old = std::mem::replace(&mut adapters.find_mut(name)?.id, id);
        let used = adapters.lines.iter_mut().filter(|line| line.users > 0).flat_map(|line| &mut line.key);
        used.filter(|(used, _)| *used == old).for_each(|(used, _)| *used = id);
        Ok(())
    }

    /// Gives a line back. Its contents stay, for the next who asks for the same mix.
    pub(in crate::engine) fn release_mix(&mut self, line: usize) {
        if line > 0 {
            let adapters = &mut self.adapters;
            adapters.clock += 1;
            adapters.lines[line].users -= 1;
            adapters.lines[line].released = adapters.clock;
        }
    }
}
