//! StableLM 3B and 2: Llama with LayerNorm, rotary positions on a part of each head, biases on q, k and v or none,
//! and attention and feed-forward one after the other or side by side. Not with norms of heads.

use super::{Family, llama, phi};
use crate::activation::Activation;
use crate::error::Result;
use crate::model::blueprint::{Blueprint, Order};
use crate::model::fields::{Fields, Key};

pub(super) const FAMILY: Family = Family {
    name: "StableLM",
    model_type: "stablelm",
    architecture: "stablelm",
    modules: llama::PLAIN,
    harmless: &[],
    blueprint,
    ..llama::FAMILY
};

pub(super) const PARALLEL: Key = Key::new("use_parallel_residual", "use_parallel_residual");
const QKV_BIAS: Key = Key::new("use_qkv_bias", "");

/// Where feed-forward stands beside attention there is no second norm. GGUF metadata may say that of any model;
/// the norm tells, as in llama.cpp.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let parallel = fields.flag(PARALLEL)?.unwrap_or(false);
    let serial = fields.has_tensor("blk.0.ffn_norm.weight").unwrap_or(!parallel);
    let qkv_bias = fields.flag(QKV_BIAS)?.unwrap_or(false);
    Ok(Blueprint {
        family: &FAMILY,
        order: if serial { Order::Serial } else { Order::ParallelOneNorm },
        gated: true,
        qkv_bias: fields.has_tensor("blk.0.attn_q.bias").unwrap_or(qkv_bias),
        o_bias: false,
        mlp_bias: false,
        ..phi::of(fields, 0.25, Activation::Silu)?
    })
}
