//! The innermost loops in vectors of 128 bits: SIMD128 on wasm32, the host's elsewhere.

use wide::{f32x4, i8x16, i16x8, i16x16, i32x4};

use super::Multiply;
use crate::dtype::GROUP;

/// Two vectors.
pub(super) const COLUMNS: usize = 8;

pub(super) struct Lanes;

impl Multiply<COLUMNS> for Lanes {
    #[inline(always)]
    unsafe fn totals<const SPAN: usize>(w: &[i8; SPAN], x: &[i16; SPAN]) -> i32x4 {
        let (w, x) = (w.as_chunks::<16>().0, x.as_chunks::<16>().0);
        let mut sums = [i32x4::ZERO; GROUP];
        for i in 0..SPAN / 16 {
            let w: [i16x8; 2] = bytemuck::cast(i16x16::from(i8x16::from(w[i])));
            let x: [i16x8; 2] = bytemuck::cast(x[i]);
            sums[i / (SPAN / 16 / GROUP)] += w[0].dot(x[0]) + w[1].dot(x[1]);
        }
        // Turned as floats, of which `wide` has it.
        let turned = f32x4::transpose(bytemuck::cast(sums));
        let [a, b, c, d]: [i32x4; GROUP] = bytemuck::cast(turned);
        (a + c) + (b + d)
    }

    #[inline(always)]
    unsafe fn tile<const PAIRS: usize, const ROWS: usize>(
        w: &[[[i16; 2]; COLUMNS]; PAIRS],
        x: [&[[i16; 2]; PAIRS]; ROWS],
    ) -> [[i32; COLUMNS]; ROWS] {
        let mut sums = [[i32x4::ZERO; 2]; ROWS];
        for (i, &w) in w.iter().enumerate() {
            let w: [i16x8; 2] = bytemuck::cast(w);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x: i16x8 = bytemuck::cast([x[row][i]; 4]);
                sums[0] += w[0].dot(x);
                sums[1] += w[1].dot(x);
            }
        }
        sums.map(bytemuck::cast)
    }
}
