//! Logits and losses of given tokens.

use crate::backend::cpu::sample::can_draw;
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::plan::Row;

use crate::engine::Engine;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::{Kind, forward_rows, run_rows, slice_rows};
use crate::engine::text::generate::not_numbers;
use crate::engine::text::logprobs::log_sum_exp;
use crate::engine::text::seat::Seat;

impl Engine {
    /// Logits (T, V) at every position of `ids`, computed anew under the engine's own choice of
    /// adapters.
    ///
    /// Errors with `Argument` if `ids` is empty, longer than the context, or names a token
    /// outside the vocabulary, and with `Device` naming the token whose logits are not numbers.
    pub async fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.logits_with(ids, None).await
    }

    /// The same under `choice`; `None` is the engine's own.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` for a choice that cannot be made.
    pub async fn logits_with(&mut self, ids: &[u32], choice: Option<&Choice>) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(ids.len() * self.model.config.vocab_size);
        let mut wrong = None;
        let see = |pos: usize, logits: &[f32]| {
            all.extend_from_slice(logits);
            if wrong.is_none() && !can_draw(logits) {
                wrong = Some(pos);
            }
        };
        self.score(ids, choice, see).await?;
        match wrong {
            Some(pos) => Err(not_numbers(format_args!("token {}", pos + 1))),
            None => Ok(all),
        }
    }

    /// Negative log-likelihoods, nats, of `ids[first..]`, each given all tokens before it.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` if `first` is 0: the first token
    /// is given by nothing.
    pub async fn losses(&mut self, ids: &[u32], first: usize) -> Result<Vec<f64>> {
        let mut scoring = self.begin_scoring(ids, first, None)?;
        let mut result = Ok(());
        while result.is_ok() && !scoring.is_finished() {
            result = self.next_scores(&mut scoring).await;
        }
        let losses = self.end_scoring(scoring);
        result?;
        // That of a token is not finite if its logits are not.
        match losses.iter().position(|loss| !loss.is_finite()) {
            Some(at) => Err(not_numbers(format_args!("token {}", first + at))),
            None => Ok(losses),
        }
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

    /// Begins [`losses`](Self::losses) of `ids[first..]` under `choice`, to be gone on with run by
    /// run.
    ///
    /// Errors as that does.
    pub(in crate::engine) fn begin_scoring(
        &mut self,
        ids: &[u32],
        first: usize,
        choice: Option<&Choice>,
    ) -> Result<Scoring> {
        if first == 0 {
            return Err(Error::argument("the first token has no loss: nothing comes before it"));
        }
        let (seat, tokens) = self.seat_anew(ids, choice)?;
        let from = (seat.lead + first).min(tokens.len()) - 1;
        Ok(Scoring { done: seat.given, seat, tokens, from, losses: Vec::new() })
    }

    /// Computes the next run of rows.
    ///
    /// Errors with `Device`. The scoring must be ended all the same, or begins anew once the engine
    /// has recovered.
    pub(in crate::engine) async fn next_scores(&mut self, scoring: &mut Scoring) -> Result<()> {
        let per_row = self.model.all_layer_weights().saturating_add(self.model.head_weights());
        let rows = slice_rows(&self.backend, per_row);
        let Scoring { seat, tokens, from, done, losses } = scoring;
        if self.renew_seat(seat) {
            *done = seat.given;
            losses.clear();
        }
        let see = |pos: usize, logits: &[f32]| {
            if let Some(&next) = tokens.get(pos + 1) {
                losses.push(loss(logits, next as usize));
            }
        };
        *done = self.score_run(seat, tokens, *from, *done, rows, see).await?;
        Ok(())
    }

    /// The losses computed so far; the cache keeps what it can.
    pub(in crate::engine) fn end_scoring(&mut self, scoring: Scoring) -> Vec<f64> {
        let Scoring { seat, tokens, done, losses, .. } = scoring;
        self.leave_seat(seat, &tokens[..done]);
        losses
    }

    /// Runs `ids` under `choice` from an empty cache and shows `see(position, logits (V))` for
    /// each.
    async fn score(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let (seat, tokens) = self.seat_anew(ids, choice)?;
        let (mut done, mut result) = (seat.given, Ok(()));
        while result.is_ok() && done < tokens.len() {
            let run = self.score_run(&seat, &tokens, seat.lead, done, MAX_ROWS, |pos, logits| {
                see(pos - seat.lead, logits)
            });
            result = run.await.map(|now| done = now);
        }
        self.leave_seat(seat, &tokens[..done]);
        result
    }

    /// A seat for `ids`, whose tokens are to be computed anew.
    pub(in crate::engine) fn seat_anew(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
    ) -> Result<(Seat, Vec<u32>)> {
        let context = self.model.context() - self.lead_tokens(choice)?.len();
        if ids.is_empty() || ids.len() > context {
            return Err(Error::argument(format!(
                "{} tokens, expected 1 to {context}, the context",
                ids.len()
            )));
        }
        self.check_ids(ids)?;
        let (seat, tokens, _) = self.take_seat(ids, choice)?;
        Ok((seat, tokens))
    }

    /// One run of at most `rows` rows from `done` on: those before `from` only fill the cache, of the others
    /// `see(position, logits (V))` is shown. Returns how many tokens are done then.
    async fn score_run(
        &mut self,
        seat: &Seat,
        tokens: &[u32],
        from: usize,
        done: usize,
        rows: usize,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<usize> {
        let v = self.model.config.vocab_size;
        let (kind, end, most) = if done < from {
            (Kind::Prefill, from, MAX_ROWS)
        } else {
            (Kind::Score, tokens.len(), self.model.score_rows())
        };
        let per_row = self.model.all_layer_weights().saturating_add(self.model.head_weights());
        let n = run_rows(end - done, forward_rows(&self.backend, per_row, most.min(rows)));
        let rows: Vec<Row> = (done..done + n).map(|pos| seat.row(tokens[pos], pos)).collect();
        self.rows_of = None;
        self.upload_rows(&rows);
        let plan = self.plans.get(kind, n, &self.model, &mut self.backend)?;
        self.backend.run(plan, 1);
        if kind == Kind::Score {
            let logits = self.backend.read(self.model.state.logits, 0, n * v).await?;
            let logits: &[f32] = bytemuck::cast_slice(&logits);
            logits.chunks_exact(v).zip(done..).for_each(|(logits, pos)| see(pos, logits));
        } else {
            // Bounds the work that is queued.
            self.backend.read(self.model.state.ring, 0, 1).await?;
        }
        Ok(done + n)
    }
}

/// Losses under way.
#[derive(Debug)]
pub(in crate::engine) struct Scoring {
    seat: Seat,
    /// Virtual ones first.
    tokens: Vec<u32>,
    /// The first position whose logits give a loss.
    from: usize,
    done: usize,
    losses: Vec<f64>,
}

impl Scoring {
    pub fn is_finished(&self) -> bool {
        self.done + 1 >= self.tokens.len()
    }

    /// Rows done, and all there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.tokens.len() - 1)
    }
}

/// −log softmax(logits)[token]
pub(in crate::engine) fn loss(logits: &[f32], token: usize) -> f64 {
    log_sum_exp(logits) - f64::from(logits[token])
}
