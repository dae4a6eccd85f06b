//! Tokens that are found in a text as they stand, before the model sees what is between them.
//! Not the model's: those are made of pieces.
//!
//! Followed from `tokenizers` 0.23: those not normalized are found in the text as it came, then
//! the others in each normalized part.

use super::file::AddedToken;
use super::normalize::{Normalizer, Piece};
use super::strings::Sorted;
use super::unicode::{self, Ranges};
use super::vocabulary::{Added, Vocabulary};
use super::{broken, unsupported};
use crate::error::Result;
use crate::order::sort_by_key;
use std::borrow::Cow;
use std::collections::HashMap;

/// The added tokens of one kind: normalized, or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Finder {
    /// By content, as positions in `tokens`.
    contents: Sorted,
    tokens: Vec<Token>,
    /// Characters of words, if a token is a single word.
    words: Ranges,
}

#[derive(Clone, Debug)]
struct Token {
    id: u32,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

impl Finder {
    fn new(tokens: Vec<(String, &AddedToken)>) -> Self {
        let has_words = tokens.iter().any(|(_, token)| token.single_word);
        Self {
            contents: Sorted::new((0..).zip(&tokens).map(|(at, (content, _))| (content.as_str(), at))),
            tokens: tokens
                .iter()
                .map(|(_, token)| Token {
                    id: token.id,
                    single_word: token.single_word,
                    lstrip: token.lstrip,
                    rstrip: token.rstrip,
                })
                .collect(),
            words: if has_words { unicode::class("w").unwrap_or_default() } else { Ranges::new() },
        }
    }

    fn is_word(&self, c: Option<char>) -> bool {
        c.is_some_and(|c| unicode::is_in(&self.words, c))
    }

    /// The parts of a text in order: between tokens, and tokens.
    pub(super) fn each<'t>(
        &self,
        text: &'t str,
        mut found: impl FnMut(&'t str, usize, Option<u32>) -> Result<()>,
    ) -> Result<()> {
        let (mut at, mut done) = (0, 0);
        while at < text.len() && !self.contents.is_empty() {
            let mut longest = None;
            self.contents.starts(text.as_bytes().get(at..).unwrap_or_default(), |len, token| {
                longest = Some((len, token));
            });
            let Some((len, token)) = longest else {
                at += 1;
                continue;
            };
            let (mut start, mut end) = (at, at + len);
            at = end;
            let Some(token) = self.tokens.get(token as usize) else { continue };
            let (before, after) =
                (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
            let touches_word = self.is_word(before.chars().next_back()) || self.is_word(after.chars().next());
            if token.single_word && touches_word {
                continue;
            }
            if token.lstrip {
                start = before.trim_end().len().max(done);
            }
            if token.rstrip {
                end += after.len() - after.trim_start().len();
            }
            if done < start {
                found(text.get(done..start).unwrap_or_default(), done, None)?;
            }
            found(text.get(start..end).unwrap_or_default(), start, Some(token.id))?;
            done = end;
        }
        match text.get(done..) {
            Some(rest) if !rest.is_empty() => found(rest, done, None),
            _ => Ok(()),
        }
    }
}

/// The finders of a file's added tokens: those not normalized, then the others. They also go
/// into the vocabulary.
///
/// Errors with `Format` if an id is not what `tokenizers` would give: the model's if it has the
/// token, and else the next after the vocabulary; `Unsupported` if the normalizer leaves nothing of a token.
pub(super) fn finders(
    vocabulary: &mut Vocabulary,
    added: &[AddedToken],
    normalizers: &[Normalizer],
) -> Result<[Finder; 2]> {
    let mut tokens: Vec<&AddedToken> = added.iter().filter(|token| !token.content.is_empty()).collect();
    sort_by_key(&mut tokens, |token| token.id);
    let mut next = vocabulary.model_size() as u32;
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut kinds = [Vec::new(), Vec::new()];
    for token in tokens {
        let AddedToken { id, content, .. } = token;
        let known = seen.get(content.as_str()).copied().or_else(|| vocabulary.model_id(content));
        let expected = known.unwrap_or(next);
        if *id != expected {
            return Err(broken(format!(
                "added token `{content}`: id {id}, expected {expected}, {}",
                if known.is_some() { "as it has elsewhere" } else { "the next after the vocabulary" }
            )));
        }
        next += u32::from(known.is_none());
        seen.insert(content, *id);
        let mut piece = Piece { text: Cow::Borrowed(content.as_str()), first: true };
        if token.normalized {
            normalizers.iter().for_each(|normalizer| normalizer.apply(&mut piece, true));
        }
        let decodable = piece.text.into_owned();
        if decodable.is_empty() {
            return Err(unsupported(format!("added token `{content}` that the normalizer makes empty")));
        }
        kinds[usize::from(token.normalized)].push((decodable.clone(), token));
        vocabulary.added.insert(*id, Added { content: content.clone(), decodable, special: token.special });
    }
    Ok(kinds.map(Finder::new))
}
