//! A batch of texts under way: where each stands, and how it takes the tokens that are drawn.
//! Not how they are computed.

use crate::backend::Reading;
use crate::engine::text::constraint::Constraint;
use crate::engine::text::logits::not_numbers;
use crate::engine::text::mixture::Mixture;
use crate::engine::text::request::{Delta, Finish, Overflow, Request, Usage};
use crate::engine::text::sampling::Chain;
use crate::engine::text::seat::Seat;
use crate::engine::text::stop::{Shown, Tail};
use crate::error::Result;
use crate::model::Blueprint;
use crate::plan::{Row, Sampling};
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// Leading tokens that a sliding window keeps (attention sinks, arXiv:2309.17453).
const SINKS: usize = 4;

/// A batch of requests under way. [`Engine::next`](crate::engine::Engine::next) moves it on;
/// [`Engine::end`](crate::engine::Engine::end) gives its slots back, finished or not.
#[derive(Debug)]
pub struct Generation {
    pub(super) id: u64,
    pub(super) sequences: Vec<Sequence>,
    /// Tokens that the next block draws, if there is room.
    pub(super) block: usize,
    /// The block that is computed while the last one is looked at.
    pub(super) ahead: Option<InFlight>,
    /// Whether what is drawn is looked at before anything else of the text is computed.
    pub(super) is_watched: bool,
    /// Of a text drawn from the mix of its two sequences.
    pub(super) mixing: Option<Mixing>,
}

/// A block of tokens that a device computes.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Tokens of each row.
    pub(super) steps: usize,
    /// The sequences whose rows they are, by index.
    pub(super) of: Vec<usize>,
    pub(super) reading: Reading,
}

/// What a generation of two sequences, adapted and base, knows beside them.
#[derive(Debug, Default)]
pub(super) struct Mixing {
    pub(crate) mixture: Mixture,
    pub(crate) drawn: MixedTokens,
    /// Noise's seed, where the base is asked what it would have drawn.
    pub(crate) base_seed: Option<u32>,
}

/// Drawn tokens: sums of their losses, nats, before any temperature or filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct MixedTokens {
    pub(crate) count: usize,
    pub(crate) base: f64,
    pub(crate) adapted: f64,
    pub(crate) mixed: f64,
    /// For each what the base would have drawn in its place, where it is asked.
    pub(crate) of_base: Vec<u32>,
}

impl Generation {
    /// Without a text yet.
    pub(super) fn new(id: u64) -> Self {
        Self { id, sequences: Vec::new(), block: 1, ahead: None, is_watched: false, mixing: None }
    }

    /// Makes the text of the first request go on from what another generation has not shown. With `goes_on`
    /// this one's end by length shows no rest either. Adapters may change between its blocks.
    pub(crate) fn continue_text(&mut self, tail: Option<Tail>, goes_on: bool) {
        self.is_watched = true;
        let sequence = &mut self.sequences[0];
        sequence.goes_on = goes_on;
        if let Some(tail) = tail {
            sequence.tail = tail;
        }
    }

    /// The next block is one token.
    pub(crate) fn draw_one(&mut self) {
        self.block = 1;
    }

    /// What of the first request's text is not shown yet.
    pub(crate) fn tail(&self) -> &Tail {
        &self.sequences[0].tail
    }

    /// What the samplers of the first request's text remember of it.
    pub(crate) fn chain(&self) -> Option<&Chain> {
        self.sequences[0].chain.as_ref()
    }

    /// Makes the samplers of the first request's text go on from another generation's.
    pub(crate) fn continue_chain(&mut self, chain: Option<Chain>) {
        let sequence = &mut self.sequences[0];
        sequence.chain = chain.or(sequence.chain.take());
    }

    /// Has the base asked, for each token of the mix, what it would have drawn in its place.
    pub(crate) fn ask_base(&mut self, seed: u32) {
        self.mixing.iter_mut().for_each(|mixing| mixing.base_seed = Some(seed));
    }

    /// The mix's weights now, and what was drawn since this was last asked; `None` if nothing is mixed.
    pub(crate) fn take_mixed(&mut self) -> Option<(Mixture, MixedTokens)> {
        self.mixing.as_mut().map(|mixing| (mixing.mixture, std::mem::take(&mut mixing.drawn)))
    }

    /// Whether every request has finished.
    pub fn is_finished(&self) -> bool {
        self.sequences.iter().all(|s| s.finish.is_some())
    }

    /// Token counts of request `index` so far.
    pub fn usage(&self, index: usize) -> Usage {
        self.sequences[index].usage
    }

    /// Prompt tokens still to be computed before the first token comes.
    pub fn pending(&self) -> usize {
        self.sequences.iter().map(Sequence::pending).sum()
    }

    /// The unfinished ones.
    pub(super) fn active(&self) -> impl Iterator<Item = &Sequence> {
        self.sequences.iter().filter(|s| s.finish.is_none())
    }

    /// The rows that come to the next token of every unfinished sequence.
    pub(super) fn next_rows(&self) -> Vec<Row> {
        self.active().map(|s| s.row(s.tokens.len() - 1)).collect()
    }
}

