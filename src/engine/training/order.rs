//! The order in which an epoch goes through its windows: the same seed, the same order.
//! Not what a window is, nor how many of them a step takes.

/// 0 to `n - 1`, shuffled by Fisher and Yates with mulberry32 as its dice.
pub(super) fn shuffled(n: usize, seed: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = seed;
    for left in (2..=n).rev() {
        state = state.wrapping_add(0x6d2b_79f5);
        let mut noise = (state ^ (state >> 15)).wrapping_mul(state | 1);
        noise ^= noise.wrapping_add((noise ^ (noise >> 7)).wrapping_mul(noise | 61));
        let share = f64::from(noise ^ (noise >> 14)) / 2f64.powi(32);
        order.swap(left - 1, (share * left as f64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    /// What the same generator gives in JavaScript, whose numbers are f64 and whose shifts are of 32 bits.
    #[test]
    fn an_order_is_that_of_javascript() {
        assert_eq!(shuffled(10, 0), [3, 8, 6, 4, 5, 9, 7, 1, 0, 2]);
        assert_eq!(shuffled(10, 1), [7, 8, 3, 2, 1, 5, 9, 4, 0, 6]);
        assert_eq!(shuffled(7, u32::MAX), [0, 5, 2, 4, 3, 1, 6]);
    }

    #[test]
    fn every_window_comes_once() {
        for n in [0, 1, 2, 100] {
            let mut order = shuffled(n, 5);
            order.sort_unstable();
            assert_eq!(order, Vec::from_iter(0..n));
        }
    }
}
