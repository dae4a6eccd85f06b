//! The adapter that is trained: how it begins, and that the engine's own copy of it follows what
//! the device learns. Steps of training are `train`'s.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::ModuleDelta;
use crate::engine::adapters::loaded::Loaded;
use crate::engine::adapters::loaded::Place;
use crate::engine::runner::Runner;
use crate::engine::training::Trainer;
use crate::engine::training::memory::{TrainingRoom, check_memory};
use crate::engine::training::optimizer::Optimizer;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Keep, MAX_ROWS, Model, Site, TRAIN_ROWS, TrainedSite, Trainee, Variant, padded};
use crate::plan::TensorId;

/// What an adapter has learned, and how it was moving.
#[derive(Clone, Debug)]
pub(crate) struct TraineeState {
    deltas: Vec<ModuleDelta>,
    /// AdamW's.
    moments: Vec<(TensorId, Vec<u32>)>,
    /// Steps finished.
    steps: u32,
}

impl Trainer {
    /// Makes room to train a loaded adapter further, with fresh moments; only one is trained at a
    /// time. A way of training that takes less memory takes more time: the first that fits is taken. B is trained without its scale, as PEFT does. One that began as LoRA-XS is trained by its
    /// cores.
    ///
    /// Errors with `Argument` if it is not loaded, in use or merged, or another is trained;
    /// `Unsupported` naming what of it is no plain LoRA; `Memory` naming what would fit. Everything is
    /// as it was then.
    pub(crate) async fn begin(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        name: &str,
        optimizer: Optimizer,
        room: TrainingRoom,
    ) -> Result<()> {
        runner.model().check_decoder("training")?;
        check_trainable(runner.model(), adapters, name)?;
        let mut made = Ok(());
        for trainee in ways(runner, adapters.find(name)?, room.window, optimizer.dropout > 0.0) {
            made = make_room(runner, adapters, name, trainee, room).await;
            if !made.as_ref().is_err_and(|e| e.kind() == ErrorKind::Memory) {
                break;
            }
        }
        made?;
        adapters.find_mut(name)?.trained = true;
        *self = Self { optimizer, ..Self::default() };
        clear_moments(runner);
        rewrite(runner, adapters, name)
    }

    /// Frees what training needed; the adapter stays as it has become: without a step, bit for bit
    /// what it was, else what its export is when it is loaded again. No error if none is trained.
    ///
    /// Errors with `Device` if what was learned cannot be read: it is still being trained then.
    pub(crate) async fn end(&mut self, runner: &mut Runner, adapters: &mut Adapters) -> Result<()> {
        self.copy(runner, adapters).await?;
        if let Ok(Loaded { info, .. }) = adapters.trained() {
            let name = info.name.clone();
            adapters.find_mut(&name)?.trained = false;
            adapters.rewrite(runner, &name)?;
            adapters.renew(&name)?;
            adapters.rescale_lines(runner, adapters.find(&name)?.id);
        }
        *self = Self::default();
        let (training, tensors) = runner.model().with_trainee(None)?;
        runner.set_training(training, tensors)
    }

    /// All that steps of training change, as the last one that ended left it.
    ///
    /// Errors with `Argument` if none is trained.
    pub(crate) fn state(&self, adapters: &Adapters) -> Result<TraineeState> {
        let deltas = adapters.trained()?.adapter.deltas.clone();
        Ok(TraineeState { deltas, moments: self.moments.clone(), steps: self.steps })
    }

    /// Makes the trainee what it was.
    ///
    /// Errors with `Argument` if none is trained.
    pub(crate) fn set_state(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        state: &TraineeState,
    ) -> Result<()> {
        self.forget(adapters);
        adapters.trained_mut()?.learn(state.deltas.clone());
        self.moments.clone_from(&state.moments);
        self.steps = state.steps;
        self.undo_step(runner, adapters)
    }

    /// Writes the trainee's numbers and moments as the host has them, which are those of the last finished step
    /// unless the device is lost.
    ///
    /// Errors with `Argument` if none is trained.
    pub(super) fn undo_step(&self, runner: &mut Runner, adapters: &mut Adapters) -> Result<()> {
        clear_moments(runner);
        self.write_moments(runner);
        let name = adapters.trained()?.info.name.clone();
        rewrite(runner, adapters, &name)
    }

    /// Writes the cores and the moments of what is trained, as a new device needs them.
    pub(crate) fn write_all(&self, runner: &mut Runner, adapters: &Adapters) {
        if let Ok(loaded) = adapters.trained() {
            write_cores(runner, loaded);
        }
        self.write_moments(runner);
    }

    /// Writes the trainee's moments, which are zeros otherwise.
    fn write_moments(&self, runner: &mut Runner) {
        for (id, words) in &self.moments {
            runner.upload(*id, 0, words);
        }
    }

