//! Element types of tensors, and how a row of each lies in 32-bit words.
//! Not how files store them: `format` widens those or hands them on.

use half::f16;

use crate::error::{Error, Result};

/// Elements that share a scale.
pub const BLOCK: usize = 32;

/// Elements of which a packed row is a whole number: two blocks, whose scales fill a word.
const ROW_UNIT: usize = 2 * BLOCK;

/// Element type of a tensor. A row of a packed type is, without padding,
///
/// - `F16`: two elements a word, the first in the low half;
/// - `Q8`: C/4 words of codes, four i8 a word, then C/64 of scales, two f16 a word: code · scale;
/// - `Q4`: C/8 words of codes, then the same scales: (code − 8) · scale. The 16 bytes of a block
///   hold its first half in their low four bits, its second in the high ones.
///
/// Codes and scales are those of ggml's `q8_0` and `q4_0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE single.
    F32,
    /// Unsigned, also the home of bit patterns.
    U32,
    /// IEEE half.
    F16,
    /// 8.5 bits an element.
    Q8,
    /// 4.5 bits an element.
    Q4,
}

impl Dtype {
    /// The packed types: of weights alone.
    pub const PACKED: [Self; 3] = [Self::F16, Self::Q8, Self::Q4];

    /// The type of weights by the name that options use: `f32`, `f16`, `q8` or `q4`.
    ///
    /// Errors with `Argument` for another.
    pub fn from_name(name: &str) -> Result<Self> {
        let known = [Self::F32].into_iter().chain(Self::PACKED).find(|dtype| dtype.name() == name);
        known.ok_or_else(|| Error::argument(format!("dtype `{name}`, expected f32, f16, q8 or q4")))
    }

    /// As options and listings write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::U32 => "u32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    /// Whether several elements share a word.
    pub fn is_packed(self) -> bool {
        Self::PACKED.contains(&self)
    }

    /// Whether a row of `cols` elements can have this type.
    pub fn fits(self, cols: usize) -> bool {
        !self.is_packed() || cols.is_multiple_of(ROW_UNIT)
    }

    /// Words of a row of `cols` elements, which it [`fits`](Self::fits).
    pub fn row_words(self, cols: usize) -> usize {
        match self {
            Self::F32 | Self::U32 => cols,
            Self::F16 => cols / 2,
            Self::Q8 => cols / 4 + cols / ROW_UNIT,
            Self::Q4 => cols / 8 + cols / ROW_UNIT,
        }
    }

    /// Appends one row, (C), to `words`, rounded to this type: f16 to the nearest, the others as
    /// ggml's `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` do.
    pub fn pack(self, row: &[f32], words: &mut Vec<u32>) {
        match self {
            Self::F32 | Self::U32 => words.extend(row.iter().map(|x| x.to_bits())),
            Self::F16 => {
                let halves: Vec<u16> = row.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                words.extend(halves.as_chunks().0.iter().map(|&pair| pair_word(pair)));
            }
            Self::Q8 | Self::Q4 => {
                let blocks = row.as_chunks::<BLOCK>().0;
                let mut scales = Vec::with_capacity(blocks.len());
                for block in blocks {
                    scales.push(if self == Self::Q8 { pack_q8(block, words) } else { pack_q4(block, words) });
                }
                words.extend(scales.as_chunks().0.iter().map(|&pair| pair_word(pair)));
            }
        }
    }

    /// Whether rows of `cols` elements hold numbers alone: no NaN, no infinity, no scale that is one.
    pub fn all_finite(self, words: &[u32], cols: usize) -> bool {
        // Bits all set in an exponent; without a branch, so that it vectorises.
        let singles = |words: &[u32]| words.iter().fold(true, |ok, w| ok & (w & 0x7f80_0000 != 0x7f80_0000));
        let halves = |words: &[u32]| {
            words.iter().fold(true, |ok, w| ok & (w & 0x7c00 != 0x7c00) & (w & 0x7c00_0000 != 0x7c00_0000))
        };
        match self {
            Self::U32 => true,
            Self::F32 => singles(words),
            Self::F16 => halves(words),
            Self::Q8 | Self::Q4 => {
                let codes = self.row_words(cols) - cols / ROW_UNIT;
                words.chunks_exact(self.row_words(cols)).all(|row| row.get(codes..).is_some_and(halves))
            }
        }
    }

