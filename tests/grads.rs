//! Every backward op against PyTorch's autograd, on every backend: the plain twin, the fast CPU
//! path and the shader. One body, run natively and in a browser.

mod common;

use bytemuck::Zeroable;
use common::{Case, Fixture, OneOp, Tolerance, backends};
use lorakeet::plan::{Block, GradOp, INACTIVE, Mix, Op, Slice, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Sums of up to a few hundred products of order one, in another order than PyTorch's.
const SUMS: Tolerance = Tolerance { abs: 2e-5, rel: 2e-5 };

macro_rules! fixture {
    ($op:literal) => {
        Fixture::new(include_bytes!(concat!("fixtures/grads/", $op, ".safetensors")))
    };
}

/// Runs `body` for every case on a fresh backend of every kind.
async fn on_all(
    op: &str,
    fixture: &Fixture<'_>,
    tolerance: Tolerance,
    body: impl Fn(&Case, &mut OneOp) -> (GradOp, usize),
) {
    for (i, case) in fixture.cases().enumerate() {
        let mut one = OneOp::default();
        let (step, n) = body(&case, &mut one);
        for (name, mut backend) in backends().await {
            let what = format!("{op} case {i} on {name}");
            one.check(&mut backend, &what, Op::Grad(step.clone()), n, tolerance).await;
        }
    }
}

/// An output that starts as `before` if it is added to, as NaN if it is overwritten.
fn output(one: &mut OneOp, name: &str, shape: &[usize], before: &Option<Vec<f32>>, want: &[f32]) -> TensorId {
    match before {
        Some(before) => one.output_over(name, shape, before, want),
        None => one.output(name, shape, want),
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad() {
    on_all("linear_grad", &fixture!("linear_grad"), SUMS, |case, one| {
        let [n, c, f] = ["N", "C", "F"].map(|name| case.size(name));
        let dy = one.f32("dy", &[n, f], &case.f32("dy"));
        let weight = one.f32("weight", &[f, c], &case.f32("weight"));
        let before = case.maybe_f32("before");
        let dx = output(one, "dx", &[n, c], &before, &case.f32("dx"));
        let weight = Slice { tensor: weight, first: 0 };
        (GradOp::Linear { dy, weight, dx, accumulate: before.is_some() }, n)
    })
    .await;
}

/// The lower two thirds of a matrix in slices, added to what the upper third left.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad_of_a_slice() {
    on_all("linear_grad of a slice", &fixture!("linear_grad"), SUMS, |case, one| {
        let [n, c, f] = ["N", "C", "F"].map(|name| case.size(name));
        let (dy, weight, first) = (case.f32("dy"), case.f32("weight"), f / 3);
        let mut before = case.maybe_f32("before").unwrap_or_else(|| vec![0.0; n * c]);
        for (at, before) in before.iter_mut().enumerate() {
            let product = |j: usize| f64::from(dy[at / c * f + j]) * f64::from(weight[j * c + at % c]);
            *before += (0..first).map(product).sum::<f64>() as f32;
        }
        let dy = one.f32("dy", &[n, f], &dy);
        let tensor = one.f32("weight", &[f - first, c], &weight[first * c..]);
        let dx = one.output_over("dx", &[n, c], &before, &case.f32("dx"));
        (GradOp::Linear { dy, weight: Slice { tensor, first }, dx, accumulate: true }, n)
    })
    .await;
}

/// Rows of the mixes that a case of `lora_grad` names, each active.
fn lora_rows(case: &Case, one: &mut OneOp) -> (TensorId, TensorId) {
    let (n, m) = (case.size("N"), case.size("M"));
    let lines: Vec<u32> = case.ids("mix").iter().flat_map(|&mix| [0, 0, 0, mix]).collect();
    let (blocks, weights) = (case.ids("blocks"), case.f32("weights"));
    let mut mixes = vec![Mix::zeroed(); m];
    for (at, block) in blocks.chunks_exact(2).enumerate().filter(|(_, block)| block[1] > 0) {
        let mix = &mut mixes[at / 5];
        mix.blocks[at % 5] = Block::new(block[0] as usize, block[1] as usize, 0, false, weights[at]);
        mix.n_blocks += 1;
    }
    let rows = one.u32("rows", &[n, 4], &lines);
    (rows, one.u32("mixes", &[m, 16], bytemuck::cast_slice(&mixes)))
}

/// Values of (N, parts·R), `off` where the row's mix has switched the rank off.
fn where_on(case: &Case, values: &[f32], off: f32) -> Vec<f32> {
    let (ranks, parts) = (case.size("R"), case.size("parts"));
    let (mix, gamma) = (case.ids("mix"), case.f32("gamma"));
    let on = |at: usize| gamma[mix[at / (parts * ranks)] as usize * ranks + at % ranks] != 0.0;
    values.iter().enumerate().map(|(at, &value)| if on(at) { value } else { off }).collect()
}

fn parts(case: &Case) -> [usize; 2] {
    let edges = case.sizes("edges");
    let first = |part: usize| if part < case.size("parts") { edges[part] } else { usize::MAX };
    [first(1), first(2)]
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn shrink_grad() {
    on_all("shrink_grad", &fixture!("lora_grad"), SUMS, |case, one| {
        let [n, f, ranks, n_parts] = ["N", "F", "R", "parts"].map(|name| case.size(name));
        let (rows, mixes) = lora_rows(case, one);
        let dy = one.f32("dy", &[n, f], &case.f32("dy"));
        let b = one.f32("b", &[ranks, f], &case.f32("b"));
        // What is off keeps what it held.
        let before = where_on(case, &vec![f32::NAN; n * n_parts * ranks], 7.0);
        let want = where_on(case, &case.f32("dz"), 7.0);
        let dz = one.output_over("dz", &[n, n_parts * ranks], &before, &want);
        (GradOp::Shrink { rows, mixes, dy, b, dz, ranks, parts: parts(case) }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn expand_grad() {
    for accumulate in [false, true] {
        on_all("expand_grad", &fixture!("lora_grad"), SUMS, |case, one| {
            let [n, c, ranks, n_parts] = ["N", "C", "R", "parts"].map(|name| case.size(name));
            let (rows, mixes) = lora_rows(case, one);
            // What is off may hold anything.
            let dz = one.f32("dz", &[n, n_parts * ranks], &where_on(case, &case.f32("dz"), f32::NAN));
            let a = one.f32("a", &[n_parts * ranks, c], &case.f32("a"));
            let mut want = case.f32("dx");
            let before = accumulate.then(|| case.f32("x"));
            before.iter().for_each(|x| want.iter_mut().zip(x).for_each(|(want, x)| *want += x));
            let dx = output(one, "dx", &[n, c], &before, &want);
            (GradOp::Expand { rows, mixes, dz, a, dx, ranks, accumulate }, n)
        })
        .await;
    }
}

/// The rows of a case of `lora_grad` with one in front and one behind that are inactive and hold
/// no numbers.
fn with_inactive(case: &Case, one: &mut OneOp) -> TensorId {
    let n = case.size("N");
    let slot = |row: usize| if row == 0 || row == n + 1 { INACTIVE } else { 0 };
    let lines: Vec<u32> = (0..n + 2).flat_map(|row| [0, 0, slot(row), 0]).collect();
    one.u32("rows", &[n + 2, 4], &lines)
}

/// A row of NaN before and after the values of (N, cols).
fn between_nans(values: &[f32], cols: usize) -> Vec<f32> {
    let nan = vec![f32::NAN; cols];
    [&nan, values, &nan].concat()
}

/// The gradient of the second half of A's ranks, in its last part.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn outer_grad() {
    on_all("outer_grad", &fixture!("lora_grad"), SUMS, |case, one| {
        let [n, c, ranks, n_parts] = ["N", "C", "R", "parts"].map(|name| case.size(name));
        let rows = with_inactive(case, one);
        let u_cols = n_parts * ranks;
        let (first, count) = (ranks / 2, ranks - ranks / 2);
        let u_first = (n_parts - 1) * ranks + first;
        let u = one.f32("u", &[n + 2, u_cols], &between_nans(&case.f32("dz"), u_cols));
        let v = one.f32("v", &[n + 2, c], &between_nans(&case.f32("x"), c));
        // One row of g belongs to someone else.
        let mut want = case.f32("a")[..(1 + count) * c].to_vec();
        let before = want.clone();
        let added = &case.f32("da")[u_first * c..][..count * c];
        want[c..].iter_mut().zip(added).for_each(|(want, g)| *want += g);
        let g = one.output_over("g", &[1 + count, c], &before, &want);
        (GradOp::Outer { rows, u, u_first, v, g, g_first: 1, count, cols: [0, c] }, n + 2)
    })
    .await;
}

/// The gradient of B in its last part; the columns of others keep what they held.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn outer_grad_of_a_part() {
    on_all("outer_grad of a part", &fixture!("lora_grad"), SUMS, |case, one| {
        let [n, f, ranks, n_parts] = ["N", "F", "R", "parts"].map(|name| case.size(name));
        let rows = with_inactive(case, one);
        let u_cols = n_parts * ranks;
        let cols = [case.sizes("edges")[n_parts - 1], f];
        let u = one.f32("u", &[n + 2, u_cols], &between_nans(&case.f32("z"), u_cols));
        let v = one.f32("v", &[n + 2, f], &between_nans(&case.f32("dy"), f));
        let (before, db) = (case.f32("b"), case.f32("db"));
        let add = |at: usize| if at % f < cols[0] { 0.0 } else { db[at] };
        let want: Vec<f32> = before.iter().enumerate().map(|(at, b)| b + add(at)).collect();
        let g = one.output_over("g", &[ranks, f], &before, &want);
        let u_first = (n_parts - 1) * ranks;
        (GradOp::Outer { rows, u, u_first, v, g, g_first: 0, count: ranks, cols }, n + 2)
    })
    .await;
}
