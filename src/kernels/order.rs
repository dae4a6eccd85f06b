//! Values in order, by one sort for all types: one for each would be a tenth of what browsers download.
//! Not for what is long and sorted often.

use std::cmp::Ordering;

/// The indices of values, of the largest value first; of equals the first first. NaN is above all.
pub fn largest_first(values: &[f64]) -> Vec<usize> {
    order(values.len(), &|i, j| values[j].total_cmp(&values[i]))
}

/// Sorts values by what `key` makes of each; equals stay in the order they have.
pub fn sort_by_key<T, K: Ord>(values: &mut [T], key: impl Fn(&T) -> K) {
    let mut from = order(values.len(), &|i, j| key(&values[i]).cmp(&key(&values[j])));
    // Around each cycle of places, whose values move on by one.
    for first in 0..values.len() {
        let mut at = first;
        while from[at] != first {
            let next = std::mem::replace(&mut from[at], at);
            values.swap(at, next);
            at = next;
        }
        from[at] = at;
    }
}

/// The indices of so many values in the order of `compare`.
fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|&i, &j| compare(i, j));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sorted_and_equals_stay_in_order() {
        let mut state = 1u32;
        for len in [0, 1, 2, 3, 10, 257] {
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 28
            };
            let mut values: Vec<(u32, usize)> = (0..len).map(|i| (noise(), i)).collect();
            let mut expected = values.clone();
            expected.sort_by_key(|value| value.0);
            sort_by_key(&mut values, |value| value.0);
            assert_eq!(values, expected);
        }
        assert_eq!(largest_first(&[1.0, 3.0, f64::NAN, 3.0]), [2, 1, 3, 0]);
    }
}
