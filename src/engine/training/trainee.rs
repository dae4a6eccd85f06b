//! The adapter that is trained: how it begins, and that the engine's own copy of it follows what
//! the device learns. Steps of training are `train`'s.

use crate::error::{Error, ErrorKind, Result};
use crate::format::peft::AdapterConfig;
use crate::model::{Trainee, Training};
use crate::plan::{TensorId, Tensors};

use crate::engine::Engine;
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::loaded::{Loaded, Place};
use crate::engine::training::memory::TrainingRoom;

/// What an adapter has learned, and how it was moving.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TraineeState {
    deltas: Vec<ModuleDelta>,
    /// AdamW's.
    moments: Vec<(TensorId, Vec<u32>)>,
}

impl Engine {
    /// Makes room to train a loaded adapter further, with fresh moments; only one is trained at a
    /// time. Where it came from a PEFT folder with one scale for all modules, B is trained without
    /// it, as PEFT does. One that began as LoRA-XS is trained by its cores.
    ///
    /// Errors with `Argument` if it is not loaded, in use or merged, or another is trained;
    /// `Unsupported` naming what of it is no plain LoRA; `Memory` naming what would fit. Everything is
    /// as it was then.
    pub fn begin_training(&mut self, name: &str, room: TrainingRoom) -> Result<()> {
        let of_folder = self.check_trainable(name)?;
        let (training, tensors) = self.with_trainee(name, room)?;
        self.backend.allocate(&tensors).map_err(|e| self.no_room(name, &tensors, e))?;
        (self.model.training, self.model.tensors) = (training, tensors);
        let loaded = self.adapters.find_mut(name)?;
        if let Some((scale, base)) = of_folder {
            let deltas = &mut loaded.adapter.deltas;
            let scaled = deltas.iter().map(|delta| delta.b.clone()).collect();
            deltas.iter_mut().flat_map(|delta| &mut delta.b).for_each(|b| *b /= scale);
            (loaded.scale, loaded.base) = (scale, base);
            loaded.untrained = loaded.files.take().map(|files| (scaled, files));
        }
        self.adapters.trainee = Some(name.to_owned());
        self.adapters.moments.clear();
        self.plans = Default::default();
        self.clear_moments();
        self.rewrite_trainee(name)
    }

    /// The same, where a device that is out of memory tells so only to who waits.
    ///
    /// Errors as that does.
    pub async fn begin_training_reserved(&mut self, name: &str, room: TrainingRoom) -> Result<()> {
        self.check_trainable(name)?;
        let (_, tensors) = self.with_trainee(name, room)?;
        let reserved = self.backend.reserve(&tensors).await;
        reserved.map_err(|e| self.no_room(name, &tensors, e))?;
        self.begin_training(name, room)
    }

    /// The scale that B is trained without, and the name of its base, if a folder tells them.
    ///
    /// Errors as [`begin_training`](Self::begin_training), but for memory.
    fn check_trainable(&self, name: &str) -> Result<Option<(f32, Option<String>)>> {
        if let Some(other) = &self.adapters.trainee {
            return Err(Error::argument(format!("adapter `{other}` is being trained, end that first")));
        }
        let id = self.adapters.find(name)?.id;
        self.adapters.check_idle(name, id)?;
        self.only_scale(name)
    }

    /// Training and all tensors as they are while an adapter is trained.
    fn with_trainee(&self, name: &str, room: TrainingRoom) -> Result<(Training, Tensors)> {
        let trainee = self.trainee(name, room)?;
        self.check_training_memory(name, &trainee, room.memory_limit)?;
        self.model.with_trainee(Some(trainee))
    }

    /// Frees what training needed; the adapter stays as it has become: without a step, bit for bit
    /// what it was. No error if none is trained.
    pub fn end_training(&mut self) -> Result<()> {
        let name = self.adapters.trainee.take();
        self.adapters.moments = Vec::new();
        self.free_training()?;
        if let Some(name) = name
            && let Some((scaled, files)) = self.adapters.find_mut(&name)?.untrained.take()
        {
            let loaded = self.adapters.find_mut(&name)?;
            loaded.adapter.deltas.iter_mut().zip(scaled).for_each(|(delta, b)| delta.b = b);
            (loaded.scale, loaded.files) = (1.0, Some(files));
            self.rewrite(&name)?;
            self.renew(&name)?;
            self.rescale_lines(self.adapters.find(&name)?.id);
        }
        Ok(())
    }

