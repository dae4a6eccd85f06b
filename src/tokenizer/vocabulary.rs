//! The tokens of a file: by id, and by spelling.
//! Not a finder of added tokens in a text: `added.rs` is.

use super::broken;
use super::file::{AddedToken, Vocab};
use super::strings::{Index, Strings};
use crate::error::Result;
use std::collections::BTreeMap;

/// Ids from here on are taken for a lie: the largest vocabularies have about 2¹⁸.
const ID_LIMIT: u32 = 1 << 24;

#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The model's, in the order of the file.
    tokens: Strings,
    ids: Vec<u32>,
    index: Index,
    /// By id: the position of the model's token plus one, or 0.
    positions: Vec<u32>,
    pub(crate) added: BTreeMap<u32, Added>,
}

#[derive(Debug)]
pub(super) struct Added {
    pub(crate) content: String,
    /// As decoding sees it: normalized, if that is how it is found.
    pub(crate) decodable: String,
    pub(crate) special: bool,
}

impl Vocabulary {
    /// Errors with `Format` if two tokens have one id, one has two, or an id is out of all proportion.
    pub(super) fn new(vocab: Vocab, added: &[AddedToken]) -> Result<Self> {
        let Vocab { tokens, ids, is_list, .. } = vocab;
        let highest = ids.iter().copied().chain(added.iter().map(|token| token.id)).max().unwrap_or(0);
        if highest >= ID_LIMIT {
            return Err(broken(format!("id {highest}, expected below {ID_LIMIT}")));
        }
        let mut positions = vec![0; highest as usize + 1];
        let mut index = Index::with_room(tokens.len());
        for (at, &id) in (0..).zip(&ids) {
            if !index.add(&tokens, at) && !is_list {
                let token = tokens.get(at as usize).unwrap_or_default();
                return Err(broken(format!("token `{token}` appears twice")));
            }
            let Some(position) = positions.get_mut(id as usize) else { continue };
            if *position != 0 {
                return Err(broken(format!("id {id} belongs to two tokens")));
            }
            *position = at + 1;
        }
        Ok(Self { tokens, ids, index, positions, added: BTreeMap::new() })
    }

    /// The highest id plus one.
    pub(super) fn size(&self) -> usize {
        self.positions.len()
    }

    /// How many tokens the model has.
    pub(super) fn model_size(&self) -> usize {
        self.tokens.len()
    }

    /// The model's tokens.
    pub(super) fn of_model(&self) -> impl Iterator<Item = (&str, u32)> {
        self.tokens.iter().zip(self.ids.iter().copied())
    }

    /// The id of a token of the model.
    pub(super) fn model_id(&self, token: &str) -> Option<u32> {
        self.ids.get(self.index.get(&self.tokens, token)? as usize).copied()
    }

    fn model_token(&self, id: u32) -> Option<&str> {
        self.tokens.get(self.positions.get(id as usize)?.checked_sub(1)? as usize)
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.added.get(&id).map(|added| added.content.as_str()).or_else(|| self.model_token(id))
    }

    pub(super) fn decodable(&self, id: u32) -> Option<&str> {
        self.added.get(&id).map(|added| added.decodable.as_str()).or_else(|| self.model_token(id))
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        let added = self.added.iter().find(|(_, added)| added.content == token).map(|(&id, _)| id);
        added.or_else(|| self.model_id(token))
    }

    pub(super) fn is_added(&self, id: u32) -> bool {
        self.added.contains_key(&id)
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.added.get(&id).is_some_and(|added| added.special)
    }
}