    /// Reads back what steps have changed, A, B or the cores, and moments: the host's copy is what the device
    /// has then.
    ///
    /// Errors with `Device`, and if a number is none; nothing here is changed then.
    pub(super) async fn read_back(&mut self, runner: &mut Runner, adapters: &mut Adapters) -> Result<()> {
        let (model, backend) = runner.parts();
        let loaded = adapters.trained()?;
        let Loaded { info, adapter, places, .. } = loaded;
        let (name, demand, count) = (info.name.clone(), loaded.demand(), padded(info.rank));
        let first = |site: &Site| loaded.range_at(site).start;
        // The parts of a site share the rows of its B; beside a core it is not trained.
        let has_b: BTreeSet<usize> = adapter
            .deltas
            .iter()
            .zip(&places.deltas)
            .filter(|(delta, _)| delta.core.is_none())
            .map(|(_, place)| place.site)
            .collect();
        let of_b = |at: &usize| {
            let site = &model.bank.sites[*at];
            let stride = site.outputs();
            (site.b, first(site) * stride, site.needs(&demand[at]) * stride)
        };
        let rows_of = |place: &Place| {
            let site = &model.bank.sites[place.site];
            model.bank.part_rows(site, first(site), &demand[&place.site], place.part)
        };
        let of_place = |(delta, place): (&ModuleDelta, &Place)| {
            let (rank, site) = (delta.rank, &model.bank.sites[place.site]);
            let a = (site.a, rows_of(place).a * site.inputs, rank * site.inputs);
            let core = delta.core.as_ref().and_then(|_| model.training.core(place.site, place.part));
            [Some(a), core.map(|core| (core.r, 0, rank * count))].into_iter().flatten()
        };
        let mut parts: Vec<_> = has_b.iter().map(of_b).collect();
        parts.extend(adapter.deltas.iter().zip(&places.deltas).flat_map(of_place));
        let moments: Vec<_> =
            model.training.moments.arenas().iter().flat_map(|arena| [arena.m, arena.v]).collect();
        parts.extend(moments.iter().map(|&id| (id, 0, model.tensors.get(id).len())));
        let mut read = backend.read_all(&parts).await?.into_iter();
        let mut next = || bytemuck::cast_vec::<u32, f32>(read.next().expect("as many as were asked for"));
        let bs: BTreeMap<usize, Vec<f32>> = has_b.into_iter().map(|site| (site, next())).collect();
        let mut learned = adapter.deltas.clone();
        for (delta, place) in learned.iter_mut().zip(&places.deltas) {
            let (rank, site) = (delta.rank, &model.bank.sites[place.site]);
            let a = next();
            let other: Vec<f32> = if delta.core.is_some() {
                next().chunks_exact(count).flat_map(|row| &row[..rank]).copied().collect()
            } else {
                let (b, stride, row) = (&bs[&place.site], site.outputs(), rows_of(place).b - first(site));
                let [from, to] = [site.edges[place.part], site.edges[place.part + 1]];
                (from..to).flat_map(|f| (row..row + rank).map(move |r| b[r * stride + f])).collect()
            };
            if let Some(bad) = a.iter().chain(&other).find(|x| !x.is_finite()) {
                return Err(Error::device(format!(
                    "adapter `{name}`: training made a {bad} in module `{}`; a smaller learning rate may help",
                    delta.module
                )));
            }
            delta.a = a.into();
            match &mut delta.core {
                Some(core) => core.r = other,
                None => delta.b = other.into(),
            }
        }
        self.moments = moments.into_iter().zip(read).collect();
        let loaded = adapters.trained_mut()?;
        loaded.learn(learned);
        loaded.is_ahead = false;
        self.since.clear();
        Ok(())
    }
}

/// Makes the room that training an adapter in one way takes.
async fn make_room(
    runner: &mut Runner,
    adapters: &Adapters,
    name: &str,
    trainee: Trainee,
    room: TrainingRoom,
) -> Result<()> {
    check_memory(runner, adapters, name, &trainee, room.memory_limit)?;
    let (training, tensors) = runner.model().with_trainee(Some(trainee))?;
    let (needed, model) = (tensors.total_bytes(), runner.model().tensors.total_bytes());
    let full = |e| no_room(adapters, name, [needed, model], e);
    // A device that is out of memory tells so only to who waits.
    runner.reserve(&tensors).await.map_err(full)?;
    runner.set_training(training, tensors).map_err(full)
}

