//! Windows: tokens to learn from, each with the loss that says what of them and how much; and texts cut
//! into such. Not how a loss is computed, nor where the tokens come from.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::plan::{INACTIVE, Target};

/// A text to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// At most as many as there is [`TrainingRoom`](crate::engine::TrainingRoom) for.
    pub tokens: Vec<u32>,
    /// What of them is learned.
    pub loss: Loss,
    /// Whether what comes before the first token that is learned counts as constant: cheaper, and its
    /// keys and values, if cached, are not computed anew.
    pub constant_context: bool,
}

impl Window {
    /// A window that teaches its tokens from `first` on, which is at least 1; those before are given.
    pub fn new(tokens: Vec<u32>, first: usize) -> Self {
        let loss = Loss::next_tokens(&tokens, first);
        Self { tokens, loss, constant_context: false }
    }

    /// The first token that is learned.
    pub fn first(&self) -> usize {
        self.loss.rows().start + 1
    }
}

/// What a window teaches: after each of its tokens but the last, which token is to follow, and how much
/// that counts. An objective other than the text itself is another value of it.
///
/// The loss of a step is Σ weight · −ln p(target) / Σ weight, over all its windows.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// (tokens − 1)
    targets: Vec<u32>,
    /// (tokens − 1); 0 where nothing is learned.
    weights: Vec<f32>,
}

impl Loss {
    /// Any targets and weights: element `i` is of what follows token `i`.
    ///
    /// Errors with `Argument` for lists of unequal length, a weight that is negative or not finite, or
    /// weights that are all 0.
    pub fn weighted(targets: Vec<u32>, weights: Vec<f32>) -> Result<Self> {
        if targets.len() != weights.len() {
            let (n, m) = (targets.len(), weights.len());
            return Err(Error::argument(format!("a loss of {n} targets and {m} weights, expected as many")));
        }
        if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(Error::argument(format!("a loss's weight {weight}, expected 0 or more")));
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            return Err(Error::argument("a loss whose weights are all 0, expected one above 0"));
        }
        Ok(Self { targets, weights })
    }

    /// The tokens themselves from `first` on, all equally.
    fn next_tokens(tokens: &[u32], first: usize) -> Self {
        let targets = tokens.get(1..).unwrap_or_default().to_vec();
        let weights = (1..tokens.len()).map(|t| if first > 0 && t >= first { 1.0 } else { 0.0 }).collect();
        Self { targets, weights }
    }

    /// Another target in a row's place.
    pub(crate) fn aim(&mut self, row: usize, token: u32) {
        self.targets[row] = token;
    }

    /// How many targets there are, learned or not.
    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// From the first token after which something is learned to past the last.
    pub(super) fn rows(&self) -> Range<usize> {
        let learned = |weight: &f32| *weight != 0.0;
        let start = self.weights.iter().position(learned).unwrap_or(self.len());
        start..self.weights.iter().rposition(learned).map_or(start, |last| last + 1)
    }

    /// Σ weight
    pub(super) fn total(&self) -> f64 {
        self.weights.iter().map(|&weight| f64::from(weight)).sum()
    }

    /// Σ weight · loss, of the losses of `rows`, nats.
    pub(super) fn sum(&self, rows: Range<usize>, losses: &[f32]) -> f64 {
        let weighed = self.weights[rows].iter().zip(losses);
        weighed.map(|(&weight, &loss)| f64::from(weight) * f64::from(loss)).sum()
    }

    /// What follows the tokens of `rows`, as the device takes it.
    pub(super) fn targets(&self, rows: Range<usize>) -> Vec<Target> {
        let both = self.targets[rows.clone()].iter().zip(&self.weights[rows]);
        let target = |(&token, &weight): (&u32, &f32)| Target {
            token: if weight == 0.0 { INACTIVE } else { token },
            weight,
        };
        both.map(target).collect()
    }

    /// All that are learned.
    pub(super) fn learned(&self) -> Vec<u32> {
        let both = self.targets.iter().zip(&self.weights);
        both.filter(|(_, weight)| **weight != 0.0).map(|(target, _)| *target).collect()
    }
}

/// The windows of a text: pieces of `most` tokens that overlap by one, so that every token but the first is
/// learned once.
pub(super) fn of_text(tokens: &[u32], most: usize) -> impl Iterator<Item = Window> {
    (0..tokens.len().saturating_sub(1))
        .step_by(most - 1)
        .map(move |at| Window::new(tokens[at..tokens.len().min(at + most)].to_vec(), 1))
}

/// The window of an example whose first `given` tokens are its prompt, cut at `most`. `name` is the example's.
///
/// Errors with `Argument` for a prompt that leaves nothing to learn.
pub(super) fn of_example(
    name: &str,
    mut tokens: Vec<u32>,
    given: usize,
    most: usize,
    completion_only: bool,
) -> Result<Window> {
    if given >= most {
        return Err(Error::argument(format!(
            "{name}: a prompt of {given} tokens, expected fewer than maxLength {most}"
        )));
    }
    tokens.truncate(most);
    Ok(Window::new(tokens, if completion_only { given.max(1) } else { 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_of_a_text_but_the_first_is_learned_once() {
        for n in 0..40u32 {
            for most in [2, 3, 7, 100] {
                let text = Vec::from_iter(0..n);
                let windows = Vec::from_iter(of_text(&text, most));
                assert!(windows.iter().all(|window| (2..=most).contains(&window.tokens.len())));
                let learned = windows.iter().flat_map(|window| window.loss.learned());
                assert_eq!(Vec::from_iter(learned), Vec::from_iter(1..n), "{n} tokens by {most}");
            }
        }
    }

    #[test]
    fn an_example_teaches_its_completion() {
        let window = |given, only| of_example("it", vec![5, 6, 7, 8, 9], given, 4, only).expect("fits");
        assert_eq!((window(2, true).first(), window(2, true).loss.learned()), (2, vec![7, 8]));
        assert_eq!(window(2, false).loss.learned(), [6, 7, 8]);
        assert_eq!(window(0, true).first(), 1);
        let error = of_example("it", vec![1; 9], 4, 4, true).expect_err("nothing is left");
        assert_eq!(error.to_string(), "it: a prompt of 4 tokens, expected fewer than maxLength 4");
    }

    #[test]
    fn a_loss_has_targets_and_weights() {
        let loss = Loss::weighted(vec![4, 5, 6, 7, 8], vec![0.0, 2.0, 0.0, 2.0, 0.5]).expect("valid");
        assert_eq!((loss.rows(), loss.total(), loss.learned()), (1..5, 4.5, vec![5, 7, 8]));
        let targets = [(5, 2.0), (INACTIVE, 0.0), (7, 2.0), (8, 0.5)];
        assert_eq!(loss.targets(1..5), targets.map(|(token, weight)| Target { token, weight }));
        assert_eq!(loss.sum(3..5, &[1.0, 4.0]), 4.0);
        for (targets, weights) in
            [(vec![1], vec![]), (vec![1], vec![-1.0]), (vec![1], vec![f32::NAN]), (vec![1], vec![0.0])]
        {
            Loss::weighted(targets, weights).expect_err("refused");
        }
    }
}
