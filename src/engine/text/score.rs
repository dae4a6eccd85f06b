//! Logits and losses of given tokens.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::{Kind, run_rows};
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logits::{are_numbers, loss, not_numbers};
use crate::engine::text::seat::Seat;
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;

/// Losses under way.
#[derive(Debug)]
pub(crate) struct Scoring {
    seat: Seat,
    /// Virtual ones first.
    tokens: Vec<u32>,
    /// The first position whose logits give a loss.
    from: usize,
    done: usize,
    losses: Vec<f64>,
}

impl Texts {
    /// Logits (T, V) at every position of `ids` under `choice`, computed anew; `None` is the engine's own.
    ///
    /// Errors with `Argument` if `ids` is empty, longer than the context, or names a token
    /// outside the vocabulary, or for a choice that cannot be made, and with `Device` naming the token
    /// whose logits are not numbers.
    pub(crate) async fn logits(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        choice: Option<&Choice>,
    ) -> Result<Vec<f32>> {
        runner.model().check_decoder("scoring text")?;
        let mut all = Vec::with_capacity(ids.len() * runner.model().config.vocab_size);
        let mut wrong = None;
        let chosen = adapters.choose(runner.model(), choice)?;
        let (seat, tokens) = self.take_seat_anew(runner, adapters, ids, &chosen)?;
        let (mut done, mut result) = (seat.given, Ok(()));
        while result.is_ok() && done < tokens.len() {
            let see = |pos: usize, logits: &[f32]| {
                all.extend_from_slice(logits);
                if wrong.is_none() && !are_numbers(logits) {
                    wrong = Some(pos - seat.lead);
                }
            };
            let run = score_run(runner, &seat, &tokens, seat.lead, done, MAX_ROWS, see);
            result = run.await.map(|now| done = now);
        }
        self.leave_seat(runner, adapters, seat, &tokens[..done]);
        result?;
        match wrong {
            Some(pos) => Err(not_numbers(format_args!("token {}", pos + 1))),
            None => Ok(all),
        }
    }

    /// Negative log-likelihoods, nats, of `ids[first..]`, each given all tokens before it.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` if `first` is 0: the first token
    /// is given by nothing.
    pub(crate) async fn losses(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        first: usize,
    ) -> Result<Vec<f64>> {
        let mut scoring = self.begin_scoring(runner, adapters, ids, first, None)?;
        let mut result = Ok(());
        while result.is_ok() && !scoring.is_finished() {
            result = scoring.next(runner, adapters).await;
        }
        let losses = self.end_scoring(runner, adapters, scoring);
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
    pub(crate) async fn text_losses(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        [context, stride]: [usize; 2],
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
            losses.extend(self.losses(runner, adapters, &ids[start..end], first).await?);
            progress(losses.len() + 1, ids.len());
            end = (end + stride).min(ids.len());
        }
        Ok(losses)
    }

    /// Begins [`losses`](Self::losses) of `ids[first..]` under `choice`, to be gone on with run by
    /// run.
    ///
    /// Errors as that does.
    pub(crate) fn begin_scoring(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        first: usize,
        choice: Option<&Choice>,
    ) -> Result<Scoring> {
        runner.model().check_decoder("scoring text")?;
        if first == 0 {
            return Err(Error::argument("the first token has no loss: nothing comes before it"));
        }
        let chosen = adapters.choose(runner.model(), choice)?;
        let (seat, tokens) = self.take_seat_anew(runner, adapters, ids, &chosen)?;
        let from = (seat.lead + first).min(tokens.len()) - 1;
        Ok(Scoring { done: seat.given, seat, tokens, from, losses: Vec::new() })
    }

    /// The losses computed so far; the cache keeps what it can.
    pub(crate) fn end_scoring(
        &mut self,
        runner: &Runner,
        adapters: &mut Adapters,
        scoring: Scoring,
    ) -> Vec<f64> {
        let Scoring { seat, tokens, done, losses, .. } = scoring;
        self.leave_seat(runner, adapters, seat, &tokens[..done]);
        losses
    }
}

impl Scoring {
    pub(crate) fn is_finished(&self) -> bool {
        self.done + 1 >= self.tokens.len()
    }

    /// Rows done, and all there are.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.done, self.tokens.len() - 1)
    }

    /// Computes the next run of rows.
    ///
    /// Errors with `Device`. The scoring must be ended all the same, or begins anew once the engine
    /// has recovered.
    pub(crate) async fn next(&mut self, runner: &mut Runner, adapters: &Adapters) -> Result<()> {
        let rows = runner.slice_rows(multiplications(runner));
        let Self { seat, tokens, from, done, losses } = self;
        if seat.renew(runner, adapters) {
            *done = seat.given;
            losses.clear();
        }
        let see = |pos: usize, logits: &[f32]| {
            if let Some(&next) = tokens.get(pos + 1) {
                losses.push(loss(logits, next as usize));
            }
        };
        *done = score_run(runner, seat, tokens, *from, *done, rows, see).await?;
        Ok(())
    }
}

/// What a scored row takes.
fn multiplications(runner: &Runner) -> usize {
    runner.model().all_layer_weights().saturating_add(runner.model().head_weights())
}

/// One run of at most `rows` rows from `done` on: those before `from` only fill the cache, of the others
/// `see(position, logits (V))` is shown. Returns how many tokens are done then.
async fn score_run(
    runner: &mut Runner,
    seat: &Seat,
    tokens: &[u32],
    from: usize,
    done: usize,
    rows: usize,
    mut see: impl FnMut(usize, &[f32]),
) -> Result<usize> {
    let (kind, end, most) = if done < from {
        (Kind::Prefill, from, MAX_ROWS)
    } else {
        (Kind::Score, tokens.len(), runner.model().score_rows())
    };
    let n = run_rows(end - done, runner.forward_rows(multiplications(runner), most.min(rows)));
    runner.run(kind, &seat.rows(tokens, done..done + n))?;
    if kind == Kind::Score {
        let logits = runner.read_logits(n).await?;
        let rows = logits.chunks_exact(runner.model().config.vocab_size);
        rows.zip(done..).for_each(|(logits, pos)| see(pos, logits));
    } else {
        runner.wait().await?;
    }
    Ok(done + n)
}
