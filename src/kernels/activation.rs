//! The non-linearities that ops and configs name; `backend` says how they are computed.

/// The non-linearity of the feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// x · sigmoid(x)
    Silu = 0,
    /// x · Φ(x), exact
    Gelu = 1,
    /// x · Φ(x), tanh approximation (`gelu_new`, `gelu_pytorch_tanh`)
    GeluTanh = 2,
    /// max(x, 0)
    Relu = 3,
}
