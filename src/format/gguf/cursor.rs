//! Little-endian numbers and texts from the front of a file, each length checked before use.
//! Not a stream: it sees a slice, and remembers whether that was too short.

use crate::error::{Error, Result};
use crate::format::foreign::cut_short;

/// Longest text accepted, bytes: a tokenizer's longest merges are far below it, and a lie in a
/// length is told from a long text early.
const MAX_TEXT_BYTES: u64 = 1 << 24;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Whether something was asked for that lies past the end.
    pub(super) ran_out: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, ran_out: false }
    }

    /// Bytes taken so far.
    pub(super) fn pos(&self) -> u64 {
        self.pos as u64
    }

    /// What is not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(len).ok().and_then(|len| self.pos.checked_add(len));
        match end.and_then(|end| Some((end, self.bytes.get(self.pos..end)?))) {
            Some((end, taken)) => {
                self.pos = end;
                Ok(taken)
            }
            None => {
                self.ran_out = true;
                Err(Error::format(format!(
                    "{len} bytes expected at byte {}: {}",
                    self.pos,
                    cut_short(self.bytes.len() as u64, None)
                )))
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        // `take` gives exactly what it was asked for.
        Ok(self.take(N as u64)?.try_into().unwrap_or([0; N]))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A length (u64) and so many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let len = self.u64()?;
        if len > MAX_TEXT_BYTES {
            return Err(Error::format(format!("a text of {len} bytes, expected at most {MAX_TEXT_BYTES}")));
        }
        std::str::from_utf8(self.take(len)?).map_err(|_| Error::format("a text that is not UTF-8"))
    }
}
