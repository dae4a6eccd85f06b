//! Generation: prompts in, text out, a block of tokens at a time.
//! A request goes on in `src/engine/runner.rs`.
//!
//! All but the last token of each prompt are prefilled. From then on the decode state lives on
//! the device: a block of K steps is one submission with a small read, and writes nothing. It can be
//! on its way before the one before it has been read.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::Chosen;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logprobs::TokenLogprobs;
use crate::engine::text::request::{Delta, Request};
use crate::engine::text::sequence::{Generation, InFlight, Sequence};
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::plan::RING;
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// Tokens drawn between two reads, once a text is under way. After an abort as many are computed, or twice as many where
/// the next block is on its way.
pub(crate) const MAX_BLOCK: usize = 8;

/// The most on a device where waiting is slow: the ring of drawn tokens has room for two such blocks.
const LONG_BLOCK: usize = RING / 2;

impl Texts {
    /// Whether requests can be begun once there are slots for them, and the adapters that each chooses.
    ///
    /// Errors with `Argument` for no request, an option out of range, a prompt that does not fit, or an
    /// adapter that is not loaded.
    pub(crate) fn check(
        &self,
        runner: &Runner,
        adapters: &Adapters,
        requests: &[Request],
    ) -> Result<Vec<Chosen>> {
        if requests.is_empty() {
            return Err(Error::argument("no prompt"));
        }
        let model = runner.model();
        model.check_decoder("writing text")?;
        let check = |request: &Request| {
            let chosen = adapters.choose(model, request.adapter.as_ref())?;
            request.check(model.config.vocab_size, model.context(), chosen.lead.len())?;
            model.check_ids(&request.prompt)?;
            model.check_ids(&request.stop_tokens).map_err(|e| e.context("stop_token_ids"))?;
            Ok(chosen)
        };
        requests.iter().map(check).collect()
    }

    /// Takes a slot for each request and reuses the cache where it remembers the prompt.
    ///
    /// Errors with `Argument` for an option out of range, a prompt that does not fit, or more
    /// requests than the engine has free slots.
    pub(crate) fn start(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        tokenizer: &Tokenizer,
        requests: &[Request],
    ) -> Result<Generation> {
        let chosen = self.check(runner, adapters, requests)?;
        let (prompts, slots) = (requests.len(), runner.model().slots());
        if prompts > slots {
            return Err(Error::argument(format!(
                "{prompts} prompts, expected at most {slots}: the engine's `batch`"
            )));
        }
        let mut generation = Generation::new(self.next_generation);
        self.next_generation += 1;
        for (request, chosen) in requests.iter().zip(&chosen) {
            match self.admit(runner, adapters, tokenizer, request, chosen) {
                Ok(sequence) => generation.sequences.push(sequence),
                Err(e) => {
                    self.end(runner, adapters, generation);
                    return Err(e);
                }
            }
        }
        Ok(generation)
    }

    fn admit(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        tokenizer: &Tokenizer,
        request: &Request,
        chosen: &Chosen,
    ) -> Result<Sequence> {
        let decoder = StreamDecoder::after(tokenizer, &request.prompt, true)?;
        let seated = self.take_seat(runner, adapters, &request.prompt, chosen)?;
        let sequence = Sequence::new(request, &runner.model().config, decoder, seated);
        sequence.write_sampling(runner);
        Ok(sequence)
    }

