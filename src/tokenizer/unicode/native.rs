//! The tables of two crates, for programs outside a browser.

use regex_syntax::hir::{Class, HirKind};
use unicode_normalization::UnicodeNormalization as _;

use super::{Form, Ranges};

pub(super) fn normalized(text: &str, form: Form) -> String {
    match form {
        Form::Nfc => text.nfc().collect(),
        Form::Nfd => text.nfd().collect(),
        Form::Nfkc => text.nfkc().collect(),
        Form::Nfkd => text.nfkd().collect(),
    }
}

pub(super) fn class(name: &str) -> Ranges {
    let pattern = match name {
        "s" | "w" => format!(r"\{name}"),
        name => format!(r"\p{{{name}}}"),
    };
    let parsed = regex_syntax::parse(&pattern).expect("a class that is known");
    match parsed.kind() {
        HirKind::Class(Class::Unicode(class)) => class.iter().map(|r| (r.start(), r.end())).collect(),
        _ => Ranges::new(),
    }
}