/// What a refusal by the device means here: how much is needed, and what needs less.
fn no_room(adapters: &Adapters, name: &str, [needed, model]: [u64; 2], e: Error) -> Error {
    if e.kind() != ErrorKind::Memory {
        return e;
    }
    let more = needed.saturating_sub(model);
    let rank = adapters.find(name).map_or(0, |loaded| loaded.info.rank);
    Error::memory(format!(
        "training adapter `{name}` takes {more} bytes beside the model's {model}: {e}; shorter windows or a rank below {rank} take less"
    ))
}

/// Errors as [`Trainer::begin`], but for memory.
fn check_trainable(model: &Model, adapters: &Adapters, name: &str) -> Result<()> {
    adapters.check_none_trained()?;
    let loaded = adapters.find(name)?;
    adapters.check_idle(name, loaded.id)?;
    check_plain(model, loaded)
}

/// Errors with `Unsupported` unless it is a plain LoRA of the body's linear maps, with one scale for all.
fn check_plain(model: &Model, Loaded { info, adapter, .. }: &Loaded) -> Result<()> {
    let refused = |part: &str| {
        Error::unsupported(format!(
            "adapter `{}`: `{part}` is no plain LoRA, which alone is trained",
            info.name
        ))
    };
    let deltas = adapter.as_plain_lora().map_err(|more| refused(more.part()))?;
    let Some(first) = deltas.first() else { return Ok(()) };
    let weights = &model.weights;
    let is_table = |module: &str| module == weights.head_name() || module == weights.embedding();
    // Made together, they all have a core or none.
    let odd = |delta: &&ModuleDelta| {
        is_table(&weights.full_name(&delta.module)) || delta.core.is_some() != first.core.is_some()
    };
    if let Some(odd) = deltas.iter().find(odd) {
        return Err(refused(&odd.module));
    }
    if first.scale == 0.0 || deltas.iter().any(|delta| delta.scale != first.scale) {
        let scales: Vec<f32> = deltas.iter().map(|delta| delta.scale).collect();
        return Err(Error::unsupported(format!(
            "adapter `{}`: scales {scales:?}, expected one scale for all modules",
            info.name
        )));
    }
    Ok(())
}

/// Most bytes of activations that are copied so that they need not be computed again.
const MOST_COPIES: usize = 256 << 20;

/// What of the bank is trained, in each way that may have room, the fastest first: with activations kept, with large
/// runs, with runs as inference has them.
fn ways(runner: &Runner, loaded: &Loaded, window: usize, dropout: bool) -> Vec<Trainee> {
    let model = runner.model();
    let trained = |(site, parts): (usize, _)| {
        let first = loaded.range_at(&model.bank.sites[site]).start;
        TrainedSite { site, first, parts }
    };
    let window = window.clamp(2, model.context());
    let [large, small] = [TRAIN_ROWS, MAX_ROWS].map(|most| runner.train_rows(window - 1, most));
    let least = Trainee {
        sites: loaded.demand().into_iter().map(trained).collect(),
        dropout,
        variant: Variant::of(loaded.adapter.deltas.iter().all(|delta| delta.core.is_some())),
        window,
        tile: small,
        keep: Keep::Inputs,
    };
    let mut ways = Vec::new();
    if large >= window - 1 {
        ways.push(Trainee { tile: large, keep: Keep::InPlace, ..least.clone() });
    } else if model.kept_bytes(window) <= MOST_COPIES {
        ways.push(Trainee { tile: large, keep: Keep::Copies, ..least.clone() });
    }
    if large > small {
        ways.push(Trainee { tile: large, ..least.clone() });
    }
    ways.push(least);
    ways
}

/// Writes the trainee's numbers once more, and its cores, as a new version.
fn rewrite(runner: &mut Runner, adapters: &mut Adapters, name: &str) -> Result<()> {
    adapters.rewrite(runner, name)?;
    write_cores(runner, adapters.find(name)?);
    adapters.renew(name)
}

/// Writes the cores of what is trained, if it has any.
fn write_cores(runner: &mut Runner, Loaded { info, adapter, places, .. }: &Loaded) {
    let (model, backend) = runner.parts();
    for (delta, place) in adapter.deltas.iter().zip(&places.deltas) {
        let (Some(core), Some(tensors)) = (&delta.core, model.training.core(place.site, place.part)) else {
            continue;
        };
        for (i, row) in core.r.chunks_exact(delta.rank).enumerate() {
            backend.upload(tensors.r, i * padded(info.rank), bytemuck::cast_slice(row));
        }
        backend.upload(tensors.a, 0, bytemuck::cast_slice(&core.a));
    }
}

fn clear_moments(runner: &mut Runner) {
    let (model, backend) = runner.parts();
    let arenas = model.training.moments.arenas().iter();
    arenas.flat_map(|arena| [arena.g, arena.m, arena.v]).for_each(|tensor| backend.clear(tensor));
}
