//! What a text may be: JSON schemas, Lark grammars and regular expressions, as sets of a model's tokens.
//! Not who draws them: the engine does, in a module of its own, and hears of the sets as bits.
//!
//! The work is `llguidance`'s (<https://github.com/guidance-ai/llguidance>): an Earley parser over a lexer of
//! derivatives, walked along the prefix tree of all tokens. Here are a model's tokens, the three ways to say
//! a grammar, and what the engine asks.
#![deny(missing_docs)]

#[cfg(target_arch = "wasm32")]
mod exports;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory, regex_to_lark};
use serde_json::Value;
use toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};

/// What went wrong, in words for whoever wrote the grammar.
pub type Result<T> = std::result::Result<T, String>;

/// How a grammar is said.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A JSON schema, as JSON. The text is JSON in one line, with a space after `:` and `,` or none.
    JsonSchema,
    /// A grammar in Lark, as llguidance takes it; its first rule is `start`.
    Lark,
    /// A regular expression, which the whole text matches. `\d` and `\w` are ASCII's, as in JavaScript.
    Regex,
}

/// Whether a text may end where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has to go on.
    Never,
    /// It may end, or go on.
    May,
    /// Nothing can follow.
    Must,
}

/// Tokens that any string of JSON may go on with, if there is room: where one may, so may all, and they are not tried
/// one by one. llguidance's own list has four such sets, which take more memory than all else.
const WITHIN_STRINGS: &str = r#"[^"\\\x00-\x1F\x7F]{1,10}"#;

/// A model's tokens, ready for grammars.
pub struct Tokens {
    factory: ParserFactory,
    /// V, how many there are.
    count: usize,
}

impl Tokens {
    /// From the bytes that each of V tokens stands for, in the order of their ids: for each two bytes, its length,
    /// the lower first, and then the bytes. None are a token that no text has. A special token is its name after
    /// 0xff, which is no text: only a grammar that names it lets it through.
    ///
    /// Errors if the bytes end within a token.
    pub fn new(packed: &[u8]) -> Result<Self> {
        let mut words = Vec::new();
        let mut rest = packed;
        while let [low, high, after @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (word, after) = after.split_at_checked(length).ok_or("tokens that end within one")?;
            words.push(word.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err("tokens that end within one".to_owned());
        }
        let count = words.len();
        // The end is told by a token of its own, for a model may have several end tokens, or none.
        words.push(Vec::new());
        let trie = TokTrie::from(&TokRxInfo::new(count as u32 + 1, count as u32), &words);
        let env: toktrie::TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = [WITHIN_STRINGS.to_owned()];
        let capabilities = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&env, capabilities, &slices).map_err(said)?;
        factory.quiet().limits_mut().verbose_errors = false;
        Ok(Self { factory, count })
    }

    /// How many words of 32 bits a set of tokens has: ⌈V/32⌉.
    pub fn words(&self) -> usize {
        self.count.div_ceil(32)
    }

    /// Compiles a grammar.
    ///
    /// Errors with what is wrong in it, or not supported.
    pub fn compile(&self, kind: Kind, text: &str) -> Result<Constraint> {
        let grammar = match kind {
            Kind::JsonSchema => TopLevelGrammar::from_json_schema(json_schema(text)?),
            Kind::Lark => TopLevelGrammar::from_lark(text.to_owned()),
            Kind::Regex => TopLevelGrammar::from_lark(format!("start: /{}/", regex_to_lark(text, "dw"))),
        };
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(error),
            None => Ok(Constraint { matcher, end: self.count as u32 }),
        }
    }
}

/// A schema, with how its JSON is to be spaced. Free spacing lets a small model draw spaces without end.
fn json_schema(text: &str) -> Result<Value> {
    let mut schema: Value = serde_json::from_str(text).map_err(said)?;
    if schema.is_object() && schema.get("x-guidance").is_none() {
        let spacing = JsonCompileOptions {
            whitespace_flexible: false,
            item_separator: ", ?".to_owned(),
            key_separator: ": ?".to_owned(),
            ..JsonCompileOptions::default()
        };
        spacing.apply_to(&mut schema);
    }
    Ok(schema)
}

/// Decides token by token what one text may be. A copy goes its own way, and shares what costs memory.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    /// The token that tells the end, V.
    end: u32,
}

impl Constraint {
    /// Sets the bit of each token that may come next: token t is bit t mod 32 of word ⌊t/32⌋ of `mask`, ⌈V/32⌉ words.
    ///
    /// Errors if the grammar is too complex to tell, or no token of the model goes on.
    pub fn allowed(&mut self, mask: &mut [u32]) -> Result<Ending> {
        mask.fill(0);
        let set = self.matcher.compute_mask_or_eos().map_err(told)?;
        let may_end = set.is_allowed(self.end);
        for (word, &bits) in mask.iter_mut().zip(set.as_slice()) {
            *word = bits;
        }
        if let Some(word) = mask.get_mut(self.end as usize / 32) {
            *word &= !(1 << (self.end % 32));
        }
        Ok(match (may_end, mask.iter().any(|&word| word != 0)) {
            (false, _) => Ending::Never,
            (true, true) => Ending::May,
            (true, false) => Ending::Must,
        })
    }

    /// Takes the token that was drawn, and is not told of the end.
    ///
    /// Errors for one that its last mask did not have.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        self.matcher.consume_token(token).map_err(told)
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What a matcher says, without its marks, and for its commonest word what it means.
fn told(error: impl std::fmt::Display) -> String {
    let error = error.to_string();
    match error.trim_end_matches("<non-verbose/>").trim_end() {
        "NoExtensionBias" => "a dead end: no token goes on with the text so far".to_owned(),
        words => words.to_owned(),
    }
}
