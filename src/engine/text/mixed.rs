//! A text drawn from the never-worse mix of base and adapted model: two rows of one batch, whose
//! probabilities the host mixes.
//!
//! A token costs a run of two rows, a read of both rows' logits and the host's way through the
//! vocabulary, where a plain one waits for eight tokens' numbers at most.

use crate::backend::cpu::sample::sample;
use crate::error::Result;
use crate::plan::{INACTIVE, RING, Row, Sampling};

use crate::engine::Engine;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::text::generate::{Delta, Generation, Request, not_numbers};
use crate::engine::text::mixture::Mixture;
use crate::engine::text::score::loss;

/// What a mixed generation knows beside its two sequences, adapted and base.
#[derive(Debug)]
pub(in crate::engine) struct Mixing {
    mixture: Mixture,
    sampling: Sampling,
    /// Bits: tokens the repetition penalty applies to.
    seen: Vec<u32>,
    losses: MixedLosses,
}

/// Sums of losses of drawn tokens, nats, before any temperature or filter.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct MixedLosses {
    pub tokens: usize,
    pub base: f64,
    pub adapted: f64,
    pub mixed: f64,
}

impl Generation {
    /// The mix's weights now, and the losses since this was last asked; `None` if nothing is mixed.
    pub(in crate::engine) fn take_mixed(&mut self) -> Option<(Mixture, MixedLosses)> {
        self.mixing.as_mut().map(|mixing| (mixing.mixture, std::mem::take(&mut mixing.losses)))
    }
}

impl Engine {
    /// Begins to continue `request` by the mix of what its adapters and what `base` would draw.
    ///
    /// Errors as [`start`](Self::start) does; it takes two slots.
    pub(in crate::engine) fn start_mixed(
        &mut self,
        request: &Request,
        base: &Choice,
        mixture: Mixture,
    ) -> Result<Generation> {
        let beside = Request { adapter: Some(base.clone()), ..request.clone() };
        let mut generation = self.start(&[request.clone(), beside])?;
        let mut seen = vec![0; self.model.config.vocab_size.div_ceil(32)];
        request.prompt.iter().for_each(|id| seen[*id as usize / 32] |= 1 << (id % 32));
        let sampling = request.sampling(&self.model.config.eos_token_ids);
        generation.mixing =
            Some(Box::new(Mixing { mixture, sampling, seen, losses: MixedLosses::default() }));
        Ok(generation)
    }

    /// Draws one token and appends it to both sequences.
    pub(in crate::engine) async fn draw_mixed(
        &mut self,
        generation: &mut Generation,
        mixing: &mut Mixing,
    ) -> Result<Vec<Delta>> {
        let rows = generation.next_rows();
        self.rows_of = None;
        self.upload_rows(&rows);
        let plan = self.plans.get(Kind::Score, rows.len(), &self.model, &mut self.backend)?;
        self.backend.run(plan, 1);
        let v = self.model.config.vocab_size;
        let logits = self.backend.read(self.model.state.logits, 0, rows.len() * v).await?;
        let (adapted, base) = bytemuck::cast_slice(&logits).split_at(v);
        let mut row = [Row { slot: 0, ..rows[0] }];
        let mixed = mixing.mixture.logits(base, adapted);
        sample(&mixed, &[mixing.sampling], &mut mixing.seen, &mut row, &mut [0; RING]);
        let token = row[0].token;
        if row[0].slot == INACTIVE {
            return Err(not_numbers("the next token"));
        }
        let [base, adapted] = [base, adapted].map(|logits| loss(logits, token as usize));
        if !(base.is_finite() && adapted.is_finite()) {
            return Err(not_numbers("the next token"));
        }
        let losses = &mut mixing.losses;
        losses.tokens += 1;
        losses.base += base;
        losses.adapted += adapted;
        losses.mixed += mixing.mixture.loss(base, adapted);
        let mut deltas = self.accept_all(generation, &[token])?;
        deltas.truncate(1);
        Ok(deltas)
    }
}
