//! The adapter that is trained: how it begins, and that the engine's own copy of it follows what
//! the device learns. Steps of training are `train`'s.

use crate::error::{Error, ErrorKind, Result};
use crate::format::peft::{AdapterConfig, MersenneTwister};
use crate::model::Trainee;
use crate::plan::TensorId;

use super::Engine;
use super::adapter::{Adapter, ModuleDelta};
use super::adapters::{AdapterInfo, Loaded};
use super::bank::Place;
use super::training_memory::TrainingRoom;

/// A new LoRA adapter to be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLora {
    /// R
    pub rank: usize,
    /// Numerator of the scale alpha / R.
    pub alpha: f64,
    /// Ends of the names of the modules to adapt; empty is every linear map but the head.
    pub target_modules: Vec<String>,
    /// Of the numbers that A begins with.
    pub seed: u32,
}

/// What an adapter has learned, and how it was moving.
#[derive(Clone, Debug)]
pub(super) struct TraineeState {
    deltas: Vec<ModuleDelta>,
    /// AdamW's.
    moments: Vec<(TensorId, Vec<u32>)>,
}

impl Engine {
    /// Adds a LoRA that does nothing yet: A Kaiming-uniform with a = √5, that is ±1/√C, and B zero,
    /// as PEFT begins one (arXiv:2106.09685).
    ///
    /// Errors with `Argument` for a rank, an alpha or a name out of range or targets that the base
    /// does not have, `Memory`.
    pub fn new_lora(&mut self, name: &str, lora: &NewLora) -> Result<AdapterInfo> {
        let &NewLora { rank, alpha, ref target_modules, seed } = lora;
        let mut targets: Vec<&str> = target_modules.iter().map(String::as_str).collect();
        if targets.is_empty() {
            targets.push("all-linear");
        }
        let config = AdapterConfig::lora(rank, alpha, &targets)?;
        let mut random = MersenneTwister::new(seed);
        let mut deltas = Vec::new();
        let weights = &self.model.weights;
        for bare in self.model.bank.modules() {
            let module = weights.full_name(bare);
            let (is_head, is_embedding) = (bare == "lm_head", module == weights.embedding());
            let wanted = if target_modules.is_empty() {
                !is_head && !is_embedding
            } else {
                self.targets(&config, bare)
            };
            if !wanted {
                continue;
            }
            if is_head || is_embedding {
                return Err(Error::unsupported(format!(
                    "target module `{module}`: the embedding and the head are not trained"
                )));
            }
            let [inputs, outputs] = self.shape(&module)?;
            let bound = 1.0 / (inputs as f32).sqrt();
            let [mut a, b] = [zeros(rank * inputs)?, zeros(outputs * rank)?];
            a.fill_with(|| (2.0 * random.uniform() - 1.0) * bound);
            deltas.push(ModuleDelta { module, rank, a, b, ..ModuleDelta::default() });
        }
        if deltas.is_empty() {
            return Err(Error::argument(format!(
                "target modules {target_modules:?}: the base has none of them"
            )));
        }
        let info = self.add_adapter(name, Adapter { deltas, ..Adapter::default() })?;
        let loaded = self.adapters.find_mut(name)?;
        loaded.scale = (alpha / rank as f64) as f32;
        Ok(info)
    }

    /// Makes room to train a loaded adapter further, with fresh moments; only one is trained at a
    /// time. Where it came from a PEFT folder with one scale for all modules, B is trained without
    /// it, as PEFT does.
    ///
    /// Errors with `Argument` if it is not loaded, in use or merged, or another is trained;
    /// `Unsupported` naming what of it is no plain LoRA; `Memory` naming what would fit.
    pub fn begin_training(&mut self, name: &str, room: TrainingRoom) -> Result<()> {
        if let Some(other) = &self.adapters.trainee {
            return Err(Error::argument(format!("adapter `{other}` is being trained, end that first")));
        }
        let id = self.adapters.find(name)?.id;
        self.adapters.check_idle(name, id)?;
        let scale = self.only_scale(name)?;
        let trainee = self.trainee(name, room)?;
        self.check_training_memory(name, &trainee, room.memory_limit)?;
        let before = self.model.tensors.total_bytes();
        let reshaped = self.model.reshape_training(Some(trainee));
        if let Err(e) = reshaped.and_then(|()| self.backend.allocate(&self.model.tensors)) {
            let more = self.model.tensors.total_bytes().saturating_sub(before);
            self.free_training()?;
            return Err(self.no_room(name, before, more, e));
        }
        let loaded = self.adapters.find_mut(name)?;
        if let Some(scale) = scale {
            for delta in &mut loaded.adapter.deltas {
                delta.b.iter_mut().for_each(|b| *b /= scale);
            }
            (loaded.scale, loaded.files) = (scale, None);
        }
        self.adapters.trainee = Some(name.to_owned());
        self.adapters.moments.clear();
        self.plans = Default::default();
        self.clear_moments();
        self.rewrite(name)?;
        self.renew(name)
    }

