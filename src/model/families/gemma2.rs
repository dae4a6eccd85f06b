//! Gemma 2: Gemma with a norm behind each block too, a window on every other layer, soft caps, and a scale of
//! attention scores of its own.

use super::{Family, gemma, llama};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, LayerSpec, Scales};
use crate::model::fields::{Fields, Key, LAYERS};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "Gemma2",
    model_type: "gemma2",
    architecture: "gemma2",
    modules: &[
        Module::new(Role::Embedding, "embed_tokens", "token_embd"),
        Module::new(Role::AttentionNorm, "input_layernorm", "attn_norm"),
        Module::new(Role::Q, "self_attn.q_proj", "attn_q"),
        Module::new(Role::K, "self_attn.k_proj", "attn_k"),
        Module::new(Role::V, "self_attn.v_proj", "attn_v"),
        Module::new(Role::O, "self_attn.o_proj", "attn_output"),
        Module::new(Role::AttentionPostNorm, "post_attention_layernorm", "post_attention_norm"),
        Module::new(Role::MlpNorm, "pre_feedforward_layernorm", "ffn_norm"),
        Module::new(Role::Gate, "mlp.gate_proj", "ffn_gate"),
        Module::new(Role::Up, "mlp.up_proj", "ffn_up"),
        Module::new(Role::Down, "mlp.down_proj", "ffn_down"),
        Module::new(Role::MlpPostNorm, "post_feedforward_layernorm", "post_ffw_norm"),
        Module::new(Role::LastNorm, "norm", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    harmless: &[],
    blueprint,
    ..gemma::FAMILY
};

/// What transformers takes where a config says nothing.
pub(super) const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_QUERY_SCALAR: f32 = 256.0;
const DEFAULT_CAPS: [f32; 2] = [50.0, 30.0];
/// Layers of the one model that llama.cpp scales queries of otherwise.
const LAYERS_OF_27B: usize = 46;

const ATTENTION_CAP: Key = Key::new("attn_logit_softcapping", "attn_logit_softcapping");
pub(super) const LOGIT_CAP: Key = Key::new("final_logit_softcapping", "final_logit_softcapping");
const PATTERN: Key = Key::new("sliding_window_pattern", "attention.sliding_window_pattern");
const QUERY_SCALAR: Key = Key::new("query_pre_attn_scalar", "");

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let of_window = |window| LayerSpec { window, ..LayerSpec::default() };
    let layers = windows(fields, 2)?.into_iter().map(of_window).collect();
    let like_gemma = gemma::of(fields, gemma::head_dim(fields)?, vec![fields.rope()?], layers)?;
    let caps = [cap(fields, ATTENTION_CAP, DEFAULT_CAPS[0])?, cap(fields, LOGIT_CAP, DEFAULT_CAPS[1])?];
    let scales = Scales { attention_cap: caps[0], logit_cap: caps[1], ..like_gemma.scales };
    Ok(Blueprint {
        family: &FAMILY,
        attention_scale: attention_scale(fields, &like_gemma, LAYERS_OF_27B)?,
        activation: fields.activation(gemma::HIDDEN_ACTIVATION, Activation::GeluTanh)?,
        scales,
        ..like_gemma
    })
}

/// A soft cap, 0 where there is none. A config that leaves it out has the default, one with null none.
fn cap(fields: &Fields, key: Key, default: f32) -> Result<f32> {
    let says_nothing = !fields.are_metadata() && !fields.mentions(key);
    Ok(fields.factor(key)?.unwrap_or(if says_nothing { default } else { 0.0 }))
}

/// 1 / √`query_pre_attn_scalar`. GGUF metadata do not have it: it is D, but C / H in a model of so many layers.
pub(super) fn attention_scale(fields: &Fields, model: &Blueprint, of_27b: usize) -> Result<f32> {
    let by_channels = model.hidden_size.checked_div(model.num_attention_heads).unwrap_or(1);
    let scalar = match fields.are_metadata() {
        true if model.layers.len() == of_27b => by_channels as f32,
        true => model.head_dim as f32,
        false => fields.factor(QUERY_SCALAR)?.unwrap_or(DEFAULT_QUERY_SCALAR),
    };
    Ok((1.0 / f64::from(scalar).sqrt()) as f32)
}

/// The window of each layer: as `layer_types` has it, or of all but every `period`-th. GGUF metadata without
/// a window have none.
pub(super) fn windows(fields: &Fields, period: usize) -> Result<Vec<Option<usize>>> {
    let period = fields.count(PATTERN)?.unwrap_or(period);
    if period == 0 {
        return Err(fields.refused(PATTERN, period));
    }
    let default = Some(DEFAULT_WINDOW).filter(|_| !fields.are_metadata());
    let window = llama::window(fields, default)?;
    llama::windows(fields, window, fields.layers(LAYERS)?, |l| (l + 1) % period != 0)
}