    /// Goes on with the unfinished texts of a generation under another choice of adapters: the next token is drawn
    /// by them, after all that was written. What is held back of a text, and what samplers and a constraint remember
    /// of it, stays.
    ///
    /// Errors with `Argument` if an adapter is not loaded, a text does not fit with the choice's virtual tokens, or
    /// the generation draws from a mix of its own: nothing is changed then.
    pub(crate) fn switch(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        generation: &mut Generation,
        choice: &Choice,
    ) -> Result<()> {
        let chosen = adapters.choose(runner.model(), Some(choice))?;
        if generation.mixing.is_some() {
            return Err(Error::argument("adapters for a text that is drawn from a mix"));
        }
        let (context, lead) = (runner.model().context(), chosen.lead.len());
        let longest = generation.active().map(|s| s.tokens.len() - s.seat.lead).max().unwrap_or(0);
        if lead + longest > context {
            return Err(Error::argument(format!(
                "text of {longest} tokens with {lead} virtual tokens exceeds the context of {context}"
            )));
        }
        for sequence in generation.sequences.iter_mut().filter(|s| s.finish.is_none()) {
            let text = (&sequence.tokens[..], sequence.filled);
            let (tokens, filled) = self.change_seat(runner, adapters, &mut sequence.seat, text, &chosen)?;
            (sequence.tokens, sequence.filled) = (tokens, filled);
            sequence.write_sampling(runner);
        }
        generation.block = 1; // the first token comes at once
        // What others have drawn is not theirs.
        generation.ahead = None;
        runner.forget_rows();
        Ok(())
    }

    /// Gives the slots of a generation back; what they hold can be reused.
    pub(crate) fn end(&mut self, runner: &Runner, adapters: &mut Adapters, generation: Generation) {
        for sequence in generation.sequences {
            self.leave_seat(runner, adapters, sequence.seat, &sequence.tokens[..sequence.filled]);
        }
    }
}

impl Sequence {
    /// Tells the device how to draw the text's tokens.
    fn write_sampling(&self, runner: &mut Runner) {
        let Self { seat, sampling, seen, .. } = self;
        let line: &[u32] = bytemuck::cast_slice(std::slice::from_ref(sampling));
        let (model, backend) = runner.parts();
        backend.upload(model.state.sampling, seat.slot * line.len(), line);
        backend.upload(model.state.seen, seat.slot * seen.len(), seen);
    }
}

