//! The beginning of a saved session: what its keys and values belong to, and where in the file they lie.
//! Not the numbers themselves.
//!
//! ```text
//! "lorakeet" | format u32 | n u32 | n bytes of JSON | digest u64 | for each layer: keys, digest u64, values, digest u64
//! ```
//!
//! All little endian. Keys, as values, are those of all positions as the cache holds them: codes, then f16.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::cache::{CacheLayout, cache_type};
use crate::engine::adapters::named::NamedMix;
use crate::engine::runner::Runner;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::model::Model;

const MAGIC: &[u8; 8] = b"lorakeet";
const FORMAT: u32 = 1;
/// Bytes before the JSON.
const PREFIX: usize = 16;
/// Bytes of a digest, behind the head and behind each part.
pub(super) const DIGEST: usize = 8;
/// Keys and values of another version of this package may be other numbers.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the keys and values of a session belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of this package.
    version: String,
    /// [`Model::identity`]
    model: String,
    /// [`Model::rotation`] of all positions.
    rotation: String,
    /// Of each layer the type of keys and values, and K·D.
    cache: Vec<(String, usize)>,
    pub(super) mix: NamedMix,
    /// Virtual tokens in front of the text.
    pub(super) lead: usize,
    /// Of the text.
    pub(super) tokens: Vec<u32>,
}

impl Head {
    pub(super) fn new(model: &Model, mix: NamedMix, lead: usize, tokens: &[u32]) -> Self {
        let cache = layouts(model).map(|layout| (layout.dtype.name().to_owned(), layout.kv_cols));
        Self {
            version: VERSION.to_owned(),
            model: model.identity(),
            rotation: model.rotation(lead + tokens.len()),
            cache: cache.collect(),
            mix,
            lead,
            tokens: tokens.to_vec(),
        }
    }

    /// Positions of which there are keys and values.
    pub(super) fn positions(&self) -> usize {
        self.lead.saturating_add(self.tokens.len())
    }

    /// The file's beginning.
    ///
    /// Errors with `Format` if it cannot be written.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec(self).map_err(|e| Error::format(e.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((json.len() as u32).to_le_bytes());
        bytes.extend(json);
        bytes.extend(digest_of(0, &bytes));
        Ok(bytes)
    }

    /// Bytes of the head, as its first ones tell.
    ///
    /// Errors with `Format` for another file, `Mismatch` for another format.
    pub(super) fn length(bytes: &[u8]) -> Result<u64> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (Some(MAGIC), Some(format), Some(n)) = (bytes.first_chunk(), word(8), word(12)) else {
            return Err(Error::format("session: the bytes are none that `saveSession` wrote"));
        };
        if format != FORMAT {
            return Err(Error::mismatch(format!("session: format {format}, expected {FORMAT}")));
        }
        Ok((PREFIX + DIGEST) as u64 + u64::from(n))
    }

    /// Reads a head, which ends where [`length`](Self::length) says.
    ///
    /// Errors as that does, and with `Format` if it is damaged.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let length = Self::length(bytes)?;
        if bytes.len() as u64 != length {
            return Err(Error::format(format!(
                "session: a head of {} bytes, expected {length}",
                bytes.len()
            )));
        }
        let (head, digest) = bytes.split_at(bytes.len() - DIGEST);
        if digest != digest_of(0, head) {
            return Err(Error::format("session: its head is damaged"));
        }
        serde_json::from_slice(&head[PREFIX..]).map_err(|e| Error::format(format!("session: {e}")))
    }

    /// Where in the file the parts lie behind a head of so many bytes, each with its digest: keys, then values, of
    /// each layer.
    ///
    /// Errors with `Format` for sizes that no file has.
    pub(super) fn parts(&self, head_bytes: u64) -> Result<Vec<Range<u64>>> {
        let impossible = || Error::format("session: its sizes are impossible");
        let (mut at, mut parts) = (head_bytes, Vec::new());
        for (dtype, kv_cols) in &self.cache {
            let dtype = cache_type(dtype).map_err(|e| e.context("session"))?;
            let layout = CacheLayout { dtype, s: 0, kv_cols: *kv_cols };
            let fits = *kv_cols <= u32::MAX as usize && dtype.fits(*kv_cols);
            let words = fits.then(|| 4 * layout.position_words() as u64).ok_or_else(impossible)?;
            let bytes = words.checked_mul(self.positions() as u64).ok_or_else(impossible)?;
            for _ in 0..2 {
                let end = at.checked_add(bytes).and_then(|end| end.checked_add(DIGEST as u64));
                let end = end.ok_or_else(impossible)?;
                parts.push(at..end);
                at = end;
            }
        }
        Ok(parts)
    }

    /// Errors with `Mismatch` naming what of the model is another, `Argument` if the context is too short, `Format` for
    /// a token that it does not have.
    pub(super) fn check(&self, runner: &Runner) -> Result<()> {
        let model = runner.model();
        let mismatch = |what: String| Err(Error::mismatch(format!("session: {what}")));
        if self.version != VERSION {
            return mismatch(format!(
                "saved by version {}, this is {VERSION}: compute the text again",
                self.version
            ));
        }
        let own: Vec<_> = layouts(model).map(|layout| (layout.dtype.name(), layout.kv_cols)).collect();
        let its: Vec<_> = self.cache.iter().map(|(dtype, cols)| (dtype.as_str(), *cols)).collect();
        if own.iter().map(|(_, cols)| cols).ne(its.iter().map(|(_, cols)| cols)) {
            return mismatch("of another model: its layers have other sizes".to_owned());
        }
        if let Some((own, its)) = own.iter().zip(&its).find(|(own, its)| own.0 != its.0) {
            return mismatch(format!("kvDtype {}, this engine's is {}", its.0, own.0));
        }
        if self.model != model.identity() {
            return mismatch("of another model, or of this one with another `dtype`".to_owned());
        }
        let (positions, context) = (self.positions(), model.context());
        if positions > context {
            return Err(Error::argument(format!(
                "session: {positions} tokens, the context has room for {context}"
            )));
        }
        if self.rotation != model.rotation(positions) {
            return mismatch("its positions are rotated for another `contextLength`".to_owned());
        }
        let ids = model.check_ids(&self.tokens).map_err(|e| Error::format(format!("session: {e}")));
        if self.tokens.is_empty() { Err(Error::format("session: no tokens")) } else { ids }
    }
}

