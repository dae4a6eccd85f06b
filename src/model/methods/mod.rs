//! The methods of training, a file each: what of a new adapter is trained, its gradients and its step of
//! the optimiser, and what is derived from what is trained.
//!
//! A new one is a file here and its line in the list at the end. Not the way back through the model, which is the same
//! for all: that is `backward`'s. Not data, windows, rates and steps either: those are the engine's.

use crate::error::{Error, Result};
use crate::mersenne_twister::MersenneTwister;
use crate::ops::{Delta, Trained};
use crate::plan::TensorId;
use crate::words::words;

use super::bank::Bank;
use super::layouts::PartRows;
use super::sites::{PartRanks, Site};
use super::steps::Steps;
use super::trained::{Moments, TrainedSite};

mod lora;
mod lora_xs;

/// The matrices of one module that a new adapter begins with. B·A is zero.
#[derive(Debug)]
pub(crate) struct Begun {
    /// A (R, C)
    pub a: Vec<f32>,
    /// B (F, R)
    pub b: Vec<f32>,
    /// R (R, R) and A₀ (R, C) of a core, if that is trained.
    pub core: Option<[Vec<f32>; 2]>,
}

/// A site that is trained, and its gradients and moments.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub bank: &'a Bank,
    pub site: &'a Site,
    pub trained: &'a TrainedSite,
    pub moments: &'a Moments,
}

/// What the way back has at a site when a method takes its gradients; those by z are in the scratch `dz`.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    pub delta: Delta,
    pub input: TensorId,
    pub dy: TensorId,
}

/// One method: what only it does.
pub(super) trait Method: Sync {
    /// Whether it trains a core in the place of A and B.
    fn has_core(&self) -> bool {
        false
    }

    /// The most ranks at a module of C inputs and F outputs, if there is a limit.
    fn most_rank(&self, _shape: [usize; 2]) -> Option<usize> {
        None
    }

    /// Whether it begins with the base's own weight.
    fn reads_base(&self) -> bool {
        false
    }

    /// How a module of C inputs and F outputs begins; `weight` is (F, C), or empty if it is not read.
    ///
    /// Errors with `Memory`.
    fn begin(
        &self,
        shape: [usize; 2],
        rank: usize,
        weight: &[f32],
        random: &mut MersenneTwister,
    ) -> Result<Begun>;

    /// Shapes of a site's two gradients, which both moments have too.
    fn gradients(&self, site: &Site, parts: &PartRanks) -> [[usize; 2]; 2];

    /// Shapes of R and A₀ of the core of a part that has `count` ranks.
    fn core(&self, _inputs: usize, _count: usize) -> [[usize; 2]; 2] {
        [[1, 1]; 2]
    }

    /// Shape of A₀·x of one core on so many rows; `most_ranks` is of all parts.
    fn frozen_z(&self, _rows: usize, _most_ranks: usize) -> [usize; 2] {
        [1, 1]
    }

    /// Rows of the plan that takes a step of the optimiser.
    fn update_rows(&self, _most_ranks: usize) -> usize {
        1
    }

    /// Adds to the gradients what a run gives for a site.
    fn backward(&self, steps: &mut Steps, place: &Place, flow: Flow);

    /// What is trained of a site.
    fn trained(&self, place: &Place) -> Vec<Trained>;

    /// What is derived from that, once the optimiser has taken its step.
    fn derive(&self, _steps: &mut Steps, _place: &Place) {}
}

impl Place<'_> {
    fn rows(&self, part: usize) -> PartRows {
        self.bank.part_rows(self.site, self.trained.first, &self.trained.parts, part)
    }

    /// Where its gradients are.
    fn g(&self, steps: &Steps) -> TensorId {
        steps.model.training.moments.arenas()[self.moments.arena].g
    }
}

/// `n` zeros. Errors with `Memory`.
fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut zeros = Vec::new();
    let bytes = n.saturating_mul(4);
    zeros
        .try_reserve_exact(n)
        .map_err(|_| Error::memory(format!("no room for an adapter's matrix of {bytes} bytes")))?;
    zeros.resize(n, 0.0);
    Ok(zeros)
}

macro_rules! methods {
    ($($(#[$about:meta])* $name:ident: $method:expr, $word:literal;)+) => {
        /// What of a new adapter is trained.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Variant {
            $($(#[$about])* $name,)+
        }

        words!(Variant, "variant", [$($word => Self::$name),+]);

        impl Variant {
            const ALL: &[Self] = &[$(Self::$name),+];

            pub(super) fn method(self) -> &'static dyn Method {
                match self { $(Self::$name => &$method),+ }
            }
        }
    };
}

methods! {
    /// A and B (arXiv:2106.09685).
    #[default]
    Lora: lora::Lora, "lora";
    /// LoRA-XS (arXiv:2405.17604): a core R (R, R) between the R largest singular vectors of the
    /// base's own weight. It is an ordinary LoRA but for how it learns.
    LoraXs: lora_xs::LoraXs, "lora-xs";
}

impl Variant {
    /// The most ranks at a module of C inputs and F outputs, if there is a limit.
    pub(crate) fn most_rank(self, shape: [usize; 2]) -> Option<usize> {
        self.method().most_rank(shape)
    }

    /// Whether it begins with the base's own weight.
    pub(crate) fn reads_base(self) -> bool {
        self.method().reads_base()
    }

    /// How a module of C inputs and F outputs begins; `weight` is (F, C), or empty if it is not read.
    ///
    /// Errors with `Memory`.
    pub(crate) fn begin(
        self,
        shape: [usize; 2],
        rank: usize,
        weight: &[f32],
        random: &mut MersenneTwister,
    ) -> Result<Begun> {
        self.method().begin(shape, rank, weight, random)
    }

    /// How an adapter is trained further that has cores or none.
    pub(crate) fn of(has_core: bool) -> Self {
        let found = Self::ALL.iter().find(|variant| variant.method().has_core() == has_core);
        found.copied().unwrap_or_default()
    }
}
