//! The tokens of a file by id, and the added tokens as the crate finds them in a text.
//! Not the model's own tables, which spell tokens in bytes.

use super::file::{AddedToken, File, Vocab};
use super::vet::ID_LIMIT;
use super::{broken, unsupported};
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokenizers::pipeline::{NormalizerChain, PipelineNormalizer};
use tokenizers::vocab::bucket_added_vocabulary as crates;

/// Tokens by id. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vocabulary(Arc<Tables>);

struct Tables {
    /// The model's tokens, one after the other.
    text: String,
    /// By id; an empty range at ids that no token has.
    ranges: Vec<Range<u32>>,
    added: HashMap<u32, Added>,
}

struct Added {
    content: String,
    /// As decoding sees it: normalized, if that is how it is found.
    decodable: String,
    special: bool,
}

impl Vocabulary {
    /// Errors with `Format` if two tokens have one id, or an id is out of all proportion.
    pub fn new(vocab: &Vocab, added: &[AddedToken]) -> Result<Self> {
        let ids = vocab.tokens().map(|(_, id)| id).chain(added.iter().map(|token| token.id));
        let highest = ids.max().unwrap_or(0);
        if highest >= ID_LIMIT {
            return Err(broken(format!("id {highest}, expected below {ID_LIMIT}")));
        }
        let mut text = String::new();
        let mut ranges = vec![0..0; highest as usize + 1];
        for (token, id) in vocab.tokens() {
            let start = text.len() as u32;
            text.push_str(token);
            let Some(range) = ranges.get_mut(id as usize) else { continue };
            if range.start != range.end {
                return Err(broken(format!("id {id} belongs to two tokens")));
            }
            *range = start..text.len() as u32;
        }
        Ok(Self(Arc::new(Tables { text, ranges, added: HashMap::new() })))
    }

    /// The highest id plus one.
    pub fn size(&self) -> usize {
        self.0.ranges.len()
    }

    pub fn token(&self, id: u32) -> Option<&str> {
        match self.0.added.get(&id) {
            Some(added) => Some(&added.content),
            None => self.of_model(id),
        }
    }

    pub fn decodable(&self, id: u32) -> Option<&str> {
        match self.0.added.get(&id) {
            Some(added) => Some(&added.decodable),
            None => self.of_model(id),
        }
    }

    fn of_model(&self, id: u32) -> Option<&str> {
        let Range { start, end } = self.0.ranges.get(id as usize)?.clone();
        self.0.text.get(start as usize..end as usize).filter(|token| !token.is_empty())
    }

    /// Looks at every token: for the few that a model names, which is cheaper than an index.
    pub fn id(&self, token: &str) -> Option<u32> {
        let added = self.0.added.iter().find(|(_, added)| added.content == token).map(|(&id, _)| id);
        added.or_else(|| (0..self.size() as u32).find(|&id| self.of_model(id) == Some(token)))
    }

    pub fn is_added(&self, id: u32) -> bool {
        self.0.added.contains_key(&id)
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.0.added.get(&id).is_some_and(|added| added.special)
    }
}

/// The added tokens for the crate, which gives them ids of its own: the model's if it has the
/// token, and else whichever comes next. They also go into the vocabulary, as decoding sees them.
///
/// Errors with `Format` if those ids are not the file's.
pub(super) fn added(
    vocabulary: &mut Vocabulary,
    file: &File,
    normalizers: &[PipelineNormalizer],
    metaspace: bool,
) -> Result<crates::AddedVocabulary> {
    let mut positions: HashMap<&str, u32> = HashMap::new();
    if let Vocab::List(pieces) = &file.model.vocab {
        positions.extend((0..).zip(pieces).map(|(id, (token, _))| (token.as_str(), id)));
    }
    let of_model = |token: &str| match &file.model.vocab {
        Vocab::Map(ids) => ids.get(token).copied(),
        Vocab::List(_) => positions.get(token).copied(),
    };
    let mut tokens: Vec<&AddedToken> =
        file.added_tokens.iter().filter(|token| !token.content.is_empty()).collect();
    tokens.sort_by_key(|token| token.id);

    let mut next = file.model.vocab.len() as u32;
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for token in &tokens {
        let AddedToken { id, content, .. } = token;
        let known = seen.get(content.as_str()).copied().or_else(|| of_model(content));
        let expected = known.unwrap_or(next);
        if *id != expected {
            return Err(broken(format!(
                "added token `{content}`: id {id}, expected {expected}, {}",
                if known.is_some() { "as it has elsewhere" } else { "the next after the vocabulary" }
            )));
        }
        next += u32::from(known.is_none());
        seen.insert(content, *id);
        // The crate looks for the second word only in what follows the first, and takes its
        // start for the text's.
        if token.single_word {
            return Err(unsupported(format!("added token `{content}` as a single word")));
        }
        // The crate writes the spaces as `Metaspace` does before it looks for the token.
        if token.normalized && metaspace {
            return Err(unsupported(format!("normalized added token `{content}` beside `Metaspace`")));
        }
    }

    let mut added = crates::AddedVocabulary::new();
    let for_crate = tokens.iter().map(|token| crates::AddedToken {
        content: token.content.clone(),
        single_word: token.single_word,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
        normalized: token.normalized,
        special: token.special,
    });
    added
        .add_tokens(for_crate, file.model.vocab.len(), of_model, Some(&NormalizerChain(normalizers)))
        .map_err(broken)?;
    if let Some(tables) = Arc::get_mut(&mut vocabulary.0) {
        for token in tokens {
            let decodable = added.simple_id_to_token(token.id).unwrap_or_else(|| token.content.clone());
            let entry = Added { content: token.content.clone(), decodable, special: token.special };
            tables.added.insert(token.id, entry);
        }
    }
    Ok(added)
}
