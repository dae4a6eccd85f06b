//! Logits and losses of given tokens.

use crate::error::{Error, Result};
use crate::plan::Row;

use super::Engine;
use super::adapters::Choice;
use super::plans::{Kind, run_rows};
use super::seat::Seat;

impl Engine {
    /// Logits (T, V) at every position of `ids`, computed anew under the engine's own choice of
    /// adapters.
    ///
    /// Errors with `Argument` if `ids` is empty, longer than the context, or names a token
    /// outside the vocabulary.
    pub async fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.logits_with(ids, None).await
    }

    /// The same under `choice`; `None` is the engine's own.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` for a choice that cannot be made.
    pub async fn logits_with(&mut self, ids: &[u32], choice: Option<&Choice>) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(ids.len() * self.model.config.vocab_size);
        self.score(ids, choice, |_, logits| all.extend_from_slice(logits)).await?;
        Ok(all)
    }

    /// Negative log-likelihoods, nats, of `ids[first..]`, each given all tokens before it.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` if `first` is 0: the first token
    /// is given by nothing.
    pub async fn losses(&mut self, ids: &[u32], first: usize) -> Result<Vec<f64>> {
        if first == 0 {
            return Err(Error::argument("the first token has no loss: nothing comes before it"));
        }
        let mut losses = Vec::with_capacity(ids.len().saturating_sub(first));
        self.score(ids, None, |pos, logits| {
            if let Some(&next) = ids.get(pos + 1).filter(|_| pos + 1 >= first) {
                losses.push(loss(logits, next as usize));
            }
        })
        .await?;
        Ok(losses)
    }

    /// Losses of a text of any length: windows of `context` tokens move on by `stride`, and
    /// each token but the first is scored once, in the first window that holds it, given at
    /// least `context − stride` tokens where the text has them.
    /// `progress(tokens scored, of all)` is told after each window.
    pub async fn text_losses(
        &mut self,
        ids: &[u32],
        context: usize,
        stride: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<f64>> {
        if stride == 0 || stride >= context {
            return Err(Error::argument(format!(
                "stride {stride}, expected 1 to {} (context − 1)",
                context - 1
            )));
        }
        let mut losses = Vec::with_capacity(ids.len());
        let mut end = context.min(ids.len());
        while losses.len() + 1 < ids.len() {
            let start = end.saturating_sub(context);
            let first = losses.len() + 1 - start;
            losses.extend(self.losses(&ids[start..end], first).await?);
            progress(losses.len() + 1, ids.len());
            end = (end + stride).min(ids.len());
        }
        Ok(losses)
    }

    /// Runs `ids` under `choice` from an empty cache and shows `see(position, logits (V))` for
    /// each.
    async fn score(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let context = self.model.context() - self.lead_tokens(choice)?.len();
        if ids.is_empty() || ids.len() > context {
            return Err(Error::argument(format!(
                "{} tokens, expected 1 to {context}, the context",
                ids.len()
            )));
        }
        self.check_ids(ids)?;
        let (seat, tokens, _) = self.take_seat(ids, choice)?;
        let run = self.score_in(&seat, &tokens, &mut see).await;
        self.leave_seat(seat, if run.is_ok() { &tokens } else { &[] });
        run
    }

    async fn score_in(
        &mut self,
        seat: &Seat,
        ids: &[u32],
        see: &mut impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let v = self.model.config.vocab_size;
        let mut done = seat.given;
        while done < ids.len() {
            let n = run_rows(ids.len() - done, self.model.score_rows());
            let rows: Vec<Row> = (done..done + n).map(|pos| seat.row(ids[pos], pos)).collect();
            self.rows_of = None;
            self.upload_rows(&rows);
            let plan = self.plans.get(Kind::Score, n, &self.model, &mut self.backend)?;
            self.backend.run(plan, 1);
            let logits = self.backend.read(self.model.state.logits, 0, n * v).await?;
            let logits: &[f32] = bytemuck::cast_slice(&logits);
            let text = logits.chunks_exact(v).zip(done..).filter(|(_, pos)| *pos >= seat.lead);
            text.for_each(|(logits, pos)| see(pos - seat.lead, logits));
            done += n;
        }
        Ok(())
    }
}

/// −log softmax(logits)[token], summed in f64.
fn loss(logits: &[f32], token: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - most).exp()).sum();
    total.ln() - f64::from(logits[token] - most)
}
