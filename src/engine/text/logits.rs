//! What logits say: sums, losses, and whether they are numbers at all.
//! Not what is drawn from them, which the device does.

use crate::error::Error;

/// ln Σ exp(logits), summed in f64.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - most).exp()).sum();
    f64::from(most) + total.ln()
}

/// What a model says of the next token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forecast<'a> {
    /// (V)
    pub(crate) logits: &'a [f32],
    /// ln Σ exp(logits)
    pub(crate) log_sum: f64,
}

impl<'a> Forecast<'a> {
    pub(super) fn new(logits: &'a [f32]) -> Self {
        Self { logits, log_sum: log_sum_exp(logits) }
    }

    /// −log softmax(logits)[token], nats
    pub(super) fn loss(&self, token: usize) -> f64 {
        self.log_sum - f64::from(self.logits[token])
    }

    /// The token of softmax(logits) at this share, 0 to 1, of its sum; `None` where logits are not numbers.
    pub(super) fn draw(&self, share: f32) -> Option<u32> {
        let mut left = f64::from(share);
        let at = self.logits.iter().position(|&logit| {
            left -= (f64::from(logit) - self.log_sum).exp();
            left <= 0.0
        });
        // Rounding may leave something over.
        self.log_sum.is_finite().then(|| at.unwrap_or(self.logits.len() - 1) as u32)
    }
}

/// Whether logits are a distribution: none is NaN or +∞, and not all are −∞.
pub(super) fn are_numbers(logits: &[f32]) -> bool {
    logits.iter().all(|l| *l < f32::INFINITY) && logits.iter().any(|l| l.is_finite())
}

/// The error of numbers that a run has left, at a `place` of the text.
pub(super) fn not_numbers(place: impl std::fmt::Display) -> Error {
    Error::device(format!(
        "{place}: the model computed NaN or infinite numbers; an adapter's weight is too large, or the device \
         computes wrongly"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_that_of_the_softmax() {
        let logits = [0.1f32, 0.4, 0.05, 0.45].map(|p| p.ln() - 3.0);
        assert!((Forecast::new(&logits).loss(2) - f64::from(-0.05f32.ln())).abs() < 1e-6);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let logits = [0.1f32, 0.4, 0.05, 0.45].map(|p| p.ln() + 90.0);
        let mut counts = [0; 4];
        for i in 0..1000 {
            let token = Forecast::new(&logits).draw((i as f32 + 0.5) / 1000.0).expect("numbers");
            counts[token as usize] += 1;
        }
        assert_eq!(counts, [100, 400, 50, 450]);
        assert_eq!(Forecast::new(&[0.0, f32::NEG_INFINITY]).draw(1.0), Some(0));
        assert_eq!(Forecast::new(&[0.0, f32::NAN]).draw(0.5), None);
    }

    #[test]
    fn numbers_are_told_from_what_is_none() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert!(are_numbers(&[0.0, -1e30]) && are_numbers(&[-inf, 1.0]));
        for wrong in [[0.0, nan], [inf, 0.0], [-inf, -inf], [nan, nan]] {
            assert!(!are_numbers(&wrong), "{wrong:?}");
        }
    }
}
