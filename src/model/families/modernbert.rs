//! ModernBERT (arXiv:2412.13663): an encoder with rotary positions, gated feed-forward blocks and norms in front.
//! Most layers see a window on both sides; the first has no norm in front of its attention.

use super::Family;
use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::model::blueprint::{Blueprint, Encoder, LayerSpec, Norm, Order, Scales};
use crate::model::fields::{self as field, Fields, INTERMEDIATE_SIZE, Key};
use crate::model::names::{Module, Role};
use crate::model::rope::{Rope, RopeScaling};

pub(super) const FAMILY: Family = Family {
    name: "ModernBert",
    model_type: "modernbert",
    architecture: "modern-bert",
    prefix: "model.",
    head: "lm_head",
    layer: "layers",
    modules: &[
        Module::new(Role::Embedding, "embeddings.tok_embeddings", "token_embd"),
        Module::new(Role::EmbeddingNorm, "embeddings.norm", "token_embd_norm"),
        Module::new(Role::AttentionNorm, "attn_norm", "attn_norm"),
        Module::new(Role::Qkv, "attn.Wqkv", "attn_qkv"),
        Module::new(Role::O, "attn.Wo", "attn_output"),
        Module::new(Role::MlpNorm, "mlp_norm", "ffn_norm"),
        Module::new(Role::GateUp, "mlp.Wi", "ffn_up"),
        Module::new(Role::Down, "mlp.Wo", "ffn_down"),
        Module::new(Role::LastNorm, "final_norm", "output_norm"),
    ],
    // what states are made into for the task of its training
    norm_offset: 0.0,
    derived: &["head.dense.weight", "head.norm.weight", "decoder.weight", "decoder.bias"],
    harmless: &[
        // of heads and of training
        "classifier_activation",
        "classifier_bias",
        "classifier_pooling",
        "decoder_bias",
        "initializer_cutoff_factor",
        "sparse_pred_ignore_index",
        "sparse_prediction",
        "tie_word_embeddings",
        // how to compute the same
        "deterministic_flash_attn",
        "reference_compile",
        "repad_logits_with_grad",
        // there are no learned positions, and this is another spelling of norm_eps
        "layer_norm_eps",
        "position_embedding_type",
        // a text begins and ends as its tokenizer says
        "bos_token_id",
        "eos_token_id",
    ],
    blueprint,
};

const ACTIVATION: Key = Key::new("hidden_activation", "");
const ATTENTION_BIAS: Key = Key::new("attention_bias", "");
const EPS: Key = Key::new("norm_eps", "attention.layer_norm_epsilon");
const EVERY: Key = Key::new("global_attn_every_n_layers", "");
const HEAD_DIM: Key = Key::new("", "attention.key_length");
const KV_HEADS: Key = Key::new("", "attention.head_count_kv");
const MLP_BIAS: Key = Key::new("mlp_bias", "");
const NORM_BIAS: Key = Key::new("norm_bias", "");
const WINDOW: Key = Key::new("local_attention", "attention.sliding_window");
const THETA: Key = Key::new("global_rope_theta", "rope.freq_base");
const LOCAL_THETA: Key = Key::new("local_rope_theta", "rope.freq_base_swa");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let hidden_size = fields.needed(field::HIDDEN_SIZE)?;
    let heads = fields.needed(field::HEADS)?;
    let head_dim = fields.head_dim(HEAD_DIM, [field::HIDDEN_SIZE, field::HEADS], None)?;
    let bias = |key: Key| Ok::<_, Error>(fields.flag(key)?.unwrap_or(false));
    let rope = |key, kind, default| {
        let theta = fields.theta(key, kind, default)?;
        Ok::<_, Error>(Rope::Rotary { theta, scaling: RopeScaling::None })
    };
    let window = fields.count_or(WINDOW, 128)?;
    let local = locals(fields, fields.layers(field::LAYERS)?)?.into_iter();
    Ok(Blueprint {
        family: &FAMILY,
        vocab_size: fields.vocab_size()?,
        hidden_size,
        intermediate_size: fields.needed(INTERMEDIATE_SIZE)?,
        num_attention_heads: heads,
        num_key_value_heads: fields.count(KV_HEADS)?.unwrap_or(heads),
        head_dim,
        rotary_dim: head_dim,
        max_position_embeddings: fields.count_or(field::CONTEXT, 8192)?,
        learned_positions: false,
        ropes: vec![
            rope(THETA, "full_attention", 160_000.0)?,
            rope(LOCAL_THETA, "sliding_attention", 10_000.0)?,
        ],
        norm: Norm::Layer(fields.epsilon(EPS, 1e-5)?),
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        scales: Scales::default(),
        activation: fields.activation(ACTIVATION, Activation::Gelu)?,
        gated: true,
        head_bias: false,
        order: Order::Serial,
        qkv_grouped: false,
        qkv_bias: bias(ATTENTION_BIAS)?,
        o_bias: bias(ATTENTION_BIAS)?,
        mlp_bias: bias(MLP_BIAS)?,
        tie_word_embeddings: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        encoder: Some(Encoder { token_types: 0, norm_bias: bias(NORM_BIAS)?, pooling: fields.pooling()? }),
        layers: local
            .map(|is_local| LayerSpec {
                window: is_local.then_some(window / 2),
                rope: usize::from(is_local),
                ..LayerSpec::default()
            })
            .collect(),
    })
}

/// Which layers see a window alone: as `layer_types` has it, or all but every third.
fn locals(fields: &Fields, layers: usize) -> Result<Vec<bool>> {
    let Some(types) = fields.texts(Key::new("layer_types", ""))? else {
        let every = fields.count(EVERY)?.unwrap_or(3).max(1);
        return Ok((0..layers).map(|l| l % every != 0).collect());
    };
    fields.count(EVERY)?;
    if types.len() != layers {
        return Err(Error::mismatch(format!(
            "config.json: layer_types has {} entries, expected num_hidden_layers {layers}",
            types.len()
        )));
    }
    let is_local = |name| match name {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => Err(Error::unsupported(format!("config.json: layer type `{other}` is not supported"))),
    };
    types.into_iter().map(is_local).collect()
}
