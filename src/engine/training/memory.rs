//! What training an adapter takes, known before any of it is made, and what would take less.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::{Bank, Demand, MAX_ROWS, Model, Trainee, padded};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::bank::arrange;
use crate::engine::adapters::loaded::Loaded;
use crate::engine::runner::Runner;

/// Times that a trained adapter's numbers lie in main memory beside the backend's tensors.
const HOST_COPIES: u64 = 5;

/// What training needs room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingRoom {
    /// Most tokens of a window.
    pub window: usize,
    /// Most bytes of all the engine's tensors meanwhile; `None` is what the device can address.
    pub memory_limit: Option<u64>,
}

/// Errors with `Memory`, naming the rank and the window that would fit, if the tensors of a
/// trainee, or one of them, exceed what there may be.
pub(crate) fn check_memory(
    runner: &Runner,
    adapters: &Adapters,
    name: &str,
    trainee: &Trainee,
    memory_limit: Option<u64>,
) -> Result<()> {
    let own = adapters.find(name)?;
    let numbers = 4 * own.adapter.len() as u64;
    // What a step keeps of the adapter beside its tensors: its numbers as they were and as they are
    // read back, and both moments.
    let beside = |rank: usize| match runner.backend() {
        Backend::Cpu(_) => HOST_COPIES * (numbers / own.info.rank.max(1) as u64 + 1) * rank as u64,
        Backend::Gpu(_) => 0,
    };
    let bank = &runner.model().bank;
    let fits = |trainee: &Trainee, bank: &Bank, rank: usize| -> Result<()> {
        let tensors = runner.model().training_tensors(trainee.clone(), bank.clone())?;
        let (all, most) = (tensors.total_bytes(), runner.backend().max_tensor_bytes());
        let limits =
            [(all, memory_limit.unwrap_or(u64::MAX)), (all + beside(rank), runner.backend().max_bytes())];
        if let Some((all, limit)) = limits.into_iter().find(|(all, limit)| all > limit) {
            return Err(Error::memory(format!("{all} bytes with the model's, expected at most {limit}")));
        }
        match tensors.iter().find(|(_, tensor)| tensor.bytes() > most) {
            Some((_, tensor)) => Err(Error::memory(format!(
                "tensor `{}`: {} bytes, the device binds at most {most}",
                tensor.name,
                tensor.bytes()
            ))),
            None => Ok(()),
        }
    };
    let Err(e) = fits(trainee, bank, own.info.rank) else { return Ok(()) };
    let rank = largest(own.info.rank, |rank| {
        let (trainee, bank) = with_rank(runner.model(), adapters, trainee, own.id, rank);
        fits(&trainee, &bank, rank).is_ok()
    });
    let window = largest(trainee.window, |window| {
        let tile = runner.train_rows(window.max(2) - 1, MAX_ROWS);
        window > 1 && fits(&Trainee { window, tile, ..trainee.clone() }, bank, own.info.rank).is_ok()
    });
    let advice = match (rank, window) {
        (None, None) => "no rank and no window would fit".to_owned(),
        (Some(rank), None) => format!("a rank of {rank} would fit"),
        (None, Some(window)) => format!("a window of {window} tokens would fit"),
        (Some(rank), Some(window)) => {
            format!("a rank of {rank} would fit, or a window of {window} tokens")
        }
    };
    Err(Error::memory(format!("training adapter `{name}`: {e}; {advice}")))
}

/// The trainee and the bank if adapter `id`, which is to be trained, had at most this rank.
fn with_rank(model: &Model, adapters: &Adapters, trainee: &Trainee, id: u64, rank: usize) -> (Trainee, Bank) {
    let (mut trainee, mut bank) = (trainee.clone(), model.bank.clone());
    let most = padded(rank);
    trainee.sites.iter_mut().flat_map(|site| &mut site.parts).for_each(|ranks| *ranks = most.min(*ranks));
    if bank.has_many_ranks() {
        let own: Demand = trainee.sites.iter().map(|site| (site.site, site.parts)).collect();
        let of = |loaded: &Loaded| if loaded.id == id { own.clone() } else { loaded.demand() };
        let demands: Vec<_> = adapters.loaded.iter().map(of).collect();
        arrange(model, &mut bank, &demands);
    }
    (trainee, bank)
}

/// The largest number below `end` that is small enough, if any is; all below it are, too.
fn largest(end: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low)
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn the_largest_is_found() {
        for limit in 0..20 {
            assert_eq!(largest(16, |n| n <= limit), (limit > 0).then_some(limit.min(15)));
        }
        assert_eq!(largest(1, |_| true), None);
    }
}
