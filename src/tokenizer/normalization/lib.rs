//! Unicode normalisation (UAX #15) by whom has the tables already: the browser, natively ICU4X.
//! Stands in for the crate of this name as far as `tokenizers` calls it; that one's tables would
//! be 7 % of the download. A browser of another Unicode version differs in characters new to one.
#![deny(missing_docs)]

#[cfg_attr(target_arch = "wasm32", path = "browser.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "icu.rs")]
mod tables;

use std::vec::IntoIter;

/// What is told of characters.
pub mod char {
    pub use super::tables::is_combining_mark;
}

/// The version that `tokenizers` insists on, natively ICU4X's.
pub const UNICODE_VERSION: (u8, u8, u8) = (17, 0, 0);

/// The four normalisation forms.
#[derive(Clone, Copy, Debug)]
enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl Form {
    /// A text of nothing but characters below this one has the form.
    fn first_changed(self) -> u32 {
        match self {
            Self::Nfc => 0x300,
            Self::Nfd => 0xc0,
            Self::Nfkc | Self::Nfkd => 0xa0,
        }
    }

    fn quick(self, mut text: impl Iterator<Item = char>) -> IsNormalized {
        if text.all(|c| u32::from(c) < self.first_changed()) {
            IsNormalized::Yes
        } else {
            IsNormalized::Maybe
        }
    }

    fn apply(self, text: impl Iterator<Item = char>) -> IntoIter<char> {
        let text: String = text.collect();
        tables::normalized(&text, self).chars().collect::<Vec<_>>().into_iter()
    }
}

/// What a glance at a text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsNormalized {
    /// It has the form.
    Yes,
    /// Who knows.
    Maybe,
}

/// Whether a text has the form NFC.
pub fn is_nfc_quick(text: impl Iterator<Item = char>) -> IsNormalized {
    Form::Nfc.quick(text)
}

/// Whether a text has the form NFD.
pub fn is_nfd_quick(text: impl Iterator<Item = char>) -> IsNormalized {
    Form::Nfd.quick(text)
}

/// Whether a text has the form NFKC.
pub fn is_nfkc_quick(text: impl Iterator<Item = char>) -> IsNormalized {
    Form::Nfkc.quick(text)
}

/// Whether a text has the form NFKD.
pub fn is_nfkd_quick(text: impl Iterator<Item = char>) -> IsNormalized {
    Form::Nfkd.quick(text)
}

/// A text's characters in each form.
pub trait UnicodeNormalization<I: Iterator<Item = char>>: Sized {
    /// As they are.
    fn characters(self) -> I;

    /// Composed.
    fn nfc(self) -> IntoIter<char> {
        Form::Nfc.apply(self.characters())
    }

    /// Decomposed.
    fn nfd(self) -> IntoIter<char> {
        Form::Nfd.apply(self.characters())
    }

    /// Composed, and alike what is compatible.
    fn nfkc(self) -> IntoIter<char> {
        Form::Nfkc.apply(self.characters())
    }

    /// Decomposed, and alike what is compatible.
    fn nfkd(self) -> IntoIter<char> {
        Form::Nfkd.apply(self.characters())
    }
}

impl<'a> UnicodeNormalization<std::str::Chars<'a>> for &'a str {
    fn characters(self) -> std::str::Chars<'a> {
        self.chars()
    }
}

impl<I: Iterator<Item = char>> UnicodeNormalization<I> for I {
    fn characters(self) -> I {
        self
    }
}
