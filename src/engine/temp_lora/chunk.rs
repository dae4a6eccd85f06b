//! One chunk of a text on its way through being scored and learned, with all that is known of it.
//! Not the work on it.

use std::collections::HashSet;

use super::TempLoraOptions;
use crate::engine::text::sequence::Generation;
use crate::engine::training::windows::Window;
use crate::noise::uniform;

/// What became of one chunk. Losses are means, nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkReport {
    /// From 0.
    pub index: usize,
    /// Of the text.
    pub tokens: usize,
    /// Those that have a loss: all, but the text's first.
    pub labels: usize,
    /// Without the temporary adapter; of text that is scored, or drawn from the mix.
    pub base_loss: Option<f64>,
    /// With what the chunks before had taught it.
    pub adapted_loss: Option<f64>,
    /// Of the two mixed by their merits so far, see [`Mixture`](crate::engine::text::mixture::Mixture).
    pub mixed_loss: Option<f64>,
    /// Before each step on the chunk; none where it was not learned.
    pub train_losses: Vec<f64>,
    /// Of those steps.
    pub learning_rate: f32,
    /// Whether what the chunk before had taught was undone.
    pub rolled_back: bool,
}

/// A chunk under way.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The context, and then its own: what it is scored and learned by.
    pub(crate) window: Vec<u32>,
    /// The first token of the window that is scored and learned.
    pub(crate) first: usize,
    /// What the base would have put in the place of each label; empty where that was not asked.
    pub(super) of_base: Vec<u32>,
    /// Whether it was generated, not given.
    pub(crate) drawn: bool,
    pub(crate) report: ChunkReport,
    /// Steps for it that were taken on given chunks.
    pub(super) replayed: usize,
    /// The generation that goes on once it is learned, if one does.
    pub(crate) after: Option<Box<Generation>>,
}

impl Chunk {
    /// The chunk `own`, the `index`th of its text, after a context.
    pub(super) fn new(index: usize, context: &[u32], own: &[u32], drawn: bool) -> Self {
        let window = [context, own].concat();
        // Nothing predicts a text's first token.
        let first = context.len().max(1);
        let labels = window.len() - first.min(window.len());
        let report = ChunkReport { index, tokens: own.len(), labels, ..ChunkReport::default() };
        Self { window, first, of_base: Vec::new(), drawn, report, replayed: 0, after: None }
    }

    /// Notes its mean losses: base, adapted, mixed.
    pub(super) fn note(&mut self, means: [f64; 3]) {
        let report = &mut self.report;
        [report.base_loss, report.adapted_loss, report.mixed_loss] = means.map(Some);
    }

    /// Whether the base is still to be asked what it would have put there.
    pub(super) fn asks_base(&self, options: &TempLoraOptions) -> bool {
        self.drawn && options.generated_kl > 0.0 && self.of_base.is_empty()
    }

    /// What the next step on it teaches. For a share `kl` of its labels that is what the base would have put there: the
    /// expectation of their losses is that of Σ −p_base ln p, whose gradient is that of KL(p_base ‖ p).
    pub(super) fn lesson(&self, kl: f32) -> Window {
        let mut window = Window::new(self.window.clone(), self.first);
        let (index, step) = (self.report.index as u32, self.report.train_losses.len() as u32);
        for (i, &token) in self.of_base.iter().enumerate() {
            if uniform(index, i as u32, step) < kl {
                window.loss.aim(self.first - 1 + i, token);
            }
        }
        window
    }

    /// Whether it teaches: it has labels, and where it was drawn, it counts and no more than that share of it is
    /// said again.
    pub(super) fn is_taught(&self, options: &TempLoraOptions) -> bool {
        let is_good = || {
            options.generated_weight > 0.0 && repetition(&self.window, self.first) <= options.max_repetition
        };
        self.report.labels > 0 && (!self.drawn || is_good())
    }
}

/// Share of the runs of four tokens that end in `tokens[first..]` and occurred before.
fn repetition(tokens: &[u32], first: usize) -> f32 {
    let mut seen = HashSet::new();
    let (mut again, mut all) = (0, 0);
    for (i, run) in tokens.windows(4).enumerate() {
        let new = seen.insert(run);
        if i + 3 >= first {
            all += 1;
            again += usize::from(!new);
        }
    }
    again as f32 / (all as f32).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_the_runs_that_came_before() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5, 6, 7, 8], 4), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 1, 2, 3, 4], 4), 0.25);
        assert_eq!(repetition(&[1; 20], 10), 1.0);
        assert_eq!(repetition(&[1, 2], 1), 0.0);
    }

    #[test]
    fn the_first_token_of_a_text_has_no_label() {
        let labels = |context: &[u32], own: &[u32]| {
            let chunk = Chunk::new(0, context, own, false);
            (chunk.first, chunk.report.labels, chunk.report.tokens)
        };
        assert_eq!(labels(&[], &[7]), (1, 0, 1));
        assert_eq!(labels(&[], &[7, 8, 9]), (1, 2, 3));
        assert_eq!(labels(&[5, 6], &[7, 8, 9]), (2, 3, 3));
    }
}
