//! VeRA's shared A and B where the file leaves them to PyTorch's random numbers.
//! Not a source of randomness: the same seed gives the same matrices, PyTorch's bit for bit.

use super::{AdapterConfig, Method};
use crate::error::{Error, Result};
use crate::mersenne_twister::MersenneTwister;

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
        let a = kaiming_uniform(&mut random, *r, c_in);
        let b = kaiming_uniform(&mut random, c_out, *r);
        Ok(Some((a, b)))
    }
}

/// (rows, cols) of numbers in ±√3 · √2 / √cols, of 24 random bits each.
fn kaiming_uniform(random: &mut MersenneTwister, rows: usize, cols: usize) -> Vec<f32> {
    let bound = 3.0_f64.sqrt() * (2.0_f64.sqrt() / (cols as f64).sqrt());
    // PyTorch's loop is compiled to multiply and add with one rounding.
    let (from, to) = (-bound as f32, bound as f32);
    let (from, span) = (f64::from(from), f64::from(to - from));
    let one = |_| (f64::from(random.uniform()) * span + from) as f32;
    (0..rows * cols).map(one).collect()
}
