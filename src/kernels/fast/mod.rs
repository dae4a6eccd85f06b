//! The CPU path for pages without WebGPU: f32 sums in four lanes, SIMD128 on wasm32 and the
//! host's vectors elsewhere; packed weights in whole numbers, where activations may be rounded. Judged by
//! the twins.
//!
//! Only ops that take measurable time are here.

mod activation;
mod activation_grad;
mod attention;
mod attention_grad_kv;
mod attention_grad_q;
mod cross_entropy;
mod expand_grad;
mod integer;
mod lanes;
mod linear;
mod linear_grad;
mod norm;
mod outer_grad;
mod product;
mod shrink;
mod shrink_grad;
mod tile;

pub(crate) use activation::activation;
pub(crate) use activation_grad::activation_grad;
pub(crate) use attention::attention;
pub(crate) use attention_grad_kv::attention_grad_kv;
pub(crate) use attention_grad_q::attention_grad_q;
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use expand_grad::expand_grad;
pub(crate) use linear::linear;
pub(crate) use linear_grad::linear_grad;
pub(crate) use norm::norm;
pub(crate) use outer_grad::outer_grad;
pub(crate) use shrink::shrink;
pub(crate) use shrink_grad::shrink_grad;
