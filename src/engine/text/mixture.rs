//! The never-worse mix: the next-token probabilities of base and adapted model, weighed by how
//! well each has predicted so far.

use crate::engine::text::logits::log_sum_exp;

/// A running Bayesian weight between two models.
///
/// p = w·p_adapted + (1 − w)·p_base, and w ← w·p_adapted / p after each token, so that the loss of
/// the whole text is at most ln 2 above the smaller of the two (Cesa-Bianchi and Lugosi 2006,
/// the mixture forecaster of two experts). Kept as log odds: in plain numbers w rounds to 1, and
/// the bound breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mixture {
    /// ln(w / (1 − w)); both weigh the same at first.
    log_odds: f64,
}

impl Mixture {
    /// The mix's loss of a token, from those of the two; then weighs anew.
    pub(crate) fn loss(&mut self, base: f64, adapted: f64) -> f64 {
        // −ln(w·e^−a + (1 − w)·e^−b)
        let log_w = -softplus(-self.log_odds);
        let log_rest = -softplus(self.log_odds);
        let loss = -log_sum(log_w - adapted, log_rest - base);
        self.log_odds += base - adapted;
        loss
    }

    /// Logits (V) of the mix of two, so that one of them alone, weighing all, gives its own.
    pub(crate) fn logits(&self, base: &[f32], adapted: &[f32]) -> Vec<f32> {
        let [log_w, log_rest] = [-softplus(-self.log_odds), -softplus(self.log_odds)];
        let [of_base, of_adapted] = [base, adapted].map(log_sum_exp);
        // Any number may be added to all logits. This one leaves those of the heavier model as they
        // are, which a repetition penalty tells from others.
        let shift = log_w.exp() * of_adapted + log_rest.exp() * of_base;
        let mix = |(&b, &a): (&f32, &f32)| {
            let log_p = log_sum(log_w + f64::from(a) - of_adapted, log_rest + f64::from(b) - of_base);
            (log_p + shift) as f32
        };
        base.iter().zip(adapted).map(mix).collect()
    }
}

/// ln(1 + e^x)
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// ln(e^a + e^b)
fn log_sum(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_never_worse_by_more_than_ln_2() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        for (scale, shift) in [(8.0, 0.0), (8.0, 0.3), (8.0, -0.3), (40.0, 2.0), (0.1, -5.0)] {
            let (mut mix, mut sums) = (Mixture::default(), [0.0; 3]);
            for _ in 0..100_000 {
                let base = scale * noise();
                let adapted = (scale * noise() + shift).max(0.0);
                let mixed = mix.loss(base, adapted);
                sums.iter_mut().zip([base, adapted, mixed]).for_each(|(sum, loss)| *sum += loss);
                let bound = sums[0].min(sums[1]) + std::f64::consts::LN_2;
                assert!(sums[2] <= bound + 1e-9 * bound, "{sums:?}");
            }
        }
    }

    #[test]
    fn a_weight_of_all_gives_the_logits_of_one() {
        let (base, adapted) = ([1.5, -2.0, 0.25, 7.0], [0.5, 3.0, -4.0, 1.0]);
        assert_eq!(Mixture { log_odds: 1e9 }.logits(&base, &adapted), adapted);
        assert_eq!(Mixture { log_odds: -1e9 }.logits(&base, &adapted), base);
    }

    #[test]
    fn mixed_logits_are_those_of_the_mixed_probabilities() {
        let (base, adapted) = ([1.5, -2.0, 0.25, 7.0], [0.5, 3.0, -4.0, 1.0]);
        for log_odds in [-1.0, 0.0, 2.5] {
            let mut mixture = Mixture { log_odds };
            let mixed = mixture.logits(&base, &adapted);
            let all = log_sum_exp(&mixed);
            for token in 0..4 {
                let loss = |logits: &[f32]| log_sum_exp(logits) - f64::from(logits[token]);
                let want = mixture.loss(loss(&base), loss(&adapted));
                assert!((all - f64::from(mixed[token]) - want).abs() < 1e-6, "{log_odds}, {token}");
                mixture = Mixture { log_odds };
            }
        }
    }

    #[test]
    fn equal_models_mix_to_themselves() {
        let mut mix = Mixture::default();
        for loss in [0.5, 3.0, 20.0] {
            assert!((mix.loss(loss, loss) - loss).abs() < 1e-12);
        }
    }
}
