//! The never-worse mix: the next-token probabilities of base and adapted model, weighed by how
//! well each has predicted so far.

use crate::engine::text::logits::Forecast;

/// How often each forecaster takes it that the better model is the other one now: never, at times, at every token.
const SHARES: [f64; 3] = [0.0, 0.02, 0.5];

/// A running Bayesian weight between two models.
///
/// Forecasters weigh the two by fixed share (Herbster and Warmuth 1998): p = w·p_adapted + (1 − w)·p_base,
/// w ← w·p_adapted / p after each token, then w ← (1 − s)·w + s·(1 − w). Those themselves are weighed by how well
/// each has predicted. The loss of the whole text is then at most ln 3 above that of the best of them, of which the
/// one that never shares is at most ln 2 above the better model (Cesa-Bianchi and Lugosi 2006, chapters 3 and 5); the
/// one that always does is the plain average, which two good models that differ make better than either.
/// Weights are kept as logs: in plain numbers they round to 1, and the bounds break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mixture {
    forecasters: [Forecaster; SHARES.len()],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Forecaster {
    /// Of itself among the others, a log; all of them sum to 1.
    log_weight: f64,
    /// ln(w / (1 − w))
    log_odds: f64,
}

impl Default for Mixture {
    /// All weigh the same.
    fn default() -> Self {
        let log_weight = -(SHARES.len() as f64).ln();
        Self { forecasters: [Forecaster { log_weight, log_odds: 0.0 }; SHARES.len()] }
    }
}

impl Forecaster {
    /// ln w and ln(1 − w)
    fn logs(self) -> [f64; 2] {
        [-softplus(-self.log_odds), -softplus(self.log_odds)]
    }
}

impl Mixture {
    /// The most that the loss of a text is above the smaller of the two models' losses, nats: ln 6.
    #[cfg(test)]
    const MOST_REGRET: f64 = 1.791_759_469_228_055;

    /// ln of the weight of the adapted model, and of the base's.
    fn logs(&self) -> [f64; 2] {
        let nothing = [f64::NEG_INFINITY; 2];
        self.forecasters.iter().fold(nothing, |[adapted, base], forecaster| {
            let [log_w, log_rest] = forecaster.logs();
            [log_sum(adapted, forecaster.log_weight + log_w), log_sum(base, forecaster.log_weight + log_rest)]
        })
    }

    /// The mix's loss of a token, from those of the two; then weighs anew.
    pub(crate) fn loss(&mut self, base: f64, adapted: f64) -> f64 {
        let [log_w, log_rest] = self.logs();
        let loss = -log_sum(log_w - adapted, log_rest - base);
        for (forecaster, share) in self.forecasters.iter_mut().zip(SHARES) {
            let [log_w, log_rest] = forecaster.logs();
            forecaster.log_weight += log_sum(log_w - adapted, log_rest - base) + loss;
            forecaster.log_odds += base - adapted;
            if share > 0.0 {
                let [w, rest] = forecaster.logs().map(f64::exp);
                forecaster.log_odds =
                    (share + (1.0 - 2.0 * share) * w).ln() - (share + (1.0 - 2.0 * share) * rest).ln();
            }
        }
        // What rounding leaves over would add up.
        let all = self.forecasters.iter().fold(f64::NEG_INFINITY, |all, each| log_sum(all, each.log_weight));
        self.forecasters.iter_mut().for_each(|each| each.log_weight -= all);
        loss
    }

    /// Logits (V) of the mix of two, so that one of them alone, weighing all, gives its own.
    pub(super) fn logits(&self, base: &Forecast<'_>, adapted: &Forecast<'_>) -> Vec<f32> {
        let [log_w, log_rest] = self.logs();
        let [of_base, of_adapted] = [base, adapted].map(|forecast| forecast.log_sum);
        // Any number may be added to all logits. This one leaves those of the heavier model as they
        // are, which a repetition penalty tells from others.
        let shift = log_w.exp() * of_adapted + log_rest.exp() * of_base;
        let mix = |(&b, &a): (&f32, &f32)| {
            let log_p = log_sum(log_w + f64::from(a) - of_adapted, log_rest + f64::from(b) - of_base);
            (log_p + shift) as f32
        };
        base.logits.iter().zip(adapted.logits).map(mix).collect()
    }
}

