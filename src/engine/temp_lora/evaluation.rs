//! How well a text was predicted while it was learned, from the reports of its chunks.
//! Not the scoring itself.

use crate::error::{Error, Result};

use super::ChunkReport;

/// How well a text was predicted, each chunk before it was learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Of the text.
    pub tokens: usize,
    /// Those that have a loss.
    pub labels: usize,
    /// exp of the mean loss of all labels, without the temporary adapter.
    pub base_perplexity: f64,
    /// With it.
    pub perplexity: f64,
    /// Of the two mixed.
    pub mixed_perplexity: f64,
    /// How far the mix's loss of the whole text is above the smaller of the two, nats.
    pub mixed_regret: f64,
    /// The chunk perplexity without the temporary adapter: the plain mean of the chunks' perplexities, as
    /// the paper reports it (arXiv:2401.11504). A short last chunk counts as much as any other.
    pub mean_chunk_base_perplexity: f64,
    /// With it.
    pub mean_chunk_perplexity: f64,
    /// Chunks that the temporary adapter predicted better than the base.
    pub improved_chunks: usize,
}

/// What a chunk's losses are to an evaluation, nats.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLosses {
    /// Tokens of the chunk.
    pub(crate) tokens: usize,
    /// Those that have a loss.
    pub(crate) labels: usize,
    /// Means of base, adapted and mixed; none where nothing was scored.
    pub(crate) means: Option<[f64; 3]>,
}

impl From<&ChunkReport> for ChunkLosses {
    fn from(report: &ChunkReport) -> Self {
        let &ChunkReport { tokens, labels, base_loss, adapted_loss, mixed_loss, .. } = report;
        let means = base_loss.zip(adapted_loss).zip(mixed_loss);
        Self { tokens, labels, means: means.map(|((base, adapted), mixed)| [base, adapted, mixed]) }
    }
}

impl Evaluation {
    /// Of a text's chunks.
    ///
    /// Errors with `Argument` if none of them was scored.
    pub fn of(chunks: impl IntoIterator<Item = ChunkLosses>) -> Result<Self> {
        let (mut tokens, mut labels, mut improved_chunks, mut n) = (0, 0, 0, 0.0);
        let (mut sums, mut perplexities) = ([0.0; 3], [0.0; 2]);
        for chunk in chunks {
            tokens += chunk.tokens;
            let Some([base, adapted, mixed]) = chunk.means.filter(|_| chunk.labels > 0) else { continue };
            labels += chunk.labels;
            n += 1.0;
            improved_chunks += usize::from(adapted < base);
            let of_chunk = [base, adapted, mixed].map(|loss| chunk.labels as f64 * loss);
            sums.iter_mut().zip(of_chunk).for_each(|(sum, loss)| *sum += loss);
            perplexities.iter_mut().zip([base, adapted]).for_each(|(sum, loss)| *sum += loss.exp());
        }
        if labels == 0 {
            return Err(Error::argument("text: no token to score, expected two at the beginning, one later"));
        }
        let [base_perplexity, perplexity, mixed_perplexity] = sums.map(|sum| (sum / labels as f64).exp());
        let [mean_chunk_base_perplexity, mean_chunk_perplexity] = perplexities.map(|sum| sum / n);
        let [base, adapted, mixed] = sums;
        Ok(Self {
            tokens,
            labels,
            base_perplexity,
            perplexity,
            mixed_perplexity,
            mixed_regret: mixed - base.min(adapted),
            mean_chunk_base_perplexity,
            mean_chunk_perplexity,
            improved_chunks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_by_its_labels_or_as_one() {
        let chunk = |labels, means| ChunkLosses { tokens: 10, labels, means };
        let chunks = [chunk(10, Some([2.0, 1.0, 1.5])), chunk(0, None), chunk(5, Some([1.0, 1.6, 1.0]))];
        let evaluation = Evaluation::of(chunks).expect("scored");
        assert_eq!((evaluation.tokens, evaluation.labels, evaluation.improved_chunks), (30, 15, 1));
        assert_eq!(evaluation.base_perplexity, (25.0f64 / 15.0).exp());
        assert_eq!(evaluation.perplexity, (18.0f64 / 15.0).exp());
        assert_eq!(evaluation.mixed_regret, 2.0);
        assert_eq!(evaluation.mean_chunk_base_perplexity, (2.0f64.exp() + 1.0f64.exp()) / 2.0);
        assert_eq!(evaluation.mean_chunk_perplexity, (1.0f64.exp() + 1.6f64.exp()) / 2.0);
        Evaluation::of([chunk(0, None)]).expect_err("nothing was scored");
    }
}
