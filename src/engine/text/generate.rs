//! Generation: prompts in, text out, a block of tokens at a time.
//!
//! All but the last token of each prompt are prefilled. From then on the decode state lives on
//! the device: a block of K steps is one submission and one small read, and writes nothing.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::plan::{RING, Row, Sampling};
use crate::tokenizer::StreamDecoder;
use crate::words::words;

use crate::engine::Engine;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::{Kind, forward_rows, run_rows};
use crate::engine::text::logprobs::TokenLogprobs;
use crate::engine::text::mixed::Mixing;
use crate::engine::text::seat::Seat;
use crate::engine::text::stop::{Shown, Tail};

/// Most tokens drawn between two reads; also the most that can be computed after an abort.
pub(in crate::engine) const MAX_BLOCK: usize = 8;

/// Leading tokens that a sliding window keeps (attention sinks, arXiv:2309.17453).
const SINKS: usize = 4;

/// What happens when a sequence fills the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// A request that cannot fit is refused; one without `max_tokens` ends with `Length`.
    #[default]
    Error,
    /// The first 4 and the newest half of the tokens are kept and recomputed.
    Slide,
}

words!(Overflow, "overflow", ["error" => Self::Error, "slide" => Self::Slide]);

/// One prompt and how to continue it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to draw; by default until the context is full.
    pub max_tokens: Option<usize>,
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the most probable tokens that together reach this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens below this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Over 1, tokens of the prompt and text so far become less probable.
    pub repetition_penalty: f32,
    /// The same seed draws the same text on one device.
    pub seed: u32,
    /// The text ends before any of these.
    pub stop: Vec<String>,
    /// The text ends before any of these tokens, as before the model's own end tokens.
    pub stop_tokens: Vec<u32>,
    /// Tell the log probability of each token, and of this many of the likeliest at its place.
    pub logprobs: Option<usize>,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// Adapters and their weights; empty is the base, `None` what the engine is set to.
    pub adapter: Option<Choice>,
}

impl Default for Request {
    /// Draws from the whole distribution as it is. The prompt is left to fill in.
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            max_tokens: None,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            logprobs: None,
            overflow: Overflow::default(),
            adapter: None,
        }
    }
}

impl Request {
    /// Greedy continuation of `prompt`.
    pub fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Self {
        Self { prompt, max_tokens: Some(max_tokens), temperature: 0.0, ..Self::default() }
    }

    /// Whether the options are in range and the text fits a context that holds `lead` virtual
    /// tokens too.
    fn check(&self, context: usize, lead: usize) -> Result<()> {
        let range = |name: &str, value: f32, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::argument(format!("{name} {value}, expected {expected}"))) }
        };
        let t = self.temperature;
        range("temperature", t, t.is_finite() && t >= 0.0, "0 or more")?;
        range("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1")?;
        range("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1")?;
        let penalty = self.repetition_penalty;
        range("repetition_penalty", penalty, penalty.is_finite() && penalty > 0.0, "above 0")?;
        let (prompt, most) = (self.prompt.len(), self.max_tokens.unwrap_or(1));
        if prompt == 0 {
            return Err(Error::argument("prompt: no tokens"));
        }
        if self.max_tokens == Some(0) {
            return Err(Error::argument("max_tokens 0, expected at least 1"));
        }
        // The last token drawn needs no room: nothing is computed from it.
        let slides = self.overflow == Overflow::Slide;
        if lead + prompt > context || (!slides && lead + prompt + most - 1 > context) {
            let with = if lead > 0 { format!(" with {lead} virtual tokens") } else { String::new() };
            if slides {
                return Err(Error::argument(format!(
                    "prompt of {prompt} tokens{with} exceeds the context of {context}: `overflow` slide makes room for what is written, a prompt has to fit"
                )));
            }
            return Err(Error::argument(format!(
                "prompt of {prompt} tokens{with} and max_tokens {most} exceed the context of {context}"
            )));
        }
        Ok(())
    }

    /// `ends` are the tokens that end the text: the device knows the first few, where it saves work.
    pub(in crate::engine) fn sampling(&self, ends: &[u32]) -> Sampling {
        let mut stop = [0; 4];
        let n_stop = ends.len().min(stop.len());
        stop[..n_stop].copy_from_slice(&ends[..n_stop]);
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            top_k: self.top_k,
            seed: self.seed,
            n_stop: n_stop as u32,
            padding: 0,
            stop,
        }
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model drew an end token, or a stop string came.
    Stop,
    /// `max_tokens` were drawn, or the context is full.
    Length,
}

impl Finish {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Tokens counted for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of those, taken from the cache.
    pub cached_tokens: usize,
    /// Drawn, the end token apart.
    pub completion_tokens: usize,
}

