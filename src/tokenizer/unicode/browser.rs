//! The tables of the JavaScript engine.

use js_sys::{Array, JsString, RegExp};

use super::{Form, Ranges};

pub(crate) fn normalized(text: &str, form: Form) -> String {
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
pub(crate) fn class(name: &str) -> Ranges {
    let class = match name {
        "s" => r"\p{White_Space}".to_owned(),
        "w" => r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]".to_owned(),
        "Han" => r"\p{Script=Han}".to_owned(),
        name => format!(r"\p{{{name}}}"),
    };
    let run = RegExp::new(&format!("{class}+"), "gu");
    // Planes 4 to 13 are empty, and the last two are for private use: all of them are in `C` alone.
    let has_all = |block: &u32| matches!(block, 0..0x4_0000 | 0xe_0000..0xf_0000) || name == "C";
    let mut ranges = Ranges::new();
    for block in (0..0x11_0000).step_by(BLOCK as usize).filter(has_all) {
        let text: String = (block..block + BLOCK).filter_map(char::from_u32).collect();
        let runs = JsString::from(text).match_(&run).map(|runs| Array::from(&runs));
        for found in runs.iter().flat_map(Array::iter).filter_map(|found| found.as_string()) {
            let mut chars = found.chars();
            let Some(first) = chars.next() else { continue };
            ranges.push((first, chars.next_back().unwrap_or(first)));
        }
    }
    ranges
}
