//! The model's weights, and of which checkpoint tensors they are made. How their numbers come, `places`
//! knows; what checkpoints call them, the model's family.
//!
//! q, k and v become one matrix, gate and up another, so that each is one dispatch where they have one
//! type; GPT-2's Conv1D weights (in, out) are turned to (out, in).

use std::collections::BTreeMap;

use crate::error::Result;
use crate::plan::{Dtype, TensorId, Tensors};

use super::bank::Bank;
use super::blueprint::Family;
use super::blueprint::{Blueprint, Order};
use super::matrix::{Matrix, Place};
use super::roles::Role;
use super::sites::{Part, Span};
use super::table_sum::TableSum;

/// A weight and its optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    /// (F, C)
    pub weight: Matrix,
    /// (F)
    pub bias: Option<TensorId>,
    /// Where in the bank adapters act on it.
    pub(crate) site: usize,
}

/// Scale and, for LayerNorm, shift.
#[derive(Clone, Debug)]
pub(super) struct NormWeights {
    /// (C)
    pub(crate) weight: TensorId,
    /// (C)
    pub(crate) bias: Option<TensorId>,
    /// Where in the bank adapters act on its output.
    pub(crate) point: usize,
}

/// Norms of each head of queries and keys.
#[derive(Debug)]
pub(super) struct HeadNorms {
    /// (D), of q and of k; or (H·D) and (K·D)
    pub(crate) weights: [TensorId; 2],
    /// Norms of q in a row.
    pub(crate) q_heads: usize,
    /// Added to the mean square.
    pub(crate) eps: f32,
    /// Where in the bank adapters act on [norm(q) | norm(k) | v].
    pub(crate) point: usize,
}

/// One block of the decoder.
#[derive(Debug)]
pub(super) struct Layer {
    /// In front of attention, if there is one.
    pub(crate) attention_norm: Option<NormWeights>,
    /// ((H + 2K)·D, C) = [q; k; v]
    pub(crate) qkv: Linear,
    pub(crate) head_norms: Option<HeadNorms>,
    /// (C, H·D)
    pub(crate) o: Linear,
    /// Where in the bank adapters act on the input of `o`.
    pub(crate) o_input: usize,
    /// Behind `o`, if there is one.
    pub(crate) attention_post_norm: Option<NormWeights>,
    /// In front of the feed-forward block, if there is one.
    pub(crate) mlp_norm: Option<NormWeights>,
    /// (F, C), or (2F, C) = [gate; up]
    pub(crate) up: Linear,
    /// (C, F)
    pub(crate) down: Linear,
    /// Where in the bank adapters act on the input of `down`.
    pub(crate) down_input: usize,
    /// Behind `down`, if there is one.
    pub(crate) mlp_post_norm: Option<NormWeights>,
}

/// Every weight, and how far each checkpoint tensor has been loaded.
#[derive(Debug)]
pub struct Weights {
    /// (V, C)
    pub(super) embed: Matrix,
    /// (S, C), for learned positions
    pub(super) positions: Option<TensorId>,
    /// Behind the embedding, if there is one.
    pub(super) embed_norm: Option<NormWeights>,
    pub(super) layers: Vec<Layer>,
    /// Behind the last layer, if there is one; a decoder has it.
    norm: Option<NormWeights>,
    /// (V, C); the embedding itself where tied
    pub(super) head: Linear,
    pub(super) family: &'static Family,
    /// Beginnings of the names of tensors that are passed over.
    pub(super) beside: &'static [&'static str],
    pub(super) places: BTreeMap<String, Place>,
    /// Of all rows that have come, as they are held.
    pub(super) digest: u64,
    /// Whether linear maps come as (out, in), whatever checkpoints have.
    pub(super) turned: bool,
    /// Tables that become one on the way, of an encoder.
    pub(super) sum: Option<TableSum>,
    /// Whether it is saved without a head, and so without a prefix.
    pub(super) headless: bool,
}

