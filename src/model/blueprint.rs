//! What a model is: sizes, and the switches that the forward pass knows; and what a family of models is, that each
//! names. None of them is here, no file is opened: `families` make blueprints from what a file says of its model.
//!
//! Dimension letters, used everywhere, row-major and outermost first:
//! `B` batch, `N` token rows in this call, `T` tokens of one sequence, `S` tokens in cache,
//! `C` channels, `H` query heads, `K` key/value heads, `D` head size, `F` feed-forward width,
//! `V` vocabulary, `R` LoRA rank, `L` layers.

use std::fmt;

use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::ops::Growth;

use super::fields::{Fields, MAX_LAYERS, out_of_range};
use super::pooling::Pooling;
use super::roles::{Module, Role};
use super::rope::{Rope, RopeScaling};

/// How a row is normalised; the number is epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// x / rms(x) · weight (arXiv:1910.07467)
    Rms(f32),
    /// (x − mean) / std · weight + bias (arXiv:1607.06450)
    Layer(f32),
}

/// How attention and feed-forward of a layer follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// y = h + mlp(norm₂(h)), h = x + attention(norm₁(x))
    #[default]
    Serial,
    /// y = x + attention(norm₁(x)) + mlp(norm₂(x))
    Parallel,
    /// y = x + attention(norm(x)) + mlp(norm(x)), with one norm
    ParallelOneNorm,
}

/// What scales or caps the numbers of a whole model; the default changes none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scales {
    /// Factor on rows of the embedding.
    pub(crate) embedding: f32,
    /// Factor on the embeddings of virtual tokens, which are no rows of it.
    pub(crate) virtual_tokens: f32,
    /// Factor on what attention and feed-forward add to the residual stream, where no norm is behind them.
    pub(crate) residual: f32,
    /// Factor on logits.
    pub(crate) logits: f32,
    /// Attention scores s become cap · tanh(s / cap) (arXiv:2408.00118, 2.2); 0 is no cap.
    pub(crate) attention_cap: f32,
    /// Scaled logits likewise.
    pub(crate) logit_cap: f32,
    /// How queries grow with their positions.
    pub(crate) growth: Growth,
}

impl Default for Scales {
    fn default() -> Self {
        let [embedding, virtual_tokens, residual, logits] = [1.0; 4];
        let growth = Growth::default();
        Self { embedding, virtual_tokens, residual, logits, attention_cap: 0.0, logit_cap: 0.0, growth }
    }
}

/// A decoder-only transformer, as far as the forward pass needs to know it.
///
/// What scales or caps the whole model's numbers stands in [`Scales`], what differs between layers in
/// [`LayerSpec`]. Which norms a layer has, its family's table of modules says.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint {
    /// Names and storage of its checkpoints.
    pub family: &'static Family,
    /// `V`
    pub vocab_size: usize,
    /// `C`
    pub hidden_size: usize,
    /// `F`
    pub intermediate_size: usize,
    /// `H`
    pub num_attention_heads: usize,
    /// `K`
    pub num_key_value_heads: usize,
    /// `D`
    pub head_dim: usize,
    /// Longest context the checkpoint was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Whether a table of `max_position_embeddings` rows is added to the token embedding.
    pub learned_positions: bool,
    /// `E`: elements of a head that are rotated, its first.
    pub(crate) rotary_dim: usize,
    /// The rotations that layers choose from.
    pub ropes: Vec<Rope>,
    /// Whether elements 2i and 2i + 1 of a head are rotated together, in place of i and i + E/2.
    pub(crate) neighbours: bool,
    /// Whether feed-forward reads what attention has made, or stands beside it.
    pub(crate) order: Order,
    /// Normalisation of both blocks and of the last hidden state.
    pub(crate) norm: Norm,
    /// Whether norms have biases.
    pub(crate) norm_bias: bool,
    /// Factor on attention scores.
    pub(crate) attention_scale: f32,
    /// Further factors, and caps.
    pub(crate) scales: Scales,
    /// Non-linearity of the feed-forward block.
    pub(crate) activation: Activation,
    /// Whether the feed-forward block is act(gate x) ∘ (up x) or act(up x).
    pub gated: bool,
    /// Whether rows of a fused q, k and v lie by groups of heads: H / K of q, then k, then v.
    pub(crate) qkv_grouped: bool,
    /// Bias on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the attention output.
    pub o_bias: bool,
    /// Bias on the feed-forward linears.
    pub mlp_bias: bool,
    /// Bias on the head.
    pub(crate) head_bias: bool,
    /// Whether it is the text part of a model of more, whose other tensors are passed over.
    pub(crate) is_text_part: bool,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Put in front of a text by tokenizers that ask for it.
    pub bos_token_id: Option<u32>,
    /// Any of these ends a text.
    pub(crate) eos_token_ids: Vec<u32>,
    /// What it is as an encoder, if it is one: it writes no text, and every position sees all.
    pub(crate) encoder: Option<Encoder>,
    /// `L` of them, first to last.
    pub layers: Vec<LayerSpec>,
}

/// What an encoder has that a decoder has not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Encoder {
    /// Rows of the table of token types, whose first is added to every token's embedding; 0 is no table.
    pub(crate) token_types: usize,
    /// How its files want states to become one vector.
    pub(crate) pooling: Option<Pooling>,
}