/// ln(1 + e^x)
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// ln(e^a + e^b)
fn log_sum(a: f64, b: f64) -> f64 {
    // Two infinities have no difference.
    if a == f64::NEG_INFINITY { b } else { a.max(b) + (-(a - b).abs()).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that trusts one model by these odds.
    fn trusting(log_odds: f64) -> Mixture {
        let mut mixture = Mixture::default();
        mixture.forecasters.iter_mut().for_each(|each| each.log_odds = log_odds);
        mixture
    }

    /// Losses of base, adapted and mix over so many tokens, of which `losses` gives the first two.
    fn sums(tokens: usize, mut losses: impl FnMut(usize) -> [f64; 2]) -> [f64; 3] {
        let (mut mix, mut sums) = (Mixture::default(), [0.0; 3]);
        for t in 0..tokens {
            let [base, adapted] = losses(t);
            let mixed = mix.loss(base, adapted);
            sums.iter_mut().zip([base, adapted, mixed]).for_each(|(sum, loss)| *sum += loss);
        }
        sums
    }

    #[test]
    fn the_mix_is_never_worse_than_the_better_by_more_than_ln_6() {
        assert!((Mixture::MOST_REGRET - 6f64.ln()).abs() < 1e-15);
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        for (scale, shift) in [(8.0, 0.0), (8.0, 0.3), (8.0, -0.3), (40.0, 2.0), (0.1, -5.0), (0.1, 5.0)] {
            let [base, adapted, mixed] =
                sums(100_000, |_| [scale * noise(), (scale * noise() + shift).max(0.0)]);
            let bound = base.min(adapted) + Mixture::MOST_REGRET;
            assert!(mixed <= bound + 1e-9 * bound, "{base}, {adapted}, {mixed}");
        }
    }

    /// Where now one model is better, now the other, the mix is far ahead of both.
    #[test]
    fn the_mix_goes_with_the_model_that_is_better_now() {
        let [base, adapted, mixed] = sums(8000, |t| if t / 500 % 2 == 0 { [3.0, 2.5] } else { [2.5, 3.0] });
        assert_eq!(base, adapted);
        // Each change of sides costs it about ln(1 / 0.02), each token ln(1 / 0.98).
        assert!(mixed < 2.5 * 8000.0 + 16.0 * 4.0 + 0.0203 * 8000.0 + 3.0, "{mixed} of {base}");
    }

    /// Two models of which each token likes one much better: an average is better than either.
    #[test]
    fn the_mix_of_two_that_differ_is_better_than_either() {
        let [base, adapted, mixed] = sums(8000, |t| if t % 2 == 0 { [1.0, 4.0] } else { [4.0, 1.0] });
        assert_eq!(base, adapted);
        assert!(mixed < 0.7 * base, "{mixed} of {base}");
    }

    #[test]
    fn a_weight_of_all_gives_the_logits_of_one() {
        let (base, adapted) = ([1.5, -2.0, 0.25, 7.0], [0.5, 3.0, -4.0, 1.0]);
        let [of_base, of_adapted] = [&base, &adapted].map(|logits| Forecast::new(logits));
        assert_eq!(trusting(1e9).logits(&of_base, &of_adapted), adapted);
        assert_eq!(trusting(-1e9).logits(&of_base, &of_adapted), base);
    }

    #[test]
    fn mixed_logits_are_those_of_the_mixed_probabilities() {
        let [base, adapted] =
            [&[1.5, -2.0, 0.25, 7.0], &[0.5, 3.0, -4.0, 1.0]].map(|logits| Forecast::new(logits));
        for log_odds in [-1.0, 0.0, 2.5] {
            let mixed = trusting(log_odds).logits(&base, &adapted);
            for token in 0..4 {
                let want = trusting(log_odds).loss(base.loss(token), adapted.loss(token));
                assert!((Forecast::new(&mixed).loss(token) - want).abs() < 1e-6, "{log_odds}, {token}");
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
