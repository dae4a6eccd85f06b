//! What must hold of a `tokenizer.json` before the `tokenizers` crate may see it.
//! Not a second parser: it stops at what the crate trusts without looking.
//!
//! The crate (1.0.0-rc.3) panics, or reads outside its tables, on files that are valid JSON but
//! lie: an empty vocabulary, a token of 64 KiB, a merge longer than every token, more merges of
//! frequent tokens than it has cells for. Where two tokens spell the same bytes, it takes
//! either.

use super::file::{File, Vocab};
use super::steps::byte_level_byte;
use super::{broken, unsupported};
use crate::error::Result;
use std::collections::HashSet;
use tokenizers::models::bpe;

/// Ids from here on are taken for a lie: the largest vocabularies have about 2¹⁸.
pub(super) const ID_LIMIT: u32 = 1 << 24;

/// A token's length must fit 16 bits.
const MAX_TOKEN_BYTES: usize = u16::MAX as usize;

/// Checks all that can be checked without the crate, but for merges.
pub(super) fn check(file: &File) -> Result<()> {
    let model = &file.model;
    let kind = match (model.kind.as_deref(), &model.vocab) {
        (Some(kind @ ("BPE" | "Unigram")), _) => kind,
        (Some(kind), _) => return Err(unsupported(format!("model `{kind}`"))),
        (None, Vocab::Map(_)) => "BPE",
        (None, Vocab::List(_)) => "Unigram",
    };
    match (kind, &model.vocab) {
        ("BPE", Vocab::Map(_)) | ("Unigram", Vocab::List(_)) => {}
        _ => return Err(broken(format!("model `{kind}` with the vocabulary of another"))),
    }
    if model.vocab.len() == 0 {
        return Err(broken("the vocabulary is empty"));
    }
    if model.dropout.is_some_and(|p| p != 0.0) {
        return Err(unsupported("model with dropout"));
    }
    for affix in [&model.continuing_subword_prefix, &model.end_of_word_suffix] {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(unsupported(format!("model with `{affix}` at the parts of a word")));
        }
    }
    let added = file.added_tokens.iter().map(|token| token.content.as_str());
    for token in model.vocab.tokens().map(|(token, _)| token).chain(added) {
        if token.len() > MAX_TOKEN_BYTES {
            let bytes = token.len();
            return Err(broken(format!("a token of {bytes} bytes, expected at most {MAX_TOKEN_BYTES}")));
        }
    }
    Ok(())
}

/// Errors with `Format` if a token in characters beside GPT-2's alphabet is, in bytes, another's
/// twin: the crate keeps only bytes.
pub(super) fn check_byte_level(vocab: &bpe::Vocab) -> Result<()> {
    let mut spelled = HashSet::new();
    for token in vocab.keys() {
        if token.chars().all(|c| byte_level_byte(c).is_some()) {
            continue;
        }
        let mut alphabet = [' '; 256];
        for c in (0..0x144).filter_map(char::from_u32) {
            if let Some(slot) = byte_level_byte(c).and_then(|byte| alphabet.get_mut(byte as usize)) {
                *slot = c;
            }
        }
        let mut twin = String::new();
        for c in token.chars() {
            if byte_level_byte(c).is_some() {
                twin.push(c);
            } else {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                twin.extend(bytes.filter_map(|byte| alphabet.get(byte as usize)));
            }
        }
        if vocab.contains_key(&twin) || !spelled.insert(twin) {
            return Err(broken(format!("token `{token}` spells the same bytes as another")));
        }
    }
    Ok(())
}

/// How many tokens, the most frequent, the crate looks up pairs of in a grid, and how many
/// merges that grid holds.
const GRID_TOKENS: usize = 512;
const GRID_MERGES: usize = u16::MAX as usize;

/// Errors with `Format` if a merge names or makes a token that is not there, or if the grid
/// would overflow.
pub(super) fn check_merges(vocab: &bpe::Vocab, merges: &bpe::Merges) -> Result<()> {
    let mut pairs = Vec::with_capacity(merges.len());
    let mut made = String::new();
    for (a, b) in merges {
        made.clear();
        made.push_str(a);
        made.push_str(b);
        let [Some(&a_id), Some(&b_id), Some(&id)] = [a, b, &made].map(|token| vocab.get(token)) else {
            let missing = [a, b, &made].into_iter().find(|token| !vocab.contains_key(*token));
            let missing = missing.map_or("", String::as_str);
            return Err(broken(format!("merge of `{a}` and `{b}`: no token `{missing}`")));
        };
        pairs.push((a_id, b_id, id));
    }
    if pairs.len() < GRID_MERGES {
        return Ok(());
    }
    // Tokens that no merge makes come first, by id, then the others, by rank.
    let made: HashSet<u32> = pairs.iter().map(|&(.., id)| id).collect();
    let mut first: Vec<u32> = vocab.values().copied().filter(|id| !made.contains(id)).collect();
    first.sort_unstable();
    first.truncate(GRID_TOKENS);
    let mut frequent: HashSet<u32> = first.into_iter().collect();
    for (.., id) in &pairs {
        if frequent.len() >= GRID_TOKENS {
            break;
        }
        frequent.insert(*id);
    }
    let in_grid: HashSet<(u32, u32)> = pairs
        .iter()
        .map(|&(a, b, _)| (a, b))
        .filter(|(a, b)| frequent.contains(a) && frequent.contains(b))
        .collect();
    if in_grid.len() >= GRID_MERGES {
        let n = in_grid.len();
        return Err(broken(format!(
            "{n} merges of the {GRID_TOKENS} first tokens, expected fewer than {GRID_MERGES}"
        )));
    }
    Ok(())
}
