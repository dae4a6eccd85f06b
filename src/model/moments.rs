//! Gradients and moments of what is trained: those of many sites in few tensors, so that a step of the optimiser is few
//! launches. Which numbers are trained says the method.

use crate::error::Result;
use crate::ops::SquareSum;
use crate::plan::{Dtype, TensorId, Tensors};

use super::bank::Bank;
use super::trained::{Core, Moments};
use super::trainee::Trainee;

/// Arenas of cores come behind the bank's.
const CORES: usize = 1 << 16;

/// Gradients and moments of the sites whose ranks lie in one arena of the bank, one site's behind the other's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arena {
    /// Gradients.
    pub(crate) g: TensorId,
    /// First moments, as g.
    pub(crate) m: TensorId,
    /// Second moments, as g.
    pub(crate) v: TensorId,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllMoments {
    arenas: Vec<Arena>,
    /// How many of the arenas hold something.
    in_use: usize,
    /// One for each of the trainee's sites.
    pub(crate) sites: Vec<Moments>,
    /// Cores that are declared, that they can be used again.
    spare: Vec<[Core; 3]>,
}

impl AllMoments {
    /// Those that hold something, at least one while there is a trainee.
    pub(crate) fn arenas(&self) -> &[Arena] {
        &self.arenas[..self.in_use]
    }

    /// Fits what a trainee needs, or nothing. `sums` takes the squares of all gradients.
    ///
    /// Errors with `Memory`.
    pub(super) fn reshape(
        &mut self,
        tensors: &mut Tensors,
        bank: &Bank,
        trainee: Option<&Trainee>,
        sums: TensorId,
    ) -> Result<()> {
        self.spare.extend(self.sites.drain(..).map(|site| site.cores));
        for Core { r, a } in self.spare.iter().flatten() {
            tensors.reshape(*r, &[1, 1])?;
            tensors.reshape(*a, &[1, 1])?;
        }
        let method = trainee.map(|trainee| trainee.variant).unwrap_or_default().method();
        let mut lens: Vec<usize> = Vec::new();
        for trained in trainee.iter().flat_map(|trainee| &trainee.sites) {
            let (site, parts) = (&bank.sites[trained.site], &trained.parts);
            let arena = site.arena;
            lens.resize(lens.len().max(arena + 1), 0);
            let [of_first, of_second] = method.gradients(site, parts).map(|[rows, cols]| rows * cols);
            let first = [lens[arena], lens[arena] + of_first];
            lens[arena] += of_first + of_second;
            let cores = match self.spare.pop() {
                Some(cores) => cores,
                None => declare_cores(tensors, self.sites.len())?,
            };
            let count = parts.iter().copied().max().unwrap_or(0);
            for (Core { r, a }, _) in cores.into_iter().zip(parts).filter(|(_, ranks)| **ranks > 0) {
                let [of_r, of_a] = method.core(site.inputs, count);
                tensors.reshape(r, &of_r)?;
                if method.has_core() {
                    tensors.put(r, CORES + arena);
                }
                tensors.reshape(a, &of_a)?;
            }
            self.sites.push(Moments { arena, first, cores });
        }
        self.in_use = lens.len();
        while self.arenas.len() < self.in_use {
            let k = self.arenas.len();
            let mut one = |what: &str| tensors.declare(format!("train.{what}.{k}"), Dtype::F32, &[1, 1]);
            self.arenas.push(Arena { g: one("g")?, m: one("m")?, v: one("v")? });
        }
        for (k, Arena { g, m, v }) in self.arenas.iter().enumerate() {
            let len = lens.get(k).copied().unwrap_or(0).max(1);
            [g, m, v].into_iter().try_for_each(|tensor| tensors.reshape(*tensor, &[len, 1]))?;
        }
        tensors.reshape(sums, &[(SquareSum::PARTS * self.in_use).max(1), 1])
    }
}

/// Those of the `i`-th trained site, without room yet.
fn declare_cores(tensors: &mut Tensors, i: usize) -> Result<[Core; 3]> {
    let mut core = |part: usize| -> Result<Core> {
        let mut one = |what: &str| tensors.declare(format!("train.{part}.{what}.{i}"), Dtype::F32, &[1, 1]);
        Ok(Core { r: one("core")?, a: one("frozen")? })
    };
    Ok([core(0)?, core(1)?, core(2)?])
}
