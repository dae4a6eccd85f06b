//! Logits and losses of given tokens. Losses are the device's: of logits nothing is read for them.

use std::ops::Range;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logits::{Forecast, are_numbers, not_numbers};
use crate::engine::text::seat::Seat;
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::noise::uniform;
use crate::plan::{INACTIVE, Target};

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
    /// Where tokens are drawn instead: noise's seed, and what was drawn.
    drawn: Option<(u32, Vec<u32>)>,
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
            if done < seat.lead {
                result = fill(runner, &seat, &tokens, done..seat.lead).await.map(|now| done = now);
                continue;
            }
            let read = read_logits(runner, &seat, &tokens, done).await;
            result = read.map(|logits| {
                for logits in logits.chunks_exact(runner.model().config.vocab_size) {
                    if wrong.is_none() && !are_numbers(logits) {
                        wrong = Some(done - seat.lead);
                    }
                    done += 1;
                }
                all.extend(logits);
            });
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
        Ok(Scoring { done: seat.given, seat, tokens, from, losses: Vec::new(), drawn: None })
    }

    /// Begins to draw, for each of `ids[first..]`, what `choice` would have put in its place: one token of its
    /// distribution, given all tokens before. Gone on with as a scoring.
    ///
    /// Errors as [`begin_scoring`](Self::begin_scoring).
    pub(crate) fn begin_drawing(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        first: usize,
        choice: &Choice,
        seed: u32,
    ) -> Result<Scoring> {
        let scoring = self.begin_scoring(runner, adapters, ids, first, Some(choice))?;
        Ok(Scoring { drawn: Some((seed, Vec::new())), ..scoring })
    }

    /// What was drawn; the cache keeps what it can.
    pub(crate) fn end_drawing(
        &mut self,
        runner: &Runner,
        adapters: &mut Adapters,
        mut scoring: Scoring,
    ) -> Vec<u32> {
        let drawn = scoring.drawn.take().map(|(_, drawn)| drawn).unwrap_or_default();
        self.end_scoring(runner, adapters, scoring);
        drawn
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

    /// Computes the next rows, as many as are waited for at once.
    ///
    /// Errors with `Device`. The scoring must be ended all the same, or begins anew once the engine
    /// has recovered.
    pub(crate) async fn next(&mut self, runner: &mut Runner, adapters: &Adapters) -> Result<()> {
        let Self { seat, tokens, from, done, losses, drawn } = self;
        if seat.renew(runner, adapters) {
            *done = seat.given;
            losses.clear();
            drawn.iter_mut().for_each(|(_, drawn)| drawn.clear());
        }
        if *done < *from {
            *done = fill(runner, seat, tokens, *done..*from).await?;
            return Ok(());
        }
        if let Some((seed, drawn)) = drawn {
            let most = waited_for(runner, *done..tokens.len() - 1).len();
            let n = runner.run_rows(most, runner.model().score_rows());
            runner.run(Kind::Score, &seat.rows(tokens, *done..*done + n))?;
            for logits in runner.read_logits(n).await?.chunks_exact(runner.model().config.vocab_size) {
                let token = Forecast::new(logits).draw(uniform(*seed, *done as u32, 0));
                drawn.push(token.ok_or_else(|| not_numbers(format_args!("token {}", *done + 1)))?);
                *done += 1;
            }
            return Ok(());
        }
        let range = waited_for(runner, *done..tokens.len());
        let targets = &tokens[*done + 1..tokens.len().min(range.end + 1)];
        let asked = |&token| Target { token, weight: 1.0 };
        // Nothing follows the last token.
        let none = Target { token: INACTIVE, weight: 0.0 };
        let targets: Vec<Target> = targets.iter().map(asked).chain([none]).take(range.len()).collect();
        runner.write_targets(runner.model().state.targets, range.start, &targets);
        run_all(runner, Kind::Losses, seat, tokens, range.clone(), runner.model().score_rows())?;
        let asked = range.len().min(tokens.len() - 1 - range.start);
        let read = runner.read(runner.model().state.losses, range.start, asked).await?;
        losses.extend(bytemuck::cast_slice::<u32, f32>(&read).iter().map(|&loss| f64::from(loss)));
        *done = range.end;
        Ok(())
    }
}

/// What of these rows is computed until it is waited for.
fn waited_for(runner: &Runner, rows: Range<usize>) -> Range<usize> {
    let per_row = multiplications(runner);
    let most = runner.slice_rows(per_row, rows.len());
    rows.start..rows.start + runner.forward_rows(per_row, most)
}

/// What a scored row takes.
fn multiplications(runner: &Runner) -> usize {
    runner.model().all_layer_weights().saturating_add(runner.model().head_weights())
}

/// Computes keys and values of these tokens, as many as are waited for at once. Returns how many are there then.
async fn fill(runner: &mut Runner, seat: &Seat, tokens: &[u32], rows: Range<usize>) -> Result<usize> {
    let range = waited_for(runner, rows);
    run_all(runner, Kind::Prefill, seat, tokens, range.clone(), MAX_ROWS)?;
    runner.wait().await?;
    Ok(range.end)
}

/// Runs a plan over these tokens, at most `most` at a time, and waits for none.
fn run_all(
    runner: &mut Runner,
    kind: Kind,
    seat: &Seat,
    tokens: &[u32],
    range: Range<usize>,
    most: usize,
) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let n = runner.run_rows(range.end - at, most);
        runner.run(kind, &seat.rows(tokens, at..at + n))?;
        at += n;
    }
    Ok(())
}

/// Logits (rows, V) of the next run from `done` on.
async fn read_logits(runner: &mut Runner, seat: &Seat, tokens: &[u32], done: usize) -> Result<Vec<f32>> {
    let most = runner.forward_rows(multiplications(runner), runner.model().score_rows());
    let n = runner.run_rows(tokens.len() - done, most);
    runner.run(Kind::Score, &seat.rows(tokens, done..done + n))?;
    runner.read_logits(n).await
}
