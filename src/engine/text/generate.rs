//! Generation: prompts in, text out, a block of tokens at a time.
//! A request goes on in `src/engine/runner.rs`.
//!
//! All but the last token of each prompt are prefilled. From then on the decode state lives on
//! the device: a block of K steps is one submission and one small read, and writes nothing.

use crate::backend::Backend;
use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::Chosen;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::{Kind, run_rows};
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logprobs::TokenLogprobs;
use crate::engine::text::request::{Delta, Request};
use crate::engine::text::sequence::{Generation, Sequence};
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::plan::RING;
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// Most tokens drawn between two reads; also the most that can be computed after an abort.
pub(crate) const MAX_BLOCK: usize = 8;

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

    /// Computes the next run of pending prompt tokens, across sequences.
    async fn prefill(&mut self, runner: &mut Runner) -> Result<()> {
        let most = runner.forward_rows(runner.model().all_layer_weights(), MAX_ROWS);
        let n = run_rows(self.pending(), most);
        let mut rows = Vec::with_capacity(n);
        let mut filled = Vec::with_capacity(self.sequences.len());
        for sequence in &self.sequences {
            let take = sequence.pending().min(n - rows.len());
            rows.extend((sequence.filled..sequence.filled + take).map(|pos| sequence.row(pos)));
            filled.push(sequence.filled + take);
        }
        runner.run(Kind::Prefill, &rows)?;
        runner.wait().await?;
        self.sequences.iter_mut().zip(filled).for_each(|(s, filled)| s.filled = filled);
        Ok(())
    }

    /// Draws a block of tokens for every unfinished sequence.
    async fn decode(&mut self, runner: &mut Runner, tokenizer: &Tokenizer) -> Result<Vec<Delta>> {
        let context = runner.model().context();
        let mut deltas = self.ask_constraints(runner, tokenizer)?;
        let rows = self.next_rows();
        if rows.is_empty() {
            return Ok(deltas);
        }
        // The logits at a place are there until the next is computed.
        let is_hosted = self.active().any(|s| s.chain.is_some());
        let told = is_hosted || self.active().any(|s| s.logprobs.is_some());
        let block = if told { 1 } else { self.block(runner.backend(), context) };
        runner.decode(self.id, &rows, block)?;
        let ring = runner.read(runner.model().state.ring, 0, runner.model().slots() * RING).await?;
        let v = runner.model().config.vocab_size;
        let logits = if told { runner.read_logits(rows.len()).await? } else { Vec::new() };
        if is_hosted {
            // The host draws others than those that lie there.
            runner.forget_rows();
        }
        let mut row = 0;
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            if sequence.finish.is_some() {
                continue;
            }
            let first = sequence.tokens.len();
            let mut drawn: Vec<u32> =
                (first..first + block).map(|pos| ring[sequence.seat.slot * RING + pos % RING]).collect();
            let logits = logits.get(row * v..(row + 1) * v).unwrap_or_default();
            row += 1;
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
        Ok(deltas)
    }

    /// How many tokens the next block draws. It grows while the text does: the first token
    /// comes at once, later ones share the cost of a read. On the CPU a read costs nothing.
    fn block(&mut self, backend: &Backend, context: usize) -> usize {
        let room = self.active().map(|s| context + 1 - s.tokens.len()).min();
        let wanted = self.active().map(|s| s.max_tokens - s.usage.completion_tokens).max();
        let block = self.block.min(room.unwrap_or(1)).min(wanted.unwrap_or(1));
        if matches!(backend, Backend::Gpu(_)) {
            self.block = (self.block * 2).min(MAX_BLOCK);
        }
        block
    }
}
