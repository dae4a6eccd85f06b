//! Element types of tensors, and how a row of each lies in 32-bit words.
//! Not how files store them: `format` widens those or hands them on.
//!
//! A packed type is a file here, which says all of it in one [`Packed`], and a line in the list below; a
//! shader's half is `shaders/shared/weight_<name>.wgsl`, and the blocks of files that it takes over are
//! named in `widen`.

mod f16;
mod integers;
mod iq4_xs;
mod q2_k;
mod q4;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8;
mod six_bits;

use std::ops::Range;

use crate::error::{Error, Result};

pub(crate) use f16::f16_to_f32;
pub(crate) use integers::{GROUP, Integers, Runs};
pub(crate) use {iq4_xs::STEPS, q5_0::five_bits, q8::block as q8};

/// Elements that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Elements of a block of blocks (`QK_K`).
pub(crate) const SUPER_BLOCK: usize = 256;

/// The list of packed types -> [`Dtype`].
macro_rules! packed {
    ($($(#[$doc:meta])* $name:ident = $file:ident,)*) => {
        /// Element type of a tensor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Dtype {
            /// IEEE single.
            F32,
            /// Unsigned, also the home of bit patterns.
            U32,
            $($(#[$doc])* $name,)*
        }

        impl Dtype {
            /// The packed types: of weights alone.
            pub const PACKED: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            fn packed(self) -> Option<&'static Packed> {
                match self {
                    Self::F32 | Self::U32 => None,
                    $(Self::$name => Some(&$file::TYPE),)*
                }
            }

        }
    };
}

packed! {
    /// IEEE half.
    F16 = f16,
    /// 8.5 bits an element.
    Q8 = q8,
    /// 4.5 bits an element.
    Q4 = q4,
    /// 5 bits an element.
    Q4_1 = q4_1,
    /// 5.5 bits an element.
    Q5_0 = q5_0,
    /// 6 bits an element.
    Q5_1 = q5_1,
    /// 4.5 bits an element.
    Q4K = q4_k,
    /// 5.5 bits an element.
    Q5K = q5_k,
    /// 6.6 bits an element.
    Q6K = q6_k,
    /// 2.6 bits an element.
    Q2K = q2_k,
    /// 4.3 bits an element.
    Iq4Xs = iq4_xs,
}

/// A packed type. A row of it is words of codes and of what scales them in whole numbers, and then words
/// of two f16 each, the first in the low half: elements, scales, or whatever else the codes are counted
/// in. Where these are odd in number, zero follows the last.
struct Packed {
    /// As options and listings write it.
    name: &'static str,
    /// Elements of which a row is a whole number.
    unit: usize,
    /// Words of codes of so many elements.
    codes: usize,
    /// Their f16.
    halves: usize,
    /// What its elements are.
    elements: Elements,
    /// Appends a row, rounded to this type, to words; `None` where files alone make it.
    pack: Option<Pack>,
    /// Bytes of so many elements in files.
    stored: usize,
    /// Appends a row as ggml stores it to words.
    from_stored: fn(&[u8], &mut Vec<u32>),
}

/// What the words of a row hold.
enum Elements {
    /// f16.
    Halves,
    /// Codes, which count in the scale of their run.
    Coded(Coded),
}

/// How codes lie in words. An element is code · scale − offset.
#[derive(Clone, Copy, Debug)]
struct Coded {
    /// Elements that share a scale: 16 or 32.
    run: usize,
    /// Words of codes -> codes; `None` where the words are the codes, four a word.
    codes: Option<ReadCodes>,
    /// Whether runs have offsets.
    offsets: bool,
    /// Words of codes, and words of f16 -> scales and offsets, one of each a run.
    scales: ReadScales,
}

type ReadCodes = fn(&[u32], &mut [i8]);
type ReadScales = fn(&[u32], &[u32], &mut [f32], &mut [f32]);

/// Numbers to words behind those there are.
type Pack = fn(&[f32], &mut Vec<u32>);

impl Dtype {
    /// The types that can be asked for: f32, and what numbers can be rounded to here.
    pub fn choices() -> impl Iterator<Item = Self> {
        [Self::F32].into_iter().chain(Self::PACKED).filter(|dtype| dtype.can_pack())
    }

    /// The type of weights by the name that options use: `f32`, `f16`, `q8` or `q4`.
    ///
    /// Errors with `Argument` for another.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::choices().find(|dtype| dtype.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::choices().map(Self::name).collect();
            let (last, others) = names.split_last().expect("f32 is one");
            Error::argument(format!("dtype `{name}`, expected {} or {last}", others.join(", ")))
        })
    }

    /// As options and listings write it.
    pub fn name(self) -> &'static str {
        match (self, self.packed()) {
            (_, Some(packed)) => packed.name,
            (Self::U32, None) => "u32",
            (_, None) => "f32",
        }
    }

    /// Whether several elements share a word.
    pub fn is_packed(self) -> bool {
        self.packed().is_some()
    }

    /// Whether numbers can be rounded to this type; others come from files that have it.
    pub fn can_pack(self) -> bool {
        self.packed().is_none_or(|packed| packed.pack.is_some())
    }

    /// Whether a row of `cols` elements can have this type.
    pub fn fits(self, cols: usize) -> bool {
        self.packed().is_none_or(|packed| cols.is_multiple_of(packed.unit))
    }

    /// Words of a row of `cols` elements, which it [`fits`](Self::fits).
    pub fn row_words(self, cols: usize) -> usize {
        self.packed().map_or(cols, |packed| packed.code_words(cols) + packed.half_words(cols))
    }

    /// Which words of a row of `cols` elements are two f16 each; those before them are codes.
    pub fn halves(self, cols: usize) -> Range<usize> {
        self.packed().map_or(0..0, |packed| packed.code_words(cols)..self.row_words(cols))
    }

    /// Appends one row, (C), to `words`, rounded to this type: f16 to the nearest, the others as
    /// ggml's `quantize_row_..._ref` do. Panics unless it [can](Self::can_pack).
    pub fn pack(self, row: &[f32], words: &mut Vec<u32>) {
        match self.packed() {
            None => words.extend(row.iter().map(|x| x.to_bits())),
            Some(packed) => packed.pack.expect("a type that can be asked for")(row, words),
        }
    }

    /// Widens whole rows of `cols` elements to f32, (rows, cols), exactly.
    pub fn unpack(self, words: &[u32], cols: usize, values: &mut [f32]) {
        let Some(packed) = self.packed() else {
            values.copy_from_slice(bytemuck::cast_slice(words));
            return;
        };
        let mut integers = packed.integers(cols);
        let rows = words.chunks_exact(packed.code_words(cols) + packed.half_words(cols));
        for (words, row) in rows.zip(values.chunks_exact_mut(cols)) {
            match &mut integers {
                Some(integers) => integers.widen(words, row),
                None => singles(words, row),
            }
        }
    }

    /// What takes rows of `cols` elements apart; `None` where they are no codes.
    pub(crate) fn integers(self, cols: usize) -> Option<Integers> {
        self.packed()?.integers(cols)
    }

    /// Whether rows of `cols` elements hold numbers alone: no NaN, no infinity, no scale that is one.
    pub fn all_finite(self, words: &[u32], cols: usize) -> bool {
        // Bits all set in an exponent; without a branch, so that it vectorises.
        let singles = |words: &[u32]| words.iter().fold(true, |ok, w| ok & (w & 0x7f80_0000 != 0x7f80_0000));
        let halves = |words: &[u32]| {
            words.iter().fold(true, |ok, w| ok & (w & 0x7c00 != 0x7c00) & (w & 0x7c00_0000 != 0x7c00_0000))
        };
        match (self, self.packed()) {
            (Self::U32, _) => true,
            (_, None) => singles(words),
            (_, Some(packed)) => {
                let codes = packed.code_words(cols);
                words.chunks_exact(self.row_words(cols)).all(|row| row.get(codes..).is_some_and(halves))
            }
        }
    }

    /// Rows of `cols` elements in a packed type as ggml stores them (little-endian; each block's
    /// scale before its codes) -> the same in this crate's words.
    pub fn from_stored(self, bytes: &[u8], cols: usize) -> Vec<u32> {
        let mut words = Vec::with_capacity(bytes.len() / 4);
        match self.packed() {
            None => words.extend(little_endian(bytes)),
            Some(packed) => {
                let row_bytes = cols / packed.unit * packed.stored;
                bytes.chunks_exact(row_bytes).for_each(|row| (packed.from_stored)(row, &mut words));
            }
        }
        words
    }
}

