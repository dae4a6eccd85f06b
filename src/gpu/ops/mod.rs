//! How ops run on a GPU, each in the file of its name: kernels, parameters, grid, and a case whose answer
//! is known. What an op computes, and what it demands of shapes, is not here.

pub(crate) mod activation;
pub(crate) mod activation_grad;
pub(crate) mod adam_w;
pub(crate) mod affine;
pub(crate) mod attention;
pub(crate) mod attention_grad_kv;
pub(crate) mod attention_grad_q;
pub(crate) mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod embed;
pub(crate) mod embed_delta;
pub(crate) mod expand_grad;
pub(crate) mod head_delta;
pub(crate) mod head_norm;
pub(crate) mod head_norm_grad;
pub(crate) mod keep_rows;
pub(crate) mod layer_norm_grad;
pub(crate) mod linear;
pub(crate) mod linear_grad;
pub(crate) mod norm;
pub(crate) mod outer_grad;
pub(crate) mod recall_rows;
pub(crate) mod rms_norm_grad;
pub(crate) mod sample;
pub(crate) mod scale;
pub(crate) mod shrink;
pub(crate) mod shrink_grad;
pub(crate) mod soft_cap;
pub(crate) mod split_qkv;
pub(crate) mod split_qkv_grad;
pub(crate) mod square_sum;

use crate::ops::{self, Op};
use crate::plan::Tensors;

use super::kernels::Kernel;
use super::known_cases::Made;
use super::launch::{Dispatch, Launch, Layout, Target};

macro_rules! launches {
    ($($stem:ident $name:ident),* $(,)?) => {
        /// Every op's name, its kernels, and the layout of their parameters; for the tests that read them all.
        pub const ALL: &[(&str, &[Kernel], Layout)] =
            &[$((stringify!($stem), $stem::KERNELS, $stem::LAYOUT)),*];

        fn launch_of(op: &Op) -> &dyn Launch {
            match op {
                $(Op::$name(op) => op),*
            }
        }

        type MakeCase = fn(&mut Made, &Kernel) -> Op;

        const CASES: &[(&str, MakeCase)] =
            &[$((stringify!($stem), |made, kernel| <ops::$name as Launch>::case(made, kernel).into())),*];
    };
}

lorakeet_kernels::for_each_op!(launches);

/// Every kernel, in every type of weight that it reads; for the tests that read them all.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    ALL.iter().flat_map(|(_, kernels, _)| *kernels).flat_map(|kernel| kernel.variants())
}

/// The launches that compute `op` for `n` rows. `lanes` is the override `LANES`.
pub(super) fn dispatches(op: &Op, tensors: &Tensors, n: usize, lanes: u32) -> Vec<Dispatch> {
    launch_of(op).launches(&Target::new(tensors, n, lanes))
}

/// See [`Launch::work`].
pub(super) fn work(op: &Op, tensors: &Tensors, n: usize) -> u64 {
    launch_of(op).work(&Target::new(tensors, n, 1))
}

/// See [`Launch::case`].
pub(super) fn case(kernel: &Kernel, made: &mut Made) -> Op {
    let (_, make) = CASES.iter().find(|(name, _)| *name == kernel.op).expect("a kernel of an op");
    make(made, kernel)
}
