//! Unigram: of all ways to cut a piece into tokens, the one of the highest score (Viterbi).
//! Not a sampler: there is one best way.
//!
//! Followed from `tokenizers` 0.23: of equal scores the first found counts, and neighbours that
//! are unknown are one.

use super::broken;
use super::file::Model;
use super::strings::Sorted;
use super::vocabulary::Vocabulary;
use crate::error::Result;

/// How far below the lowest score an unknown character is.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Clone, Debug)]
pub(super) struct Unigram {
    tokens: Sorted,
    /// By id.
    scores: Vec<f64>,
    lowest: f64,
    unknown: Option<u32>,
    byte_fallback: bool,
}

/// The best way to a place in the text: its last token, and that token's start.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    from: usize,
    id: Option<u32>,
    reached: bool,
}

impl Unigram {
    /// `scores`: by id.
    pub(super) fn new(model: &Model, scores: Vec<f64>, vocabulary: &Vocabulary) -> Result<Self> {
        if let Some(id) = model.unk_id.filter(|&id| id as usize >= scores.len()) {
            return Err(broken(format!("unk_id {id}, expected below {}", scores.len())));
        }
        Ok(Self {
            tokens: Sorted::new(vocabulary.of_model()),
            lowest: scores.iter().copied().fold(f64::INFINITY, f64::min),
            scores,
            unknown: model.unk_id,
            byte_fallback: model.byte_fallback.unwrap_or_default(),
        })
    }

    /// Appends the ids of a piece.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, piece: &str, ids: &mut Vec<u32>) -> Result<()> {
        let start = Best { score: 0.0, from: 0, id: None, reached: false };
        let mut best = vec![start; piece.len() + 1];
        for (at, c) in piece.char_indices() {
            let so_far = best[at].score;
            let mut offer = |len: usize, id: Option<u32>, score: f64| {
                let there = &mut best[at + len];
                let better = !there.reached || score + so_far > there.score;
                if better {
                    *there = Best { score: score + so_far, from: at, id, reached: true };
                }
                better
            };
            let mut one = false;
            self.tokens.starts(piece.as_bytes().get(at..).unwrap_or_default(), |len, id| {
                one |= len == c.len_utf8();
                offer(len, Some(id), self.scores.get(id as usize).copied().unwrap_or_default());
            });
            let better = !one && offer(c.len_utf8(), self.unknown, self.lowest - UNKNOWN_PENALTY);
            if better && self.unknown.is_none() {
                return Err(broken("Encountered an unknown token but `unk_id` is missing"));
            }
        }
        // From the end: tokens, and runs of what is unknown.
        let (mut end, mut tokens): (usize, Vec<(usize, usize, Option<u32>)>) = (piece.len(), Vec::new());
        while end > 0 {
            let Best { from, id, .. } = best[end];
            match tokens.last_mut() {
                Some((start, _, last)) if id == self.unknown && *last == self.unknown => *start = from,
                _ => tokens.push((from, end, id)),
            }
            end = from;
        }
        for (from, to, id) in tokens.into_iter().rev() {
            match id {
                Some(id) if Some(id) == self.unknown => {
                    self.spell(vocabulary, piece.get(from..to).unwrap_or_default(), id, ids);
                }
                id => ids.extend(id),
            }
        }
        Ok(())
    }

    /// A run of what is unknown: a token after all, its bytes, or the unknown token.
    fn spell(&self, vocabulary: &Vocabulary, text: &str, unknown: u32, ids: &mut Vec<u32>) {
        let byte = |byte| vocabulary.model_id(&format!("<0x{byte:02X}>"));
        let bytes =
            || self.byte_fallback.then(|| text.bytes().map(byte).collect::<Option<Vec<u32>>>()).flatten();
        match vocabulary.model_id(text) {
            Some(id) => ids.push(id),
            None => ids.extend(bytes().unwrap_or_else(|| vec![unknown])),
        }
    }
}
