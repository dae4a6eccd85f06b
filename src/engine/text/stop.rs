//! What of a growing text may be shown: whole characters, and nothing that could still become a stop string.

use std::ops::Range;

use crate::engine::text::request::Request;
use crate::error::Result;
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// What may be shown after a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Text that belongs to no stop string.
    pub(super) text: String,
    /// Whether a stop string came; the rest is dropped.
    pub(super) stopped: bool,
}

/// What of a text is not shown yet: bytes of a character, what may become a stop string.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    decoder: StreamDecoder,
    stop: StopStrings,
    /// Special tokens that are shown.
    shown: Vec<String>,
}

impl Tail {
    /// Of the text that a request asks for and `decoder` goes on with.
    pub(crate) fn new(decoder: StreamDecoder, request: &Request) -> Self {
        Self { decoder, stop: StopStrings::new(&request.stop), shown: request.shown_tokens.clone() }
    }

    /// Takes the next token. A special one that is not shown may be what a stop string spells.
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<Shown> {
        let special = if tokenizer.is_special(token) { tokenizer.id_to_token(token) } else { None };
        let Some(special) = special.filter(|special| !self.shown.contains(special)) else {
            let text = self.decoder.push_shown(tokenizer, token)?;
            return Ok(self.stop.push(&text));
        };
        if !self.stop.spell(&special) {
            return Ok(self.stop.push_hidden(&special));
        }
        // What the decoder holds back stands before the token.
        let before = self.decoder.finish(tokenizer)?;
        let shown = self.stop.push(&before);
        if shown.stopped {
            return Ok(shown);
        }
        let Shown { text, stopped } = self.stop.push_hidden(&special);
        Ok(Shown { text: shown.text + &text, stopped })
    }

    /// Whether there are stop strings.
    pub(super) fn has_stops(&self) -> bool {
        !self.stop.stops.is_empty()
    }

    /// The rest, as no more comes.
    pub(crate) fn finish(&mut self, tokenizer: &Tokenizer) -> Result<Shown> {
        let rest = self.decoder.finish(tokenizer)?;
        let Shown { mut text, stopped } = self.stop.push(&rest);
        if !stopped {
            text += &self.stop.finish();
        }
        Ok(Shown { text, stopped })
    }
}

/// Watches a stream for any of several strings, in the text as it is shown and with the special tokens
/// in it, which are hidden.
#[derive(Clone, Debug)]
struct StopStrings {
    stops: Vec<String>,
    /// What is held back, special tokens included.
    held: String,
    /// Where in `held` special tokens are.
    hidden: Vec<Range<usize>>,
}