    /// Frees what training needed; the adapter stays as it has become. No error if none is
    /// trained.
    pub fn end_training(&mut self) -> Result<()> {
        self.adapters.trainee = None;
        self.adapters.moments = Vec::new();
        self.free_training()
    }

    /// The adapter that is being trained.
    pub fn trained_adapter(&self) -> Option<&str> {
        self.adapters.trainee.as_deref()
    }

    /// What a refusal by the device means here: how much is needed, and what needs less.
    fn no_room(&self, name: &str, before: u64, more: u64, e: Error) -> Error {
        if e.kind() != ErrorKind::Memory {
            return e;
        }
        let rank = self.adapters.find(name).map_or(0, |loaded| loaded.info.rank);
        Error::memory(format!(
            "training adapter `{name}` takes {more} bytes beside the model's {before}: {e}; shorter windows or a rank below {rank} take less"
        ))
    }

    fn free_training(&mut self) -> Result<()> {
        self.model.reshape_training(None)?;
        self.plans = Default::default();
        self.backend.allocate(&self.model.tensors)
    }

    /// The scale folded into a plain LoRA's B, if its folder tells one; 1 and less is none.
    fn only_scale(&self, name: &str) -> Result<Option<f32>> {
        let Loaded { adapter, files, .. } = self.adapters.find(name)?;
        let Adapter { deltas, points, rows, lead, warnings: _ } = adapter;
        let refused = |part: &str| {
            Err(Error::unsupported(format!(
                "adapter `{name}`: `{part}` is no plain LoRA, which alone is trained"
            )))
        };
        if let Some(delta) = points.first() {
            return refused(&delta.point);
        }
        if rows.iter().any(|rows| !rows.tokens.is_empty()) {
            return refused("rows of the embedding");
        }
        if lead.is_some() {
            return refused("the start of a text");
        }
        let embedding = self.model.weights.embedding();
        for ModuleDelta { module, rank, gain, shift, .. } in deltas {
            let at = self.model.weights.full_name(module);
            if *rank == 0 || !gain.is_empty() || !shift.is_empty() || at == "lm_head" || at == embedding {
                return refused(module);
            }
        }
        let Some(files) = files else { return Ok(None) };
        let config = AdapterConfig::from_json(&files.config)?;
        let scales: Vec<f32> =
            deltas.iter().map(|delta| config.scale(&delta.module)).collect::<Result<_>>()?;
        let Some((&first, rest)) = scales.split_first() else { return Ok(None) };
        if first == 0.0 || rest.iter().any(|scale| *scale != first) {
            return Err(Error::unsupported(format!(
                "adapter `{name}`: scales {scales:?}, expected one scale for all modules"
            )));
        }
        Ok(Some(first))
    }

    /// What of the bank is trained.
    fn trainee(&self, name: &str, TrainingRoom { window, dropout, .. }: TrainingRoom) -> Result<Trainee> {
        let Loaded { ranks, places, .. } = self.adapters.find(name)?;
        let mut sites: Vec<(usize, Vec<bool>)> = Vec::new();
        for place in &places.deltas {
            let parts = self.model.bank.sites[place.site].parts();
            let at = sites.iter().position(|(site, _)| *site == place.site).unwrap_or_else(|| {
                sites.push((place.site, vec![false; parts]));
                sites.len() - 1
            });
            sites[at].1[place.part] = true;
        }
        sites.sort_unstable();
        Ok(Trainee {
            first: ranks.start,
            count: ranks.len(),
            sites,
            dropout,
            window: window.clamp(2, self.model.context()),
        })
    }

    /// Gives the trainee other numbers, and its moments a fresh start.
    ///
    /// Errors if none is trained.
    pub(super) fn restore_trainee(&mut self, deltas: Vec<ModuleDelta>) -> Result<()> {
        let name =
            self.adapters.trainee.clone().ok_or_else(|| Error::argument("no adapter is being trained"))?;
        self.adapters.find_mut(&name)?.adapter.deltas = deltas;
        self.adapters.moments.clear();
        self.clear_moments();
        self.rewrite(&name)?;
        self.renew(&name)
    }

