//! The lines of the `mixes` tensor: which blends of adapters are on the device, and who uses them.
//! Choosing a blend is one line of at most 64 bytes for each layout: no object and no plan is made.

use bytemuck::Zeroable;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::{Chosen, Line};
use crate::engine::adapters::loaded::{Choice, Loaded, MixKey};
use crate::engine::adapters::merged::Merged;
use crate::engine::runner::Runner;
use crate::error::{Error, Result};
use crate::model::{MIXES, Model};
use crate::plan::{Block, Mix};

impl Adapters {
    /// Errors with `Argument` if a running generation uses adapter `id`, called `name`.
    pub(crate) fn check_unused(&self, name: &str, id: u64) -> Result<()> {
        let uses = |line: &Line| line.users > 0 && line.key.iter().any(|(used, _)| *used == id);
        if self.lines.iter().any(uses) {
            return Err(Error::argument(format!("adapter `{name}` is in use by a running generation")));
        }
        Ok(())
    }

    /// The adapters of a line of the mixes.
    pub(crate) fn of_line(&self, line: usize) -> impl Iterator<Item = &Loaded> {
        let key = &self.lines[line].key;
        self.loaded.iter().filter(|loaded| key.iter().any(|(id, _)| *id == loaded.id))
    }

    /// The line of a key in a layout of the bank. Adapters that are gone do nothing.
    fn mix(&self, key: &MixKey, layout: usize) -> Mix {
        let mut mix = Mix { n_blocks: key.len() as u32, ..Mix::zeroed() };
        for (block, (id, weight)) in mix.blocks.iter_mut().zip(key) {
            let loaded = self.loaded.iter().find(|loaded| loaded.id == *id);
            let Some(loaded) = loaded else { continue };
            let (ranks, index) = (&loaded.ranks[layout], loaded.index);
            let (is_affine, scale) = (loaded.is_affine(), loaded.mix_scale());
            *block = Block::new(ranks.start, ranks.len(), index, is_affine, f32::from_bits(*weight) * scale);
        }
        mix
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
        Ok(Chosen { key, cache_key, lead: lead.map(|id| id as u32).collect() })
    }

    /// The line of the `mixes` tensor for a choice, written now if it is not there. Give it back when done.
    ///
    /// Errors with `Argument` if every line is in use.
    pub(crate) fn acquire_mix(&mut self, runner: &mut Runner, chosen: &Chosen) -> Result<usize> {
        let key = &chosen.key;
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
                self.lines[at].key.clone_from(key);
                self.write_mix(runner, at);
                at
            }
        };
        self.lines[line].users += 1;
        Ok(line)
    }

    /// Writes a line of the `mixes` of each layout.
    fn write_mix(&self, runner: &mut Runner, line: usize) {
        let key = &self.lines[line].key;
        let (model, backend) = runner.parts();
        for (i, layout) in model.bank.layouts().iter().enumerate().filter(|_| !key.is_empty()) {
            let mix = self.mix(key, i);
            let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&mix));
            let used = 1 + 3 * mix.n_blocks as usize;
            backend.upload(layout.mixes, line * words.len(), &words[..used]);
        }
    }

    /// Writes the lines that running generations use once more, with another scale of adapter `id`.
    pub(crate) fn rescale_lines(&self, runner: &mut Runner, id: u64) {
        for at in 1..MIXES {
            let line = &self.lines[at];
            if line.users > 0 && line.key.iter().any(|(used, _)| *used == id) {
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
}
