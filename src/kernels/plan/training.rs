//! What changes from one training step to the next, so that plans need not.

/// The `training (12)` tensor: numbers of the current step that steps of backward plans read.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Training {
    /// Names the noise of dropout.
    pub seed: u32,
    /// Probability p, 0 <= p < 1, of an element to be dropped.
    pub dropout: f32,
    /// Factor on the gradient of each label's loss: 1 / labels where their mean is the loss.
    pub loss_weight: f32,
    /// The gradients are scaled down where their norm exceeds this; 0 never does.
    pub max_norm: f32,
    /// AdamW's learning rate.
    pub learning_rate: f32,
    /// AdamW's decay, times the learning rate, of parameters.
    pub weight_decay: f32,
    /// Added to AdamW's denominator.
    pub eps: f32,
    /// 1 − β of the first and of the second moment.
    pub rates: [f32; 2],
    /// 1 − β₁ᵗ and √(1 − β₂ᵗ) at step t.
    pub corrections: [f32; 2],
    /// Zero.
    pub padding: u32,
}

impl Training {
    /// Sets what depends on the decay rates β of the moments and on the step t, which begins at 1.
    ///
    /// In f64, as PyTorch does: 1 − 0.999 in f32 is off by 1e-5 of itself.
    pub fn set_step(&mut self, betas: [f64; 2], t: u32) {
        self.rates = betas.map(|beta| (1.0 - beta) as f32);
        let [first, second] = betas.map(|beta| 1.0 - beta.powf(f64::from(t)));
        self.corrections = [first as f32, second.sqrt() as f32];
    }
}
