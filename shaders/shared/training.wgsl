// training: numbers of the current training step; the fields of `Training` in
// src/kernels/control.rs.

struct Training {
    seed: u32,
    dropout: f32,
    loss_weight: f32,
    max_norm: f32,
    learning_rate: f32,
    weight_decay: f32,
    eps: f32,
    rates: array<f32, 2>,
    corrections: array<f32, 2>,
    padding: u32,
}
