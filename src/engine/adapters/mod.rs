//! The adapter bank: which adapters are loaded, where their ranks lie, and which mixes of them
//! are on the device.
//!
//! Loading writes an adapter's block of ranks once. Choosing one, or blending several, is one
//! line of the `mixes` tensor: at most 64 bytes, no object, no plan.

pub(super) mod adapter;
pub(super) mod bank;
mod base;
pub(super) mod combine;
pub(super) mod common;
pub(super) mod config;
mod export;
pub(super) mod files;
mod folder;
pub(super) mod foreign;
mod gguf;
pub(super) mod kinds;
mod lead;
pub(super) mod line;
pub(super) mod loaded;
mod merge;
mod merged;
mod mixes;
pub(super) mod named;
pub(super) mod new_lora;
pub(super) mod numbers;
pub(super) mod part;
mod place;
mod saved;
mod tensor;
pub(super) mod turn;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::{Held, MIXES, free};
use crate::plan::MAX_BLOCKS;

use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::line::Line;
use crate::engine::adapters::loaded::{AdapterInfo, Choice, Loaded, Places, bytes};
use crate::engine::adapters::merged::Merged;
use crate::engine::adapters::place::{check_lead, feeds_cache, modules_of};
use crate::engine::runner::Runner;

/// The loaded adapters and the lines of the `mixes` tensor.
#[derive(Debug)]
pub(crate) struct Adapters {
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

    /// The one that is being trained: here alone that is known.
    ///
    /// Errors with `Argument` if there is none.
    pub(crate) fn trained(&self) -> Result<&Loaded> {
        let none = || Error::argument("no adapter is being trained");
        self.loaded.iter().find(|loaded| loaded.trained).ok_or_else(none)
    }

    /// The same, to be changed.
    ///
    /// Errors as that does.
    pub(crate) fn trained_mut(&mut self) -> Result<&mut Loaded> {
        let name = self.trained()?.info.name.clone();
        self.find_mut(&name)
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
        self.check_untrained(name)?;
        self.check_unused(name, id)
    }

    /// Errors with `Argument` if any adapter is being trained.
    pub(crate) fn check_none_trained(&self) -> Result<()> {
        self.trained().map_or(Ok(()), |loaded| self.check_untrained(&loaded.info.name))
    }

    /// Errors with `Argument` if adapter `name` is being trained.
    pub(crate) fn check_untrained(&self, name: &str) -> Result<()> {
        if self.find(name)?.trained {
            return Err(Error::argument(format!(
                "adapter `{name}` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
            )));
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

    fn free_index(&self) -> usize {
        (0..).find(|i| self.loaded.iter().all(|l| l.index != *i)).expect("integers do not run out")
    }
}

impl Adapters {
    /// Puts an adapter into the bank under `name`; an adapter of that name is replaced, and
    /// what was cached under it is not used again.
    ///
    /// Errors with `Mismatch` naming a module or shape that this base does not have, `Argument`
    /// if the name is empty or its adapter is in use or merged, `Memory`; everything is as it was then.
    pub(crate) fn add(&mut self, runner: &mut Runner, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        let mut loaded = self.fitted(runner, name, adapter, None)?;
        let grown = self.grown_for(runner, &mut loaded)?;
        self.put(runner, loaded, grown)
    }

    /// An adapter with its place in the bank, which may have to grow for it.
    pub(crate) fn fitted(
        &self,
        runner: &Runner,
        name: &str,
        adapter: Adapter,
        files: Option<Arc<AdapterFiles>>,
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
        let config = files.as_ref().map(|files| AdapterConfig::from_json(&files.config)).transpose()?;
        let base = config.and_then(|config| config.common.base_model_name_or_path);
        let info = AdapterInfo {
            name: name.to_owned(),
            rank,
            modules: modules_of(runner.model(), &adapter),
            virtual_tokens: n_virtual,
            bytes: bytes(&adapter, files.as_ref()),
            warnings: adapter.warnings.clone(),
        };
        let rows = adapter.rows.iter().map(|rows| rows.tokens.len()).sum();
        let prompts = if let Some(Lead::Prompt(_)) = adapter.lead { n_virtual } else { 0 };
        Ok(Loaded {
            id: self.next_id,
            index: self.free_index(),
            ranks: Held::new(),
            rows: free(self.loaded.iter().map(|l| &l.rows), rows),
            prompts: free(self.loaded.iter().map(|l| &l.prompts), prompts),
            n_virtual,
            trained: false,
            is_ahead: false,
            feeds_cache: feeds_cache(&runner.model().bank, &adapter, &places),
            info,
            adapter,
            places,
            files,
            base,
        })
    }

    /// Loads a copy of an adapter under another name.
    ///
    /// Errors with `Argument` if `from` is not loaded or `to` is in use, `Memory`.
    pub(crate) async fn copy(&mut self, runner: &mut Runner, from: &str, to: &str) -> Result<()> {
        let Loaded { adapter, files, base, .. } = self.find(from)?;
        let (adapter, files, base) = (adapter.clone(), files.clone(), base.clone());
        self.add_reserved(runner, to, adapter, files).await?;
        self.find_mut(to)?.base = base;
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

    /// Tries the kernels that an adapter just loaded needs, and deletes it if one is wrong.
    ///
    /// Errors with `Device`, naming the kernel; or if the device is lost.
    pub(crate) async fn check_kernels(&mut self, runner: &mut Runner, name: &str) -> Result<()> {
        if let Err(e) = runner.check_kernels().await {
            self.delete(runner, name)?;
            return Err(e);
        }
        Ok(())
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
