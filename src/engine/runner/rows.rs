//! How many rows a run has: so many that few plans serve every length, and that nobody waits for long.
//! What is run is not here.

use crate::backend::Backend;
use crate::engine::plans::Kind;
use crate::model::MAX_ROWS;
use crate::plan::{INACTIVE, Row};

use super::Runner;

/// Multiplications of a slice on a page's own thread, where some 20 ms are as long as it may wait.
const SLICE_MULTIPLICATIONS: usize = 50_000_000;

/// Fewest rows of a slice, however many multiplications they take: a matrix is read and unpacked once for all of them.
const LEAST_SLICE: usize = 8;

/// Rows that runs on a GPU have, so that few plans serve every length. All of them are computed by the same kernels: a row
/// comes out the same in each.
const RUN_SIZES: [usize; 8] = [16, 32, 48, 64, 96, 128, 192, 256];

/// The rows of a run on a GPU of `n` true ones, if it has room for `most`: the others take no part.
fn whole_run(n: usize, most: usize) -> usize {
    RUN_SIZES.into_iter().find(|&size| size >= n).filter(|&size| size <= most).unwrap_or(n)
}

/// The most true rows of a run on a GPU that has room for `most`.
fn largest_run(most: usize) -> usize {
    RUN_SIZES.into_iter().rfind(|&size| size <= most).unwrap_or(most)
}

impl Runner {
    /// The rows of a whole run.
    pub(super) fn whole_run(&self, kind: Kind, mut rows: Vec<Row>) -> Vec<Row> {
        if let (Backend::Gpu(_), Some(&last)) = (&self.backend, rows.last()) {
            let n = whole_run(rows.len(), self.most_rows(kind));
            rows.resize(n, Row { slot: INACTIVE, mix: 0, ..last });
        }
        rows
    }

    /// Most rows of a run.
    fn most_rows(&self, kind: Kind) -> usize {
        match kind {
            Kind::Score | Kind::Losses | Kind::TrainHead => self.model.score_rows(),
            Kind::TrainEmbed | Kind::TrainLayer(_) | Kind::TrainBackward(_) => {
                self.model.training.trainee.as_ref().map_or(MAX_ROWS, |trainee| trainee.tile)
            }
            _ => MAX_ROWS,
        }
    }

    /// Rows of the next run when `pending` are to go and a run takes at most `most`.
    pub(crate) fn run_rows(&self, pending: usize, most: usize) -> usize {
        match self.backend {
            Backend::Cpu(_) => pending.min(most),
            Backend::Gpu(_) => pending.min(largest_run(most)),
        }
    }

    /// Rows of a slice, at most `most`, if each takes so many multiplications: fewer on a page's own thread alone.
    pub(crate) fn slice_rows(&self, per_row: usize, most: usize) -> usize {
        match self.backend {
            Backend::Cpu(_) if cfg!(target_arch = "wasm32") => {
                rows_within(SLICE_MULTIPLICATIONS, per_row, most)
            }
            Backend::Cpu(_) | Backend::Gpu(_) => most,
        }
    }

    /// Rows of the largest run of training on a window of so many rows, if there may be `most`.
    pub(crate) fn train_rows(&self, rows: usize, most: usize) -> usize {
        // Back, a row goes through each weight twice: forward once more, and its gradient.
        let most = self.slice_rows(2 * self.model.layer_weights(), most);
        match self.backend {
            Backend::Cpu(_) => rows.min(most),
            Backend::Gpu(_) => whole_run(rows.min(most), most),
        }
    }

    /// Rows forward, at most `most`, until they are waited for, if each takes so many multiplications: fewer
    /// on a slow GPU, where they are several runs on a fast one. What is computed does not depend on it.
    pub(crate) fn forward_rows(&self, per_row: usize, most: usize) -> usize {
        match &self.backend {
            Backend::Cpu(_) => most.min(MAX_ROWS),
            Backend::Gpu(gpu) => gpu.rows_within(per_row, most),
        }
    }
}

/// At least as many as make a slice, if there are.
fn rows_within(multiplications: usize, per_row: usize, most: usize) -> usize {
    (multiplications / per_row.max(1)).max(LEAST_SLICE).min(most)
}

#[cfg(test)]
mod tests {
    use super::{largest_run, rows_within, whole_run};

    #[test]
    fn a_run_has_one_of_few_sizes_and_all_its_rows() {
        let runs = [1, 16, 17, 65, 100, 127, 128].map(|n| whole_run(n, 128));
        assert_eq!(runs, [16, 16, 32, 96, 128, 128, 128]);
        // A vocabulary so large that there is no room for a whole run's logits.
        assert_eq!([3, 5].map(|n| whole_run(n, 5)), [3, 5]);
    }

    #[test]
    fn the_largest_run_is_whole() {
        let most = [5, 16, 55, 128, 255, 256, 300].map(largest_run);
        assert_eq!(most, [5, 16, 48, 128, 192, 256, 256]);
        for most in 1..300 {
            let n = largest_run(most);
            assert!((1..=n).all(|n| whole_run(n, most) <= most));
        }
    }

    #[test]
    fn a_slice_keeps_within_its_multiplications_or_has_the_fewest_rows() {
        let rows =
            [1, 100, 390, 391, 25_000, 50_001, usize::MAX].map(|per_row| rows_within(50_000, per_row, 128));
        assert_eq!(rows, [128, 128, 128, 127, 8, 8, 8]);
    }
}
