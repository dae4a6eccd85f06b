//! The ops that plans are made of, each in the file of its name: what it reads and writes, what it
//! demands of shapes, and how it runs in main memory. How a GPU runs them is not here.
//!
//! The way forward of a model, then the way back: gradients of adapters over a frozen base. A window
//! of tokens is trained in tiles of rows, forward in order and backward in reverse. The gradient by a
//! tensor `t` is called `dt`. Only adapters have gradients of their own; everything else passes dy on
//! to dx.
//!
//! Activations are declared with room for the largest plan; the first `n` rows are used.

mod activation;
mod activation_grad;
mod adam_w;
mod affine;
mod attention;
mod attention_grad_kv;
mod attention_grad_q;
mod cross_entropy;
mod dropout;
mod embed;
mod embed_delta;
mod expand_grad;
mod head_delta;
mod head_norm;
mod head_norm_grad;
mod keep_rows;
mod layer_norm_grad;
mod linear;
mod linear_grad;
mod norm;
mod outer_grad;
mod recall_rows;
mod rms_norm_grad;
mod sample;
mod scale;
mod shared;
mod shrink;
mod shrink_grad;
mod soft_cap;
mod split_qkv;
mod split_qkv_grad;
mod square_sum;

pub use crate::twin::shrink_grad::part_columns;
pub use crate::twin::split_qkv::Growth;
pub use adam_w::Trained;
pub use outer_grad::Product;
pub use shared::{AttentionInputs, Delta, DownProjection, Kernels, Replaced, Slice};
pub(crate) use shared::{Cached, Call, Fit, Shapes};

use crate::tensor::{TensorId, Tensors};
use shared::{demand, outputs, run_version};

/// Hands the list of all ops to a macro: the name that an op has in its files, and that of its struct.
#[macro_export]
macro_rules! for_each_op {
    ($then:ident) => {
        $then! {
            embed Embed,
            embed_delta EmbedDelta,
            head_delta HeadDelta,
            norm Norm,
            linear Linear,
            shrink Shrink,
            affine Affine,
            activation Activation,
            head_norm HeadNorm,
            split_qkv SplitQkv,
            attention Attention,
            scale Scale,
            soft_cap SoftCap,
            sample Sample,
            linear_grad LinearGrad,
            shrink_grad ShrinkGrad,
            expand_grad ExpandGrad,
            outer_grad OuterGrad,
            rms_norm_grad RmsNormGrad,
            layer_norm_grad LayerNormGrad,
            activation_grad ActivationGrad,
            attention_grad_q AttentionGradQ,
            attention_grad_kv AttentionGradKv,
            split_qkv_grad SplitQkvGrad,
            head_norm_grad HeadNormGrad,
            keep_rows KeepRows,
            recall_rows RecallRows,
            cross_entropy CrossEntropy,
            square_sum SquareSum,
            adam_w AdamW,
            dropout Dropout,
        }
    };
}

/// What the file of an op says of it.
pub trait Operation {
    /// Tensors only read, in the order of the shader's bindings.
    fn reads(&self) -> Vec<TensorId>;

    /// Tensors written (or read and written), in the order of the shader's bindings.
    fn writes(&self) -> Vec<TensorId>;

    /// The one tensor it reads that may be packed.
    fn weight(&self) -> Option<TensorId> {
        None
    }

    /// The cache of keys and values that it reads or writes, whose tensors may be packed too.
    fn cache(&self) -> Option<[TensorId; 2]> {
        None
    }

    /// Whether its shapes fit; what holds for all ops is looked at by [`Op`].
    fn check(&self, shapes: &Shapes) -> Fit;

    /// Computes it; `out` are the tensors that it writes.
    fn run(&self, call: &Call, out: &mut [Vec<u32>]);
}

macro_rules! ops {
    ($($stem:ident $name:ident),* $(,)?) => {
        $(pub use $stem::$name;)*

        /// One step of a plan.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "the structs of the same names say what they are")]
        pub enum Op {
            $($name($name)),*
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*

        impl Op {
            /// The names of all.
            pub const NAMES: &[&str] = &[$(stringify!($stem)),*];

            /// The name that its files, its shader and its test have.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($stem)),*
                }
            }

            fn operation(&self) -> &dyn Operation {
                match self {
                    $(Self::$name(op) => op),*
                }
            }
        }
    };
}

for_each_op!(ops);

impl Op {
    /// See [`Operation::reads`].
    pub fn reads(&self) -> Vec<TensorId> {
        self.operation().reads()
    }

    /// See [`Operation::writes`].
    pub fn writes(&self) -> Vec<TensorId> {
        self.operation().writes()
    }

    /// Whether every shape fits for `n` rows; the message says what does not.
    pub(crate) fn check(&self, tensors: &Tensors, n: usize) -> Fit {
        let op = self.operation();
        let (reads, writes) = (op.reads(), op.writes());
        demand(writes.iter().all(|w| !reads.contains(w)), "an output is also an input")?;
        let twice = |(i, w): (usize, &TensorId)| writes[..i].contains(w);
        demand(!writes.iter().enumerate().any(twice), "two outputs are one tensor")?;
        let mut packed = reads.iter().chain(&writes).filter(|&&t| tensors.get(t).dtype.is_packed());
        let may_be = |t| op.weight() == Some(t) || op.cache().is_some_and(|cache| cache.contains(&t));
        demand(packed.all(|&t| may_be(t)), "a tensor is packed that may not be")?;
        op.check(&Shapes { tensors, n })
    }

    /// See [`Operation::run`].
    pub(crate) fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        self.operation().run(call, out);
    }
}
