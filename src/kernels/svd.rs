//! Singular value decomposition by one-sided Jacobi rotations (Hestenes 1958), in f64.
//! Not for large matrices, n² · m operations a sweep, some ten sweeps; of those the largest singular
//! values are found by subspace iteration (Halko et al., arXiv:0909.4061).

use crate::mersenne_twister::MersenneTwister;
use crate::order::largest_first;

/// Most sweeps over all pairs of columns; convergence is quadratic, so that ten are many.
const MAX_SWEEPS: usize = 60;

/// Cosine between two columns below which they count as orthogonal, and share of another's
/// length below which a column is rounding and has no direction.
const NEGLIGIBLE: f64 = 1e-14;

/// Directions that a subspace has beyond those that are asked for.
const MORE_DIRECTIONS: usize = 8;

/// Times that a subspace is turned towards the largest singular vectors.
const TURNS: usize = 4;

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

    /// Nearly the `rank` largest singular values of M (rows, cols), row-major, and their vectors: their
    /// U · diag(s) · Vᵀ is hardly farther from M than the best of that rank. Always the same for an M.
    pub fn truncated(m: &[f32], cols: usize, rank: usize) -> Self {
        let k = (rank + MORE_DIRECTIONS).min(cols);
        let mut random = MersenneTwister::new(0);
        // X (cols, k): what M is multiplied by.
        let mut x: Vec<f32> = (0..cols * k).map(|_| 2.0 * random.uniform() - 1.0).collect();
        for _ in 0..TURNS {
            orthonormalise(&mut x, k);
            x = turned(m, cols, &x, k).1;
        }
        // M ≈ Y Xᵀ, and from YᵀY = P diag(s²) Pᵀ: Y P = U diag(s), V = X P.
        orthonormalise(&mut x, k);
        let y = turned(m, cols, &x, k).0;
        let mut squares = vec![0.0; k * k];
        for y in y.chunks_exact(k) {
            for (squares, &left) in squares.chunks_exact_mut(k).zip(y) {
                squares
                    .iter_mut()
                    .zip(y)
                    .for_each(|(sum, &right)| *sum += f64::from(left) * f64::from(right));
            }
        }
        let Self { u: p, s: squares, .. } = Self::new(&squares, k);
        let s: Vec<f64> = squares[..rank].iter().map(|square| square.sqrt()).collect();
        let times = |rows: &[f32], p: &[f64], scale: f64| -> Vec<f64> {
            rows.chunks_exact(k)
                .map(|row| scale * row.iter().zip(p).map(|(&x, p)| f64::from(x) * p).sum::<f64>())
                .collect()
        };
        let inverse = |s: f64| if s > 0.0 { 1.0 / s } else { 0.0 };
        Self {
            u: s.iter().zip(&p).map(|(&s, p)| times(&y, p, inverse(s))).collect(),
            v: p[..rank].iter().map(|p| times(&x, p, 1.0)).collect(),
            s,
        }
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
        let order = largest_first(&norms);
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

/// Y = M X (rows, k) and Mᵀ Y (cols, k), in one pass over M; all row-major.
fn turned(m: &[f32], cols: usize, x: &[f32], k: usize) -> (Vec<f32>, Vec<f32>) {
    let mut back = vec![0.0f32; cols * k];
    let mut all = Vec::with_capacity(m.len() / cols * k);
    for m in m.chunks_exact(cols) {
        let mut y = vec![0.0f32; k];
        for (m, x) in m.iter().zip(x.chunks_exact(k)) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += m * x);
        }
        for (m, back) in m.iter().zip(back.chunks_exact_mut(k)) {
            back.iter_mut().zip(&y).for_each(|(back, y)| *back += m * y);
        }
        all.append(&mut y);
    }
    (all, back)
}

/// Makes the columns of X (rows, k) orthonormal by Gram and Schmidt, each twice for rounding's sake. One
/// that the others span becomes 0.
fn orthonormalise(x: &mut [f32], k: usize) {
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(k);
    for at in 0..k {
        let mut column: Vec<f64> = x[at..].iter().step_by(k).map(|&x| f64::from(x)).collect();
        let before = dot(&column, &column);
        for other in done.iter().chain(&done) {
            let share = dot(other, &column);
            column.iter_mut().zip(other).for_each(|(x, other)| *x -= share * other);
        }
        let square = dot(&column, &column);
        // What f32 cannot tell from rounding has no direction.
        let scale = if square > 1e-12 * before { 1.0 / square.sqrt() } else { 0.0 };
        for (x, column) in x[at..].iter_mut().step_by(k).zip(&mut column) {
            *column *= scale;
            *x = *column as f32;
        }
        done.push(column);
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

    /// Against the whole decomposition, of a matrix whose singular values fall slowly.
    #[test]
    fn the_largest_values_are_found() {
        for (rows, cols) in [(90, 70), (70, 90)] {
            let m: Vec<f64> = noise(9, rows * cols).iter().map(|&x| f64::from(x as f32)).collect();
            let whole = Svd::new(&m, cols);
            let rank = 12;
            let m: Vec<f32> = m.iter().map(|&x| x as f32).collect();
            let some = Svd::truncated(&m, cols, rank);
            let missed = |svd: &Svd| -> f64 {
                let at = |i: usize| -> f64 {
                    (0..rank).map(|k| svd.u[k][i / cols] * svd.s[k] * svd.v[k][i % cols]).sum()
                };
                m.iter().enumerate().map(|(i, &m)| (f64::from(m) - at(i)).powi(2)).sum::<f64>().sqrt()
            };
            let (best, got) = (missed(&whole), missed(&some));
            assert!(got < 1.01 * best, "{rows}×{cols}: {got} from the matrix, the best is {best}");
            assert!((some.s[0] / whole.s[0] - 1.0).abs() < 0.01, "{} of {}", some.s[0], whole.s[0]);
            for columns in [&some.u, &some.v] {
                for (i, j) in (0..rank).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                    let want = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&columns[i], &columns[j]) - want).abs() < 1e-4, "columns {i} and {j}");
                }
            }
        }
        // Of rank one, and less than asked for: what is not there is 0.
        let some = Svd::truncated(&[1.0, 2.0, 2.0, 4.0, 3.0, 6.0], 2, 2);
        assert!((some.s[0] - 70f64.sqrt()).abs() < 1e-5 && some.s[1] < 1e-2, "{:?}", some.s);
        assert!(Svd::truncated(&[0.0; 6], 3, 2).s.iter().all(|&s| s == 0.0));
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
