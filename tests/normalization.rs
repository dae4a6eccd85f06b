//! The normalisation forms that tokenizers ask for, on the tables of whoever runs this: a browser's, or ICU4X's.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};
use wasm_bindgen_test::wasm_bindgen_test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Text, NFC, NFD, NFKC, NFKD: UAX #15, figures 3 to 6, Hangul, marks out of order, and none to change.
const FORMS: [[&str; 5]; 9] = [
    ["\u{212b}", "\u{c5}", "A\u{30a}", "\u{c5}", "A\u{30a}"],
    ["\u{2126}", "\u{3a9}", "\u{3a9}", "\u{3a9}", "\u{3a9}"],
    ["\u{1e0b}\u{323}", "\u{1e0d}\u{307}", "d\u{323}\u{307}", "\u{1e0d}\u{307}", "d\u{323}\u{307}"],
    ["q\u{307}\u{323}", "q\u{323}\u{307}", "q\u{323}\u{307}", "q\u{323}\u{307}", "q\u{323}\u{307}"],
    ["\u{fb01}", "\u{fb01}", "\u{fb01}", "fi", "fi"],
    ["2\u{2075}", "2\u{2075}", "2\u{2075}", "25", "25"],
    ["\u{1e9b}\u{323}", "\u{1e9b}\u{323}", "\u{17f}\u{323}\u{307}", "\u{1e69}", "s\u{323}\u{307}"],
    [
        "\u{1112}\u{1161}\u{11ab}",
        "\u{d55c}",
        "\u{1112}\u{1161}\u{11ab}",
        "\u{d55c}",
        "\u{1112}\u{1161}\u{11ab}",
    ],
    ["plain text, 🦜", "plain text, 🦜", "plain text, 🦜", "plain text, 🦜", "plain text, 🦜"],
];

#[wasm_bindgen_test(unsupported = test)]
fn texts_and_characters_take_the_four_forms() {
    for [text, nfc, nfd, nfkc, nfkd] in FORMS {
        assert_eq!(text.nfc().collect::<String>(), nfc);
        assert_eq!(text.nfd().collect::<String>(), nfd);
        assert_eq!(text.nfkc().collect::<String>(), nfkc);
        assert_eq!(text.nfkd().collect::<String>(), nfkd);
        assert_eq!(text.chars().nfc().collect::<String>(), nfc);
    }
}

/// A glance that says yes is right for every character and, composed, for what a mark makes of it.
#[wasm_bindgen_test(unsupported = test)]
fn a_glance_is_never_wrong() {
    let mut sure = 0;
    for c in ('\0'..='\u{4ff}').chain('\u{fb00}'..='\u{fb06}') {
        for text in [String::from(c), format!("a{c}\u{301}"), format!("{c}{c}")] {
            let forms: [(IsNormalized, String); 4] = [
                (is_nfc_quick(text.chars()), text.nfc().collect()),
                (is_nfd_quick(text.chars()), text.nfd().collect()),
                (is_nfkc_quick(text.chars()), text.nfkc().collect()),
                (is_nfkd_quick(text.chars()), text.nfkd().collect()),
            ];
            for (glance, normalized) in forms {
                sure += usize::from(glance == IsNormalized::Yes);
                assert!(glance != IsNormalized::Yes || normalized == text, "{text:?}");
            }
        }
    }
    assert!(sure > 2 * (0x300 + 3 * 0xa0), "plain text needs no second look");
}

#[wasm_bindgen_test(unsupported = test)]
fn marks_are_told_from_letters() {
    assert!(['\u{301}', '\u{323}', '\u{903}', '\u{20dd}', '\u{fe0f}'].into_iter().all(is_combining_mark));
    assert!(!['a', ' ', '\u{e9}', '\u{ff9e}', '\u{2b0}', '🦜'].into_iter().any(is_combining_mark));
}
