//! A text's keys and values as a file, and back into a cache: part by part, so that neither is in memory twice.
//! Not what the file says of itself: that is `head`.

mod head;

use std::ops::Range;

use crate::cache::CacheLayout;
use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::Chosen;
use crate::engine::adapters::loaded::Choice;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::seat::Seat;
use crate::engine::text::sequence::Generation;
use crate::error::{Error, Result};
use crate::plan::TensorId;

use head::{DIGEST, Head, digest_of, layouts};

impl Generation {
    /// The beginning of the file of what the cache holds of the first request's text; [`session_part`] gives the rest.
    /// Between them the text must not go on.
    ///
    /// Errors with `Argument` if an adapter of the text has changed since, or nothing of it is computed, `Device`.
    ///
    /// [`session_part`]: Self::session_part
    pub(crate) fn session_head(&self, runner: &Runner, adapters: &Adapters) -> Result<Vec<u8>> {
        let sequence = &self.sequences[0];
        sequence.seat.check_device(runner)?;
        let (lead, filled) = (sequence.seat.lead, sequence.filled);
        if filled <= lead {
            return Err(Error::argument("session: nothing of the text is computed yet"));
        }
        let mix = adapters.named(sequence.seat.mix_key())?;
        Head::new(runner.model(), mix, lead, &sequence.tokens[lead..filled]).bytes()
    }

    /// Part `i` of the file: keys, then values, of each layer, and a digest behind them.
    ///
    /// Errors with `Argument` if there is no such part, `Device`.
    pub(crate) async fn session_part(&self, runner: &mut Runner, i: usize) -> Result<Vec<u8>> {
        let sequence = &self.sequences[0];
        let (tensor, layout) = tensor_of(runner, i)?;
        let spans = layout.spans(sequence.seat.slot, 0..sequence.filled);
        let reads = spans.map(|span| (tensor, span.start, span.len()));
        let reads: Vec<_> = reads.into_iter().filter(|(_, _, n)| *n > 0).collect();
        let words = runner.read_all(&reads).await?.concat();
        sequence.seat.check_device(runner)?;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(digest_of(i + 1, &bytes));
        Ok(bytes)
    }
}

/// A saved session on its way into the cache. First all of its parts are checked, then all are written, each time in
/// their order: until then nothing is changed.
#[derive(Debug)]
pub struct Restoring {
    head: Head,
    chosen: Chosen,
    parts: Vec<Range<u64>>,
    checked: usize,
    written: usize,
    /// Once the first part is written.
    seat: Option<Seat>,
}

impl Restoring {
    /// How many bytes of a file are its head, from its first 16.
    ///
    /// Errors with `Format` for another file, `Mismatch` for another format.
    pub fn head_bytes(first: &[u8]) -> Result<u64> {
        Head::length(first)
    }

    /// Where in a file the parts lie, from its head.
    ///
    /// Errors as [`head_bytes`](Self::head_bytes), and with `Format` for a damaged one.
    pub fn parts(head: &[u8]) -> Result<Vec<Range<u64>>> {
        Head::parse(head)?.parts(head.len() as u64)
    }

    /// A session whose head is right, for the adapters of `choice`, by default the engine's own.
    pub(crate) fn open(
        runner: &Runner,
        adapters: &Adapters,
        (bytes, file_bytes): (&[u8], u64),
        choice: Option<&Choice>,
    ) -> Result<Self> {
        runner.model().check_decoder("a session")?;
        let head = Head::parse(bytes)?;
        let parts = head.parts(bytes.len() as u64)?;
        let end = parts.last().map_or(bytes.len() as u64, |part| part.end);
        if end != file_bytes {
            return Err(Error::format(format!(
                "session: {file_bytes} bytes, expected {end}: it is cut or damaged"
            )));
        }
        head.check(runner)?;
        let chosen = adapters.choose(runner.model(), choice)?;
        adapters.named(&chosen.cache_key)?.check(&head.mix).map_err(|e| e.context("session"))?;
        if chosen.lead.len() != head.lead {
            return Err(Error::format("session: its virtual tokens are not its adapter's"));
        }
        Ok(Self { head, chosen, parts, checked: 0, written: 0, seat: None })
    }