    /// The adapter that is being trained.
    pub fn trained_adapter(&self) -> Option<&str> {
        self.adapters.trainee.as_deref()
    }

    /// What a refusal by the device means here: how much is needed, and what needs less.
    fn no_room(&self, name: &str, tensors: &Tensors, e: Error) -> Error {
        if e.kind() != ErrorKind::Memory {
            return e;
        }
        let before = self.model.tensors.total_bytes();
        let more = tensors.total_bytes().saturating_sub(before);
        let rank = self.adapters.find(name).map_or(0, |loaded| loaded.info.rank);
        Error::memory(format!(
            "training adapter `{name}` takes {more} bytes beside the model's {before}: {e}; shorter windows or a rank below {rank} take less"
        ))
    }

    fn free_training(&mut self) -> Result<()> {
        let (training, tensors) = self.model.with_trainee(None)?;
        self.backend.allocate(&tensors)?;
        (self.model.training, self.model.tensors) = (training, tensors);
        self.plans = Default::default();
        Ok(())
    }

    /// The scale folded into a plain LoRA's B, and its base's name, if it has a folder that tells them.
    fn only_scale(&self, name: &str) -> Result<Option<(f32, Option<String>)>> {
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
        // Made together, they all have a core or none.
        let cored = |delta: &&ModuleDelta| delta.core.is_some();
        if let Some(odd) = deltas.iter().find(|delta| cored(delta) != cored(&&deltas[0])) {
            return refused(&odd.module);
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
        Ok(Some((first, config.base_model_name_or_path)))
    }

    /// What of the bank is trained.
    fn trainee(&self, name: &str, TrainingRoom { window, dropout, .. }: TrainingRoom) -> Result<Trainee> {
        let Loaded { ranks, places, adapter, .. } = self.adapters.find(name)?;
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
            cores: adapter.deltas.iter().all(|delta| delta.core.is_some()),
            window: window.clamp(2, self.model.context()),
        })
    }

    /// Gives the trainee other numbers, and its moments a fresh start.
    ///
    /// Errors if none is trained.
    pub(in crate::engine) fn restore_trainee(&mut self, deltas: Vec<ModuleDelta>) -> Result<()> {
        let name =
            self.adapters.trainee.clone().ok_or_else(|| Error::argument("no adapter is being trained"))?;
        self.adapters.find_mut(&name)?.adapter.deltas = deltas;
        self.adapters.moments.clear();
        self.clear_moments();
        self.rewrite_trainee(&name)
    }

    /// Writes the trainee's numbers once more, and its cores, as a new version.
    fn rewrite_trainee(&mut self, name: &str) -> Result<()> {
        self.rewrite(name)?;
        self.write_cores();
        self.renew(name)
    }

    /// Writes the cores of what is trained, if it has any.
    pub(in crate::engine) fn write_cores(&mut self) {
        let Self { model, backend, adapters, .. } = self;
        let loaded = adapters.trainee.as_ref().and_then(|name| adapters.find(name).ok());
        let Some(Loaded { ranks, adapter, places, .. }) = loaded else { return };
        for (delta, place) in adapter.deltas.iter().zip(&places.deltas) {
            let (Some(core), Some(tensors)) = (&delta.core, model.training.core(place.site, place.part))
            else {
                continue;
            };
            for (i, row) in core.r.chunks_exact(delta.rank).enumerate() {
                backend.upload(tensors.r, i * ranks.len(), bytemuck::cast_slice(row));
            }
            backend.upload(tensors.a, 0, bytemuck::cast_slice(&core.a));
        }
    }

    /// All that steps of training change, as the last one that ended left it.
    ///
    /// Errors with `Argument` if none is trained.
    pub(in crate::engine) fn trainee_state(&self) -> Result<TraineeState> {
        let name = self.trained_adapter().ok_or_else(|| Error::argument("no adapter is being trained"))?;
        let deltas = self.adapters.find(name)?.adapter.deltas.clone();
        Ok(TraineeState { deltas, moments: self.adapters.moments.clone() })
    }

    /// Makes the trainee what it was.
    ///
    /// Errors with `Argument` if none is trained.
    pub(in crate::engine) fn set_trainee_state(&mut self, state: &TraineeState) -> Result<()> {
        self.restore_trainee(state.deltas.clone())?;
        self.adapters.moments.clone_from(&state.moments);
        self.write_moments();
        Ok(())
    }

    /// Writes the trainee's numbers and moments as its last finished step left them.
    ///
    /// Errors if none is trained.
    pub(in crate::engine) fn undo_step(&mut self) -> Result<()> {
        let name = self.adapters.trainee.clone().expect("a step is under way");
        self.clear_moments();
        self.write_moments();
        self.rewrite_trainee(&name)
    }

    /// Writes the trainee's moments, which are zeros otherwise.
    pub(in crate::engine) fn write_moments(&mut self) {
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
    pub(in crate::engine) async fn copy_adapter(&mut self, from: &str, to: &str) -> Result<()> {
        let Loaded { adapter, scale, files, base, .. } = self.adapters.find(from)?;
        let (adapter, scale, files, base) = (adapter.clone(), *scale, files.clone(), base.clone());
        self.add_reserved(to, adapter, files).await?;
        let copy = self.adapters.find_mut(to)?;
        (copy.scale, copy.base) = (scale, base);
        Ok(())
    }

    /// Reads back what a step has changed, A, B or the cores, and moments, so that exports, a bank that
    /// grows, and another device have what this one has learned; and makes it a new version, so that
    /// nothing cached under the old one is used.
    ///
    /// Errors with `Device`, and if a number is none; nothing here is changed then.
    pub(in crate::engine) async fn sync_trainee(&mut self) -> Result<()> {
        let name = self.adapters.trainee.clone().expect("a step is under way");
        let Self { model, backend, adapters, .. } = self;
        let Loaded { ranks, adapter, places, .. } = adapters.find(&name)?;
        let of_place = |(delta, place): (&ModuleDelta, &Place)| {
            let site = &model.bank.sites[place.site];
            let (rank, (c, stride)) = (delta.rank, (site.inputs, site.outputs()));
            let row = place.part * model.bank.room.ranks + ranks.start;
            let other = match model.training.core(place.site, place.part) {
                Some(core) => (core.r, 0, rank * ranks.len()),
                None => (site.b, ranks.start * stride, rank * stride),
            };
            [(site.a, row * c, rank * c), other]
        };
        let mut parts: Vec<_> = adapter.deltas.iter().zip(&places.deltas).flat_map(of_place).collect();
        let moments: Vec<_> =
            model.training.moments.iter().flat_map(|moments| [moments.m, moments.v]).flatten().collect();
        parts.extend(moments.iter().map(|&id| (id, 0, model.tensors.get(id).len())));
        let mut read = backend.read_all(&parts).await?.into_iter();
        let mut learned = adapter.deltas.clone();
        for (delta, place) in learned.iter_mut().zip(&places.deltas) {
            let (rank, site) = (delta.rank, &model.bank.sites[place.site]);
            let mut next = || bytemuck::cast_vec::<u32, f32>(read.next().expect("as many as were asked for"));
            let (a, other) = (next(), next());
            if let Some(bad) = a.iter().chain(&other).find(|x| !x.is_finite()) {
                return Err(Error::device(format!(
                    "adapter `{name}`: training made a {bad} in module `{}`; a smaller learning rate may help",
                    delta.module
                )));
            }
            delta.a = a;
            if let Some(core) = &mut delta.core {
                core.r = other.chunks_exact(ranks.len()).flat_map(|row| &row[..rank]).copied().collect();
            } else {
                let stride = site.outputs();
                let [from, to] = [site.edges[place.part], site.edges[place.part + 1]];
                let at = (from..to).flat_map(|f| (0..rank).map(move |r| r * stride + f));
                delta.b = at.map(|at| other[at]).collect();
            }
        }
        self.adapters.moments = moments.into_iter().zip(read).collect();
        let loaded = self.adapters.find_mut(&name)?;
        (loaded.adapter.deltas, loaded.untrained) = (learned, None);
        self.renew(&name)
    }
}
