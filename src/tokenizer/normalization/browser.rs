//! The tables of the JavaScript engine.

use js_sys::{JsString, RegExp};

use super::Form;

thread_local! {
    static MARK: RegExp = RegExp::new(r"^\p{M}$", "u");
}

pub fn normalized(text: &str, form: Form) -> String {
    let name = match form {
        Form::Nfc => "NFC",
        Form::Nfd => "NFD",
        Form::Nfkc => "NFKC",
        Form::Nfkd => "NFKD",
    };
    JsString::from(text).normalize(name).into()
}

/// Whether a character is of the general category Mark.
pub fn is_combining_mark(c: char) -> bool {
    c >= '\u{300}' && MARK.with(|mark| mark.test(c.encode_utf8(&mut [0; 4])))
}
