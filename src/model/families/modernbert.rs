//! ModernBERT (arXiv:2412.13663): an encoder with rotary positions, gated feed-forward blocks and norms in front.
//! Most layers see a window on both sides; the first has no norm in front of its attention.

use super::plain::{Sizes, plain};
use super::{Family, llama};
use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::model::blueprint::{Blueprint, Encoder, LayerSpec, Norm};
use crate::model::fields::{self as field, Fields, INTERMEDIATE_SIZE, Key};
use crate::model::roles::{Module, Role};
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
    wrapper: None,
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
    let heads = fields.needed(field::HEADS)?;
    let sizes = Sizes {
        vocab: fields.vocab_size()?,
        hidden: fields.needed(field::HIDDEN_SIZE)?,
        intermediate: fields.needed(INTERMEDIATE_SIZE)?,
        heads,
        kv_heads: fields.count(KV_HEADS)?.unwrap_or(heads),
        head_dim: fields.head_dim(HEAD_DIM, [field::HIDDEN_SIZE, field::HEADS], None)?,
        context: fields.count_or(field::CONTEXT, 8192)?,
    };
    let bias = |key: Key| Ok::<_, Error>(fields.flag(key)?.unwrap_or(false));
    let rope = |key, kind, default| {
        let theta = fields.theta(key, kind, default)?;
        Ok::<_, Error>(Rope::Rotary { theta, scaling: RopeScaling::None })
    };
    let ropes =
        vec![rope(THETA, "full_attention", 160_000.0)?, rope(LOCAL_THETA, "sliding_attention", 10_000.0)?];
    let norm = Norm::Layer(fields.epsilon(EPS, 1e-5)?);
    // Where nothing names each, all but every so manieth see a window alone, half of which is on each side.
    let every = fields.count(EVERY)?.unwrap_or(3).max(1);
    let window = Some(fields.count_or(WINDOW, 128)? / 2);
    let windows = llama::windows(fields, window, fields.layers(field::LAYERS)?, |l| l % every != 0)?;
    let layer = |window: Option<usize>| {
        let rope = usize::from(window.is_some());
        LayerSpec { window, rope, ..LayerSpec::default() }
    };
    Ok(Blueprint {
        norm_bias: bias(NORM_BIAS)?,
        activation: fields.activation(ACTIVATION, Activation::Gelu)?,
        qkv_bias: bias(ATTENTION_BIAS)?,
        o_bias: bias(ATTENTION_BIAS)?,
        mlp_bias: bias(MLP_BIAS)?,
        tie_word_embeddings: true,
        encoder: Some(Encoder { token_types: 0, pooling: fields.pooling()? }),
        ..plain(&FAMILY, &sizes, norm, ropes, windows.into_iter().map(layer).collect(), false)
    })
}
