//! What Unicode says of characters: normalisation forms, and the classes that patterns name.
//! Not tables of our own: a browser has them already, natively two crates do. A browser of another
//! Unicode version differs in characters new to one.

#[cfg_attr(target_arch = "wasm32", path = "browser.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod tables;

use std::borrow::Cow;

/// The four normalisation forms (UAX #15).
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl Form {
    /// A text of nothing but characters below this one has the form.
    fn first_changed(self) -> char {
        match self {
            Self::Nfc => '\u{300}',
            Self::Nfd => '\u{c0}',
            Self::Nfkc | Self::Nfkd => '\u{a0}',
        }
    }

    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        let first = self.first_changed();
        match text.is_ascii() || text.chars().all(|c| c < first) {
            true => Cow::Borrowed(text),
            false => Cow::Owned(tables::normalized(text, self)),
        }
    }
}

/// Characters, as sorted ranges, ends included.
pub(super) type Ranges = Vec<(char, char)>;

/// Whether a character is in one of them.
pub(super) fn is_in(ranges: &[(char, char)], c: char) -> bool {
    let at = ranges.partition_point(|&(start, _)| start <= c);
    at.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, end)| c <= end)
}

/// The classes of characters that are known here, by the names they have in patterns.
const CLASSES: [&str; 19] = [
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "N", "Nd", "P", "S", "Z", "C", "Cf", "Han", "s", "w",
];

/// A class by its name: `s` and `w` are `\s` and `\w`, the others `\p{..}`. `None` if not known.
pub(super) fn class(name: &str) -> Option<Ranges> {
    CLASSES.contains(&name).then(|| tables::class(name))
}
