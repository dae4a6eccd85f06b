//! The model's weights and their names in checkpoints. How their numbers come, `places` knows.
//!
//! q, k and v become one matrix, gate and up another, so that each is one dispatch where they have one
//! type; GPT-2's Conv1D weights (in, out) are turned to (out, in).

use std::collections::BTreeMap;

use crate::config::{Family, ModelConfig, Norm, Positions};
use crate::error::Result;
use crate::plan::{Dtype, TensorId, Tensors};

use super::bank::{Bank, Part};
use super::matrix::Matrix;
use super::places::Place;

/// A weight and its optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    /// (F, C)
    pub weight: Matrix,
    /// (F)
    pub bias: Option<TensorId>,
    /// Where in the bank adapters act on it.
    pub site: usize,
}

/// Scale and, for LayerNorm, shift.
#[derive(Debug)]
pub(super) struct NormWeights {
    /// (C)
    pub weight: TensorId,
    /// (C)
    pub bias: Option<TensorId>,
    /// Where in the bank adapters act on its output.
    pub point: usize,
}

/// One block of the decoder.
#[derive(Debug)]
pub(super) struct Layer {
    pub attention_norm: NormWeights,
    /// ((H + 2K)·D, C) = [q; k; v]
    pub qkv: Linear,
    /// (C, H·D)
    pub o: Linear,
    /// Where in the bank adapters act on the input of `o`.
    pub o_input: usize,
    pub mlp_norm: NormWeights,
    /// (F, C), or (2F, C) = [gate; up]
    pub up: Linear,
    /// (C, F)
    pub down: Linear,
    /// Where in the bank adapters act on the input of `down`.
    pub down_input: usize,
}

/// Every weight, and how far each checkpoint tensor has been loaded.
#[derive(Debug)]
pub struct Weights {
    /// (V, C)
    pub(super) embed: Matrix,
    /// (S, C), for learned positions
    pub(super) positions: Option<TensorId>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: NormWeights,
    /// (V, C); the embedding itself where tied
    pub(super) head: Linear,
    /// What whole checkpoints put in front of every name but the head's.
    pub(super) prefix: &'static str,
    /// Name of the embedding, without it.
    pub(super) embedding: &'static str,
    pub(super) places: BTreeMap<String, Place>,
    /// Whether linear maps come as (out, in), whatever checkpoints have.
    pub(super) turned: bool,
}

impl Weights {
    pub(super) fn declare(
        config: &ModelConfig,
        tensors: &mut Tensors,
        bank: &mut Bank,
        dtype_of: &dyn Fn(&str) -> Dtype,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut declare = Declare { tensors, bank, dtype_of, max_bytes, places: BTreeMap::new(), config };
        let (v, c) = (config.vocab_size, config.hidden_size);
        let names = Names::of(config.family);
        let embed = declare.matrix(names.embed, &[(v, dtype_of(names.embed))], c)?;
        declare.place(names.embed, &embed, 0, v, false);
        let embedding = names.embed.trim_end_matches(".weight");
        declare.bank.embed =
            declare.bank.site(declare.tensors, embedding, v, &[Part::new(embedding, c, true)])?;
        let positions = match config.positions {
            Positions::Learned => {
                let s = config.max_position_embeddings;
                let table = declare.matrix("wpe.weight", &[(s, Dtype::F32)], c)?;
                declare.place("wpe.weight", &table, 0, s, false);
                Some(table.whole("wpe.weight")?)
            }
            Positions::Rotary { .. } => None,
        };
        let layers =
            (0..config.num_hidden_layers).map(|l| declare.layer(&names, l)).collect::<Result<_>>()?;
        let norm = declare.norm(names.norm, false)?;
        let head = [Part::new("lm_head", v, false)];
        let head = if config.tie_word_embeddings {
            let site = declare.bank.site(declare.tensors, "lm_head", c, &head)?;
            Linear { weight: embed.clone(), bias: None, site }
        } else {
            declare.linear("lm_head", c, &head, false)?
        };
        let places = declare.places;
        let prefix = names.prefix;
        Ok(Self { embed, positions, layers, norm, head, prefix, embedding, places, turned: false })
    }
}

/// Checkpoint names that differ between families, without the base model's prefix.
pub(super) struct Names {
    pub prefix: &'static str,
    pub embed: &'static str,
    pub norm: &'static str,
    pub layer: &'static str,
    pub attention_norm: &'static str,
    pub mlp_norm: &'static str,
    pub q_k_v: &'static [&'static str],
    pub o: &'static str,
    pub up: &'static [&'static str],
    pub down: &'static str,
}

