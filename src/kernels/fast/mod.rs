//! The CPU path for pages without WebGPU: f32 sums in four lanes, SIMD128 on wasm32 and the
//! host's vectors elsewhere. Judged by the twins.
//!
//! Only ops that take measurable time are here.

mod activation;
mod activation_grad;
mod attention;
mod attention_grad_kv;
mod attention_grad_q;
mod cross_entropy;
mod expand_grad;
mod lanes;
mod linear;
mod linear_grad;
mod norm;
mod outer_grad;
mod product;
mod shrink;
mod shrink_grad;

pub use activation::activation;
pub use activation_grad::activation_grad;
pub use attention::attention;
pub use attention_grad_kv::attention_grad_kv;
pub use attention_grad_q::attention_grad_q;
pub use cross_entropy::cross_entropy;
pub use expand_grad::expand_grad;
pub use linear::linear;
pub use linear_grad::linear_grad;
pub use norm::norm;
pub use outer_grad::outer_grad;
pub use shrink::shrink;
pub use shrink_grad::shrink_grad;
