//! The fields that every family knows without reading them: which change no number, which must be off.
//! Not their meaning; what one family alone knows stands in its file.

use serde_json::Value as Json;

use super::value::Field;
use super::{Fields, Source};
use crate::error::{Error, Result};
use crate::format::gguf::Value;
use crate::model::quantised::refused_config;

/// What a source says beside the fields that are read.
struct Known {
    /// Fields that change no number.
    harmless: &'static [&'static str],
    /// Fields that change the arithmetic unless they are off, and what they do.
    switches: &'static [Switch],
}

/// Name, what it must hold, what it does.
type Switch = (&'static str, Off, &'static str);

/// Of `config.json`.
const CONFIG: Known = Known { harmless: WITHOUT_EFFECT, switches: SWITCHES };

/// Of GGUF metadata, after the architecture's name.
const METADATA: Known = Known {
    harmless: &["rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"],
    switches: &[
        ("attention.causal", Off::True, "attention to later tokens"),
        ("attention.sliding_window", Off::Number(0.0), "attention within a window"),
        ("expert_count", Off::Number(0.0), "experts"),
        ("expert_used_count", Off::Number(0.0), "experts"),
    ],
};

/// What a field must hold to change nothing, beside null.
#[derive(Clone, Copy)]
enum Off {
    False,
    True,
    /// A list or an object.
    Empty,
    /// No number but this.
    Number(f64),
    /// A list of nothing but ones, or an empty one.
    Ones,
    /// Null alone.
    Null,
}

impl Off {
    fn is(self, field: Field) -> bool {
        match (self, field) {
            (Self::False, field) => field.flag() == Some(false),
            (Self::True, field) => field.flag() == Some(true),
            (Self::Number(off), field) => field.any_number() == Some(off),
            (Self::Empty | Self::Ones, Field::Json(Json::Array(items))) if items.is_empty() => true,
            (Self::Empty, Field::Json(Json::Object(entries))) => entries.is_empty(),
            (Self::Ones, Field::Json(Json::Array(items))) => {
                items.iter().all(|item| item.as_f64() == Some(1.0))
            }
            _ => false,
        }
    }
}

impl<'a> Fields<'a> {
    /// Errors with `Unsupported` naming a field that changes the arithmetic, or may, unless it was
    /// read or the family knows it as `harmless`.
    pub(crate) fn refuse_others(&self, harmless: &[&str]) -> Result<()> {
        let known = match self.source {
            Source::Config(_) => CONFIG,
            Source::Metadata { .. } => METADATA,
        };
        for (name, field) in self.all() {
            let is_read = self.asked.borrow().contains(name);
            if is_read || field.is_null() || harmless.contains(&name) || known.harmless.contains(&name) {
                continue;
            }
            match known.switches.iter().find(|(switch, ..)| *switch == name) {
                Some((_, off, _)) if off.is(field) => {}
                Some((.., does)) => return Err(self.forbidden(name, field, does)),
                None => return Err(self.unknown(name, field)),
            }
        }
        Ok(())
    }

    /// Every field that may say something of the arithmetic.
    fn all(&self) -> Vec<(&'a str, Field<'a>)> {
        match self.source {
            Source::Config(map) => {
                let public = map.iter().filter(|(name, _)| !name.starts_with('_'));
                public.map(|(name, value)| (name.as_str(), Field::Json(value))).collect()
            }
            Source::Metadata { header, architecture } => {
                let of_model = |(name, value): (&'a String, &'a Value)| {
                    let name = name.strip_prefix(architecture)?.strip_prefix('.')?;
                    Some((name, Field::Gguf(value)))
                };
                header.metadata.iter().filter_map(of_model).collect()
            }
        }
    }

    fn forbidden(&self, name: &str, field: Field, does: &str) -> Error {
        match self.source {
            Source::Config(_) => Error::unsupported(format!(
                "config.json: {name} {}: {does}, which is not supported",
                field.shown()
            )),
            Source::Metadata { architecture, .. } => Error::unsupported(format!(
                "GGUF metadata `{architecture}.{name}` {} is not supported",
                field.shown()
            )),
        }
    }

    fn unknown(&self, name: &str, field: Field) -> Error {
        match self.source {
            Source::Config(config) if QUANTISED.contains(&name) => {
                refused_config(name, config.get(name).unwrap_or(&Json::Null))
            }
            Source::Config(_) => Error::unsupported(format!(
                "config.json: {name} {}: an unknown key, which may change the arithmetic; if it does not, \
                 remove it or put `_` in front of it",
                field.shown()
            )),
            Source::Metadata { architecture, .. } => {
                Error::unsupported(format!("GGUF metadata `{architecture}.{name}` is not supported"))
            }
        }
    }
}

/// What tells of weights that are not numbers of their own.
const QUANTISED: &[&str] = &["compression_config", "quantization", "quantization_config"];

