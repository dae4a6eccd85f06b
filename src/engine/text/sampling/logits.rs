//! What samplers have in common: candidates as logits, their probabilities, the least of the likeliest.
//! No sampler.
//!
//! Candidates are logits (V); those that are taken out are −∞. None is NaN or +∞.

/// What is no candidate any more.
pub(super) const OUT: f32 = f32::NEG_INFINITY;

/// softmax(logits), 0 where there is no candidate.
pub(super) fn probabilities(logits: &[f32]) -> Vec<f64> {
    let most = largest(logits);
    let share = |l: &f32| if *l == OUT { 0.0 } else { f64::from(l - most).exp() };
    let mut shares: Vec<f64> = logits.iter().map(share).collect();
    let total: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|p| *p /= total);
    shares
}

/// The largest logit.
pub(super) fn largest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(OUT, f32::max)
}

/// How many candidates there are.
pub(super) fn count(logits: &[f32]) -> usize {
    logits.iter().filter(|l| **l != OUT).count()
}

/// Takes out the candidates whose `values` are below `least`.
pub(super) fn keep_from(logits: &mut [f32], values: &[f32], least: f32) {
    for (logit, value) in logits.iter_mut().zip(values) {
        if *value < least {
            *logit = OUT;
        }
    }
}

/// The value at which weights, added up from the largest value down, reach `goal`; the least value there is if
/// they do not. By the bits of the values, a byte at a time: no sort.
pub(super) fn reach(values: &[f32], weight: &dyn Fn(usize) -> f64, goal: f64) -> f32 {
    let (mut prefix, mut known, mut left) = (0u32, 0u32, goal);
    for shift in [24, 16, 8, 0] {
        let mut bins = [0f64; 256];
        let mut least = 255;
        for (i, &value) in values.iter().enumerate().filter(|(_, value)| **value != OUT) {
            let key = key_of(value);
            if key & known == prefix {
                let bin = (key >> shift & 255) as usize;
                bins[bin] += weight(i);
                least = least.min(bin);
            }
        }
        let mut bin = 255;
        while bin > least && bins[bin] < left {
            left -= bins[bin];
            bin -= 1;
        }
        prefix |= (bin as u32) << shift;
        known |= 255 << shift;
    }
    value_of(prefix)
}

/// A number that orders as the float does.
fn key_of(value: f32) -> u32 {
    // −0 is 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_largest_is_found_without_a_sort() {
        let values = [-1.5f32, 0.0, 3.25, OUT, -0.0, 3.25, -700.0, 1e-30];
        let mut sorted: Vec<f32> = values.iter().copied().filter(|v| *v != OUT).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for (k, expected) in sorted.iter().enumerate() {
            assert_eq!(reach(&values, &|_| 1.0, (k + 1) as f64), *expected, "{k}");
        }
        assert_eq!(reach(&values, &|_| 1.0, 99.0), -700.0);
    }
}