impl Packed {
    fn integers(&self, cols: usize) -> Option<Integers> {
        match self.elements {
            Elements::Halves => None,
            Elements::Coded(how) => Some(Integers::new(how, cols, self.code_words(cols))),
        }
    }

    fn code_words(&self, cols: usize) -> usize {
        cols / self.unit * self.codes
    }

    fn half_words(&self, cols: usize) -> usize {
        (cols / self.unit * self.halves).div_ceil(2)
    }
}

/// These bytes of each block of a row as ggml stores it, one block's behind the other's, to words; zeros
/// fill the last word.
fn plane<const SIZE: usize>(row: &[u8], bytes: Range<usize>, words: &mut Vec<u32>) {
    let mut plane = Vec::with_capacity(row.len() / SIZE * bytes.len() + 2);
    for block in row.as_chunks::<SIZE>().0 {
        plane.extend_from_slice(&block[bytes.clone()]);
    }
    plane.resize(plane.len().next_multiple_of(4), 0);
    words.extend(little_endian(&plane));
}

/// The four bits of each code: the low ones of 16 bytes are the first half of a block, the high ones its
/// second. What counts as `zero` is taken off.
#[inline(always)]
pub(crate) fn four_bits(bytes: &[u8; BLOCK / 2], zero: i8, codes: &mut [i8; BLOCK]) {
    for (i, byte) in bytes.iter().enumerate() {
        codes[i] = (byte & 15).cast_signed() - zero;
        codes[i + BLOCK / 2] = (byte >> 4).cast_signed() - zero;
    }
}

/// Words of two f16 each, widened.
fn singles(words: &[u32], values: &mut [f32]) {
    let halves: &[u16] = bytemuck::cast_slice(words);
    values.iter_mut().zip(halves).for_each(|(value, &half)| *value = f16_to_f32(half));
}

/// Words of a scale and a least number each, f16 both: of code · scale + least.
fn scales_and_least(words: &[u32], scales: &mut [f32], offsets: &mut [f32]) {
    for ((scale, offset), &word) in scales.iter_mut().zip(offsets).zip(words) {
        let [first, least] = pair(word);
        (*scale, *offset) = (first, -least);
    }
}

fn little_endian(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))
}

/// Both halves of a word.
#[inline(always)]
fn pair(word: u32) -> [f32; 2] {
    [word as u16, (word >> 16) as u16].map(f16_to_f32)
}

fn pair_word([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}