impl Generation {
    /// One step: a run of the prompts, or a block of tokens. Returns what each unfinished
    /// request gained; nothing while prompts are being computed, or when all is finished.
    ///
    /// Errors with `Device` if the device fails. The generation must be [`end`](Texts::end)ed
    /// all the same, or goes on where it was once the engine has recovered.
    pub(crate) async fn next(
        &mut self,
        runner: &mut Runner,
        adapters: &Adapters,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Delta>> {
        if self.is_finished() {
            return Ok(Vec::new());
        }
        for sequence in self.sequences.iter_mut().filter(|s| s.finish.is_none()) {
            if sequence.seat.renew(runner, adapters) {
                sequence.filled = sequence.seat.given;
                sequence.write_sampling(runner);
                self.ahead = None;
            }
        }
        if self.pending() > 0 {
            self.prefill(runner).await?;
            Ok(Vec::new())
        } else if self.mixing.is_some() {
            self.draw_mixed(runner, tokenizer).await
        } else {
            self.decode(runner, tokenizer).await
        }
    }

    /// Computes pending prompt tokens, across sequences, as many as are waited for at once.
    async fn prefill(&mut self, runner: &mut Runner) -> Result<()> {
        let mut left = runner.forward_rows(runner.model().all_layer_weights(), self.pending());
        let mut filled: Vec<usize> = self.sequences.iter().map(|s| s.filled).collect();
        while left > 0 {
            let n = runner.run_rows(left, MAX_ROWS);
            let mut rows = Vec::with_capacity(n);
            for (sequence, filled) in self.sequences.iter().zip(&mut filled) {
                let take = (sequence.filled + sequence.pending() - *filled).min(n - rows.len());
                rows.extend((*filled..*filled + take).map(|pos| sequence.row(pos)));
                *filled += take;
            }
            runner.run(Kind::Prefill, &rows)?;
            left -= n;
        }
        runner.wait().await?;
        self.sequences.iter_mut().zip(filled).for_each(|(s, filled)| s.filled = filled);
        Ok(())
    }

    /// Draws a block of tokens for every unfinished sequence. Where nothing but length and the device's own stop tokens can
    /// end a text, the next block is on its way before this one is looked at.
    async fn decode(&mut self, runner: &mut Runner, tokenizer: &Tokenizer) -> Result<Vec<Delta>> {
        let mut deltas = self.ask_constraints(runner, tokenizer)?;
        if self.is_finished() {
            return Ok(deltas);
        }
        // The logits at a place are there until the next is computed.
        let told = self.active().any(|s| s.chain.is_some() || s.logprobs.is_some());
        let ahead = self.ahead.take();
        let was_idle = ahead.is_none();
        let InFlight { steps, of, reading } = match ahead {
            Some(ahead) => ahead,
            None => {
                let steps = if told { 1 } else { self.steps(runner, 0).unwrap_or(1) };
                self.submit(runner, steps, told).await?
            }
        };
        let hurries = !self.is_watched && steps >= MAX_BLOCK && !self.active().any(Sequence::ends_by_host);
        if hurries
            && runner.continues(self.id)
            && let Some(next) = self.steps(runner, steps)
        {
            self.ahead = Some(self.submit(runner, next, false).await?);
        }
        let read = runner.finish_read(reading, was_idle.then_some(steps)).await?;
        let taken = self.take_in(runner, tokenizer, &of, steps, read, &mut deltas);
        if taken.is_err() || self.is_finished() {
            self.ahead = None;
        }
        taken.map(|()| deltas)
    }

    /// Takes what a block has drawn, `steps` tokens for each row, into the texts that go on.
    fn take_in(
        &mut self,
        runner: &mut Runner,
        tokenizer: &Tokenizer,
        of: &[usize],
        steps: usize,
        read: Vec<Vec<u32>>,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        let (context, v) = (runner.model().context(), runner.model().config.vocab_size);
        let mut read = read.into_iter();
        let ring = read.next().unwrap_or_default();
        let logits: Vec<f32> = read.next().map(bytemuck::cast_vec).unwrap_or_default();
        if self.active().any(|s| s.chain.is_some()) {
            // The host draws others than those that lie there.
            runner.forget_rows();
        }
        for (row, &index) in of.iter().enumerate() {
            let sequence = &mut self.sequences[index];
            if sequence.finish.is_some() {
                continue;
            }
            let first = sequence.tokens.len();
            let mut drawn: Vec<u32> =
                (first..first + steps).map(|pos| ring[sequence.seat.slot * RING + pos % RING]).collect();
            let logits = logits.get(row * v..(row + 1) * v).unwrap_or_default();
            sequence.draw_hosted(&mut drawn, logits, tokenizer)?;
            let mut delta = sequence.accept(index, &drawn, context, &runner.model().config, tokenizer)?;
            if let (Some(top), &[token]) = (sequence.logprobs, &delta.tokens[..]) {
                delta.logprobs = vec![TokenLogprobs::of(logits, token, top)];
            }
            let full = sequence.tokens.len() > context;
            if delta.finish.is_some() || full {
                // The rows on the device no longer match.
                runner.forget_rows();
            }
            if full && sequence.finish.is_none() {
                sequence.slide(context);
            }
            deltas.push(delta);
        }
        Ok(())
    }

    /// Gives the device a block of tokens to draw, and with `told` the logits to be read.
    async fn submit(&mut self, runner: &mut Runner, steps: usize, told: bool) -> Result<InFlight> {
        let rows = self.next_rows();
        runner.decode(self.id, &rows, steps)?;
        let reading = runner.begin_read_drawn(told.then_some(rows.len())).await?;
        let active = self.sequences.iter().enumerate().filter(|(_, s)| s.finish.is_none());
        Ok(InFlight { steps, of: active.map(|(index, _)| index).collect(), reading })
    }

    /// How many tokens the next block draws, once the `before` that are on their way have come; none if there is no room or
    /// no text wants more. It grows while the text does: the first token comes at once, later ones share the cost of a read.
    fn steps(&mut self, runner: &Runner, before: usize) -> Option<usize> {
        let context = runner.model().context();
        let room = self.active().map(|s| (context + 1 - s.tokens.len()).saturating_sub(before)).min()?;
        let left = |s: &Sequence| (s.max_tokens - s.usage.completion_tokens).saturating_sub(before);
        let steps = self.block.min(room).min(self.active().map(left).max()?);
        let most = if self.is_watched { MAX_BLOCK } else { LONG_BLOCK };
        self.block = (self.block * 2).min(runner.block_steps(MAX_BLOCK, most));
        (steps > 0).then_some(steps)
    }
}
