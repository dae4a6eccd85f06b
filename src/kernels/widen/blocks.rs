//! ggml's types of blocks: names, sizes, and the numbers of the blocks of 32 elements.
//! Not how they are taken apart, which the types' own files in `dtype` say.
//!
//! Each function follows the `dequantize_row_…` of its type in ggml-quants.c; the numbers are those of
//! the `gguf` package bit by bit.

use super::half;
use super::q3_k::q6_k_of_q3_k;
use std::borrow::Cow;

use crate::dtype::{BLOCK, Dtype, STEPS, SUPER_BLOCK, five_bits, four_bits, q8};

/// A type whose elements are stored in blocks that share their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are ggml's, less underscores")]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

impl Blocks {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    /// The type that ggml calls `name`: `Q4_K`; `None` for one that is not read.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|blocks| blocks.name() == name)
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
        }
    }

    /// Elements of a block, and its bytes.
    pub fn size(self) -> (usize, usize) {
        match self {
            Self::Q4_0 | Self::Iq4Nl => (BLOCK, 18),
            Self::Q4_1 => (BLOCK, 20),
            Self::Q5_0 => (BLOCK, 22),
            Self::Q5_1 => (BLOCK, 24),
            Self::Q8_0 => (BLOCK, 34),
            Self::Q2K => (SUPER_BLOCK, 84),
            Self::Q3K => (SUPER_BLOCK, 110),
            Self::Q4K => (SUPER_BLOCK, 144),
            Self::Q5K => (SUPER_BLOCK, 176),
            Self::Q6K => (SUPER_BLOCK, 210),
            Self::Iq4Xs => (SUPER_BLOCK, 136),
        }
    }

    /// The numbers of whole blocks.
    pub fn widen(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Q4_0 => each(&recoded(bytes, q4_0), q8_0),
            Self::Q8_0 => each(bytes, q8_0),
            Self::Iq4Nl => each(&recoded(bytes, iq4_nl), q8_0),
            Self::Q3K => Self::Q6K.widen(&q6_k_of_q3_k(bytes)),
            _ => {
                let (elements, size) = self.size();
                let (dtype, blocks) = (self.held(), bytes.len() / size);
                let mut values = vec![0.0; blocks * elements];
                let words = dtype.from_stored(bytes, elements);
                dtype.unpack(&words, elements, &mut values);
                values
            }
        }
    }

    /// Blocks that are held as they are, and the type that holds them.
    const HELD: [(Self, Dtype); 10] = [
        (Self::Q8_0, Dtype::Q8),
        (Self::Q4_0, Dtype::Q4),
        (Self::Q4_1, Dtype::Q4_1),
        (Self::Q5_0, Dtype::Q5_0),
        (Self::Q5_1, Dtype::Q5_1),
        (Self::Q4K, Dtype::Q4K),
        (Self::Q5K, Dtype::Q5K),
        (Self::Q6K, Dtype::Q6K),
        (Self::Q2K, Dtype::Q2K),
        (Self::Iq4Xs, Dtype::Iq4Xs),
    ];

    /// The narrowest type of weights that holds the same numbers.
    pub fn held(self) -> Dtype {
        match self {
            Self::Iq4Nl => Dtype::Q8,
            Self::Q3K => Dtype::Q6K,
            _ => Self::HELD.iter().find(|(blocks, _)| *blocks == self).map_or(Dtype::F32, |held| held.1),
        }
    }

    /// Whole blocks as type `dtype` stores the same numbers: what [`Dtype::from_stored`] takes. `None`
    /// where that is not a matter of moving bits.
    pub fn stored_as(self, dtype: Dtype, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        if Self::HELD.contains(&(self, dtype)) {
            return Some(Cow::Borrowed(bytes));
        }
        match (self, dtype) {
            (Self::Q4_0, Dtype::Q8) => Some(recoded(bytes, q4_0)),
            (Self::Q5_0, Dtype::Q8) => Some(recoded(bytes, q5_0)),
            (Self::Iq4Nl, Dtype::Q8) => Some(recoded(bytes, iq4_nl)),
            (Self::Q3K, Dtype::Q6K) => Some(q6_k_of_q3_k(bytes)),
            _ => None,
        }
        .map(Cow::Owned)
    }
}

fn each<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    block: impl Fn(&[u8; BYTES]) -> [f32; LEN],
) -> Vec<f32> {
    bytes.as_chunks().0.iter().flat_map(block).collect()
}

/// Blocks of a scale (f16) and so many bytes that are `codes`.
fn recoded<const CODES: usize>(bytes: &[u8], codes: fn(&[u8; CODES]) -> [i8; BLOCK]) -> Vec<u8> {
    let mut recoded = Vec::with_capacity(bytes.len() / (2 + CODES) * (2 + BLOCK));
    for block in bytes.chunks_exact(2 + CODES) {
        let (scale, rest) = block.split_at(2);
        recoded.extend(scale);
        recoded.extend(rest.first_chunk().map_or([0; BLOCK], codes).map(i8::cast_unsigned));
    }
    recoded
}

/// scale · code
fn q8_0(&[s0, s1, ref codes @ ..]: &[u8; 34]) -> [f32; BLOCK] {
    q8(*codes, half([s0, s1]))
}

fn q4_0(bytes: &[u8; 16]) -> [i8; BLOCK] {
    let mut codes = [0; BLOCK];
    four_bits(bytes, 8, &mut codes);
    codes
}

fn q5_0(&[h0, h1, h2, h3, ref low @ ..]: &[u8; 20]) -> [i8; BLOCK] {
    let mut codes = [0; BLOCK];
    five_bits(low, u32::from_le_bytes([h0, h1, h2, h3]), 16, &mut codes);
    codes
}

fn iq4_nl(bytes: &[u8; 16]) -> [i8; BLOCK] {
    let mut codes = [0; BLOCK];
    four_bits(bytes, 0, &mut codes);
    codes.map(|code| STEPS[code as usize])
}
