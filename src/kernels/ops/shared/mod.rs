//! What several ops share: their operands, and what their checks and runs are made of.
//! No op is here.

mod attention_inputs;
mod cached;
mod call;
mod delta;
mod down_projection;
mod replaced;
mod shapes;
mod slice;

pub use attention_inputs::AttentionInputs;
pub(crate) use cached::Cached;
pub use call::Kernels;
pub(super) use call::outputs;
pub(crate) use call::{Call, run_version};
pub use delta::Delta;
pub use down_projection::DownProjection;
pub use replaced::Replaced;
pub(crate) use shapes::{Fit, Shapes, demand};
pub use slice::Slice;