/// One text of a batch.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(crate) seat: Seat,
    /// Virtual tokens, prompt and text, as far as they are in the window.
    pub(crate) tokens: Vec<u32>,
    /// Leading tokens whose keys and values are in the cache.
    pub(crate) filled: usize,
    pub(crate) usage: Usage,
    pub(crate) max_tokens: usize,
    overflow: Overflow,
    pub(super) tail: Tail,
    /// Whether the text goes on in another generation where `max_tokens` end this one.
    goes_on: bool,
    /// Tokens that end the text.
    pub(super) ends: Vec<u32>,
    pub(crate) logprobs: Option<usize>,
    pub(crate) finish: Option<Finish>,
    pub(crate) sampling: Sampling,
    /// Bits: tokens of prompt and text.
    pub(crate) seen: Vec<u32>,
    /// How the host draws, where it does.
    pub(super) chain: Option<Chain>,
    /// What decides which tokens may come, and what it said of the next.
    pub(super) constraint: Option<Box<dyn Constraint>>,
    pub(super) mask: Vec<u32>,
}

impl Sequence {
    /// A request's text before its first token. `tokens` are the prompt's, virtual ones first; of the first
    /// `filled` the cache has keys and values.
    pub(super) fn new(
        request: &Request,
        config: &Blueprint,
        decoder: StreamDecoder,
        (seat, tokens, filled): (Seat, Vec<u32>, usize),
    ) -> Self {
        let ends = [&request.stop_tokens[..], &config.eos_token_ids].concat();
        let mut seen = vec![0u32; config.vocab_size.div_ceil(32)];
        request.prompt.iter().for_each(|id| see(&mut seen, *id));
        let usage = Usage {
            prompt_tokens: request.prompt.len(),
            cached_tokens: filled.saturating_sub(seat.lead),
            completion_tokens: 0,
        };
        Self {
            sampling: request.sampling(&ends),
            seen,
            filled,
            usage,
            seat,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            overflow: request.overflow,
            tail: Tail::new(decoder, request),
            goes_on: false,
            ends,
            logprobs: request.logprobs,
            tokens,
            finish: None,
            chain: request.samplers.are_on().then(|| Chain::new(&request.samplers)),
            constraint: None,
            mask: Vec::new(),
        }
    }

    /// Tokens of the prompt, or of the window, that are still to be computed.
    pub(super) fn pending(&self) -> usize {
        if self.finish.is_some() { 0 } else { self.tokens.len() - 1 - self.filled }
    }

    /// Whether a token may end it that only the host knows of.
    pub(super) fn ends_by_host(&self) -> bool {
        self.chain.is_some() || self.logprobs.is_some() || self.tail.has_stops()
    }

    /// The row of the token at `pos`.
    pub(super) fn row(&self, pos: usize) -> Row {
        self.seat.row(self.tokens[pos], pos)
    }

    /// Adds drawn tokens to the text until something ends it.
    ///
    /// Errors with `Device` for what is no token: the model computed no numbers.
    pub(super) fn accept(
        &mut self,
        index: usize,
        drawn: &[u32],
        context: usize,
        config: &Blueprint,
        tokenizer: &Tokenizer,
    ) -> Result<Delta> {
        let mut delta = Delta { index, ..Delta::default() };
        for &token in drawn {
            if token as usize >= config.vocab_size {
                // What made them so may lie in the cache.
                self.filled = self.seat.given;
                return Err(not_numbers(format_args!("token {}", self.usage.completion_tokens + 1)));
            }
            self.filled = self.tokens.len();
            if self.ends.contains(&token) {
                delta.finish = Some(Finish::Stop);
                break;
            }
            self.tokens.push(token);
            see(&mut self.seen, token);
            if let Some(chain) = &mut self.chain {
                chain.accept(token);
            }
            if let Some(constraint) = &mut self.constraint {
                constraint.accept(token)?;
            }
            self.usage.completion_tokens += 1;
            delta.tokens.push(token);
            let Shown { text, stopped } = self.tail.push(tokenizer, token)?;
            delta.text += &text;
            if stopped {
                self.finish = Some(Finish::Stop);
                delta.finish = self.finish;
                return Ok(delta);
            }
            let full = self.tokens.len() > context && self.overflow == Overflow::Error;
            if self.usage.completion_tokens == self.max_tokens || full {
                delta.finish = Some(Finish::Length);
                break;
            }
        }
        if delta.finish == Some(Finish::Stop) || delta.finish.is_some() && !self.goes_on {
            let Shown { text, stopped } = self.tail.finish(tokenizer)?;
            delta.text += &text;
            if stopped {
                delta.finish = Some(Finish::Stop);
            }
        }
        self.finish = delta.finish;
        Ok(delta)
    }

    /// Drops the tokens between the sinks, virtual ones before them, and the newest half of the
    /// context.
    pub(super) fn slide(&mut self, context: usize) {
        let lead = self.seat.lead;
        let sinks = lead + SINKS.min((context - lead) / 4);
        let newest = self.tokens.len() - (context - sinks) / 2;
        self.tokens.drain(sinks..newest);
        self.filled = sinks;
    }
}

fn see(seen: &mut [u32], token: u32) {
    seen[token as usize / 32] |= 1 << (token % 32);
}
