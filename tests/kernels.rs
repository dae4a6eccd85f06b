//! Every op against PyTorch, on every backend: the plain twin, the fast CPU path and the
//! shader. One body, run natively and in a browser.

mod common;

use bytemuck::Zeroable;
#[cfg(not(target_arch = "wasm32"))]
use common::gpu_with;
use common::{Case, Fixture, OneOp, Tolerance, backends_and_variants as backends, misfit};
use lorakeet::activation::Activation;
use lorakeet::backend::Backend;
#[cfg(not(target_arch = "wasm32"))]
use lorakeet::backend::gpu::{GpuOptions, kernels::Kernel};
use lorakeet::ops::{self, Delta, DownProjection, Op, Replaced, Slice};
use lorakeet::plan::{ABSENT, Block, INACTIVE, Mix, RING, Row, Sampling, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Copies and one addition or multiplication: the last bit.
const EXACT: Tolerance = Tolerance { abs: 1e-6, rel: 1e-6 };
/// Sums of up to a few hundred products of order one, in another order than PyTorch's.
const SUMS: Tolerance = Tolerance { abs: 2e-5, rel: 2e-5 };
/// exp and tanh on devices whose versions are good to 1e-5 or so.
const FUNCTIONS: Tolerance = Tolerance { abs: 2e-5, rel: 5e-5 };

macro_rules! fixture {
    ($op:literal) => {
        Fixture::new(include_bytes!(concat!("fixtures/ops/", $op, ".safetensors")))
    };
}

/// Runs `body` for every case on a fresh backend of every kind.
async fn on_all<O: Into<Op>>(
    op: &str,
    fixture: &Fixture<'_>,
    tolerance: Tolerance,
    body: impl Fn(&Case, &mut OneOp) -> (O, usize),
) {
    for (i, case) in fixture.cases().enumerate() {
        let mut one = OneOp::default();
        let (step, n) = body(&case, &mut one);
        let step = step.into();
        for (name, mut backend) in backends().await {
            let what = format!("{op} case {i} on {name}");
            one.check(&mut backend, &what, step.clone(), n, tolerance).await;
        }
    }
}

fn rows(tokens: &[u32], pos: &[u32], slot: &[u32]) -> Vec<u32> {
    let row = |n: usize| [tokens[n], pos[n], slot[n], 0];
    (0..pos.len()).flat_map(row).collect()
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn embed() {
    let fixture = fixture!("embed");
    on_all("embed", &fixture, EXACT, |case, one| {
        let [n, v, c, p] = ["N", "V", "C", "P"].map(|name| case.size(name));
        let tokens = case.ids("tokens");
        let rows = one.u32("rows", &[n, 4], &rows(&tokens, &case.ids("pos"), &vec![0; n]));
        let table = one.f32("table", &[v, c], &case.f32("table"));
        let positions = case.maybe_f32("positions").map(|t| one.f32("positions", &[p, c], &t));
        let y = one.output("y", &[n, c], &case.f32("y"));
        (ops::Embed { rows, table: Slice { tensor: table, first: 0 }, positions, y }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn embed_leaves_tokens_of_other_slices_alone() {
    for (name, mut backend) in backends().await {
        let mut one = OneOp::default();
        let rows = one.u32("rows", &[4, 4], &rows(&[4, 5, 6, 7], &[0; 4], &[0; 4]));
        let table = one.f32("table", &[2, 1], &[50.0, 60.0]);
        let before = [1.0, 2.0, 3.0, 4.0];
        let y = one.output_over("y", &[4, 1], &before, &[1.0, 50.0, 60.0, 4.0]);
        let op = ops::Embed { rows, table: Slice { tensor: table, first: 5 }, positions: None, y };
        one.check(&mut backend, name, op, 4, EXACT).await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn rms_norm() {
    on_all("rms_norm", &fixture!("rms_norm"), SUMS, |case, one| {
        let [n, c] = ["N", "C"].map(|name| case.size(name));
        let x = one.f32("x", &[n, c], &case.f32("x"));
        let weight = one.f32("weight", &[c], &case.f32("weight"));
        let y = one.output("y", &[n, c], &case.f32("y"));
        (ops::Norm { x, weight, bias: None, y, eps: case.number("eps"), centred: false, shrink: None }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn head_norm() {
    on_all("head_norm", &fixture!("head_norm"), SUMS, |case, one| {
        let [n, h, k, d] = ["N", "H", "K", "D"].map(|name| case.size(name));
        let shape = [n, (h + 2 * k) * d];
        let qkv = one.f32("qkv", &shape, &case.f32("qkv"));
        let weights = ["q_weight", "k_weight"].map(|name| one.f32(name, &[d], &case.f32(name)));
        let y = one.output("y", &shape, &case.f32("y"));
        (ops::HeadNorm { qkv, weights, y, q_heads: h, eps: case.number("eps") }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn layer_norm() {
    on_all("layer_norm", &fixture!("layer_norm"), SUMS, |case, one| {
        let [n, c] = ["N", "C"].map(|name| case.size(name));
        let x = one.f32("x", &[n, c], &case.f32("x"));
        let weight = one.f32("weight", &[c], &case.f32("weight"));
        let bias = one.f32("bias", &[c], &case.f32("bias"));
        let y = one.output("y", &[n, c], &case.f32("y"));
        (
            ops::Norm {
                x,
                weight,
                bias: Some(bias),
                y,
                eps: case.number("eps"),
                centred: true,
                shrink: None,
            },
            n,
        )
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear() {
    on_all("linear", &fixture!("linear"), SUMS, |case, one| {
        let [n, c, f] = ["N", "C", "F"].map(|name| case.size(name));
        let x = one.f32("x", &[n, c], &case.f32("x"));
        let weight = one.f32("weight", &[f, c], &case.f32("weight"));
        let bias = case.maybe_f32("bias").map(|b| one.f32("bias", &[f], &b));
        let want = case.f32("y");
        let residual = case.maybe_f32("residual");
        let y = match &residual {
            Some(before) => one.output_over("y", &[n, f], before, &want),
            None => one.output("y", &[n, f], &want),
        };
        let weight = Slice { tensor: weight, first: 0 };
        (ops::Linear { x, weight, bias, y, accumulate: residual.is_some(), delta: None }, n)
    })
    .await;
}

/// Rows and columns around the edges of the kernels' tiles, and weights in slices.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_at_tile_edges() {
    for (n, c, f, first) in [
        (1, 64, 257, 3),
        (1, 31, 9, 0),
        (8, 31, 64, 0),
        (7, 48, 65, 1),
        (9, 16, 33, 5),
        (33, 17, 31, 0),
        (64, 48, 96, 2),
    ] {
        let wave =
            |len: usize, step: f32| -> Vec<f32> { (0..len).map(|i| (i as f32 * step).sin()).collect() };
        let (x, weight, bias) = (wave(n * c, 0.37), wave(f * c, 0.11), wave(first + f + 1, 0.7));
        let stride = first + f + 1;
        let mut want = vec![f32::NAN; n * stride];
        for (n, x) in x.chunks_exact(c).enumerate() {
            for (j, w) in weight.chunks_exact(c).enumerate() {
                let dot: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                want[n * stride + first + j] = dot as f32 + bias[first + j];
            }
        }
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let x = one.f32("x", &[n, c], &x);
            let weight = one.f32("weight", &[f, c], &weight);
            let bias = one.f32("bias", &[stride], &bias);
            // Columns outside the slice keep what they held.
            let before: Vec<f32> = want.iter().map(|w| if w.is_nan() { 7.0 } else { f32::NAN }).collect();
            let want: Vec<f32> = want.iter().map(|w| if w.is_nan() { 7.0 } else { *w }).collect();
            let y = one.output_over("y", &[n, stride], &before, &want);
            let op = ops::Linear {
                x,
                weight: Slice { tensor: weight, first },
                bias: Some(bias),
                y,
                accumulate: false,
                delta: None,
            };
            one.check(&mut backend, &format!("{name} ({n}, {c}, {f})"), op, n, SUMS).await;
        }
    }
}

/// Mixes for three rows: none, one adapter, two with weights of either sign.
fn mixes() -> [Mix; 3] {
    let mut mixes = [Mix::zeroed(); 3];
    mixes[1].n_blocks = 1;
    mixes[1].blocks[0] = Block::new(4, 3, 1, true, 0.5);
    mixes[2].n_blocks = 2;
    mixes[2].blocks[0] = Block::new(0, 4, 0, true, -1.25);
    mixes[2].blocks[1] = Block::new(4, 3, 1, false, 2.0);
    mixes
}

fn wave(len: usize, step: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * step).sin()).collect()
}

/// γ of every rank in each mix of [`mixes`]; ranks that are off are not to be written.
const GAMMA: [[f32; 8]; 3] = [
    [f32::NAN; 8],
    [f32::NAN, f32::NAN, f32::NAN, f32::NAN, 0.5, 0.5, 0.5, f32::NAN],
    [-1.25, -1.25, -1.25, -1.25, 2.0, 2.0, 2.0, f32::NAN],
];

const RANKS: usize = 8;

/// The rows and mixes of three rows with the mixes of [`mixes`].
fn adapted_rows(one: &mut OneOp) -> [TensorId; 2] {
    let lines = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 2]];
    let rows = one.u32("rows", &[3, 4], lines.as_flattened());
    [rows, one.u32("mixes", &[3, 16], bytemuck::cast_slice(&mixes()))]
}

/// Adds to an op with output x (3, C) a shrink of `parts` parts, each sum in `partials` pieces,
/// and what its formula gives.
fn shrink_of(
    one: &mut OneOp,
    rows: [TensorId; 2],
    x: &[f32],
    parts: usize,
    partials: usize,
) -> DownProjection {
    let c = x.len() / 3;
    let a = wave(parts * RANKS * c, 0.17);
    let mut want = Vec::new();
    for (n, x) in x.chunks_exact(c).enumerate() {
        for at in 0..parts * partials * RANKS {
            let (part, piece, r) = (at / RANKS / partials, at / RANKS % partials, at % RANKS);
            let a = &a[(part * RANKS + r) * c..][..c];
            let columns = piece * (c / partials)..(piece + 1) * (c / partials);
            let dot: f64 = columns.map(|i| f64::from(x[i]) * f64::from(a[i])).sum();
            want.push(dot as f32 * GAMMA[n][r]);
        }
    }
    // What is off keeps what it held: 7 where the answer has no number, NaN elsewhere.
    let before: Vec<f32> = want.iter().map(|w| if w.is_nan() { 7.0 } else { f32::NAN }).collect();
    want.iter_mut().filter(|w| w.is_nan()).for_each(|w| *w = 7.0);
    let [rows, mixes] = rows;
    let a = one.f32("a", &[parts * RANKS, c], &a);
    let z = one.output_over("z", &[3, parts * partials * RANKS], &before, &want);
    DownProjection { rows, mixes, a, z, ranks: RANKS, partials }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn shrink() {
    for (c, parts) in [(20, 1), (33, 3), (64, 2)] {
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let rows = adapted_rows(&mut one);
            let input = wave(3 * c, 0.31);
            let x = one.f32("x", &[3, c], &input);
            let shrink = shrink_of(&mut one, rows, &input, parts, 1);
            let op = ops::Shrink { x, shrink };
            one.check(&mut backend, &format!("{name} ({c}, {parts})"), op, 3, SUMS).await;
        }
    }
}

/// The shrink that rides in a norm reads what the norm writes.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn norm_with_adapters() {
    for (c, parts, centred) in [(20, 1, true), (33, 3, false), (100, 2, true)] {
        let (input, weight, shift) = (wave(3 * c, 0.31), wave(c, 0.7), wave(c, 0.45));
        let mut want = Vec::new();
        for x in input.chunks_exact(c) {
            let mean = if centred { x.iter().sum::<f32>() / c as f32 } else { 0.0 };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / c as f32;
            let hat = |x: f32| (x - mean) / (square + 1e-5).sqrt();
            want.extend((0..c).map(|i| hat(x[i]) * weight[i] + if centred { shift[i] } else { 0.0 }));
        }
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let rows = adapted_rows(&mut one);
            let x = one.f32("x", &[3, c], &input);
            let weight = one.f32("weight", &[c], &weight);
            let bias = centred.then(|| one.f32("bias", &[c], &shift));
            let y = one.output("y", &[3, c], &want);
            let shrink = Some(shrink_of(&mut one, rows, &want, parts, 1));
            let op = ops::Norm { x, weight, bias, y, eps: 1e-5, centred, shrink };
            one.check(&mut backend, &format!("{name} ({c}, {parts})"), op, 3, SUMS).await;
        }
    }
}

/// The shrink that rides in an attention, a partial sum for each head.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_with_adapters() {
    let (h, k, d, s) = (6, 2, 10, 2);
    let (q, keys, values) = (wave(3 * h * d, 0.31), wave(s * k * d, 0.7), wave(s * k * d, 0.45));
    let mut want = Vec::new();
    for n in 0..3 {
        for head in 0..h {
            let key = |pos: usize| pos * k * d + head / (h / k) * d;
            let seen = if n == 2 { 2 } else { 1 }; // the positions of `adapted_rows`
            let score = |pos: usize| -> f32 {
                (0..d).map(|i| q[(n * h + head) * d + i] * keys[key(pos) + i]).sum::<f32>() * 0.5
            };
            let weights: Vec<f32> = (0..seen).map(|pos| score(pos).exp()).collect();
            let total: f32 = weights.iter().sum();
            let value = |i| (0..seen).map(|pos| weights[pos] / total * values[key(pos) + i]).sum::<f32>();
            want.extend((0..d).map(value));
        }
    }
    for (name, mut backend) in backends().await {
        let mut one = OneOp::default();
        let rows = adapted_rows(&mut one);
        let q = one.f32("q", &[3, h * d], &q);
        let k_cache = one.f32("k_cache", &[1, s, k * d], &keys);
        let v_cache = one.f32("v_cache", &[1, s, k * d], &values);
        let y = one.output("y", &[3, h * d], &want);
        let shrink = Some(shrink_of(&mut one, rows, &want, 1, h));
        let [rows, _] = rows;
        let op = ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale: 0.5, window: 0, shrink };
        one.check(&mut backend, name, op, 3, FUNCTIONS).await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn affine() {
    const ADAPTERS: usize = 2;
    for c in [5, 64, 100] {
        let (before, gains) = (wave(3 * c, 0.9), wave(2 * ADAPTERS * c, 0.13));
        let mut want = before.clone();
        for (n, mix) in mixes().iter().enumerate() {
            for i in 0..c {
                let line = |row: usize| gains[row * c + i];
                let affine = || mix.active().iter().filter_map(|b| Some((b.weight, b.affine()?)));
                let gain: f32 = affine().map(|(weight, adapter)| weight * line(adapter)).sum();
                let shift: f32 = affine().map(|(weight, adapter)| weight * line(ADAPTERS + adapter)).sum();
                want[n * c + i] = before[n * c + i] * (1.0 + gain) + shift;
            }
        }
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let lines = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]];
            let rows = one.u32("rows", &[3, 4], lines.as_flattened());
            let mixes = one.u32("mixes", &[3, 16], bytemuck::cast_slice(&mixes()));
            let gains = one.f32("gains", &[2 * ADAPTERS, c], &gains);
            let x = one.output_over("x", &[3, c], &before, &want);
            let op = ops::Affine { rows, mixes, gains, x };
            one.check(&mut backend, &format!("{name} ({c})"), op, 3, EXACT).await;
        }
    }
}

/// Two adapters' rows for seven tokens: the first has tokens 2 and 5, the second 5 and 6.
fn replaced_rows(one: &mut OneOp, c: usize) -> (Replaced, impl Fn(usize, usize) -> Option<Vec<f32>> + use<>) {
    let mut map = vec![ABSENT; 2 * 7];
    [map[2], map[5], map[7 + 5], map[7 + 6]] = [3, 0, 1, 2];
    let deltas = wave(4 * c, 0.53);
    let ids = (one.u32("map", &[2, 7], &map), one.f32("deltas", &[4, c], &deltas));
    let row = move |adapter: usize, token: usize| {
        let row = *map.get(adapter * 7 + token)?;
        (row != ABSENT).then(|| deltas[row as usize * c..][..c].to_vec())
    };
    (Replaced { map: ids.0, deltas: ids.1 }, row)
}

/// What adapters do to an embedding: through ranks, through rows, and both.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn embed_delta() {
    const V: usize = 7;
    let tokens = [5, 2, 5];
    for (c, ranks, with_rows) in [(5, RANKS, true), (66, RANKS, false), (64, 0, true)] {
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let lines = [[tokens[0], 0, 0, 0], [tokens[1], 0, 0, 1], [tokens[2], 0, 0, 2]];
            let rows = one.u32("rows", &[3, 4], lines.as_flattened());
            let mix_ids = one.u32("mixes", &[3, 16], bytemuck::cast_slice(&mixes()));
            let (a, b) = (wave(ranks.max(1) * V, 0.17), wave((ranks + 4) * c, 0.41));
            let (replaced, row) = replaced_rows(&mut one, c);
            let before = wave(3 * c, 0.9);
            let mut want = before.clone();
            for (n, mix) in mixes().iter().enumerate() {
                let token = tokens[n] as usize;
                for i in 0..c {
                    let at = |row: usize| b[row * c + i];
                    let (mut gain, mut sum) = (1.0, 0.0);
                    for block in mix.active() {
                        if let Some(adapter) = block.affine().filter(|_| ranks > 0) {
                            gain += block.weight * at(ranks + adapter);
                            sum += block.weight * at(ranks + 2 + adapter);
                        }
                        for r in block.range().filter(|_| ranks > 0) {
                            sum += block.weight * a[r * V + token] * at(r);
                        }
                        if let Some(row) = row(block.index(), token).filter(|_| with_rows) {
                            sum += block.weight * row[i];
                        }
                    }
                    want[n * c + i] = before[n * c + i] * gain + sum;
                }
            }
            assert_ne!(want, before);
            let a = one.f32("a", &[ranks.max(1), V], &a);
            let b = one.f32("b", &[ranks + 4, c], &b);
            let y = one.output_over("y", &[3, c], &before, &want);
            let replaced = with_rows.then_some(replaced);
            let op = ops::EmbedDelta { rows, mixes: mix_ids, a, b, ranks, replaced, y };
            one.check(&mut backend, &format!("{name} ({c}, {ranks})"), op, 3, SUMS).await;
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn head_delta() {
    const V: usize = 7;
    for c in [5, 64, 100] {
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let [rows, mix_ids] = adapted_rows(&mut one);
            let (replaced, row) = replaced_rows(&mut one, c);
            let (x, before) = (wave(3 * c, 0.31), wave(3 * V, 0.9));
            let mut want = before.clone();
            for (n, mix) in mixes().iter().enumerate() {
                for token in 0..V {
                    for block in mix.active() {
                        let Some(row) = row(block.index(), token) else { continue };
                        let dot: f32 = x[n * c..][..c].iter().zip(&row).map(|(x, d)| x * d).sum();
                        want[n * V + token] += block.weight * dot;
                    }
                }
            }
            assert_ne!(want, before);
            let x = one.f32("x", &[3, c], &x);
            let logits = one.output_over("logits", &[3, V], &before, &want);
            let op = ops::HeadDelta { rows, mixes: mix_ids, x, replaced, logits };
            one.check(&mut backend, &format!("{name} ({c})"), op, 3, SUMS).await;
        }
    }
}

/// The whole delta of a fused matrix of three parts, against its formula, for few rows and many.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_with_adapters() {
    const ADAPTERS: usize = 2;
    let even = ([8, 16], 28);
    let odd = ([9, 14], 21);
    for (n, c, f, first, partials, (parts, stride)) in [
        (1, 20, 28, 0, 1, even),
        (1, 64, 23, 4, 4, even),
        (3, 20, 28, 0, 1, even),
        (6, 16, 13, 12, 3, even),
        (13, 36, 24, 4, 1, even),
        (1, 33, 21, 0, 4, odd),
        (6, 16, 20, 1, 3, odd),
        (12, 16, 11, 6, 1, odd),
    ] {
        let (x, weight, bias) = (wave(n * c, 0.37), wave(f * c, 0.11), wave(stride, 0.7));
        let z_cols = 3 * partials * RANKS + if stride % 4 == 0 { 4 } else { 1 };
        let (z, b) = (wave(n * z_cols, 0.23), wave((RANKS + 2 * ADAPTERS) * stride, 0.41));
        let before = wave(n * stride, 0.9);
        let mut want = before.clone();
        for row in 0..n {
            for j in 0..f {
                let column = first + j;
                let at = |r: usize| f64::from(b[r * stride + column]);
                let mut dot: f64 =
                    (0..c).map(|i| f64::from(x[row * c + i]) * f64::from(weight[j * c + i])).sum();
                let part = (column >= parts[0]) as usize + (column >= parts[1]) as usize;
                let mix = mixes()[(row + 2) % 3];
                let (mut gain, mut sum) = (1.0, 0.0);
                for block in mix.active() {
                    if let Some(adapter) = block.affine() {
                        gain += f64::from(block.weight) * at(RANKS + adapter);
                        sum += f64::from(block.weight) * at(RANKS + ADAPTERS + adapter);
                    }
                    for r in block.range() {
                        let z = |p| z[row * z_cols + (part * partials + p) * RANKS + r];
                        sum += (0..partials).map(|p| f64::from(z(p))).sum::<f64>() * at(r);
                    }
                }
                dot = dot * gain + sum;
                want[row * stride + column] += dot as f32 + bias[column];
            }
        }
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let lines: Vec<u32> = (0..n as u32).flat_map(|n| [0, 0, 0, (n + 2) % 3]).collect();
            let rows = one.u32("rows", &[n, 4], &lines);
            let mixes = one.u32("mixes", &[3, 16], bytemuck::cast_slice(&mixes()));
            let z = one.f32("z", &[n, z_cols], &z);
            let b = one.f32("b", &[RANKS + 2 * ADAPTERS, stride], &b);
            let x = one.f32("x", &[n, c], &x);
            let weight = one.f32("weight", &[f, c], &weight);
            let bias = Some(one.f32("bias", &[stride], &bias));
            let y = one.output_over("y", &[n, stride], &before, &want);
            let delta = Some(Delta { rows, mixes, z, b, ranks: RANKS, partials, parts });
            let op =
                ops::Linear { x, weight: Slice { tensor: weight, first }, bias, y, accumulate: true, delta };
            one.check(&mut backend, &format!("{name}, {n} rows"), op, n, SUMS).await;
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn activation() {
    on_all("activation", &fixture!("activation"), FUNCTIONS, |case, one| {
        let [n, f] = ["N", "F"].map(|name| case.size(name));
        let gated = case.flag("gated");
        let kind = case.activation("kind");
        let x = one.f32("x", &[n, if gated { 2 * f } else { f }], &case.f32("x"));
        let y = one.output("y", &[n, f], &case.f32("y"));
        (ops::Activation { x, y, kind, gated }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn activation_of_large_values_is_finite() {
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let x = one.f32("x", &[1, 4], &[-1e4, -100.0, 100.0, 1e4]);
            let y = one.output("y", &[1, 4], &[0.0, 0.0, 100.0, 1e4]);
            one.check(
                &mut backend,
                &format!("{kind:?} on {name}"),
                ops::Activation { x, y, kind, gated: false },
                1,
                FUNCTIONS,
            )
            .await;
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn split_qkv() {
    on_all("split_qkv", &fixture!("split_qkv"), EXACT, |case, one| {
        let [n, slots, s, h, k, d] = ["N", "slots", "S", "H", "K", "D"].map(|name| case.size(name));
        // One row more, inactive: it may write nothing.
        let (mut pos, mut slot) = (case.ids("pos"), case.ids("slot"));
        pos.push(0);
        slot.push(INACTIVE);
        let mut qkv = case.f32("qkv");
        qkv.extend(vec![99.0; (h + 2 * k) * d]);
        let rows = one.u32("rows", &[n + 1, 4], &rows(&vec![0; n + 1], &pos, &slot));
        let qkv = one.f32("qkv", &[n + 1, (h + 2 * k) * d], &qkv);
        let rope = one.f32("rope", &[s, d], &case.f32("rope"));
        let q = one.output("q", &[n, h * d], &case.f32("q"));
        let shape = [slots, s, k * d];
        let k_cache = one.output_over("k_cache", &shape, &case.f32("k_cache_in"), &case.f32("k_cache"));
        let v_cache = one.output_over("v_cache", &shape, &case.f32("v_cache_in"), &case.f32("v_cache"));
        (ops::SplitQkv { rows, qkv, rope, q, k_cache, v_cache, head_dim: d }, n + 1)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention() {
    on_all("attention", &fixture!("attention"), FUNCTIONS, |case, one| {
        let [n, slots, s, h, k, d] = ["N", "slots", "S", "H", "K", "D"].map(|name| case.size(name));
        let (mut pos, mut slot) = (case.ids("pos"), case.ids("slot"));
        pos.push(0);
        slot.push(INACTIVE);
        let mut q = case.f32("q");
        q.extend(vec![1.0; h * d]);
        let rows = one.u32("rows", &[n + 1, 4], &rows(&vec![0; n + 1], &pos, &slot));
        let q = one.f32("q", &[n + 1, h * d], &q);
        let k_cache = one.f32("k_cache", &[slots, s, k * d], &case.f32("k_cache"));
        let v_cache = one.f32("v_cache", &[slots, s, k * d], &case.f32("v_cache"));
        let y = one.output("y", &[n, h * d], &case.f32("y"));
        let (scale, window) = (case.number("scale"), case.size("window"));
        (ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale, window, shrink: None }, n + 1)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_of_wide_heads() {
    // 256 wide, the most there is, over more keys than two tiles; one key outweighs all.
    let (s, d) = (150, 256);
    let key: Vec<f32> = (0..s * d).map(|i| if i / d == 101 { 1.0 } else { 0.0 }).collect();
    let value: Vec<f32> = (0..s * d).map(|i| (i / d) as f32 + (i % d) as f32 / 512.0).collect();
    let want: Vec<f32> = value[101 * d..][..d].to_vec();
    for (name, mut backend) in backends().await {
        let mut one = OneOp::default();
        let rows = one.u32("rows", &[1, 4], &rows(&[0], &[149], &[0]));
        let q = one.f32("q", &[1, d], &vec![1.0; d]);
        let k_cache = one.f32("k_cache", &[1, s, d], &key);
        let v_cache = one.f32("v_cache", &[1, s, d], &value);
        let y = one.output("y", &[1, d], &want);
        let op =
            ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale: 1.0, window: 0, shrink: None };
        one.check(&mut backend, name, op, 1, FUNCTIONS).await;
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_comparer_can_fail() {
    let want = [1.0, 2.0, 3.0];
    for wrong in [[1.0, 2.0, 3.1], [f32::NAN, 2.0, 3.0], [1.0, -2.0, 3.0], [1.0, f32::INFINITY, 3.0]] {
        assert!(misfit(&wrong, &want, EXACT).is_some(), "{wrong:?} passed for {want:?}");
    }
    assert!(misfit(&[1.0, 2.0], &want, EXACT).is_some());
    assert_eq!(misfit(&[1.0, 2.0, 3.0 + 1e-6], &want, EXACT), None);
}

/// The guard of whole stores can fail: invocations that write parts of one vector lose each other's.
#[cfg(not(target_arch = "wasm32"))]
#[pollster::test]
async fn whole_stores_show_a_race() {
    const RACE: &str = "
        override WORKGROUP_SIZE: u32 = 64u;
        struct Params { f: u32, kind: u32, gated: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        var<workgroup> tile: array<vec4<f32>, 16>;
        @compute @workgroup_size(WORKGROUP_SIZE)
        fn activation(@builtin(local_invocation_index) i: u32) {
            tile[i / 4u][i % 4u] = max(x[i], 0.0);
            workgroupBarrier();
            if i < params.f {
                y[i] = tile[i / 4u][i % 4u];
            }
        }";
    let as_written = |_: &Kernel| RACE.to_owned();
    let whole = |kernel: &Kernel| common::stores::with_whole_stores(kernel.name, RACE);
    let x: Vec<f32> = (0..64).map(|i| i as f32 + 1.0).collect();
    for (source, is_right) in [(as_written as fn(&Kernel) -> String, true), (whole, false)] {
        let options = GpuOptions { default_limits: true, source: Some(source), ..GpuOptions::default() };
        let Some(mut backend) = gpu_with(options).await else { return };
        let mut one = OneOp::default();
        let input = one.f32("x", &[1, 64], &x);
        let y = one.f32("y", &[1, 64], &[0.0; 64]);
        let op = ops::Activation { x: input, y, kind: Activation::Relu, gated: false };
        let plan = one.prepare(&mut backend, op, 1);
        backend.run(&plan, 1);
        let got = backend.read(y, 0, 64).await.expect("a result");
        let misfit = misfit(bytemuck::cast_slice(&got), &x, EXACT);
        assert_eq!(misfit.is_none(), is_right, "{misfit:?}");
    }
}

/// A row's layout is what the kernels read.
#[wasm_bindgen_test(unsupported = test)]
fn a_row_is_four_words() {
    let row = Row { token: 1, pos: 2, slot: 3, mix: 4 };
    assert_eq!(bytemuck::cast::<Row, [u32; 4]>(row), [1, 2, 3, 4]);
}

/// How often each token is drawn against transformers' probabilities after its own filters:
/// never one that they remove, and the others within five standard deviations.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample() {
    // Every row is drawn RING times at each of as many seeds.
    const SEEDS: usize = if cfg!(target_arch = "wasm32") { 6 } else { 24 }; // a software GPU in a browser is slow
    let fixture = fixture!("sample");
    for (i, case) in fixture.cases().enumerate() {
        let [b, v] = ["B", "V"].map(|name| case.size(name));
        let (logits, probs) = (case.f32("logits"), case.f32("probs"));
        for (name, mut backend) in backends().await {
            let tokens = draw(&case, &logits, [b, v, SEEDS], &mut backend).await;
            let mut counts = vec![0usize; b * v];
            for (at, token) in tokens.iter().enumerate() {
                counts[at / (SEEDS * RING) * v + *token as usize] += 1;
            }
            let draws = (SEEDS * RING) as f32;
            for (at, (&count, &p)) in counts.iter().zip(&probs).enumerate() {
                let spread = 5.0 * (draws * p * (1.0 - p)).sqrt() + 1.0;
                let fits = if p == 0.0 { count == 0 } else { (count as f32 - draws * p).abs() <= spread };
                let (row, token) = (at / v, at % v);
                assert!(
                    fits,
                    "sample case {i} on {name}: row {row} token {token}: {count} of {draws}, p = {p}"
                );
            }
        }
    }
}

/// Tokens drawn for each row of `logits` (B, V), one slot per row and seed -> (B, seeds, RING).
async fn draw(case: &Case<'_>, logits: &[f32], [b, v, seeds]: [usize; 3], backend: &mut Backend) -> Vec<u32> {
    let words = v.div_ceil(32);
    let mut seen = vec![0u32; b * words];
    for (at, _) in case.ids("seen").iter().enumerate().filter(|(_, seen)| **seen != 0) {
        seen[at / v * words + at % v / 32] |= 1 << (at % v % 32);
    }
    let [temperature, top_p, min_p, repetition_penalty] =
        ["temperature", "top_p", "min_p", "repetition_penalty"].map(|name| case.f32(name));
    let top_k = case.ids("top_k");
    let n = b * seeds;
    let sampling: Vec<Sampling> = (0..n)
        .map(|slot| Sampling {
            temperature: temperature[slot / seeds],
            top_p: top_p[slot / seeds],
            min_p: min_p[slot / seeds],
            repetition_penalty: repetition_penalty[slot / seeds],
            top_k: top_k[slot / seeds],
            seed: (slot % seeds) as u32,
            n_stop: 0,
            padding: 0,
            stop: [0; 4],
        })
        .collect();
    let repeat = |rows: &[u32], cols| -> Vec<u32> {
        rows.chunks_exact(cols).flat_map(|row| row.repeat(seeds)).collect()
    };
    let mut one = OneOp::default();
    let logits = repeat(bytemuck::cast_slice(logits), v);
    let logits = one.f32("logits", &[n, v], bytemuck::cast_slice(&logits));
    let options = one.u32("sampling", &[n, 12], bytemuck::cast_slice(&sampling));
    let seen = repeat(&seen, words);
    let seen_id = one.u32("seen", &[n, words], &seen);
    let rows = one.u32("rows", &[n, 4], &vec![0; 4 * n]);
    let ring = one.u32("ring", &[n, RING], &vec![0; n * RING]);
    let plan = one.prepare(backend, ops::Sample { logits, sampling: options, seen: seen_id, rows, ring }, n);
    for pos in 0..RING as u32 {
        let lines: Vec<u32> = (0..n as u32).flat_map(|slot| [0, pos, slot, 0]).collect();
        backend.upload(rows, 0, &lines);
        backend.upload(seen_id, 0, &seen);
        backend.run(&plan, 1);
    }
    backend.read(ring, 0, n * RING).await.expect("a result")
}

/// What `sample` leaves behind: the row moved on, the token noted, a stop token's row inactive.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample_moves_its_row_on() {
    let greedy = Sampling {
        stop: [3, 0, 0, 0],
        n_stop: 1,
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..bytemuck::Zeroable::zeroed()
    };
    for (name, mut backend) in backends().await {
        let mut one = OneOp::default();
        let mut logits = vec![0.0; 3 * 40];
        logits[35] = 2.0; // row 0, slot 2
        logits[40 + 3] = 2.0; // row 1, slot 0: its stop token
        logits[80 + 7] = 2.0; // row 2 is inactive
        let logits = one.f32("logits", &[3, 40], &logits);
        let sampling = one.u32("sampling", &[3, 12], bytemuck::cast_slice(&[greedy; 3]));
        let seen = one.u32("seen", &[3, 2], &[0, 0, 0, 0, 1, 0]);
        let lines = [[9, 64, 2, 5], [9, 70, 0, 6], [9, 1, INACTIVE, 7]];
        let rows = one.u32("rows", &[3, 4], lines.as_flattened());
        let ring = one.u32("ring", &[3, RING], &vec![77; 3 * RING]);
        let plan = one.prepare(&mut backend, ops::Sample { logits, sampling, seen, rows, ring }, 3);
        backend.run(&plan, 1);
        let lines = backend.read(rows, 0, 12).await.expect("a result");
        assert_eq!(lines, [35, 65, 2, 5, 3, 71, INACTIVE, 6, 9, 1, INACTIVE, 7], "{name}");
        assert_eq!(backend.read(seen, 0, 6).await.expect("a result"), [1 << 3, 0, 0, 0, 1, 1 << 3], "{name}");
        let mut want = vec![77; 3 * RING];
        want[2 * RING + 1] = 35;
        want[7] = 3;
        assert_eq!(backend.read(ring, 0, 3 * RING).await.expect("a result"), want, "{name}");
    }
}

/// Logits that are no distribution draw nothing, whatever the options; the row says so and stops.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample_draws_nothing_from_what_is_not_a_number() {
    const V: usize = 300; // more than a workgroup
    let nan = f32::NAN;
    let (above, below) = (f32::INFINITY, f32::NEG_INFINITY);
    let with = |at: usize, value: f32| {
        let mut logits: Vec<f32> = (0..V).map(|t| t as f32 / 100.0).collect();
        logits[at] = value;
        logits
    };
    let rows = [
        (vec![nan; V], false),
        (with(0, nan), false),
        (with(V - 1, -nan), false),
        (with(7, above), false),
        (vec![above; V], false),
        (vec![below; V], false),
        (with(9, below), true),
        (with(3, 5.0), true),
    ];
    let n = rows.len();
    let logits: Vec<f32> = rows.iter().flat_map(|(logits, _)| logits).copied().collect();
    for (temperature, top_k, top_p) in [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 5, 0.9)] {
        let options = Sampling {
            temperature,
            top_k,
            top_p,
            repetition_penalty: 1.1,
            seed: 3,
            ..bytemuck::Zeroable::zeroed()
        };
        for (name, mut backend) in backends().await {
            let mut one = OneOp::default();
            let logits = one.f32("logits", &[n, V], &logits);
            let sampling = one.u32("sampling", &[n, 12], bytemuck::cast_slice(&vec![options; n]));
            let seen = one.u32("seen", &[n, V.div_ceil(32)], &vec![0; n * V.div_ceil(32)]);
            let lines: Vec<u32> = (0..n as u32).flat_map(|slot| [9, 4, slot, 1]).collect();
            let row_ids = one.u32("rows", &[n, 4], &lines);
            let ring = one.u32("ring", &[n, RING], &vec![77; n * RING]);
            let op = ops::Sample { logits, sampling, seen, rows: row_ids, ring };
            let plan = one.prepare(&mut backend, op, n);
            // A second time finds only the rows that drew.
            backend.run(&plan, 2);
            let lines = backend.read(row_ids, 0, 4 * n).await.expect("a result");
            let ring = backend.read(ring, 0, n * RING).await.expect("a result");
            let seen = backend.read(seen, 0, n * V.div_ceil(32)).await.expect("a result");
            for (row, (_, draws)) in rows.iter().enumerate() {
                let what = format!("row {row} at temperature {temperature} on {name}");
                let ring = &ring[row * RING..][..RING];
                let seen = &seen[row * V.div_ceil(32)..][..V.div_ceil(32)];
                if *draws {
                    assert!(ring[5] < V as u32 && ring[6] < V as u32, "{what}");
                    assert_eq!(lines[4 * row..][..4], [ring[6], 6, row as u32, 1], "{what}");
                    assert_ne!(seen, [0; V.div_ceil(32)], "{what}");
                } else {
                    assert_eq!((ring[5], ring[6]), (ABSENT, 77), "{what}");
                    assert_eq!(lines[4 * row..][..4], [9, 5, INACTIVE, 1], "{what}");
                    assert_eq!(seen, [0; V.div_ceil(32)], "{what}");
                }
            }
        }
    }
}
