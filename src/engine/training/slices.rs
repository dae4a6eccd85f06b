//! The pieces of a step's work: what each is and costs, and how a window is cut into them.
//! Not how they are run.

use std::collections::VecDeque;
use std::ops::Range;

use crate::engine::runner::Runner;
use crate::engine::training::windows::Window;
use crate::model::{Keep, Model};

/// What a slice costs, however short: rows of a layer forward.
pub(super) const ANY_SLICE: usize = 4;

/// A piece of work that ends in at most one submission.
#[derive(Clone, Debug)]
pub(super) enum Slice {
    Open(Window),
    Embed(Range<usize>),
    Layer(usize, Range<usize>),
    Head(Range<usize>),
    ClearCache,
    Backward(usize, Range<usize>),
    Close(Range<usize>),
    Update,
}

impl Slice {
    /// About how many rows of a layer forward take as long as a slice; measured on the CPU, but for the way back from
    /// what was kept.
    pub(super) fn cost(&self, model: &Model) -> usize {
        let rows = |tile: &Range<usize>| tile.len() + ANY_SLICE;
        match self {
            // The gradient by the input, those of adapters and attention, and forward once more where little is kept.
            Self::Backward(_, tile) => {
                let keep = model.training.trainee.as_ref().map_or(Keep::Inputs, |trainee| trainee.keep);
                (2 + usize::from(keep == Keep::Inputs)) * rows(tile)
            }
            // There and back.
            Self::Head(tile) => (2 * model.head_weights()).div_ceil(model.layer_weights()) * rows(tile),
            Self::Layer(_, tile) => rows(tile),
            // Moments and numbers of every module are moved.
            Self::Update => 64,
            Self::Open(_) | Self::Embed(_) | Self::ClearCache | Self::Close(_) => ANY_SLICE,
        }
    }
}

/// The slices of a window whose first `cached` tokens have valid keys and values.
pub(super) fn slices_of(
    runner: &Runner,
    window: &Window,
    cached: usize,
    head_rows: usize,
) -> VecDeque<Slice> {
    let layers = runner.model().config.layers.len();
    // What comes after the last row that is learned has no part in it.
    let labels = window.loss.rows();
    let trained = if window.constant_context { labels.start } else { 0 };
    let rows = runner.model().training.trainee.as_ref().map_or(1, |trainee| trainee.tile);
    let context = tiles(runner, cached..trained, rows);
    let text = tiles(runner, trained..labels.end, rows);
    let mut slices = VecDeque::new();
    for tile in context.iter().chain(&text) {
        slices.push_back(Slice::Embed(tile.clone()));
        slices.extend((0..layers).map(|l| Slice::Layer(l, tile.clone())));
    }
    slices.extend(tiles(runner, labels.clone(), head_rows).into_iter().map(Slice::Head));
    for l in (0..layers).rev() {
        slices.push_back(Slice::ClearCache);
        slices.extend(text.iter().rev().map(|tile| Slice::Backward(l, tile.clone())));
    }
    slices.push_back(Slice::Close(labels));
    slices
}

pub(super) fn head_rows(runner: &Runner) -> usize {
    let per_row = 2 * runner.model().head_weights();
    let most = runner.slice_rows(per_row, runner.model().score_rows());
    runner.forward_rows(per_row, most)
}

/// The work of a window of which nothing is cached, its opening included.
pub(super) fn cost_of_window(runner: &Runner, window: &Window, head_rows: usize) -> usize {
    cost_of_all(runner.model(), &slices_of(runner, window, 0, head_rows)) + ANY_SLICE
}

pub(super) fn cost_of_all(model: &Model, slices: &VecDeque<Slice>) -> usize {
    slices.iter().map(|slice| slice.cost(model)).sum()
}

/// A range in runs of at most `most` rows.
fn tiles(runner: &Runner, range: Range<usize>, most: usize) -> Vec<Range<usize>> {
    let mut tiles = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let n = runner.run_rows(range.end - at, most);
        tiles.push(at..at + n);
        at += n;
    }
    tiles
}