/// How the keys, or the values, of each layer lie.
pub(super) fn layouts(model: &Model) -> impl Iterator<Item = CacheLayout> {
    model.state.cache.iter().map(|(k, _)| CacheLayout::of(model.tensors.get(*k)))
}

/// The digest of the head, counted 0, or of part `i - 1`.
pub(super) fn digest_of(i: usize, bytes: &[u8]) -> [u8; DIGEST] {
    let mut digest = Digest::of("session");
    digest.add(i as u64);
    digest.add_bytes(bytes);
    digest.number().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            version: VERSION.to_owned(),
            model: "a".to_owned(),
            rotation: "b".to_owned(),
            cache: vec![("f32".to_owned(), 16), ("q8".to_owned(), 64)],
            mix: NamedMix::default(),
            lead: 2,
            tokens: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_tells_where_the_parts_lie() {
        let bytes = head().bytes().expect("written");
        let n = Head::length(&bytes[..PREFIX]).expect("a head");
        assert_eq!((n, Head::parse(&bytes).expect("read")), (bytes.len() as u64, head()));
        // Five positions of 16 f32, and of 64 codes with two scales; eight bytes of digest behind each part.
        let ends = [5 * 64 + 8, 2 * (5 * 64 + 8), 2 * (5 * 64 + 8) + 5 * 68 + 8, 2 * (5 * 64 + 5 * 68 + 16)];
        let parts = head().parts(n).expect("sizes");
        assert_eq!(parts.iter().map(|part| part.end - n).collect::<Vec<_>>(), ends);
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start) && parts[0].start == n);
    }

    /// What a stranger may write, with a digest that is right.
    #[test]
    fn sizes_that_no_file_has_are_errors() {
        let cache = |dtype: &str, cols| vec![(dtype.to_owned(), cols)];
        let forged = [
            Head { lead: usize::MAX, ..head() },
            Head { cache: cache("f32", usize::MAX), ..head() },
            Head { cache: cache("q8", 33), ..head() },
            Head { cache: cache("q4", 64), ..head() },
        ];
        for head in forged {
            let bytes = head.bytes().expect("written");
            assert!(Head::parse(&bytes).expect("read").parts(bytes.len() as u64).is_err(), "{head:?}");
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0, 0, 0, 2, 0, 0, 0, b'[', b']']);
        bytes.extend(digest_of(0, &bytes));
        assert!(Head::parse(&bytes).is_err());
    }
}
