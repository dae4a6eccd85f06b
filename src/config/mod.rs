//! What a model is: the switches the forward pass knows, and the rotation of positions.
//! It opens no files; `json` reads what a checkpoint says of itself.
//!
//! Dimension letters, used everywhere, row-major and outermost first:
//! `B` batch, `N` token rows in this call, `T` tokens of one sequence, `S` tokens in cache,
//! `C` channels, `H` query heads, `K` key/value heads, `D` head size, `F` feed-forward width,
//! `V` vocabulary, `R` LoRA rank, `L` layers.

mod json;
mod keys;

pub use crate::activation::Activation;

use crate::error::{Error, Result};

/// Which checkpoint names and fused layouts to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 1 to 3 and everything published as `llama`; Mistral is the same with a window.
    Llama,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// LayerNorm, learned positions, transposed (Conv1D) weights.
    Gpt2,
}

/// How a row is normalised; the number is epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// x / rms(x) · weight (arXiv:1910.07467)
    Rms(f32),
    /// (x − mean) / std · weight + bias (arXiv:1607.06450)
    Layer(f32),
}

/// How a token learns where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// Rotary embedding of q and k (arXiv:2104.09864), half-split pairs (i, i + D/2).
    Rotary {
        /// Base of the geometric series of frequencies.
        theta: f64,
        /// Frequency correction, if the checkpoint asks for one.
        scaling: RopeScaling,
    },
    /// A table of `max_position_embeddings` rows added to the token embedding.
    Learned,
}

/// Frequency corrections of rotary embeddings, as `rope_scaling` names them.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None (`default`).
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// How much longer the context became.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// Divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of the original training.
        original_max_position_embeddings: f64,
    },
    /// Every frequency divided by a factor of its own; none while they are still to be read
    /// from the weights.
    Factors(
        /// (D/2)
        Vec<f32>,
    ),
}

/// A decoder-only transformer, as far as the forward pass needs to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Checkpoint naming.
    pub family: Family,
    /// `V`
    pub vocab_size: usize,
    /// `C`
    pub hidden_size: usize,
    /// `F`
    pub intermediate_size: usize,
    /// `L`
    pub num_hidden_layers: usize,
    /// `H`
    pub num_attention_heads: usize,
    /// `K`
    pub num_key_value_heads: usize,
    /// `D`
    pub head_dim: usize,
    /// Longest context the checkpoint was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Normalisation of both blocks and of the last hidden state.
    pub norm: Norm,
    /// Non-linearity of the feed-forward block.
    pub activation: Activation,
    /// Whether the feed-forward block is act(gate x) ∘ (up x) or act(up x).
    pub gated: bool,
    /// Position scheme.
    pub positions: Positions,
    /// Per layer: how many keys back a query may look, itself included; `None` is all.
    pub windows: Vec<Option<usize>>,
    /// Bias on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the attention output.
    pub o_bias: bool,
    /// Bias on the feed-forward linears.
    pub mlp_bias: bool,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Put in front of a text by tokenizers that ask for it.
    pub bos_token_id: Option<u32>,
    /// Any of these ends a text.
    pub eos_token_ids: Vec<u32>,
}

/// Widest head the attention kernels accumulate in registers.
pub const MAX_HEAD_DIM: usize = 256;
/// Largest model accepted: beyond all there are, and few enough tensors to be listed.
const MAX_PARAMETERS: u64 = 1 << 40;
/// Deepest model accepted.
pub const MAX_LAYERS: usize = 1024;

impl ModelConfig {
    /// The rotation of each position: row p is cos(p·f_i) for i in 0..D/2, then sin(p·f_i).
    ///
    /// -> (S, D). Angles are rounded to f32 as transformers rounds them. Learned positions
    /// rotate by nothing: cos 1, sin 0.
    pub fn rope_table(&self, s: usize) -> Vec<f32> {
        let half = self.head_dim / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| self.frequency(i)).collect();
        let mut table = Vec::with_capacity(s * self.head_dim);
        for pos in 0..s {
            let angles = frequencies.iter().map(|f| f64::from(pos as f32 * f));
            table.extend(angles.clone().map(|a| a.cos() as f32));
            table.extend(angles.map(|a| a.sin() as f32));
        }
        table
    }

    /// Refuses sizes that contradict each other or that no browser could hold, so that later
    /// arithmetic on shapes cannot overflow.
    ///
    /// Errors with `Unsupported` or `Mismatch` naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        const MOST: usize = 1 << 22;
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 || value > MOST {
                return Err(out_of_range(name, value));
            }
        }
        if self.num_hidden_layers == 0 || self.num_hidden_layers > MAX_LAYERS {
            return Err(out_of_range("num_hidden_layers", self.num_hidden_layers));
        }
        let (h, k, d) = (self.num_attention_heads, self.num_key_value_heads, self.head_dim);
        if h % k != 0 {
            return Err(Error::mismatch(format!(
                "num_attention_heads {h} is no multiple of num_key_value_heads {k}"
            )));
        }
        if d % 2 != 0 {
            return Err(Error::unsupported(format!("head_dim {d}, expected an even number")));
        }
        if d > MAX_HEAD_DIM {
            return Err(Error::unsupported(format!("head_dim {d}, expected at most {MAX_HEAD_DIM}")));
        }
        if h.saturating_mul(d) > MOST {
            return Err(out_of_range("num_attention_heads · head_dim", h.saturating_mul(d)));
        }
        if self.parameters() > MAX_PARAMETERS {
            return Err(Error::unsupported(format!(
                "{} parameters, expected at most {MAX_PARAMETERS}",
                self.parameters()
            )));
        }
        if let Some(&id) = self.eos_token_ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(Error::mismatch(format!(
                "eos_token_id {id}, expected below vocab_size {}",
                self.vocab_size
            )));
        }
        Ok(())
    }

    /// Numbers in linear maps, embedding and head: nearly all there are.
    fn parameters(&self) -> u64 {
        let [v, c, f, h, k, d, layers] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
            self.num_hidden_layers,
        ]
        .map(|size| size as u64);
        let layer = c * (2 * (h + k) * d + if self.gated { 3 } else { 2 } * f);
        layers.saturating_mul(layer) + if self.tie_word_embeddings { 1 } else { 2 } * v * c
    }

    fn frequency(&self, i: usize) -> f32 {
        let Positions::Rotary { theta, scaling } = &self.positions else { return 0.0 };
        let base = theta.powf(-(2.0 * i as f64) / self.head_dim as f64);
        let scaled = match scaling {
            RopeScaling::None => base,
            RopeScaling::Factors(factors) => base / factors.get(i).map_or(1.0, |&f| f.into()),
            RopeScaling::Linear { factor } => base / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original,
            } => {
                let wavelength = std::f64::consts::TAU / base;
                if wavelength < original / high_freq_factor {
                    base
                } else if wavelength > original / low_freq_factor {
                    base / factor
                } else {
                    let smooth =
                        (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * base / factor + smooth * base
                }
            }
        };
        scaled as f32
    }
}

fn out_of_range(name: &str, value: usize) -> Error {
    Error::unsupported(format!("{name} {value} is out of range"))
}
