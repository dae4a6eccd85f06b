//! What a weighted combination of adapters is asked for: PEFT's words and options.
//! Not the combining, which is `weighted`'s.

use crate::error::{Error, Result};
use crate::words::words;

use crate::engine::adapters::combine::arithmetic::{MajoritySign, Pruning};

/// How to combine; the names and meanings are PEFT's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Combination {
    /// The method.
    pub combination_type: CombinationType,
    /// Share of the elements that stay where the method prunes, above 0 and at most 1.
    pub density: Option<f64>,
    /// Which sign wins in `ties` and `dare_ties`.
    pub majority_sign_method: MajoritySign,
    /// `R` of a result by `svd`; by default the largest of the adapters.
    pub svd_rank: Option<usize>,
    /// Quantile that limits the elements of a result by `svd`, 0 to 1. Singular vectors have no
    /// sign of their own, so that it is not the same in every program.
    pub svd_clamp: Option<f64>,
    /// What `torch.manual_seed` would be told before `dare`, for a first adapter that PEFT would
    /// initialise in its default way.
    pub seed: u32,
}

/// PEFT's `combination_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CombinationType {
    /// Ranks side by side: exact.
    #[default]
    Cat,
    /// A and B of equal rank are combined each for itself, by √|weight · scale|: not the sum of
    /// the adapters, for products of different ones come in.
    Factors(Arithmetic),
    /// The products B·A are combined, and the largest singular values kept.
    Svd(Arithmetic),
}

/// What is done with the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The weighted sum.
    Linear,
    /// The largest, where they have the majority's sign (arXiv:2306.01708).
    Ties,
    /// Some at random, scaled up (arXiv:2311.03099).
    DareLinear,
    /// Some at random, where they have the majority's sign.
    DareTies,
    /// The largest.
    MagnitudePrune,
}

impl CombinationType {
    /// Whether random numbers are drawn.
    pub(crate) fn is_random(self) -> bool {
        use Arithmetic::{DareLinear, DareTies};
        matches!(self, Self::Factors(DareLinear | DareTies) | Self::Svd(DareLinear | DareTies))
    }
}

words!(CombinationType, "combinationType", [
    "cat" => Self::Cat,
    "linear" => Self::Factors(Arithmetic::Linear),
    "svd" => Self::Svd(Arithmetic::Linear),
    "ties" => Self::Factors(Arithmetic::Ties),
    "ties_svd" => Self::Svd(Arithmetic::Ties),
    "dare_linear" => Self::Factors(Arithmetic::DareLinear),
    "dare_linear_svd" => Self::Svd(Arithmetic::DareLinear),
    "dare_ties" => Self::Factors(Arithmetic::DareTies),
    "dare_ties_svd" => Self::Svd(Arithmetic::DareTies),
    "magnitude_prune" => Self::Factors(Arithmetic::MagnitudePrune),
    "magnitude_prune_svd" => Self::Svd(Arithmetic::MagnitudePrune),
]);

impl Combination {
    /// A combination whose options are PEFT's defaults.
    pub fn new(combination_type: CombinationType) -> Self {
        Self { combination_type, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(clamp) = self.svd_clamp.filter(|clamp| !(0.0..=1.0).contains(clamp)) {
            return Err(Error::argument(format!("svd_clamp {clamp}, expected 0 to 1")));
        }
        if self.svd_rank == Some(0) {
            return Err(Error::argument("svd_rank 0, expected at least 1"));
        }
        Ok(())
    }

    /// Errors with `Argument` if the density is missing or out of range.
    pub(crate) fn pruning(&self, arithmetic: Arithmetic) -> Result<Pruning> {
        let pruning = match arithmetic {
            Arithmetic::Linear => return Ok(Pruning::None),
            Arithmetic::Ties | Arithmetic::MagnitudePrune => Pruning::Magnitude,
            Arithmetic::DareLinear | Arithmetic::DareTies => Pruning::Random,
        };
        match self.density {
            Some(density) if density > 0.0 && density <= 1.0 => Ok(pruning(density)),
            Some(density) => Err(Error::argument(format!("density {density}, expected above 0, at most 1"))),
            None => Err(Error::argument("this combination type prunes, expected the option density")),
        }
    }

    pub(crate) fn majority(&self, arithmetic: Arithmetic) -> Option<MajoritySign> {
        matches!(arithmetic, Arithmetic::Ties | Arithmetic::DareTies).then_some(self.majority_sign_method)
    }
}
