//! Stop strings in a stream: text that could still become one is held back.

/// What may be shown after a push.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// Text that belongs to no stop string.
    pub text: String,
    /// Whether a stop string came; the rest is dropped.
    pub stopped: bool,
}

/// Watches a stream for any of several strings.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Empty strings never match.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        Self { stops, held: String::new() }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) -> Shown {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Shown { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.undecided();
        let rest = self.held.split_off(self.held.len() - keep);
        Shown { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// The text held back, once no more will come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes of the longest end of `held` that begins a stop string.
    fn undecided(&self) -> usize {
        let begins = |end: &str| self.stops.iter().any(|stop| stop.starts_with(end));
        let ends = self.held.char_indices().map(|(at, _)| &self.held[at..]);
        ends.filter(|end| begins(end)).map(str::len).max().unwrap_or(0)
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
