//! A text drawn from the never-worse mix of base and adapted model: two rows of one batch, whose
//! probabilities the host mixes.
//!
//! A token costs a run of two rows, a read of both rows' logits, the host's way through the
//! vocabulary and a second run that draws, where a plain one waits for eight tokens' numbers at most.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logits::{Forecast, are_numbers, not_numbers};
use crate::engine::text::mixture::Mixture;
use crate::engine::text::request::{Delta, Request};
use crate::engine::text::sequence::{Generation, Mixing};
use crate::error::Result;
use crate::noise::uniform;
use crate::plan::{ABSENT, RING};
use crate::tokenizer::Tokenizer;

impl Texts {
    /// Begins to continue `request` by the mix of what its adapters and what `base` would draw.
    ///
    /// Errors as [`start`](Self::start) does; it takes two slots.
    pub(crate) fn start_mixed(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        tokenizer: &Tokenizer,
        request: &Request,
        (base, mixture): (&Choice, Mixture),
    ) -> Result<Generation> {
        let beside = Request { adapter: Some(base.clone()), ..request.clone() };
        let mut generation = self.start(runner, adapters, tokenizer, &[request.clone(), beside])?;
        generation.mixing = Some(Mixing { mixture, ..Mixing::default() });
        Ok(generation)
    }
}

impl Generation {
    /// Draws one token and appends it to both sequences.
    pub(super) async fn draw_mixed(
        &mut self,
        runner: &mut Runner,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Delta>> {
        let Some(mixing) = &mut self.mixing else { return Ok(Vec::new()) };
        let rows: Vec<_> = self.sequences.iter().map(|s| s.row(s.tokens.len() - 1)).collect();
        runner.run_exactly(Kind::Score, &rows)?;
        let logits = runner.read_logits(rows.len()).await?;
        let (adapted, base) = logits.split_at(runner.model().config.vocab_size);
        let (adapted, base) = (Forecast::new(adapted), Forecast::new(base));
        let mixed = mixing.mixture.logits(&base, &adapted);
        // The first row is the adapted text's, whose slot tells how to draw.
        let first = &mut self.sequences[0];
        let mut drawn = vec![ABSENT];
        if first.chain.is_some() {
            if are_numbers(&mixed) {
                drawn = vec![0];
                first.draw_hosted(&mut drawn, &mixed, tokenizer)?;
            }
        } else {
            runner.write_logits(&mixed);
            runner.run_as_is(Kind::Draw, 1)?;
            runner.forget_rows();
            let place = first.seat.slot * RING + first.tokens.len() % RING;
            drawn = runner.read(runner.model().state.ring, place, 1).await?;
        }
        let Some(token) = drawn.first().map(|&token| token as usize).filter(|&token| token < mixed.len())
        else {
            return Err(not_numbers("the next token"));
        };
        let of_base = mixing.base_seed.map(|seed| {
            let share = uniform(seed, first.usage.completion_tokens as u32, 0);
            base.draw(share).ok_or_else(|| not_numbers("the next token"))
        });
        let [base, adapted] = [base, adapted].map(|forecast| forecast.loss(token));
        if !(base.is_finite() && adapted.is_finite()) {
            return Err(not_numbers("the next token"));
        }
        let all = &mut mixing.drawn;
        all.of_base.extend(of_base.transpose()?);
        all.count += 1;
        all.base += base;
        all.adapted += adapted;
        all.mixed += mixing.mixture.loss(base, adapted);
        let (context, config) = (runner.model().context(), &runner.model().config);
        let mut deltas = Vec::new();
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            deltas.push(sequence.accept(index, &drawn, context, config, tokenizer)?);
            if sequence.tokens.len() > context && sequence.finish.is_none() {
                sequence.slide(context);
            }
        }
        // Both are the same text.
        deltas.truncate(1);
        Ok(deltas)
    }
}