/// What says where a model comes from, how it was trained, or how a runtime is to be set.
const WITHOUT_EFFECT: &[&str] = &[
    // transformers' description of any model
    "architectures",
    "attn_implementation",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "label2id",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "cls_token_id",
    "mask_token_id",
    "pad_token_id",
    "prefix",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "tf_legacy_loss",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
    // how to generate, which a request says
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_implementation",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    // training
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "classifier_dropout",
    "dropout",
    "embd_pdrop",
    "embed_pdrop",
    "embedding_dropout",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "hidden_dropout",
    "hidden_dropout_prob",
    "initializer_range",
    "loss_type",
    "mlp_dropout",
    "neftune_noise_alpha",
    "resid_dropout",
    "resid_pdrop",
    "router_aux_loss_coef",
    // how to compute the same: in parts, in another precision, with another kernel
    "attention_softmax_in_fp32",
    "flash_attention",
    "fused_attention",
    "num_logits_to_keep",
    "pretraining_tp",
    "reorder_and_upcast_attn",
    "use_flash_attention",
    "use_flash_attention_2",
    "use_flash_attn",
    "use_fused_rmsnorm",
    "use_memory_efficient_attention",
    "use_sdpa",
    // of vendors
    "attention_sink_size",
    "context_window_size",
    "is_llama_config",
    "is_mistral_config",
    "is_qwen2_config",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
    "original_max_position_embeddings",
    "prefill_chunk_size",
    "seq_length",
    "tensor_parallel_shards",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
];

/// Keys that change the arithmetic unless they are off, and what they do.
const SWITCHES: &[Switch] = &[
    ("add_cross_attention", Off::False, "cross attention"),
    ("alibi", Off::False, "biases of distance in place of rotary positions"),
    ("attention_chunk_size", Off::Null, "attention within chunks"),
    ("attention_multiplier", Off::Null, "another scale of attention scores"),
    ("attention_out_bias", Off::False, "a bias of its own on the attention output"),
    ("attn_logit_softcapping", Off::Null, "soft caps on attention scores"),
    ("attn_temperature_tuning", Off::False, "attention scaled by position"),
    ("causal", Off::True, "attention to later tokens"),
    ("clip_qkv", Off::Null, "clipped queries, keys and values"),
    ("cross_attention_hidden_size", Off::Null, "cross attention"),
    ("embedding_multiplier", Off::Number(1.0), "scaled embeddings"),
    ("embedding_scale", Off::Number(1.0), "scaled embeddings"),
    ("final_logit_softcapping", Off::Null, "soft caps on logits"),
    ("head_bias", Off::False, "a bias on the head"),
    ("is_causal", Off::True, "attention to later tokens"),
    ("is_encoder_decoder", Off::False, "an encoder"),
    ("layernorm_embedding", Off::False, "a norm on the embedding"),
    ("lm_head_bias", Off::False, "a bias on the head"),
    ("logit_scale", Off::Number(1.0), "scaled logits"),
    ("logit_softcapping", Off::Null, "soft caps on logits"),
    ("logits_scaling", Off::Number(1.0), "scaled logits"),
    ("logits_soft_cap", Off::Null, "soft caps on logits"),
    ("mlp_only_layers", Off::Empty, "experts in the other layers"),
    ("moe_layers", Off::Empty, "experts"),
    ("multi_query", Off::False, "one key and value head"),
    ("n_routed_experts", Off::Number(0.0), "experts"),
    ("no_rope_layer_interval", Off::Number(0.0), "layers without rotary positions"),
    ("no_rope_layers", Off::Ones, "layers without rotary positions"),
    ("num_experts", Off::Number(0.0), "experts"),
    ("num_local_experts", Off::Number(0.0), "experts"),
    ("num_nextn_predict_layers", Off::Number(0.0), "layers that predict further tokens"),
    ("parallel_attn", Off::False, "attention and feed-forward side by side"),
    ("partial_rotary_factor", Off::Number(1.0), "rotary positions on a part of each head"),
    ("pruned_heads", Off::Empty, "pruned heads"),
    ("qk_layernorm", Off::False, "norms on queries and keys"),
    ("qk_norm", Off::False, "norms on queries and keys"),
    ("qkv_clip", Off::Null, "clipped queries, keys and values"),
    ("query_pre_attn_scalar", Off::Null, "another scale of attention scores"),
    ("residual_multiplier", Off::Number(1.0), "scaled residuals"),
    ("residual_scale", Off::Number(1.0), "scaled residuals"),
    ("rope_interleaved", Off::False, "rotary positions of neighbours"),
    ("rope_traditional", Off::False, "rotary positions of neighbours"),
    ("rotary_pct", Off::Number(1.0), "rotary positions on a part of each head"),
    ("scale_attn_by_inverse_layer_idx", Off::False, "attention scaled by layer"),
    ("scale_attn_weights", Off::True, "attention scores without a scale"),
    ("scale_emb", Off::Number(1.0), "scaled embeddings"),
    ("tie_encoder_decoder", Off::False, "an encoder"),
    ("use_bias", Off::False, "biases on all linear maps"),
    ("use_bidirectional_attention", Off::False, "attention to later tokens"),
    ("use_mrope", Off::False, "three positions a token"),
    ("use_parallel_residual", Off::False, "attention and feed-forward side by side"),
    ("use_qk_norm", Off::False, "norms on queries and keys"),
];