/// What one request gained.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Which request.
    pub index: usize,
    /// New text, whole characters.
    pub text: String,
    /// New tokens.
    pub tokens: Vec<u32>,
    /// One for each of the tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Set on the last delta of a request.
    pub finish: Option<Finish>,
}

/// A batch of requests under way. [`Engine::next`] moves it on; [`Engine::end`] gives its
/// slots back, finished or not.
#[derive(Debug)]
pub struct Generation {
    id: u64,
    sequences: Vec<Sequence>,
    block: usize,
    /// Of a text drawn from the mix of its two sequences.
    pub(in crate::engine) mixing: Option<Box<Mixing>>,
}

#[derive(Debug)]
struct Sequence {
    seat: Seat,
    /// Virtual tokens, prompt and text, as far as they are in the window.
    tokens: Vec<u32>,
    /// Leading tokens whose keys and values are in the cache.
    filled: usize,
    usage: Usage,
    max_tokens: usize,
    overflow: Overflow,
    tail: Tail,
    /// Whether the text goes on in another generation where `max_tokens` end this one.
    goes_on: bool,
    /// Tokens that end the text.
    ends: Vec<u32>,
    logprobs: Option<usize>,
    finish: Option<Finish>,
    sampling: Sampling,
    /// Bits: tokens of prompt and text.
    seen: Vec<u32>,
}

impl Generation {
    /// Makes the text of the first request go on from what another generation has not shown. With `goes_on`
    /// this one's end by length shows no rest either.
    pub(in crate::engine) fn continue_text(&mut self, tail: Option<Tail>, goes_on: bool) {
        let sequence = &mut self.sequences[0];
        sequence.goes_on = goes_on;
        if let Some(tail) = tail {
            sequence.tail = tail;
        }
    }

    /// What of the first request's text is not shown yet.
    pub(in crate::engine) fn tail(&self) -> &Tail {
        &self.sequences[0].tail
    }

    /// Whether every request has finished.
    pub fn is_finished(&self) -> bool {
        self.sequences.iter().all(|s| s.finish.is_some())
    }

    /// Token counts of request `index` so far.
    pub fn usage(&self, index: usize) -> Usage {
        self.sequences[index].usage
    }

    fn active(&self) -> impl Iterator<Item = &Sequence> {
        self.sequences.iter().filter(|s| s.finish.is_none())
    }

    /// The rows that come to the next token of every unfinished sequence.
    pub(in crate::engine) fn next_rows(&self) -> Vec<Row> {
        self.active().map(|s| s.row(s.tokens.len() - 1)).collect()
    }

    /// Prompt tokens still to be computed before the first token comes.
    pub fn pending(&self) -> usize {
        self.sequences.iter().map(Sequence::pending).sum()
    }
}

impl Sequence {
    fn pending(&self) -> usize {
        if self.finish.is_some() { 0 } else { self.tokens.len() - 1 - self.filled }
    }

    fn row(&self, pos: usize) -> Row {
        self.seat.row(self.tokens[pos], pos)
    }

    /// Drops the tokens between the sinks, virtual ones before them, and the newest half of the
    /// context.
    fn slide(&mut self, context: usize) {
        let lead = self.seat.lead;
        let sinks = lead + SINKS.min((context - lead) / 4);
        let newest = self.tokens.len() - (context - sinks) / 2;
        self.tokens.drain(sinks..newest);
        self.filled = sinks;
    }
}

impl Engine {
    /// Whether requests can be begun once there are slots for them.
    ///
    /// Errors with `Argument` for no request, an option out of range, a prompt that does not fit, or an
    /// adapter that is not loaded.
    pub fn check(&self, requests: &[Request]) -> Result<()> {
        if requests.is_empty() {
            return Err(Error::argument("no prompt"));
        }
        for request in requests {
            let lead = self.lead_tokens(request.adapter.as_ref())?.len();
            request.check(self.model.context(), lead)?;
            self.check_ids(&request.prompt)?;
            self.check_ids(&request.stop_tokens).map_err(|e| e.context("stop_token_ids"))?;
        }
        Ok(())
    }

    /// Takes a slot for each request and reuses the cache where it remembers the prompt.
    ///
    /// Errors with `Argument` for an option out of range, a prompt that does not fit, or more
    /// requests than the engine has free slots.
    pub fn start(&mut self, requests: &[Request]) -> Result<Generation> {
        self.check(requests)?;
        let (prompts, slots) = (requests.len(), self.model.slots());
        if prompts > slots {
            return Err(Error::argument(format!(
                "{prompts} prompts, expected at most {slots}: the engine's `batch`"
            )));
        }
        let mut generation =
            Generation { id: self.next_generation, sequences: Vec::new(), block: 1, mixing: None };
        self.next_generation += 1;
        for request in requests {
            match self.admit(request) {
                Ok(sequence) => generation.sequences.push(sequence),
                Err(e) => {
                    self.end(generation);
                    return Err(e);
                }
            }
        }
        Ok(generation)
    }

