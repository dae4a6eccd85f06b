//! Tokens that the host draws: requests with samplers that the device does not know, or under a constraint.
//! Not the samplers themselves: `sampling`. The device draws a token for such a row, too, which nobody looks at.

use crate::engine::runner::Runner;
use crate::engine::text::constraint::{Constraint, Ending};
use crate::engine::text::request::{Delta, Finish};
use crate::engine::text::sampling::samplers::Samplers;
use crate::engine::text::sampling::{Chain, Place};
use crate::engine::text::sequence::{Generation, Sequence};
use crate::error::{Error, Result};
use crate::plan::ABSENT;
use crate::tokenizer::Tokenizer;

impl Generation {
    /// Puts the text of request `index` under a constraint, before its first token.
    ///
    /// Errors with `Argument` if there is no such request, it has begun, or is drawn from a mix.
    pub fn constrain(&mut self, index: usize, constraint: Box<dyn Constraint>) -> Result<()> {
        let mixes = self.mixing.is_some();
        let sequence = self.sequence(index)?;
        if mixes || sequence.usage.completion_tokens > 0 {
            return Err(Error::argument("a constraint for a text that has begun, or is drawn from a mix"));
        }
        sequence.chain.get_or_insert_with(|| Chain::new(&Samplers::default()));
        sequence.constraint = Some(constraint);
        Ok(())
    }

    /// Gives request `index` the mask of its next token: see [`Constraint::supply`].
    ///
    /// Errors with `Argument` if there is no such request, or none under such a constraint.
    pub fn supply(&mut self, index: usize, mask: &[u32], ending: Ending) -> Result<()> {
        match &mut self.sequence(index)?.constraint {
            Some(constraint) => constraint.supply(mask, ending),
            None => Err(Error::argument("a mask for a request without a constraint")),
        }
    }

    fn sequence(&mut self, index: usize) -> Result<&mut Sequence> {
        let n = self.sequences.len();
        let wrong = || Error::argument(format!("request {index}, expected below {n}"));
        self.sequences.get_mut(index).ok_or_else(wrong)
    }

    /// Asks the constraints what may come next. Returns the ends of texts that may not go on.
    pub(super) fn ask_constraints(
        &mut self,
        runner: &mut Runner,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        for (index, sequence) in self.sequences.iter_mut().enumerate().filter(|(_, s)| s.finish.is_none()) {
            if sequence.ask_constraint()? == Ending::Must {
                let text = sequence.tail.finish(tokenizer)?.text;
                sequence.finish = Some(Finish::Stop);
                deltas.push(Delta { index, text, finish: sequence.finish, ..Delta::default() });
                runner.forget_rows();
            }
        }
        Ok(deltas)
    }
}

impl Sequence {
    /// Fills in the mask of the next token, with the end tokens if the text may end.
    fn ask_constraint(&mut self) -> Result<Ending> {
        let Some(constraint) = &mut self.constraint else { return Ok(Ending::May) };
        let mut mask = vec![0; self.seen.len()];
        let ending = constraint.allowed(&mut mask)?;
        for &end in &self.ends {
            // A model may name an end token that it cannot draw.
            if let Some(word) = mask.get_mut(end as usize / 32) {
                let bit = 1 << (end % 32);
                *word = if ending == Ending::May { *word | bit } else { *word & !bit };
            }
        }
        self.mask = mask;
        Ok(ending)
    }

    /// Puts the host's token in the place of the device's, if this text has a chain, and the device's is one.
    ///
    /// Errors as [`Chain::draw`] does.
    pub(super) fn draw_hosted(
        &mut self,
        drawn: &mut [u32],
        logits: &[f32],
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        let (Some(chain), [token]) = (&mut self.chain, drawn) else { return Ok(()) };
        if *token == ABSENT {
            return Ok(());
        }
        let place = Place {
            mask: self.constraint.is_some().then_some(&self.mask),
            seen: &self.seen,
            tokens: &self.tokens[self.seat.lead..],
            pos: self.tokens.len() as u32,
        };
        *token = chain.draw(&mut logits.to_vec(), &self.sampling, &place, tokenizer)?;
        Ok(())
    }
}
