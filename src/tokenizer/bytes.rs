//! Tokens as bytes, for whoever decides by them what may come next in a text.
//! Not as text, which ends on whole characters: `stream.rs` has that.

use super::{Tokenizer, steps};

/// What stands before a special token's name: no text has this byte.
const SPECIAL: u8 = 0xff;

impl Tokenizer {
    /// The bytes that a token adds to a text after others. None where there is no such token; of a special one
    /// 0xff and its name.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.decodable(id) else { return Vec::new() };
        if self.is_special(id) {
            return [&[SPECIAL], token.as_bytes()].concat();
        }
        steps::bytes(&self.parts.steps, &token)
    }

    /// [`token_bytes`](Self::token_bytes) of the ids below `count`: for each its length as two bytes, the lower
    /// first, and then the bytes. One of more than 65,535 has none here.
    pub fn packed_tokens(&self, count: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        for id in 0..count as u32 {
            let bytes = self.token_bytes(id);
            let (length, bytes) =
                u16::try_from(bytes.len()).map_or((0, Vec::new()), |length| (length, bytes));
            packed.extend(length.to_le_bytes());
            packed.extend(bytes);
        }
        packed
    }
}