    fn admit(&mut self, request: &Request) -> Result<Sequence> {
        let decoder = StreamDecoder::after(&self.tokenizer, &request.prompt, true)?;
        let (seat, tokens, filled) = self.take_seat(&request.prompt, request.adapter.as_ref())?;
        let config = &self.model.config;
        let ends = [&request.stop_tokens[..], &config.eos_token_ids].concat();
        let mut seen = vec![0u32; config.vocab_size.div_ceil(32)];
        request.prompt.iter().for_each(|id| see(&mut seen, *id));
        let sequence = Sequence {
            sampling: request.sampling(&ends),
            seen,
            filled,
            usage: Usage {
                prompt_tokens: request.prompt.len(),
                cached_tokens: filled.saturating_sub(seat.lead),
                completion_tokens: 0,
            },
            seat,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            overflow: request.overflow,
            tail: Tail::new(decoder, &request.stop),
            goes_on: false,
            ends,
            logprobs: request.logprobs,
            tokens,
            finish: None,
        };
        self.write_sampling(&sequence);
        Ok(sequence)
    }

    /// Tells the device how to draw the tokens of a sequence.
    fn write_sampling(&mut self, Sequence { seat, sampling, seen, .. }: &Sequence) {
        let line: &[u32] = bytemuck::cast_slice(std::slice::from_ref(sampling));
        self.backend.upload(self.model.state.sampling, seat.slot * line.len(), line);
        self.backend.upload(self.model.state.seen, seat.slot * seen.len(), seen);
    }

    /// Gives the slots of a generation back; what they hold can be reused.
    pub fn end(&mut self, generation: Generation) {
        for sequence in generation.sequences {
            self.leave_seat(sequence.seat, &sequence.tokens[..sequence.filled]);
        }
    }

    /// One step: a run of the prompts, or a block of tokens. Returns what each unfinished
    /// request gained; nothing while prompts are being computed, or when all is finished.
    ///
    /// Errors with `Device` if the device fails. The generation must be [`end`](Self::end)ed
    /// all the same, or goes on where it was once the engine has [recovered](Self::recover).
    pub async fn next(&mut self, generation: &mut Generation) -> Result<Vec<Delta>> {
        if generation.is_finished() {
            return Ok(Vec::new());
        }
        for sequence in generation.sequences.iter_mut().filter(|s| s.finish.is_none()) {
            if self.renew_seat(&mut sequence.seat) {
                sequence.filled = sequence.seat.given;
                self.write_sampling(sequence);
            }
        }
        if generation.pending() > 0 {
            self.prefill(generation).await?;
            return Ok(Vec::new());
        }
        let Some(mut mixing) = generation.mixing.take() else { return self.decode(generation).await };
        let deltas = self.draw_mixed(generation, &mut mixing).await;
        generation.mixing = Some(mixing);
        deltas
    }

    /// Computes the next run of pending prompt tokens, across sequences.
    async fn prefill(&mut self, generation: &mut Generation) -> Result<()> {
        let most = forward_rows(&self.backend, self.model.all_layer_weights(), MAX_ROWS);
        let n = run_rows(generation.pending(), most);
        let mut rows = Vec::with_capacity(n);
        let mut filled = Vec::with_capacity(generation.sequences.len());
        for sequence in &generation.sequences {
            let take = sequence.pending().min(n - rows.len());
            rows.extend((sequence.filled..sequence.filled + take).map(|pos| sequence.row(pos)));
            filled.push(sequence.filled + take);
        }
        self.rows_of = None;
        self.upload_rows(&rows);
        let plan = self.plans.get(Kind::Prefill, n, &self.model, &mut self.backend)?;
        self.backend.run(plan, 1);
        // Waiting here bounds the work queued, so that an abort takes effect within one run.
        self.backend.read(self.model.state.ring, 0, 1).await?;
        generation.sequences.iter_mut().zip(filled).for_each(|(s, filled)| s.filled = filled);
        Ok(())
    }

