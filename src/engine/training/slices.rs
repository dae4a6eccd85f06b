//! The pieces of a step's work: what each is and costs, and how a window is cut into them.
//! Not how they are run.

use std::collections::VecDeque;
use std::ops::Range;

use crate::engine::plans::run_rows;
use crate::engine::runner::Runner;
use crate::engine::training::windows::Window;
use crate::model::Model;

/// What a slice costs, however short: rows of a layer forward.
pub(super) const ANY_SLICE: usize = 4;

/// A piece of work that ends in at most one submission.
#[derive(Clone, Debug)]
pub(super) enum Slice {
    Open(Window),
    Embed(Range<usize>),
    Layer(usize, Range<usize>),
    /// With the weight of its losses.
    Head(Range<usize>, f32),
    ClearCache,
    Backward(usize, Range<usize>),
    Close(Range<usize>),
    Update,
}

impl Slice {
    /// About how many rows of a layer forward take as long as a slice; measured on the CPU.
    pub(super) fn cost(&self, model: &Model) -> usize {
        let rows = |tile: &Range<usize>| tile.len() + ANY_SLICE;
        match self {
            // Forward once more, the gradient by the input, and those of adapters and attention.
            Self::Backward(_, tile) => 3 * rows(tile),
            // There and back.
            Self::Head(tile, _) => (2 * model.head_weights()).div_ceil(model.layer_weights()) * rows(tile),
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
    // Back, a row goes through each weight twice: forward once more, and its gradient.
    let rows = runner.slice_rows(2 * runner.model().layer_weights());
    let context = tiles(cached..trained, rows);
    let text = tiles(trained..labels.end, rows);
    let mut slices = VecDeque::new();
    for tile in context.iter().chain(&text) {
        slices.push_back(Slice::Embed(tile.clone()));
        slices.extend((0..layers).map(|l| Slice::Layer(l, tile.clone())));
    }
    for (run, weight) in window.loss.runs(labels.clone()) {
        slices.extend(tiles(run, head_rows).into_iter().map(|tile| Slice::Head(tile, weight)));
    }
    for l in (0..layers).rev() {
        slices.push_back(Slice::ClearCache);
        slices.extend(text.iter().rev().map(|tile| Slice::Backward(l, tile.clone())));
    }
    slices.push_back(Slice::Close(labels));
    slices
}

pub(super) fn head_rows(runner: &Runner) -> usize {
    let per_row = 2 * runner.model().head_weights();
    let most = runner.slice_rows(per_row).min(runner.model().score_rows());
    runner.forward_rows(per_row, most)
}

/// The work of a window of which nothing is cached, its opening included.
pub(super) fn cost_of_window(runner: &Runner, window: &Window, head_rows: usize) -> usize {
    cost_of_all(runner.model(), &slices_of(runner, window, 0, head_rows)) + ANY_SLICE
}

pub(super) fn cost_of_all(model: &Model, slices: &VecDeque<Slice>) -> usize {
    slices.iter().map(|slice| slice.cost(model)).sum()
}

/// A range in runs of a power of two, at most `most` long, so that few plans serve every length.
fn tiles(range: Range<usize>, most: usize) -> Vec<Range<usize>> {
    let mut tiles = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let n = run_rows(range.end - at, most);
        tiles.push(at..at + n);
        at += n;
    }
    tiles
}
