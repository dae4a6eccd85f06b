//! What a GGUF model says of itself, as the [`ModelConfig`] that `config.json` would give.
//! Not its tensors' names, nor its tokenizer.
//!
//! Keys after `llama.cpp`'s `docs/gguf.md` and `llama-arch.cpp`. A key of the architecture that is
//! neither read nor known to change nothing is refused: computing without it might answer wrongly.

use super::{Header, Value};
use crate::config::{Activation, Family, MAX_LAYERS, ModelConfig, Norm, Positions, RopeScaling};
use crate::error::{Error, Result};

/// The tensor that divides rotary frequencies, (D/2); no checkpoint has it.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Keys after `{architecture}.` that are read here.
const READ: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.type",
    "vocab_size",
];
/// Those that change no number.
const WITHOUT_EFFECT: &[&str] =
    &["rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"];

impl Header {
    /// Whether there is a tokenizer in this file.
    pub fn has_tokenizer(&self) -> bool {
        let model = self.metadata.get("tokenizer.ggml.model").and_then(Value::as_text);
        model.is_some_and(|model| model != "no_vocab")
    }

    /// The id under `tokenizer.ggml.{name}`, if it is there.
    ///
    /// Errors with `Format` if it is none.
    pub fn token_id(&self, name: &str) -> Result<Option<u32>> {
        let read = |value: &Value| value.as_count().and_then(|id| u32::try_from(id).ok());
        self.get(&format!("tokenizer.ggml.{name}"), "a token id", read)
    }

    /// The architecture of the model in this file.
    ///
    /// Errors: `Format` where the file is no model, or a key is missing or of another type;
    /// `Unsupported` naming the key whose arithmetic is not implemented; `Mismatch` where keys
    /// contradict each other.
    pub fn model_config(&self) -> Result<ModelConfig> {
        let kind = self.get("general.type", "a text", Value::as_text)?.unwrap_or("model");
        if kind != "model" {
            return Err(Error::format(format!("GGUF file: general.type is `{kind}`, expected `model`")));
        }
        if let Some(parts) = self.count("split.count")?.filter(|&parts| parts > 1) {
            return Err(Error::unsupported(format!(
                "GGUF file: one of {parts} parts, expected a whole model"
            )));
        }
        let architecture = self.text("general.architecture")?;
        let family = match architecture {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "gpt2" => Family::Gpt2,
            other => {
                return Err(Error::unsupported(format!(
                    "GGUF file: general.architecture `{other}`, expected one of llama, qwen2, gpt2"
                )));
            }
        };
        let keys = Keys { header: self, architecture };
        keys.refuse_unknown()?;
        let config = keys.config(family)?;
        config.check().map_err(|e| e.context("GGUF metadata"))?;
        Ok(config)
    }
}