    /// Draws a block of tokens for every unfinished sequence.
    async fn decode(&mut self, generation: &mut Generation) -> Result<Vec<Delta>> {
        let context = self.model.context();
        let rows = generation.next_rows();
        if self.rows_of != Some(generation.id) {
            self.upload_rows(&rows);
            self.rows_of = Some(generation.id);
        }
        // The logits at a place are there until the next is computed.
        let told = generation.active().any(|s| s.logprobs.is_some());
        let block = if told { 1 } else { self.block(generation, context) };
        let plan = self.plans.get(Kind::Decode, rows.len(), &self.model, &mut self.backend)?;
        self.backend.run(plan, block);
        let ring = self.backend.read(self.model.state.ring, 0, self.model.slots() * RING).await?;
        let v = self.model.config.vocab_size;
        let logits = if told {
            self.backend.read(self.model.state.logits, 0, rows.len() * v).await?
        } else {
            Vec::new()
        };
        let logits: &[f32] = bytemuck::cast_slice(&logits);
        let mut deltas = Vec::with_capacity(rows.len());
        for (index, sequence) in generation.sequences.iter_mut().enumerate() {
            if sequence.finish.is_some() {
                continue;
            }
            let first = sequence.tokens.len();
            let drawn: Vec<u32> =
                (first..first + block).map(|pos| ring[sequence.seat.slot * RING + pos % RING]).collect();
            let mut delta = self.accept(sequence, index, &drawn)?;
            if let (Some(top), &[token]) = (sequence.logprobs, &delta.tokens[..]) {
                delta.logprobs = vec![TokenLogprobs::of(&logits[deltas.len() * v..][..v], token, top)];
            }
            let full = sequence.tokens.len() > context;
            if delta.finish.is_some() || full {
                // The rows on the device no longer match.
                self.rows_of = None;
            }
            if full && sequence.finish.is_none() {
                sequence.slide(context);
            }
            deltas.push(delta);
        }
        Ok(deltas)
    }

    /// Adds one token to every unfinished sequence; [`decode`](Self::decode) for what the host drew.
    pub(in crate::engine) fn accept_all(
        &self,
        generation: &mut Generation,
        drawn: &[u32],
    ) -> Result<Vec<Delta>> {
        let context = self.model.context();
        let mut deltas = Vec::new();
        for (index, sequence) in generation.sequences.iter_mut().enumerate() {
            let delta = self.accept(sequence, index, drawn)?;
            if sequence.tokens.len() > context && sequence.finish.is_none() {
                sequence.slide(context);
            }
            deltas.push(delta);
        }
        Ok(deltas)
    }

    /// How many tokens the next block draws. It grows while the text does: the first token
    /// comes at once, later ones share the cost of a read. On the CPU a read costs nothing.
    fn block(&self, generation: &mut Generation, context: usize) -> usize {
        let room = generation.active().map(|s| context + 1 - s.tokens.len()).min();
        let wanted = generation.active().map(|s| s.max_tokens - s.usage.completion_tokens).max();
        let block = generation.block.min(room.unwrap_or(1)).min(wanted.unwrap_or(1));
        if matches!(self.backend, Backend::Gpu(_)) {
            generation.block = (generation.block * 2).min(MAX_BLOCK);
        }
        block
    }

    /// Adds drawn tokens to a sequence until something ends it.
    fn accept(&self, sequence: &mut Sequence, index: usize, drawn: &[u32]) -> Result<Delta> {
        let config = &self.model.config;
        let mut delta =
            Delta { index, text: String::new(), tokens: Vec::new(), logprobs: Vec::new(), finish: None };
        for &token in drawn {
            if token as usize >= config.vocab_size {
                // What made them so may lie in the cache.
                sequence.filled = sequence.seat.given;
                return Err(not_numbers(format_args!("token {}", sequence.usage.completion_tokens + 1)));
            }
            sequence.filled = sequence.tokens.len();
            if sequence.ends.contains(&token) {
                delta.finish = Some(Finish::Stop);
                break;
            }
            sequence.tokens.push(token);
            see(&mut sequence.seen, token);
            sequence.usage.completion_tokens += 1;
            delta.tokens.push(token);
            let Shown { text, stopped } = sequence.tail.push(&self.tokenizer, token)?;
            delta.text += &text;
            if stopped {
                sequence.finish = Some(Finish::Stop);
                delta.finish = sequence.finish;
                return Ok(delta);
            }
            let full = sequence.tokens.len() > self.model.context() && sequence.overflow == Overflow::Error;
            if sequence.usage.completion_tokens == sequence.max_tokens || full {
                delta.finish = Some(Finish::Length);
                break;
            }
        }
        if delta.finish == Some(Finish::Stop) || delta.finish.is_some() && !sequence.goes_on {
            let Shown { text, stopped } = sequence.tail.finish(&self.tokenizer)?;
            delta.text += &text;
            if stopped {
                delta.finish = Some(Finish::Stop);
            }
        }
        sequence.finish = delta.finish;
        Ok(delta)
    }
}

/// The error of numbers that a run has left, at a `place` of the text.
pub(in crate::engine) fn not_numbers(place: impl std::fmt::Display) -> Error {
    Error::device(format!(
        "{place}: the model computed NaN or infinite numbers; an adapter's weight is too large, or the device \
         computes wrongly"
    ))
}

fn see(seen: &mut [u32], token: u32) {
    seen[token as usize / 32] |= 1 << (token % 32);
}