impl Weights {
    pub(super) fn declare(
        config: &Blueprint,
        tensors: &mut Tensors,
        bank: &mut Bank,
        dtype_of: &dyn Fn(&str) -> Dtype,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut declare =
            Declare { tensors, bank, dtype_of, max_bytes, places: BTreeMap::new(), config, embed_norm: None };
        let (v, c) = (config.vocab_size, config.hidden_size);
        let family = config.family;
        let embedding = family.module(Role::Embedding, 0);
        let embed = declare.table(&embedding, v, dtype_of(&format!("{embedding}.weight")))?;
        let parts = [Part::new(&*embedding, c, true)];
        declare.bank.embed = declare.bank.site(declare.tensors, &embedding, v, &parts)?;
        let (mut positions, mut sum) = (None, None);
        if config.learned_positions {
            let name = family.module(Role::Positions, 0);
            let rows = config.max_position_embeddings;
            let table = declare.table(&name, rows, Dtype::F32)?;
            positions = Some(table.whole(&name)?);
            if let Some(types) = config.encoder.map(|encoder| encoder.token_types).filter(|&rows| rows > 0) {
                let types_name = format!("{}.weight", family.module(Role::TokenTypes, 0));
                let place = Place { target: table.clone(), ..Place::of_table(types, c) };
                declare.places.insert(types_name.clone(), place);
                sum = Some(TableSum::new(format!("{name}.weight"), types_name));
            }
        }
        let has_embed_norm = family.has(Role::EmbeddingNorm);
        let embed_norm = has_embed_norm.then(|| declare.norm(&family.module(Role::EmbeddingNorm, 0), true));
        let embed_norm = embed_norm.transpose()?;
        declare.embed_norm.clone_from(&embed_norm);
        let layers = (0..config.layers.len()).map(|l| declare.layer(l)).collect::<Result<_>>()?;
        let norm = family.has(Role::LastNorm).then(|| declare.norm(&family.module(Role::LastNorm, 0), false));
        let norm = norm.transpose()?;
        let head = [Part::new("lm_head", v, false)];
        let head = if config.tie_word_embeddings {
            let site = declare.bank.site(declare.tensors, "lm_head", c, &head)?;
            Linear { weight: embed.clone(), bias: None, site }
        } else {
            declare.linear("lm_head", c, &head, family.turns(Role::Head), config.head_bias)?
        };
        let (places, headless) = (declare.places, config.encoder.is_some());
        let wrapper = family.wrapper.filter(|_| config.is_text_part);
        let beside = wrapper.map_or(&[][..], |wrapper| wrapper.beside);
        Ok(Self {
            embed,
            positions,
            embed_norm,
            layers,
            norm,
            head,
            family,
            beside,
            places,
            digest: 0,
            turned: false,
            sum,
            headless,
        })
    }

    /// Behind the last layer. Panics if there is none, as in an encoder with norms behind each.
    pub(super) fn last_norm(&self) -> &NormWeights {
        self.norm.as_ref().expect("a decoder has a last norm")
    }
}

struct Declare<'a> {
    config: &'a Blueprint,
    tensors: &'a mut Tensors,
    bank: &'a mut Bank,
    /// Of a linear map, the embedding or the head by its checkpoint name, where it fits.
    dtype_of: &'a dyn Fn(&str) -> Dtype,
    max_bytes: u64,
    places: BTreeMap<String, Place>,
    /// Behind the embedding, if there is one.
    embed_norm: Option<NormWeights>,
}