impl Names {
    pub fn of(family: Family) -> Self {
        match family {
            Family::Llama | Family::Qwen2 => Self {
                prefix: "model.",
                embed: "embed_tokens.weight",
                norm: "norm",
                layer: "layers",
                attention_norm: "input_layernorm",
                mlp_norm: "post_attention_layernorm",
                q_k_v: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                o: "self_attn.o_proj",
                up: &["mlp.gate_proj", "mlp.up_proj"],
                down: "mlp.down_proj",
            },
            Family::Gpt2 => Self {
                prefix: "transformer.",
                embed: "wte.weight",
                norm: "ln_f",
                layer: "h",
                attention_norm: "ln_1",
                mlp_norm: "ln_2",
                q_k_v: &["attn.c_attn"],
                o: "attn.c_proj",
                up: &["mlp.c_fc"],
                down: "mlp.c_proj",
            },
        }
    }
}

/// The name without the prefix that a headless checkpoint leaves out.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix("model.").or_else(|| name.strip_prefix("transformer.")).unwrap_or(name)
}

struct Declare<'a> {
    config: &'a ModelConfig,
    tensors: &'a mut Tensors,
    bank: &'a mut Bank,
    /// Of a linear map, the embedding or the head by its checkpoint name, where it fits.
    dtype_of: &'a dyn Fn(&str) -> Dtype,
    max_bytes: u64,
    places: BTreeMap<String, Place>,
}

impl Declare<'_> {
    fn layer(&mut self, names: &Names, l: usize) -> Result<Layer> {
        let config = self.config;
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |what: &str| format!("{}.{l}.{what}", names.layer);
        // One fused checkpoint tensor, or one for each part.
        let parts = |stems: &[&str], parts: &[(usize, bool)]| -> Vec<Part> {
            if let [stem] = stems {
                let all = parts.iter().copied().reduce(|(n, feeds), (m, feed)| (n + m, feeds || feed));
                all.into_iter().map(|(rows, feeds)| Part::new(name(stem), rows, feeds)).collect()
            } else {
                stems
                    .iter()
                    .zip(parts)
                    .map(|(stem, &(rows, feeds))| Part::new(name(stem), rows, feeds))
                    .collect()
            }
        };
        // Which of them feed the cache: its keys and values are k and v of this layer's input; all behind
        // them feeds only the next layer's.
        let next = l + 1 < config.num_hidden_layers;
        let q_k_v = parts(names.q_k_v, &[(q, next), (kv, true), (kv, true)]);
        let gate_up: &[_] = if config.gated { &[(f, next), (f, next)] } else { &[(f, next)] };
        let up = parts(names.up, gate_up);
        let [o, down] = [names.o, names.down].map(|stem| [Part::new(name(stem), c, next)]);
        let [o_input, down_input] = [names.o, names.down].map(|stem| format!("{}.input", name(stem)));
        Ok(Layer {
            attention_norm: self.norm(&name(names.attention_norm), true)?,
            qkv: self.linear(&name("qkv"), c, &q_k_v, config.qkv_bias)?,
            o: self.linear(&name("o"), q, &o, config.o_bias)?,
            o_input: self.bank.point(self.tensors, &o_input, q, next)?,
            mlp_norm: self.norm(&name(names.mlp_norm), next)?,
            up: self.linear(&name("up"), c, &up, config.mlp_bias)?,
            down: self.linear(&name("down"), f, &down, config.mlp_bias)?,
            down_input: self.bank.point(self.tensors, &down_input, f, next)?,
        })
    }

    /// A matrix of `cols` columns filled by `parts`, top to bottom.
    fn linear(&mut self, name: &str, cols: usize, parts: &[Part], with_bias: bool) -> Result<Linear> {
        let rows = parts.iter().map(|part| part.outputs).sum();
        let transposed = self.config.family == Family::Gpt2 && name != "lm_head";
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

    fn norm(&mut self, name: &str, feeds_cache: bool) -> Result<NormWeights> {
        let c = self.config.hidden_size;
        let with_bias = matches!(self.config.norm, Norm::Layer(_));
        let mut vector = |what: &str| {
            let name = format!("{name}.{what}");
            let vector = self.matrix(&name, &[(c, Dtype::F32)], 1)?;
            self.place(&name, &vector, 0, c, false);
            vector.whole(&name)
        };
        let weight = vector("weight")?;
        let bias = if with_bias { Some(vector("bias")?) } else { None };
        let point = self.bank.point(self.tensors, name, c, feeds_cache)?;
        Ok(NormWeights { weight, bias, point })
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
        let place = Place { shape, target: target.clone(), first, dtype, transposed, loaded: 0 };
        self.places.insert(name.to_owned(), place);
    }
}
