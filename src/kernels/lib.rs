//! The part of Lorakeet where time goes on a CPU: plans, the backend that runs them, other loops.
//! A package of its own, since optimisation levels are chosen by package: browsers get this
//! one compiled for speed and its callers for size. `../lib.rs` has the map of both.
#![deny(missing_docs)]

pub mod activation;
pub mod cache;
pub(crate) mod control;
pub mod cpu;
pub mod dtype;
pub mod error;
pub(crate) mod fast;
mod machine;
pub mod mersenne_twister;
pub mod noise;
pub mod ops;
pub mod order;
pub mod plan;
pub mod pool;
pub mod svd;
pub(crate) mod tensor;
pub mod twin;
pub mod widen;
