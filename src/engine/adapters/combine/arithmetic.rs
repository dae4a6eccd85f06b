//! Arithmetic on task tensors: several of one shape become one (`merge_utils`).
//! It knows no adapter; what the tensors are is `weighted`'s.

use crate::mersenne_twister::MersenneTwister;
use crate::order::largest_first;
use crate::words::words;

/// Which sign wins where task tensors disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MajoritySign {
    /// That of the sum.
    #[default]
    Total,
    /// That of most.
    Frequency,
}

words!(MajoritySign, "majoritySignMethod", ["total" => Self::Total, "frequency" => Self::Frequency]);

/// What happens to each tensor before they are added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pruning {
    None,
    /// This share of the elements stays, the largest.
    Magnitude(f64),
    /// Each element stays with this probability, divided by it (DARE, arXiv:2311.03099).
    Random(f64),
}

/// Σ weight · prune(tensor); with a majority sign, over the tensors that have it at the element,
/// divided by their number (TIES, arXiv:2306.01708).
///
/// The sign is that of the unweighted tensors, and 0 counts as positive for the majority but is
/// no tensor's sign. Random numbers are drawn tensor by tensor.
pub(crate) fn combine(
    mut tensors: Vec<Vec<f32>>,
    weights: &[f32],
    pruning: Pruning,
    majority: Option<MajoritySign>,
    random: &mut MersenneTwister,
) -> Vec<f32> {
    for tensor in &mut tensors {
        match pruning {
            Pruning::None => {}
            // PEFT prunes nothing at density 1, and draws nothing.
            Pruning::Magnitude(density) | Pruning::Random(density) if density >= 1.0 => {}
            Pruning::Magnitude(density) => keep_largest(tensor, density),
            Pruning::Random(density) => keep_some(tensor, density as f32, random),
        }
    }
    let element = |i: usize| {
        let values = tensors.iter().map(|tensor| tensor[i]);
        let Some(method) = majority else {
            return values.zip(weights).map(|(value, weight)| value * weight).sum();
        };
        let total: f32 = match method {
            MajoritySign::Total => values.clone().sum(),
            MajoritySign::Frequency => values.clone().map(sign).sum(),
        };
        let elected = if total >= 0.0 { 1.0 } else { -1.0 };
        let agreeing = values.zip(weights).filter(|(value, _)| sign(*value) == elected);
        let (sum, count) =
            agreeing.fold((0.0, 0.0f32), |(sum, count), (value, weight)| (sum + value * weight, count + 1.0));
        sum / count.max(1.0)
    };
    (0..tensors.first().map_or(0, Vec::len)).map(element).collect()
}

/// Zeroes all but a share of the elements, those of largest magnitude; of equals the first stay.
fn keep_largest(tensor: &mut [f32], density: f64) {
    let k = (density * tensor.len() as f64) as usize;
    let magnitudes: Vec<f64> = tensor.iter().map(|x| f64::from(x.abs())).collect();
    largest_first(&magnitudes)[k..].iter().for_each(|&i| tensor[i] = 0.0);
}

fn keep_some(tensor: &mut [f32], density: f32, random: &mut MersenneTwister) {
    for value in tensor {
        *value = if random.uniform() < density { *value / density } else { 0.0 };
    }
}

/// 1, −1 or 0.
fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pruning: Pruning, majority: Option<MajoritySign>) -> Vec<f32> {
        let tensors =
            vec![vec![4.0, -1.0, 0.5, 0.0], vec![-3.0, 2.0, 1.5, -2.0], vec![-2.0, 0.25, -3.0, 0.0]];
        combine(tensors, &[1.0, 10.0, 100.0], pruning, majority, &mut MersenneTwister::new(1))
    }

    #[test]
    fn elements_are_weighted_and_added() {
        assert_eq!(run(Pruning::None, None), [-226.0, 44.0, -284.5, -20.0]);
        assert_eq!(run(Pruning::Magnitude(0.5), None), [-226.0, 19.0, -300.0, 0.0]);
        assert_eq!(run(Pruning::Magnitude(1.0), None), run(Pruning::None, None));
    }

    #[test]
    fn the_elected_sign_is_that_of_the_sum_or_of_most() {
        assert_eq!(run(Pruning::None, Some(MajoritySign::Total)), [-115.0, 22.5, -300.0, -20.0]);
        assert_eq!(run(Pruning::None, Some(MajoritySign::Frequency)), [-115.0, 22.5, 7.75, -20.0]);
    }

    #[test]
    fn what_random_pruning_keeps_makes_up_for_the_rest() {
        let ones = || vec![vec![1.0; 4000]];
        let mut random = MersenneTwister::new(5);
        let kept = combine(ones(), &[1.0], Pruning::Random(0.25), None, &mut random);
        let count = kept.iter().filter(|value| **value == 4.0).count();
        assert!(
            kept.iter().all(|value| *value == 4.0 || *value == 0.0) && (900..1100).contains(&count),
            "{count}"
        );
        assert_ne!(kept, combine(ones(), &[1.0], Pruning::Random(0.25), None, &mut random));
        assert_eq!(combine(ones(), &[1.0], Pruning::Random(1.0), None, &mut random), ones()[0]);
    }
}
