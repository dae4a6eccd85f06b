//! AdamW's numbers, and what surrounds them. Not its arithmetic, which is the device's.

/// AdamW (arXiv:1711.05101) and what surrounds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f32,
    /// Times the learning rate, taken from every parameter.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; 0 is no limit.
    pub max_norm: f32,
    /// Probability of an element of a LoRA's input to be dropped.
    pub dropout: f32,
    /// Of that noise.
    pub seed: u32,
}

impl Default for Optimizer {
    /// That of the published Temp-LoRA (arXiv:2401.11504), without dropout.
    fn default() -> Self {
        let betas = [0.9, 0.999];
        Self { betas, eps: 1e-7, weight_decay: 0.0, max_norm: 1.0, dropout: 0.0, seed: 0 }
    }
}