impl StopStrings {
    /// Empty strings never match.
    fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        Self { stops, held: String::new(), hidden: Vec::new() }
    }

    /// Whether a special token is part of one of them.
    fn spell(&self, token: &str) -> bool {
        self.stops.iter().any(|stop| stop.contains(token))
    }

    /// Takes the next piece of text.
    fn push(&mut self, text: &str) -> Shown {
        self.held.push_str(text);
        self.look()
    }

    /// Takes a special token.
    fn push_hidden(&mut self, token: &str) -> Shown {
        let start = self.held.len();
        self.held.push_str(token);
        self.hidden.push(start..self.held.len());
        self.look()
    }

    /// The text held back, once no more will come.
    fn finish(&mut self) -> String {
        self.release(self.held.len())
    }

    fn look(&mut self) -> Shown {
        let found = |text: &str| self.stops.iter().filter_map(|stop| text.find(stop.as_str())).min();
        let visible = (!self.hidden.is_empty()).then(|| self.visible(self.held.len()));
        let shown = visible.as_deref().and_then(found).map(|at| self.place(at));
        if let Some(at) = found(&self.held).into_iter().chain(shown).min() {
            let text = self.release(at);
            self.release(self.held.len());
            return Shown { text, stopped: true };
        }
        let undecided = visible.as_deref().and_then(|text| self.undecided(text)).map(|at| self.place(at));
        let at = self.undecided(&self.held).into_iter().chain(undecided).min();
        Shown { text: self.release(at.unwrap_or(self.held.len())), stopped: false }
    }

    /// Where the longest end of `text` that begins a stop string begins.
    fn undecided(&self, text: &str) -> Option<usize> {
        let begins = |end: &str| self.stops.iter().any(|stop| stop.starts_with(end));
        text.char_indices().map(|(at, _)| at).find(|&at| begins(&text[at..]))
    }

    /// What of `held[..end]` is shown.
    fn visible(&self, end: usize) -> String {
        let mut text = String::new();
        let mut at = 0;
        for range in &self.hidden {
            text += &self.held[at..range.start.clamp(at, end)];
            at = range.end.min(end);
        }
        text + &self.held[at..end]
    }

    /// Where in `held` byte `at` of the visible text is.
    fn place(&self, at: usize) -> usize {
        self.hidden.iter().fold(at, |at, range| if range.start <= at { at + range.len() } else { at })
    }

    /// Lets the first `end` bytes go: what of them is shown.
    fn release(&mut self, end: usize) -> String {
        let text = self.visible(end);
        self.held.drain(..end);
        self.hidden.retain_mut(|range| {
            *range = range.start.saturating_sub(end)..range.end.saturating_sub(end);
            range.start < range.end
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut strings = StopStrings::new(&stops.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let mut text = String::new();
        for piece in pieces {
            let shown = strings.push(piece);
            text += &shown.text;
            if shown.stopped {
                return (text, true);
            }
        }
        (text + &strings.finish(), false)
    }

    #[test]
    fn stops_across_pieces_and_shows_nothing_of_the_stop() {
        assert_eq!(run(&["\n\n"], &["one", " two\n", "\nthree"]), ("one two".into(), true));
        assert_eq!(run(&["END"], &["the E", "N", "D of it"]), ("the ".into(), true));
    }

    /// Pieces in `<` and `>` are special tokens.
    fn run_hidden(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut strings = StopStrings::new(&stops.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let mut text = String::new();
        for piece in pieces {
            let is_special = piece.starts_with('<') && piece.ends_with('>');
            let shown = if is_special { strings.push_hidden(piece) } else { strings.push(piece) };
            text += &shown.text;
            if shown.stopped {
                return (text, true);
            }
        }
        (text + &strings.finish(), false)
    }

    #[test]
    fn special_tokens_are_hidden_and_stop_where_they_are_spelled() {
        assert_eq!(run_hidden(&["<end>"], &["one ", "<end>", "two"]), ("one ".into(), true));
        assert_eq!(run_hidden(&["<start>user"], &["a ", "<start>", "us", "er b"]), ("a ".into(), true));
        assert_eq!(run_hidden(&["<start>user"], &["a ", "<start>", "us", "ual"]), ("a usual".into(), false));
        assert_eq!(run_hidden(&["a<end>"], &["ba", "<end>", "c"]), ("b".into(), true));
        assert_eq!(run_hidden(&["<a><b>"], &["x", "<a>", "<a>", "<b>", "y"]), ("x".into(), true));
        assert_eq!(run_hidden(&["nd>x"], &["y", "<end>", "x"]), ("y".into(), true));
    }

    #[test]
    fn special_tokens_within_a_stop_string_hide_nothing_of_it() {
        assert_eq!(run_hidden(&["END"], &["the E", "<x>", "N", "<y>", "D of"]), ("the ".into(), true));
        assert_eq!(run_hidden(&["END"], &["the E", "<x>", "N", "<y>", "J"]), ("the ENJ".into(), false));
        assert_eq!(run_hidden(&["<x>y"], &["<x>", "<x>", "<x>", "z"]), ("z".into(), false));
        assert_eq!(run_hidden(&[], &["a", "<x>", "b"]), ("ab".into(), false));
    }

    #[test]
    fn gives_back_what_only_looked_like_a_stop() {
        assert_eq!(run(&["END"], &["the E", "N", "J"]), ("the ENJ".into(), false));
        assert_eq!(run(&["END"], &["the EN"]), ("the EN".into(), false));
    }

    #[test]
    fn the_first_stop_wins_and_overlaps_are_found() {
        assert_eq!(run(&["b", "abc"], &["xab", "c"]), ("xa".into(), true));
        assert_eq!(run(&["aab"], &["aa", "ab"]), ("a".into(), true));
        assert_eq!(run(&["é!", ""], &["caf", "é", "!"]), ("caf".into(), true));
    }
}
