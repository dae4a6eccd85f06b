//! Closed lists of words that options take: each is declared once, beside its type.
//! Not the options themselves, nor the ranges of numbers.

/// A type whose values are written as words, such as `mean`, `last` and `cls`.
pub trait Words: Copy + PartialEq + 'static {
    /// Each word and its value, in the order of help and error messages.
    const ALL: &'static [(&'static str, Self)];

    /// The word for a value. Empty if the value has none.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Words as a sentence lists them: `a`, `a or b`, `a, b or c`.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Declares the words of a type, and the name of the option that takes them, as JavaScript writes it. `parse` then reads one; it errors with `Argument` for any other word,
/// and lists those there are.
macro_rules! words {
    ($type:ty, $option:literal, [$($word:literal => $value:expr),+ $(,)?]) => {
        impl $crate::words::Words for $type {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(word: &str) -> $crate::error::Result<Self> {
                let all = <Self as $crate::words::Words>::ALL;
                all.iter().find(|(known, _)| *known == word).map(|(_, value)| *value).ok_or_else(|| {
                    let known = $crate::words::listed(&[$($word),+]);
                    $crate::error::Error::argument(format!("{} `{word}`, expected {known}", $option))
                })
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Tone {
        Soft,
        Loud,
        Silent,
    }

    words!(Tone, "tone", ["soft" => Self::Soft, "loud" => Self::Loud]);

    #[test]
    fn a_word_is_read_and_written() {
        assert_eq!("loud".parse(), Ok(Tone::Loud));
        assert_eq!([Tone::Soft, Tone::Silent].map(Words::word), ["soft", ""]);
    }

    #[test]
    fn another_word_is_refused_with_the_list() {
        let error = "Loud".parse::<Tone>().expect_err("unknown");
        assert_eq!(error.to_string(), "tone `Loud`, expected soft or loud");
        assert_eq!(listed(&["a", "b", "c"]), "a, b or c");
        assert_eq!(listed(&["a"]), "a");
    }
}