    /// All that steps of training change, as the last one that ended left it.
    ///
    /// Errors with `Argument` if none is trained.
    pub(super) fn trainee_state(&self) -> Result<TraineeState> {
        let name = self.trained_adapter().ok_or_else(|| Error::argument("no adapter is being trained"))?;
        let deltas = self.adapters.find(name)?.adapter.deltas.clone();
        Ok(TraineeState { deltas, moments: self.adapters.moments.clone() })
    }

    /// Makes the trainee what it was.
    ///
    /// Errors with `Argument` if none is trained.
    pub(super) fn set_trainee_state(&mut self, state: &TraineeState) -> Result<()> {
        self.restore_trainee(state.deltas.clone())?;
        self.adapters.moments.clone_from(&state.moments);
        self.write_moments();
        Ok(())
    }

    /// Writes the trainee's moments, which are zeros otherwise.
    pub(super) fn write_moments(&mut self) {
        for (id, words) in &self.adapters.moments {
            self.backend.upload(*id, 0, words);
        }
    }

    fn clear_moments(&mut self) {
        let moments = &self.model.training.moments;
        let tensors = moments.iter().flat_map(|m| [m.g, m.m, m.v]).flatten();
        tensors.for_each(|tensor| self.backend.clear(tensor));
    }

    /// Loads a copy of an adapter under another name.
    ///
    /// Errors with `Argument` if `from` is not loaded or `to` is in use, `Memory`.
    pub(super) fn copy_adapter(&mut self, from: &str, to: &str) -> Result<()> {
        let Loaded { adapter, scale, files, .. } = self.adapters.find(from)?;
        let (adapter, scale, files) = (adapter.clone(), *scale, files.clone());
        self.add_from(to, adapter, files)?;
        self.adapters.find_mut(to)?.scale = scale;
        Ok(())
    }

    /// Reads the trainee's A, B and moments back, so that exports, a bank that grows, and another
    /// device have what this one has learned; and makes it a new version, so that nothing cached
    /// under the old one is used.
    ///
    /// Errors with `Device`, and if a number is none; nothing here is changed then.
    pub(super) async fn sync_trainee(&mut self) -> Result<()> {
        let name = self.adapters.trainee.clone().expect("a step is under way");
        let Self { model, backend, adapters, .. } = self;
        let Loaded { ranks, adapter, places, .. } = adapters.find(&name)?;
        let of_place = |(delta, place): (&ModuleDelta, &Place)| {
            let site = &model.bank.sites[place.site];
            let (rank, (c, stride)) = (delta.rank, (site.inputs, site.outputs()));
            let row = place.part * model.bank.room.ranks + ranks.start;
            [(site.a, row * c, rank * c), (site.b, ranks.start * stride, rank * stride)]
        };
        let mut parts: Vec<_> = adapter.deltas.iter().zip(&places.deltas).flat_map(of_place).collect();
        let moments: Vec<_> =
            model.training.moments.iter().flat_map(|moments| [moments.m, moments.v]).flatten().collect();
        parts.extend(moments.iter().map(|&id| (id, 0, model.tensors.get(id).len())));
        let mut read = backend.read_all(&parts).await?.into_iter();
        let mut learned = Vec::new();
        for (delta, place) in adapter.deltas.iter().zip(&places.deltas) {
            let site = &model.bank.sites[place.site];
            let (rank, stride) = (delta.rank, site.outputs());
            let [from, to] = [site.edges[place.part], site.edges[place.part + 1]];
            let mut next = || bytemuck::cast_vec::<u32, f32>(read.next().expect("as many as were asked for"));
            let (a, b) = (next(), next());
            let b: Vec<f32> =
                (from..to).flat_map(|f| (0..rank).map(move |r| r * stride + f)).map(|at| b[at]).collect();
            if let Some(bad) = a.iter().chain(&b).find(|x| !x.is_finite()) {
                return Err(Error::device(format!(
                    "adapter `{name}`: training made a {bad} in module `{}`; a smaller learning rate may help",
                    delta.module
                )));
            }
            learned.push((a, b));
        }
        for (delta, learned) in self.adapters.find_mut(&name)?.adapter.deltas.iter_mut().zip(learned) {
            (delta.a, delta.b) = learned;
        }
        self.adapters.moments = moments.into_iter().zip(read).collect();
        self.renew(&name)
    }
}

/// `n` zeros. Errors with `Memory`.
fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut zeros = Vec::new();
    let bytes = n.saturating_mul(4);
    zeros
        .try_reserve_exact(n)
        .map_err(|_| Error::memory(format!("an adapter's matrix of {bytes} bytes is not to be had")))?;
    zeros.resize(n, 0.0);
    Ok(zeros)
}
