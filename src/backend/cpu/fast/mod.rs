//! The CPU path for pages without WebGPU: f32 sums in four lanes, SIMD128 on wasm32 and the
//! host's vectors elsewhere. Judged by the twins.
//!
//! Only ops that take measurable time are here.

mod activation;
mod attention;
mod lanes;
mod linear;
mod norm;
mod shrink;

pub use activation::activation;
pub use attention::attention;
pub use linear::linear;
pub use norm::norm;
pub use shrink::shrink;
