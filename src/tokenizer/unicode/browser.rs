//! The tables of the JavaScript engine.

use js_sys::{JsString, RegExp};

use super::{Form, Ranges};

pub fn normalized(text: &str, form: Form) -> String {
    let name = match form {
        Form::Nfc => "NFC",
        Form::Nfd => "NFD",
        Form::Nfkc => "NFKC",
        Form::Nfkd => "NFKD",
    };
    JsString::from(text).normalize(name).into()
}

/// Characters in one question to the engine.
const BLOCK: u32 = 1 << 16;

/// Asks for the runs of the class among all characters, a block at a time.
pub fn class(name: &str) -> Ranges {
    let class = match name {
        "s" => r"\p{White_Space}".to_owned(),
        "w" => r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]".to_owned(),
        "Han" => r"\p{Script=Han}".to_owned(),
        name => format!(r"\p{{{name}}}"),
    };
    let run = RegExp::new(&format!("{class}+"), "gu");
    let mut ranges = Ranges::new();
    for block in (0..0x11_0000).step_by(BLOCK as usize) {
        let text: String = (block..block + BLOCK).filter_map(char::from_u32).collect();
        let text = JsString::from(text);
        while let Some(found) = run.exec(&text) {
            let Some(found) = found.get(0).as_string() else { break };
            let mut chars = found.chars();
            let Some(first) = chars.next() else { break };
            ranges.push((first, chars.next_back().unwrap_or(first)));
        }
    }
    ranges
}