/// What one layer may have of its own; the default is a plain one that sees all keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerSpec {
    /// How many keys back a query may look, itself included; of an encoder, how many on each side, itself not
    /// included. `None` is all.
    pub window: Option<usize>,
    /// Which of [`Blueprint::ropes`] rotates its queries and keys.
    pub(crate) rope: usize,
    /// Epsilon of the RMS norms of each head of queries and keys, if there are such.
    pub head_norm: Option<f32>,
    /// Whether such a norm is one of all heads together.
    pub(crate) norms_all_heads: bool,
}

/// Widest head the attention kernels accumulate in registers.
const MAX_HEAD_DIM: usize = 256;
/// Largest model accepted: beyond all there are, and few enough tensors to be listed.
const MAX_PARAMETERS: u64 = 1 << 40;

impl Blueprint {
    /// Whether an encoder has norms in front of attention and feed-forward, and one behind the last layer; else
    /// they stand behind each. The first layer's attention then reads what the embedding's norm has made.
    pub(crate) fn norms_in_front(&self) -> bool {
        self.family.has(Role::LastNorm)
    }

    /// Whether any layer rotates queries and keys.
    pub(crate) fn rotates(&self) -> bool {
        self.ropes.iter().any(|rope| *rope != Rope::Identity)
    }

    /// Whether what a block adds is normed or scaled before it joins the residual stream.
    pub(crate) fn has_branches(&self) -> bool {
        self.family.has(Role::AttentionPostNorm) || self.scales.residual != 1.0
    }

    /// Divides every rotation's frequencies by these (E/2); by the `long` ones in a long context.
    pub(crate) fn set_rope_factors(&mut self, values: &[f32], long: bool) {
        for rope in &mut self.ropes {
            match rope {
                Rope::Rotary { scaling: RopeScaling::LongRope { factors, .. }, .. } => {
                    factors[usize::from(long)] = values.to_vec();
                }
                Rope::Rotary { scaling, .. } => *scaling = RopeScaling::Factors(values.to_vec()),
                Rope::Identity => {}
            }
        }
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
            ("type_vocab_size", self.encoder.map_or(1, |encoder| encoder.token_types.max(1))),
        ] {
            if value == 0 || value > MOST {
                return Err(out_of_range(name, value));
            }
        }
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return Err(out_of_range("num_hidden_layers", self.layers.len()));
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
        let e = self.rotary_dim;
        if e == 0 || e > d || !e.is_multiple_of(2) {
            return Err(Error::unsupported(format!(
                "rotary positions on {e} of a head's {d} elements, expected an even number of them"
            )));
        }
        for rope in &self.ropes {
            let Rope::Rotary { scaling: RopeScaling::LongRope { factors, .. }, .. } = rope else { continue };
            if let Some(wrong) = factors.iter().find(|factors| !factors.is_empty() && factors.len() != e / 2)
            {
                return Err(Error::mismatch(format!(
                    "{} rotary factors, expected half of the {e} elements of a head that are rotated",
                    wrong.len()
                )));
            }
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

    /// Parameters of linear maps, embedding and head: nearly all there are.
    fn parameters(&self) -> u64 {
        let [v, c, f, h, k, d, layers] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
            self.layers.len(),
        ]
        .map(|size| size as u64);
        let layer = c * (2 * (h + k) * d + if self.gated { 3 } else { 2 } * f);
        layers.saturating_mul(layer) + if self.tie_word_embeddings { 1 } else { 2 } * v * c
    }
}

/// Models whose files describe, name and store them alike.
pub struct Family {
    /// For people.
    pub name: &'static str,
    /// `model_type` in `config.json`.
    pub(super) model_type: &'static str,
    /// `general.architecture` in GGUF files.
    pub(crate) architecture: &'static str,
    /// What whole checkpoints put in front of every name but the head's.
    pub(super) prefix: &'static str,
    /// What checkpoints call the head, which is `lm_head` here.
    pub(super) head: &'static str,
    /// What stands before a layer's number.
    pub(super) layer: &'static str,
    pub(super) modules: &'static [Module],
    /// What checkpoints subtract from the weights of norms, which a GGUF file has as they are.
    pub(super) norm_offset: f32,
    /// Ends of the names of tensors that follow from others, and hold no weights.
    pub(super) derived: &'static [&'static str],
    /// `model_type` of models that have one of this family as their text part, and no other arithmetic for texts.
    pub(super) wrapper: Option<&'static Wrapper>,
    /// Fields that change no number in this family, beside those that never do.
    pub(super) harmless: &'static [&'static str],
    pub(super) blueprint: fn(&Fields) -> Result<Blueprint>,
}

/// Models of texts and more, whose text part is a model of one family.
pub(super) struct Wrapper {
    pub(super) model_type: &'static str,
    /// What `text_config` may leave out.
    pub(super) defaults: &'static [(&'static str, u64)],
    /// Beginnings of the names of tensors that are no part of it.
    pub(super) beside: &'static [&'static str],
}

impl Family {
    /// Whether its checkpoints have such a module.
    pub(super) fn has(&self, role: Role) -> bool {
        self.modules.iter().any(|module| module.role == role)
    }

    /// See [`Module::path`].
    pub(super) fn module(&self, role: Role, l: usize) -> String {
        self.find(role).path(self.layer, l)
    }

    /// Whether checkpoints store its weight (in, out).
    pub(super) fn turns(&self, role: Role) -> bool {
        self.find(role).turned
    }

    fn find(&self, role: Role) -> &Module {
        let module = self.modules.iter().find(|module| module.role == role);
        module.unwrap_or_else(|| panic!("{} has no {role:?}", self.name))
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