impl Declare<'_> {
    /// A table (rows, C) of which tokens look up rows.
    fn table(&mut self, name: &str, rows: usize, dtype: Dtype) -> Result<Matrix> {
        let name = format!("{name}.weight");
        let table = self.matrix(&name, &[(rows, dtype)], self.config.hidden_size)?;
        self.place(&name, &table, 0, rows, false);
        Ok(table)
    }

    fn layer(&mut self, l: usize) -> Result<Layer> {
        let config = self.config;
        let family = config.family;
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |role| family.module(role, l);
        // Which maps feed the cache: its keys and values are k and v of this layer's input; all behind
        // them feeds only the next layer's.
        let next = l + 1 < config.layers.len();
        // One checkpoint tensor for all three, or one for each.
        let q_k_v: &[_] = if family.has(Role::Qkv) {
            &[(Role::Qkv, q + 2 * kv, true)]
        } else {
            &[(Role::Q, q, next), (Role::K, kv, true), (Role::V, kv, true)]
        };
        let up: &[_] = if family.has(Role::GateUp) {
            &[(Role::GateUp, 2 * f, next)]
        } else if config.gated {
            &[(Role::Gate, f, next), (Role::Up, f, next)]
        } else {
            &[(Role::Up, f, next)]
        };
        let [o_input, down_input] = [Role::O, Role::Down].map(|role| format!("{}.input", name(role)));
        Ok(Layer {
            attention_norm: match &self.embed_norm {
                Some(norm) if l == 0 && config.norms_in_front() => Some(norm.clone()),
                _ => self.norm_of(Role::AttentionNorm, l, true)?,
            },
            qkv: self.map("qkv", l, c, q_k_v, config.qkv_bias)?,
            head_norms: config.layers[l].head_norm.map(|eps| self.head_norms(l, eps, next)).transpose()?,
            o: self.map("o", l, q, &[(Role::O, c, next)], config.o_bias)?,
            o_input: self.bank.point(self.tensors, &o_input, q, next)?,
            attention_post_norm: self.norm_of(Role::AttentionPostNorm, l, next)?,
            mlp_norm: match config.order {
                Order::ParallelOneNorm => None,
                _ => self.norm_of(Role::MlpNorm, l, next)?,
            },
            up: self.map("up", l, c, up, config.mlp_bias)?,
            down: self.map("down", l, f, &[(Role::Down, c, next)], config.mlp_bias)?,
            down_input: self.bank.point(self.tensors, &down_input, f, next)?,
            mlp_post_norm: self.norm_of(Role::MlpPostNorm, l, next)?,
        })
    }

    /// A linear map of layer `l` made of `parts`, top to bottom: role, rows, whether it feeds the cache.
    /// They are stored alike.
    fn map(
        &mut self,
        what: &str,
        l: usize,
        cols: usize,
        parts: &[(Role, usize, bool)],
        with_bias: bool,
    ) -> Result<Linear> {
        let family = self.config.family;
        let turned = parts.iter().any(|(role, ..)| family.turns(*role));
        let part = |&(role, rows, feeds)| Part::new(family.module(role, l), rows, feeds);
        let parts: Vec<_> = parts.iter().map(part).collect();
        self.linear(&format!("{}.{l}.{what}", family.layer), cols, &parts, turned, with_bias)
    }

    /// A matrix of `cols` columns filled by `parts`, top to bottom.
    fn linear(
        &mut self,
        name: &str,
        cols: usize,
        parts: &[Part],
        transposed: bool,
        with_bias: bool,
    ) -> Result<Linear> {
        let rows = parts.iter().map(|part| part.outputs).sum();
        let typed = |part: &Part| (part.outputs, (self.dtype_of)(&format!("{}.weight", part.module)));
        let types: Vec<_> = parts.iter().map(typed).collect();
        let weight = self.matrix(&format!("{name}.weight"), &types, cols)?;
        let bias = with_bias.then(|| self.matrix(&format!("{name}.bias"), &[(rows, Dtype::F32)], 1));
        let bias = bias.transpose()?;
        let mut first = 0;
        for Part { module, outputs, .. } in parts {
            self.place(&format!("{module}.weight"), &weight, first, *outputs, transposed);
            if let Some(bias) = &bias {
                self.place(&format!("{module}.bias"), bias, first, *outputs, false);
            }
            first += outputs;
        }
        let bias = bias.map(|bias| bias.whole(name)).transpose()?;
        let site = self.bank.site(self.tensors, name, cols, parts)?;
        Ok(Linear { weight, bias, site })
    }

    /// A norm of layer `l`, if the family has such.
    fn norm_of(&mut self, role: Role, l: usize, feeds_cache: bool) -> Result<Option<NormWeights>> {
        let family = self.config.family;
        family.has(role).then(|| self.norm(&family.module(role, l), feeds_cache)).transpose()
    }

    fn norm(&mut self, name: &str, feeds_cache: bool) -> Result<NormWeights> {
        let c = self.config.hidden_size;
        let weight = self.norm_weight(name, c)?;
        let bias = if self.config.norm_bias { Some(self.vector(&format!("{name}.bias"), c)?) } else { None };
        let point = self.bank.point(self.tensors, name, c, feeds_cache)?;
        Ok(NormWeights { weight, bias, point })
    }

    /// Norms of each head; those of q and k are two parts of one point.
    fn head_norms(&mut self, l: usize, eps: f32, next: bool) -> Result<HeadNorms> {
        let &Blueprint { family, num_attention_heads: h, num_key_value_heads: k, head_dim: d, .. } =
            self.config;
        let names = [Role::QNorm, Role::KNorm].map(|role| family.module(role, l));
        let [q, k_] = &names;
        // Of each head, or of all together.
        let together = self.config.layers[l].norms_all_heads;
        let [(q_heads, q_dim), (k_heads, k_dim)] = [h, k].map(|n| if together { (1, n * d) } else { (n, d) });
        let (of_q, of_k) = (self.norm_weight(q, q_dim)?, self.norm_weight(k_, k_dim)?);
        let spans = [
            (&**q, Span { point: 0, first: 0, cols: q_dim, repeats: q_heads, feeds_cache: next }),
            (&**k_, Span { point: 0, first: h * d, cols: k_dim, repeats: k_heads, feeds_cache: true }),
        ];
        let name = format!("{}.{l}.head_norms", family.layer);
        let point = self.bank.point_of(self.tensors, &name, (h + 2 * k) * d, spans)?;
        Ok(HeadNorms { weights: [of_q, of_k], q_heads, eps, point })
    }

    /// The weight of a norm, (len), which checkpoints may have less an offset.
    fn norm_weight(&mut self, name: &str, len: usize) -> Result<TensorId> {
        let name = format!("{name}.weight");
        let weight = self.vector(&name, len)?;
        let offset = self.config.family.norm_offset;
        self.places.entry(name).and_modify(|place| place.offset = offset);
        Ok(weight)
    }

    /// (len) of the checkpoint.
    fn vector(&mut self, name: &str, len: usize) -> Result<TensorId> {
        let vector = self.matrix(name, &[(len, Dtype::F32)], 1)?;
        self.place(name, &vector, 0, len, false);
        vector.whole(name)
    }

    fn matrix(&mut self, name: &str, parts: &[(usize, Dtype)], cols: usize) -> Result<Matrix> {
        Matrix::declare(self.tensors, name, parts, cols, self.max_bytes)
    }

    fn place(&mut self, name: &str, target: &Matrix, first: usize, rows: usize, transposed: bool) {
        let shape = match (target.cols, transposed) {
            (1, _) => vec![rows],
            (cols, true) => vec![cols, rows],
            (cols, false) => vec![rows, cols],
        };
        // All its rows have one type.
        let tensor = target.runs(first, rows).first().map(|(tensor, ..)| self.tensors.get(*tensor));
        let dtype = tensor.map_or(Dtype::F32, |tensor| tensor.dtype);
        let place = Place { shape, target: target.clone(), first, dtype, transposed, offset: 0.0, loaded: 0 };
        self.places.insert(name.to_owned(), place);
    }
}
