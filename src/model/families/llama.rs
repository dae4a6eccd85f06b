//! Llama 1 to 3, and everything published as `llama`: RMS norms, rotary positions, a gated feed-forward
//! block. What other families have in common with it, they take from here.

use super::Family;
use super::plain::{Sizes, plain};
use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::model::blueprint::{Blueprint, LayerSpec, Norm};
use crate::model::fields::{
    ACTIVATION, Fields, HEAD_DIM, HEADS, HIDDEN_SIZE, Key, LAYERS, RMS_NORM_EPS, out_of_range,
};
use crate::model::roles::{Module, Role};
use crate::model::rope::Rope;

pub(super) const FAMILY: Family = Family {
    name: "Llama",
    model_type: "llama",
    architecture: "llama",
    prefix: "model.",
    layer: "layers",
    modules: INTERLEAVED,
    norm_offset: 0.0,
    head: "lm_head",
    wrapper: None,
    derived: &["rotary_emb.inv_freq"],
    harmless: HARMLESS,
    blueprint,
};

/// llama.cpp rotates neighbours, which it alone does with this family and Mistral.
pub(super) const INTERLEAVED: &[Module] = &modules([
    Module::new(Role::Q, "self_attn.q_proj", "attn_q").interleaved(),
    Module::new(Role::K, "self_attn.k_proj", "attn_k").interleaved(),
]);

/// Modules whose rows are everywhere in one order.
pub(super) const PLAIN: &[Module] = &modules([
    Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
    Module::new(Role::K, "self_attn.k_proj", "attn_k"),
]);

const fn modules([q, k]: [Module; 2]) -> [Module; 12] {
    [
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        q,
        k,
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::MlpNorm, "post_attention_layernorm", "ffn_norm"),
        Module::new(Role::Gate, "mlp.gate_proj", "ffn_gate"),
        Module::new(Role::Up, "mlp.up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ]
}

/// What Qwen2's code reads, and an epsilon of norms that are not these.
pub(super) const HARMLESS: &[&str] = &["max_window_layers", "attention.layer_norm_epsilon"];

/// Keys that a query sees; MLC has its own name.
pub(super) const WINDOW: Key = Key::new("sliding_window", "attention.sliding_window");
const MLC_WINDOW: Key = Key::new("sliding_window_size", "");
pub(super) const WINDOW_ASKED: Key = Key::new("use_sliding_window", "");
/// What the size of a head follows from.
pub(super) const SIZES: [Key; 2] = [HIDDEN_SIZE, HEADS];
const ATTENTION_BIAS: Key = Key::new("attention_bias", "");
const MLP_BIAS: Key = Key::new("mlp_bias", "");

/// A window in `config.json` is one that transformers' code for this family would not look at; llama.cpp
/// calls Mistral `llama` too.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let window = match (window(fields, None)?, fields.flag(WINDOW_ASKED)?) {
        (Some(window), asked) if !fields.are_metadata() && asked != Some(false) => {
            return Err(refused_window(window, asked, "llama"));
        }
        (window, _) => window.filter(|_| fields.are_metadata()),
    };
    let head_dim = fields.head_dim(HEAD_DIM, SIZES, None)?;
    of(fields, head_dim, (window, 0))
}

/// A model of this kind with heads of this size, whose layers, or those from `first` on where nothing
/// names each, have this window.
pub(super) fn of(
    fields: &Fields,
    head_dim: usize,
    (window, first): (Option<usize>, usize),
) -> Result<Blueprint> {
    let layers = windows(fields, window, fields.layers(LAYERS)?, |l| l >= first)?;
    let layers = layers.into_iter().map(|window| LayerSpec { window, ..LayerSpec::default() });
    built(fields, head_dim, vec![fields.rope()?], layers.collect())
}

/// A model of this kind with heads of this size, and these rotations and layers.
pub(super) fn built(
    fields: &Fields,
    head_dim: usize,
    ropes: Vec<Rope>,
    layers: Vec<LayerSpec>,
) -> Result<Blueprint> {
    let attention_bias = fields.flag(ATTENTION_BIAS)?.unwrap_or(false);
    let mlp_bias = fields.flag(MLP_BIAS)?.unwrap_or(false);
    let norm = Norm::Rms(fields.epsilon(RMS_NORM_EPS, 1e-6)?);
    Ok(Blueprint {
        activation: fields.activation(ACTIVATION, Activation::Silu)?,
        qkv_bias: fields.has_tensor("blk.0.attn_q.bias").unwrap_or(attention_bias),
        o_bias: fields.has_tensor("blk.0.attn_output.bias").unwrap_or(attention_bias),
        mlp_bias: fields.has_tensor("blk.0.ffn_up.bias").unwrap_or(mlp_bias),
        tie_word_embeddings: fields.tied(false)?,
        bos_token_id: fields.bos()?,
        eos_token_ids: fields.eos()?,
        ..plain(&FAMILY, &Sizes::read(fields, head_dim)?, norm, ropes, layers, false)
    })
}

/// The window that is said, or `default` where `config.json` has no word of it.
pub(super) fn window(fields: &Fields, default: Option<usize>) -> Result<Option<usize>> {
    if fields.says(MLC_WINDOW, -1.0)? {
        return fields.count(WINDOW);
    }
    let window = fields.count(WINDOW.older("sliding_window_size"))?;
    if fields.are_metadata() {
        return Ok(window.filter(|&window| window > 0));
    }
    Ok(if fields.mentions(WINDOW) { window } else { window.or(default) })
}

pub(super) fn refused_window(window: usize, asked: Option<bool>, model_type: &str) -> Error {
    let asked = asked.map_or(String::new(), |asked| format!(" with use_sliding_window {asked}"));
    Error::unsupported(format!(
        "config.json: sliding_window {window}{asked} in a {model_type} is not supported"
    ))
}

/// Which layers look back only a window: as `layer_types` has it, or those that `has_window` says.
pub(super) fn windows(
    fields: &Fields,
    window: Option<usize>,
    layers: usize,
    has_window: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    if window == Some(0) {
        return Err(out_of_range("sliding_window", 0).context("config.json"));
    }
    let Some(types) = fields.texts(Key::new("layer_types", ""))? else {
        return Ok((0..layers).map(|l| window.filter(|_| has_window(l))).collect());
    };
    if types.len() != layers {
        return Err(Error::mismatch(format!(
            "config.json: layer_types has {} entries, expected num_hidden_layers {layers}",
            types.len()
        )));
    }
    let of_type = |name| match name {
        "full_attention" => Ok(None),
        "sliding_attention" if window.is_some() => Ok(window),
        "sliding_attention" => Err(Error::unsupported(
            "config.json: layer type `sliding_attention` without a sliding_window is not supported",
        )),
        other => Err(Error::unsupported(format!("config.json: layer type `{other}` is not supported"))),
    };
    types.into_iter().map(of_type).collect()
}