    /// Rows of `cols` elements in a packed type as ggml stores them (little-endian; each block's
    /// scale before its codes) -> the same in this crate's words.
    pub fn from_stored(self, bytes: &[u8], cols: usize) -> Vec<u32> {
        let code_bytes = match self {
            Self::Q8 => BLOCK,
            Self::Q4 => BLOCK / 2,
            Self::F32 | Self::U32 | Self::F16 => return little_endian(bytes).collect(),
        };
        let mut words = Vec::with_capacity(bytes.len() / 4);
        for row in bytes.chunks_exact(cols / BLOCK * (2 + code_bytes)) {
            let blocks = || row.chunks_exact(2 + code_bytes).map(|block| block.split_at(2));
            blocks().for_each(|(_, codes)| words.extend(little_endian(codes)));
            let scales: Vec<u8> = blocks().flat_map(|(scale, _)| scale).copied().collect();
            words.extend(little_endian(&scales));
        }
        words
    }

    /// Widens whole rows of `cols` elements to f32, (rows, cols), exactly.
    pub fn unpack(self, words: &[u32], cols: usize, values: &mut [f32]) {
        if !self.is_packed() {
            return values.copy_from_slice(bytemuck::cast_slice(words));
        }
        for (words, row) in words.chunks_exact(self.row_words(cols)).zip(values.chunks_exact_mut(cols)) {
            self.unpack_row(words, row);
        }
    }

    fn unpack_row(self, words: &[u32], row: &mut [f32]) {
        let code_words = self.row_words(row.len()) - row.len() / ROW_UNIT;
        let blocks = row.as_chunks_mut::<BLOCK>().0;
        match self {
            Self::Q8 => {
                let (codes, scales) = words.split_at(code_words);
                let codes: &[[u8; BLOCK]] = bytemuck::cast_slice(codes);
                blocks
                    .iter_mut()
                    .zip(codes)
                    .zip(halves(scales))
                    .for_each(|((x, q), scale)| *x = q8(*q, scale));
            }
            Self::Q4 => {
                let (codes, scales) = words.split_at(code_words);
                let codes: &[[u8; BLOCK / 2]] = bytemuck::cast_slice(codes);
                blocks
                    .iter_mut()
                    .zip(codes)
                    .zip(halves(scales))
                    .for_each(|((x, q), scale)| *x = q4(*q, scale));
            }
            Self::F32 | Self::U32 | Self::F16 => {
                let halves: &[u16] = bytemuck::cast_slice(words);
                row.iter_mut().zip(halves).for_each(|(x, &half)| *x = f16_to_f32(half));
            }
        }
    }
}

/// A block of `q8_0`: code · scale, codes i8.
#[inline(always)]
pub fn q8(codes: [u8; BLOCK], scale: f32) -> [f32; BLOCK] {
    codes.map(|code| f32::from(code.cast_signed()) * scale)
}

/// A block of `q4_0`: (code − 8) · scale. The low four bits are its first half, the high ones its second.
#[inline(always)]
pub fn q4(codes: [u8; BLOCK / 2], scale: f32) -> [f32; BLOCK] {
    std::array::from_fn(|i| {
        let byte = codes[i % (BLOCK / 2)];
        let code = if i < BLOCK / 2 { byte & 15 } else { byte >> 4 };
        (f32::from(code) - 8.0) * scale
    })
}

fn little_endian(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))
}

fn halves(words: &[u32]) -> impl Iterator<Item = f32> {
    words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]).map(f16_to_f32)
}

fn pair_word([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// Appends 8 words of codes; the scale's bits.
fn pack_q8(block: &[f32; BLOCK], words: &mut Vec<u32>) -> u16 {
    let most = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let scale = most / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let codes = block.map(|x| (x * inverse).round() as i8 as u8);
    words.extend(codes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
    f16::from_f32(scale).to_bits()
}

/// Appends 4 words of codes; the scale's bits. The element furthest from zero becomes −8.
fn pack_q4(block: &[f32; BLOCK], words: &mut Vec<u32>) -> u16 {
    let most = block.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let scale = most / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let codes: [u8; BLOCK / 2] = std::array::from_fn(|i| code(block[i]) | code(block[i + BLOCK / 2]) << 4);
    words.extend(codes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
    f16::from_f32(scale).to_bits()
}

/// Exact. Without a branch, so that it vectorises: shifted into place, an f16's bits are an
/// f32 whose exponent is 112 too small, subnormals included; a product by 2¹¹² mends that.
pub fn f16_to_f32(half: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(half & 0x7fff) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let special = if magnitude >= 0x1f << 23 { 0xff << 23 } else { 0 };
    let finite = (f32::from_bits(magnitude) * TWO_TO_112).to_bits();
    f32::from_bits(sign | finite | special)
}
