//! Singular value decomposition by one-sided Jacobi rotations (Hestenes 1958), in f64.
//! Not for large matrices: n² · m operations a sweep, some ten sweeps.

/// Most sweeps over all pairs of columns; convergence is quadratic, so that ten are many.
const MAX_SWEEPS: usize = 60;

/// Cosine between two columns below which they count as orthogonal, and share of another's
/// length below which a column is rounding and has no direction.
const NEGLIGIBLE: f64 = 1e-14;

/// M = U · diag(s) · Vᵀ with k = min(rows, cols) singular values, largest first. Where one is 0
/// its column of U or V, whichever is the longer, is 0 too.
#[derive(Clone, Debug)]
pub struct Svd {
    /// Columns of U, k of (rows).
    pub u: Vec<Vec<f64>>,
    /// (k)
    pub s: Vec<f64>,
    /// Columns of V, k of (cols).
    pub v: Vec<Vec<f64>>,
}

impl Svd {
    /// Of M (rows, cols), row-major.
    pub fn new(m: &[f64], cols: usize) -> Self {
        let rows = m.len() / cols;
        let column = |c: usize| m[c..].iter().step_by(cols).copied().collect();
        let row = |r: usize| m[r * cols..][..cols].to_vec();
        if rows >= cols {
            Self::of_columns((0..cols).map(column).collect())
        } else {
            let Self { u, s, v } = Self::of_columns((0..rows).map(row).collect());
            Self { u: v, s, v: u }
        }
    }

    /// Of B · A, B (F, R) and A (R, C), row-major, in time linear in F and C.
    ///
    /// With B = U_b S_b V_bᵀ and S_b V_bᵀ A = U_a S V_aᵀ: U = U_b U_a, V = V_a.
    pub fn of_product(b: &[f64], a: &[f64], rank: usize) -> Self {
        let c = a.len() / rank;
        let outer = Self::new(b, rank);
        let mut core = Vec::with_capacity(outer.s.len() * c);
        for (s, v) in outer.s.iter().zip(&outer.v) {
            core.extend((0..c).map(|c_| s * (0..rank).map(|r| v[r] * a[r * c + c_]).sum::<f64>()));
        }
        let inner = Self::new(&core, c);
        let f = b.len() / rank;
        let turned = |u: &Vec<f64>| -> Vec<f64> {
            (0..f).map(|f_| u.iter().zip(&outer.u).map(|(u, column)| u * column[f_]).sum()).collect()
        };
        Self { u: inner.u.iter().map(turned).collect(), s: inner.s, v: inner.v }
    }

    /// Turns columns of at least their number of rows until all are orthogonal: M · V = U · S.
    fn of_columns(mut columns: Vec<Vec<f64>>) -> Self {
        let n = columns.len();
        let mut v: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        for _ in 0..MAX_SWEEPS {
            let mut turned = false;
            for j in 1..n {
                for i in 0..j {
                    if let Some(rotation) = rotation(&columns[i], &columns[j]) {
                        rotate(&mut columns, i, j, rotation);
                        rotate(&mut v, i, j, rotation);
                        turned = true;
                    }
                }
            }
            if !turned {
                break;
            }
        }
        let norms: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
        let unit = |i: usize| {
            let scale = if norms[i] > 0.0 { 1.0 / norms[i] } else { 0.0 };
            columns[i].iter().map(|x| x * scale).collect()
        };
        Self {
            u: order.iter().map(|&i| unit(i)).collect(),
            s: order.iter().map(|&i| norms[i]).collect(),
            v: order.iter().map(|&i| v[i].clone()).collect(),
        }
    }
}

/// Cosine and sine of the angle that makes two columns orthogonal; `None` if they are.
fn rotation(x: &[f64], y: &[f64]) -> Option<[f64; 2]> {
    let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
    let rounding = xx.min(yy) <= NEGLIGIBLE * NEGLIGIBLE * xx.max(yy);
    if rounding || xy.abs() <= NEGLIGIBLE * (xx * yy).sqrt() {
        return None;
    }
    let zeta = (yy - xx) / (2.0 * xy);
    // The smaller of the two angles, for stability.
    let tan = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
    let cos = 1.0 / tan.hypot(1.0);
    Some([cos, cos * tan])
}

fn rotate(columns: &mut [Vec<f64>], i: usize, j: usize, [cos, sin]: [f64; 2]) {
    let (before, after) = columns.split_at_mut(j);
    for (x, y) in before[i].iter_mut().zip(&mut after[0]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, len: usize) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 23) - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn product(b: &[f64], a: &[f64], rank: usize) -> Vec<f64> {
        let c = a.len() / rank;
        let at = |f: usize, c_: usize| (0..rank).map(|r| b[f * rank + r] * a[r * c + c_]).sum();
        (0..b.len() / rank).flat_map(|f| (0..c).map(move |c_| at(f, c_))).collect()
    }

    /// U · diag(s) · Vᵀ is M, both have orthonormal columns, and s falls.
    #[track_caller]
    fn check(svd: &Svd, m: &[f64], cols: usize) {
        for (i, want) in m.iter().enumerate() {
            let got: f64 = (0..svd.s.len()).map(|k| svd.u[k][i / cols] * svd.s[k] * svd.v[k][i % cols]).sum();
            assert!((got - want).abs() < 1e-12, "{i}: {got}, expected {want}");
        }
        assert!(svd.s.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", svd.s);
        let positive = svd.s.iter().filter(|s| **s > 1e-12).count();
        for columns in [&svd.u[..positive], &svd.v[..positive]] {
            for (i, j) in (0..positive).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                let want = if i == j { 1.0 } else { 0.0 };
                assert!((dot(&columns[i], &columns[j]) - want).abs() < 1e-12, "columns {i} and {j}");
            }
        }
    }

    #[test]
    fn the_factors_multiply_to_the_matrix() {
        for (rows, cols) in [(7, 4), (4, 7), (5, 5), (1, 3), (3, 1)] {
            let m = noise(3, rows * cols);
            let svd = Svd::new(&m, cols);
            assert_eq!(
                (svd.u.len(), svd.s.len(), svd.v.len()),
                (rows.min(cols), rows.min(cols), rows.min(cols))
            );
            check(&svd, &m, cols);
        }
    }

    #[test]
    fn known_values_are_found() {
        // [[3, 0], [4, 5]] has singular values √45 and √5.
        let svd = Svd::new(&[3.0, 0.0, 4.0, 5.0], 2);
        assert!((svd.s[0] - 45f64.sqrt()).abs() < 1e-14 && (svd.s[1] - 5f64.sqrt()).abs() < 1e-14);
        assert_eq!(Svd::new(&[0.0; 6], 3).s, [0.0, 0.0]);
    }

    #[test]
    fn a_product_is_not_multiplied_out() {
        for (f, rank, c) in [(9, 3, 7), (2, 3, 8), (8, 3, 2)] {
            let (b, a) = (noise(5, f * rank), noise(6, rank * c));
            check(&Svd::of_product(&b, &a, rank), &product(&b, &a, rank), c);
        }
        // Of rank one, though it is written as two.
        let (b, a) = ([1.0, 2.0, 2.0, 4.0, 3.0, 6.0], noise(7, 10));
        let svd = Svd::of_product(&b, &a, 2);
        check(&svd, &product(&b, &a, 2), 5);
        assert!(svd.s[0] > 1.0 && svd.s[1] < 1e-12, "{:?}", svd.s);
    }
}
