//! What grammars let through, over a tiny vocabulary: exactly what goes on, found by trying every way to spell every text.

use super::*;

/// A special token, and one that a model does not use.
const SPECIAL: &[u8] = b"\xff<|call|>";
const UNUSED: &[u8] = b"";

/// Each byte that the texts here have, pieces of them, one of them twice, and halves of a character.
const TOKENS: [&[u8]; 27] = [
    b"a", b"b", b"c", b"x", b"1", b"2", b"0", b"{", b"}", b"[", b"]", b"\"", b":", b",", b" ", b"\xc3",
    b"\xa9", b"ab", b"bc", b"\"a\"", b"\":", b": ", b"{\"", b"\"a\"", b"12", SPECIAL, UNUSED,
];

fn packed(tokens: &[&[u8]]) -> Vec<u8> {
    tokens.iter().flat_map(|token| [&(token.len() as u16).to_le_bytes(), *token].concat()).collect()
}

fn tokens() -> Tokens {
    Tokens::new(&packed(&TOKENS)).unwrap()
}

fn is_set(mask: &[u32], token: usize) -> bool {
    mask[token / 32] >> (token % 32) & 1 == 1
}

/// Goes every way from what is `spelled` to the end of one of `texts`. Returns how many ways there are.
fn walk(constraint: &mut Constraint, spelled: &[u8], texts: &[&str]) -> usize {
    let begins = |with: &[u8]| texts.iter().any(|text| text.as_bytes().starts_with(with));
    let mut mask = vec![u32::MAX; TOKENS.len().div_ceil(32)];
    let ending = constraint.allowed(&mut mask).unwrap();
    let shown = String::from_utf8_lossy(spelled);
    let (is_text, mut ways, mut goes_on) = (texts.iter().any(|text| text.as_bytes() == spelled), 0, false);
    for (id, token) in TOKENS.iter().enumerate() {
        let longer = [spelled, token].concat();
        let may = *token != UNUSED && begins(&longer);
        assert_eq!(is_set(&mask, id), may, "{shown:?}, then {:?}", String::from_utf8_lossy(token));
        if may {
            goes_on = true;
            let mut next = constraint.clone();
            next.accept(id as u32).unwrap();
            ways += walk(&mut next, &longer, texts);
        }
    }
    assert_eq!(mask.last().unwrap() >> (TOKENS.len() % 32), 0, "bits of no token");
    let expected = match (is_text, goes_on) {
        (false, _) => Ending::Never,
        (true, true) => Ending::May,
        (true, false) => Ending::Must,
    };
    assert_eq!(ending, expected, "{shown:?}");
    ways + usize::from(is_text)
}

#[track_caller]
fn lets_through(kind: Kind, grammar: &str, texts: &[&str]) {
    let mut constraint = tokens().compile(kind, grammar).unwrap();
    assert!(walk(&mut constraint, b"", texts) > texts.len(), "one way to spell each text is no test");
}

#[test]
fn a_regular_expression_lets_its_texts_through() {
    lets_through(Kind::Regex, "ab(c|x{2})?", &["ab", "abc", "abxx"]);
    lets_through(Kind::Regex, "a(é|bc)1", &["aé1", "abc1"]);
}

#[test]
fn a_grammar_in_lark_lets_its_texts_through() {
    let grammar = "start: pair | \"x\"\npair: one \",\" one\none: \"ab\" | \"abc\"";
    lets_through(Kind::Lark, grammar, &["x", "ab,ab", "ab,abc", "abc,ab", "abc,abc"]);
}

#[test]
fn a_schema_lets_its_json_through() {
    let schema = r##"{ "type": "object", "additionalProperties": false, "required": ["a"],
        "properties": { "a": { "$ref": "#/$defs/one" }, "b": { "const": 0 } },
        "$defs": { "one": { "enum": [12, "é"] } } }"##;
    let ones = ["12", "\"é\""];
    let with = |colon: &str, rest: &str| ones.map(|one| format!("{{\"a\"{colon}{one}{rest}}}"));
    let mut texts = Vec::new();
    for colon in [":", ": "] {
        texts.extend(with(colon, ""));
        for comma in [",", ", "] {
            for second in [":", ": "] {
                texts.extend(with(colon, &format!("{comma}\"b\"{second}0")));
            }
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    lets_through(Kind::JsonSchema, schema, &texts);
}

#[test]
fn items_are_counted() {
    let schema = r#"{ "type": "array", "items": { "const": 12 }, "minItems": 1, "maxItems": 2 }"#;
    lets_through(Kind::JsonSchema, schema, &["[12]", "[12,12]", "[12, 12]"]);
}

/// JSON cannot be made of special tokens, and whoever wants one names it.
#[test]
fn a_special_token_comes_only_where_it_is_named() {
    let special = TOKENS.iter().position(|token| *token == SPECIAL).unwrap();
    let mut mask = vec![0; tokens().words()];
    let mut allowed = |kind, grammar| {
        let mut constraint = tokens().compile(kind, grammar).unwrap();
        constraint.allowed(&mut mask).unwrap();
        is_set(&mask, special)
    };
    assert!(!allowed(Kind::Regex, "(?s:.*)"));
    assert!(!allowed(Kind::JsonSchema, "{}"));
    assert!(!allowed(Kind::Lark, "start: \"<|call|>\" | \"a\""));
    assert!(allowed(Kind::Lark, "start: <|call|> | \"a\""));
    assert!(allowed(Kind::Lark, "start: <[25]> | \"a\""));
}

#[test]
fn what_is_wrong_or_not_supported_is_named() {
    let error = |kind, grammar: &str| tokens().compile(kind, grammar).err().unwrap();
    let named = |kind, grammar: &str, words: &str| {
        let error = error(kind, grammar);
        assert!(error.contains(words), "{grammar}: {error}");
    };
    named(Kind::JsonSchema, r#"{ "type": "array", "uniqueItems": true }"#, "uniqueItems");
    named(Kind::JsonSchema, r#"{ "type": "strng" }"#, "strng");
    named(Kind::JsonSchema, r#"{ "$ref": "https://example.com/schema" }"#, "example.com");
    named(Kind::JsonSchema, r#"{ "type": "#, "EOF");
    named(Kind::JsonSchema, &"[".repeat(1000), "recursion");
    named(Kind::Lark, "start: other", "other");
    named(Kind::Lark, "begin: \"a\"", "start");
    named(Kind::Regex, "a(b", "unclosed");
    named(Kind::Regex, "(?=a)a", "look");
}

#[test]
fn a_wrong_token_is_refused_once_and_for_all() {
    let mut constraint = tokens().compile(Kind::Regex, "abc").unwrap();
    let mut copy = constraint.clone();
    let error = constraint.accept(1).unwrap_err();
    assert!(!error.ends_with('>'), "{error}");
    assert!(constraint.allowed(&mut [0]).is_err());
    assert_eq!(copy.allowed(&mut [0]), Ok(Ending::Never), "a copy goes its own way");
}

#[test]
fn a_vocabulary_that_cannot_go_on_is_told() {
    let few = Tokens::new(&packed(&[b"a", b"b"])).unwrap();
    let mut constraint = few.compile(Kind::Regex, "abc").unwrap();
    for token in [0, 1] {
        constraint.accept(token).unwrap();
    }
    assert_eq!(
        constraint.allowed(&mut [0]).unwrap_err(),
        "a dead end: no token goes on with the text so far"
    );
    assert!(Tokens::new(&[2, 0, b'a']).is_err() && Tokens::new(&[2]).is_err(), "cut within a token");
}
