//! VeRA's shared A and B where the file leaves them to PyTorch's random numbers.
//! Not a source of randomness: the same seed gives the same matrices, PyTorch's bit for bit.

use super::{AdapterConfig, Method};
use crate::error::{Error, Result};

/// Most elements made of one matrix.
const MAX_ELEMENTS: usize = 1 << 28;

impl AdapterConfig {
    /// VeRA's A (R, C_in) and B (C_out, R), row-major, for the largest C_in and C_out of the
    /// targeted modules; `None` where they are in the file (`save_projection`).
    ///
    /// `_init_vera_A_vera_B`: Kaiming-uniform numbers (arXiv:1502.01852) from the seed
    /// `projection_prng_key`, A first.
    ///
    /// Errors with `Memory` for matrices larger than any model's.
    pub fn vera_projections(&self, c_in: usize, c_out: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        let (Method::Vera { r }, Some(seed)) = (&self.method, self.projection_prng_key) else {
            return Ok(None);
        };
        if [c_in, c_out].iter().any(|c| c.checked_mul(*r).is_none_or(|n| n == 0 || n > MAX_ELEMENTS)) {
            return Err(Error::memory(format!("VeRA's matrices, ({r}, {c_in}) and ({c_out}, {r})")));
        }
        let mut random = MersenneTwister::new(seed);
        let a = random.kaiming_uniform(*r, c_in);
        let b = random.kaiming_uniform(c_out, *r);
        Ok(Some((a, b)))
    }
}

/// Words of state.
const N: usize = 624;

/// MT19937 (Matsumoto and Nishimura, 1998), PyTorch's generator on CPUs.
struct MersenneTwister {
    state: [u32; N],
    /// Words of this state that are used up.
    used: usize,
}

impl MersenneTwister {
    /// Only the low half of a seed counts.
    fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        let mut last = seed;
        for (word, i) in state.iter_mut().zip(0..).skip(1) {
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            *word = last;
        }
        Self { state, used: N }
    }

    /// All words anew, each from itself, the one after it and the one 397 after it.
    fn twist(&mut self) {
        for i in 0..N {
            let word = |i: usize| self.state.get(i % N).copied().unwrap_or_default();
            let y = (word(i) & 0x8000_0000) | (word(i + 1) & 0x7fff_ffff);
            let new = word(i + 397) ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            if let Some(word) = self.state.get_mut(i) {
                *word = new;
            }
        }
        self.used = 0;
    }

    fn next(&mut self) -> u32 {
        if self.used >= N {
            self.twist();
        }
        let mut y = self.state.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// (rows, cols) of numbers in ±√3 · √2 / √cols, of 24 random bits each.
    fn kaiming_uniform(&mut self, rows: usize, cols: usize) -> Vec<f32> {
        let bound = 3.0_f64.sqrt() * (2.0_f64.sqrt() / (cols as f64).sqrt());
        // PyTorch's loop is compiled to multiply and add with one rounding.
        let (from, to) = (-bound as f32, bound as f32);
        let (from, span) = (f64::from(from), f64::from(to - from));
        let one = |_| (f64::from(self.next() & 0x00ff_ffff) / 16_777_216.0 * span + from) as f32;
        (0..rows * cols).map(one).collect()
    }
}