    /// Checks part `i`, the next, digest included.
    ///
    /// Errors with `Format` if it is damaged.
    pub fn check(&mut self, i: usize, bytes: &[u8]) -> Result<()> {
        self.expect(i, self.checked, bytes)?;
        let (part, digest) = bytes.split_at(bytes.len() - DIGEST);
        if digest != digest_of(i + 1, part) {
            let what = if i.is_multiple_of(2) { "keys" } else { "values" };
            return Err(Error::format(format!("session: the {what} of layer {} are damaged", i / 2)));
        }
        self.checked += 1;
        Ok(())
    }

    /// Errors with `Argument` for a part out of order, or of another length.
    fn expect(&self, i: usize, next: usize, bytes: &[u8]) -> Result<()> {
        let wrong =
            || Error::argument(format!("session: part {i} of {} bytes, expected part {next}", bytes.len()));
        let part = self.parts.get(i).filter(|part| i == next && part.end - part.start == bytes.len() as u64);
        part.map(drop).ok_or_else(wrong)
    }
}

impl Texts {
    /// Writes part `i`, the next, once all are checked; the first takes a slot.
    ///
    /// Errors with `Argument` if it is not its turn, or every slot is taken.
    pub(crate) fn restore_part(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        restoring: &mut Restoring,
        (i, bytes): (usize, &[u8]),
    ) -> Result<()> {
        if restoring.checked < restoring.parts.len() {
            return Err(Error::argument("session: its parts are not checked yet"));
        }
        restoring.expect(i, restoring.written, bytes)?;
        let (tensor, layout) = tensor_of(runner, i)?;
        if restoring.seat.is_none() {
            let Restoring { head, chosen, .. } = &*restoring;
            restoring.seat = Some(self.take_seat(runner, adapters, &head.tokens, chosen)?.0);
        }
        let Some(seat) = &restoring.seat else { unreachable!("it was just taken") };
        let words: Vec<u32> = bytes[..bytes.len() - DIGEST]
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let mut rest = &words[..];
        for span in layout.spans(seat.slot, 0..restoring.head.positions()) {
            let (part, after) = rest.split_at(span.len());
            if !part.is_empty() {
                runner.upload(tensor, span.start, part);
            }
            rest = after;
        }
        restoring.written += 1;
        Ok(())
    }

    /// Ends it: the tokens whose keys and values the cache holds now. If parts are missing it holds none of them, and
    /// the slot is free.
    ///
    /// Errors with `Argument` if parts are missing, `Device` if the device was lost meanwhile.
    pub(crate) fn end_restoring(
        &mut self,
        runner: &Runner,
        adapters: &mut Adapters,
        restoring: Restoring,
    ) -> Result<Vec<u32>> {
        let Restoring { head, chosen, parts, written, seat, .. } = restoring;
        let Some(seat) = seat.filter(|_| written > 0) else {
            return Err(Error::argument("session: none of its parts is restored"));
        };
        let is_there = seat.check_device(runner);
        let tokens = [&chosen.lead[..], &head.tokens].concat();
        let is_whole = written == parts.len();
        self.leave_seat(runner, adapters, seat, if is_whole { &tokens } else { &[] });
        is_there?;
        if is_whole { Ok(head.tokens) } else { Err(Error::argument("session: parts of it are not restored")) }
    }
}

/// The tensor of which part `i` is a part, and how it lies.
fn tensor_of(runner: &Runner, i: usize) -> Result<(TensorId, CacheLayout)> {
    let model = runner.model();
    let pair = model.state.cache.get(i / 2).zip(layouts(model).nth(i / 2));
    let ((k, v), layout) = pair.ok_or_else(|| Error::argument(format!("session: no part {i}")))?;
    Ok((if i.is_multiple_of(2) { *k } else { *v }, layout))
}