/// The keys of one architecture.
struct Keys<'a> {
    header: &'a Header,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        self.header.count(&self.key(name))
    }

    fn required(&self, name: &str) -> Result<usize> {
        let missing =
            || Error::format(format!("GGUF metadata `{}` is missing, expected a count", self.key(name)));
        self.count(name)?.ok_or_else(missing)
    }

    fn float(&self, name: &str) -> Result<Option<f64>> {
        self.header.get(&self.key(name), "a float", Value::as_float)
    }

    fn refused(&self, name: &str, value: impl std::fmt::Display) -> Error {
        Error::unsupported(format!("GGUF metadata `{}` {value} is not supported", self.key(name)))
    }

    fn refuse_unknown(&self) -> Result<()> {
        let prefix = self.key("");
        let mut names = self.header.metadata.keys().filter_map(|key| key.strip_prefix(&prefix));
        if let Some(name) = names.find(|name| !READ.contains(name) && !WITHOUT_EFFECT.contains(name)) {
            return Err(Error::unsupported(format!("GGUF metadata `{}` is not supported", self.key(name))));
        }
        for name in ["expert_count", "expert_used_count"] {
            if let Some(experts) = self.count(name)?.filter(|&experts| experts > 0) {
                return Err(self.refused(name, experts));
            }
        }
        match self.header.get(&self.key("attention.causal"), "a truth", Value::as_bool)? {
            Some(false) => Err(self.refused("attention.causal", false)),
            _ => Ok(()),
        }
    }

    fn config(&self, family: Family) -> Result<ModelConfig> {
        let has = |tensor: &str| self.header.tensor(tensor).is_some();
        let gpt2 = family == Family::Gpt2;
        let hidden_size = self.required("embedding_length")?;
        let layers = self.required("block_count")?;
        let heads = self.required("attention.head_count")?;
        let norm = match family {
            Family::Gpt2 => Norm::Layer(self.header.float(&self.key("attention.layer_norm_epsilon"))? as f32),
            _ => Norm::Rms(self.header.float(&self.key("attention.layer_norm_rms_epsilon"))? as f32),
        };
        let mut eos_token_ids = Vec::new();
        for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            let id = self.header.token_id(name)?;
            eos_token_ids.extend(id.filter(|id| !eos_token_ids.contains(id)));
        }
        Ok(ModelConfig {
            family,
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: self.required("feed_forward_length")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: self.count("attention.head_count_kv")?.unwrap_or(heads),
            head_dim: self.head_dim(hidden_size, heads)?,
            max_position_embeddings: self.required("context_length")?,
            norm,
            activation: if gpt2 { Activation::GeluTanh } else { Activation::Silu },
            gated: !gpt2,
            positions: if gpt2 { Positions::Learned } else { self.rotary()? },
            windows: self.windows(family, layers)?,
            qkv_bias: gpt2 || has("blk.0.attn_q.bias"),
            o_bias: gpt2 || has("blk.0.attn_output.bias"),
            mlp_bias: gpt2 || has("blk.0.ffn_up.bias"),
            tie_word_embeddings: !has("output.weight"),
            bos_token_id: self.header.token_id("bos_token_id")?,
            eos_token_ids,
        })
    }

    /// Rows of the embedding, which a vocabulary may have fewer of.
    fn vocab_size(&self) -> Result<usize> {
        let embedding = self.header.tensor("token_embd.weight");
        let rows = embedding.and_then(|embedding| embedding.shape.first().copied());
        let rows = rows.ok_or_else(|| Error::mismatch("tensor `token_embd.weight` is missing"))?;
        match self.count("vocab_size")?.filter(|&says| says != rows) {
            Some(says) => Err(Error::mismatch(format!(
                "GGUF metadata `{}` is {says}, tensor `token_embd.weight` has {rows} rows",
                self.key("vocab_size")
            ))),
            None => Ok(rows),
        }
    }

    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize> {
        let head_dim = match self.count("attention.key_length")? {
            Some(length) => length,
            None if hidden_size.checked_rem(heads) == Some(0) => hidden_size / heads,
            None => {
                return Err(Error::mismatch(format!(
                    "GGUF metadata `{}` {hidden_size} is no multiple of head_count {heads}",
                    self.key("embedding_length")
                )));
            }
        };
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(other) = self.count(name)?.filter(|&other| other != head_dim) {
                return Err(self.refused(name, format_args!("{other} beside a key length of {head_dim}")));
            }
        }
        Ok(head_dim)
    }

    fn rotary(&self) -> Result<Positions> {
        let theta = self.float("rope.freq_base")?.unwrap_or(10_000.0);
        let factor = self.float("rope.scaling.factor")?.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        for (name, value) in [("rope.freq_base", theta), ("rope.scaling.factor", factor)] {
            if !(value.is_finite() && value > 0.0) {
                let key = self.key(name);
                return Err(Error::format(format!(
                    "GGUF metadata `{key}` is {value}, expected a positive number"
                )));
            }
        }
        let name = self.key("rope.scaling.type");
        let linear = match self.header.get(&name, "a text", Value::as_text)? {
            Some("none") => false,
            None | Some("linear") => factor != 1.0,
            Some(other) => return Err(self.refused("rope.scaling.type", format_args!("`{other}`"))),
        };
        let scaling = match (self.header.tensor(ROPE_FACTORS).is_some(), linear) {
            (true, true) => {
                return Err(
                    self.refused("rope.scaling.factor", format_args!("beside tensor `{ROPE_FACTORS}`"))
                );
            }
            (true, false) => RopeScaling::Factors(Vec::new()),
            (false, true) => RopeScaling::Linear { factor },
            (false, false) => RopeScaling::None,
        };
        Ok(Positions::Rotary { theta, scaling })
    }

    /// Mistral's window, which all of its layers have; which of Qwen2's do is not said.
    fn windows(&self, family: Family, layers: usize) -> Result<Vec<Option<usize>>> {
        if layers > MAX_LAYERS {
            return Err(Error::unsupported(format!(
                "GGUF metadata `{}` is {layers}, expected at most {MAX_LAYERS}",
                self.key("block_count")
            )));
        }
        const NAME: &str = "attention.sliding_window";
        let window = self.count(NAME)?.filter(|&window| window > 0);
        match window {
            Some(window) if family != Family::Llama => Err(self.refused(NAME, window)),
            window => Ok(vec![window; layers]),
        }
    }
}
