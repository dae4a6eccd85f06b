//! Adapters' ops against their formulae, on every backend. One body, run natively and in a browser.
//! What whole adapters do to whole models is judged elsewhere.

use crate::common::backends_and_variants as backends;
use crate::common::one_op::{EXACT, FUNCTIONS, OneOp, SUMS};
use bytemuck::Zeroable;
use lorakeet::backend::Backend;
use lorakeet::ops::{self, Delta, DownProjection, Replaced, Slice};
use lorakeet::plan::{ABSENT, Block, INACTIVE, Mix, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;

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
    let mut backends = backends().await;
    for (c, parts) in [(20, 1), (33, 3), (64, 2)] {
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let rows = adapted_rows(&mut one);
            let input = wave(3 * c, 0.31);
            let x = one.f32("x", &[3, c], &input);
            let shrink = shrink_of(&mut one, rows, &input, parts, 1);
            let op = ops::Shrink { x, shrink };
            one.check(backend, &format!("{name} ({c}, {parts})"), op, 3, SUMS).await;
        }
    }
}

/// The shrink that rides in a norm reads what the norm writes.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn norm_with_adapters() {
    let mut backends = backends().await;
    for (c, parts, centred) in [(20, 1, true), (33, 3, false), (100, 2, true)] {
        let (input, weight, shift) = (wave(3 * c, 0.31), wave(c, 0.7), wave(c, 0.45));
        let mut want = Vec::new();
        for x in input.chunks_exact(c) {
            let mean = if centred { x.iter().sum::<f32>() / c as f32 } else { 0.0 };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / c as f32;
            let hat = |x: f32| (x - mean) / (square + 1e-5).sqrt();
            want.extend((0..c).map(|i| hat(x[i]) * weight[i] + if centred { shift[i] } else { 0.0 }));
        }
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let rows = adapted_rows(&mut one);
            let x = one.f32("x", &[3, c], &input);
            let weight = one.f32("weight", &[c], &weight);
            let bias = centred.then(|| one.f32("bias", &[c], &shift));
            let y = one.output("y", &[3, c], &want);
            let shrink = Some(shrink_of(&mut one, rows, &want, parts, 1));
            let op = ops::Norm { x, weight, bias, y, eps: 1e-5, centred, accumulate: false, shrink };
            one.check(backend, &format!("{name} ({c}, {parts})"), op, 3, SUMS).await;
        }
    }
}

/// The shrink that rides in an attention, a partial sum for each head.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_with_adapters() {
    let mut backends = backends().await;
    // One that fits vectors of four, and one that does not.
    for d in [10, 12] {
        attention_of_heads_with_adapters(&mut backends, d).await;
    }
}

async fn attention_of_heads_with_adapters(backends: &mut [(&'static str, Backend)], d: usize) {
    let (h, k, s) = (6, 2, 2);
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
    for (name, backend) in backends {
        let mut one = OneOp::default();
        let rows = adapted_rows(&mut one);
        let q = one.f32("q", &[3, h * d], &q);
        let k_cache = one.f32("k_cache", &[1, s, k * d], &keys);
        let v_cache = one.f32("v_cache", &[1, s, k * d], &values);
        let y = one.output("y", &[3, h * d], &want);
        let shrink = Some(shrink_of(&mut one, rows, &want, 1, h));
        let [rows, _] = rows;
        let op = ops::Attention {
            rows,
            q,
            k_cache,
            v_cache,
            y,
            head_dim: d,
            scale: 0.5,
            cap: 0.0,
            window: 0,
            shrink,
        };
        one.check(backend, name, op, 3, FUNCTIONS).await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn affine() {
    let mut backends = backends().await;
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
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let lines = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]];
            let rows = one.u32("rows", &[3, 4], lines.as_flattened());
            let mixes = one.u32("mixes", &[3, 16], bytemuck::cast_slice(&mixes()));
            let gains = one.f32("gains", &[2 * ADAPTERS, c], &gains);
            let x = one.output_over("x", &[3, c], &before, &want);
            let op = ops::Affine { rows, mixes, gains, x };
            one.check(backend, &format!("{name} ({c})"), op, 3, EXACT).await;
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
    let mut backends = backends().await;
    const V: usize = 7;
    let tokens = [5, 2, 5];
    for (c, ranks, with_rows, scale) in [(5, RANKS, true, 1.0), (66, RANKS, false, 2.5), (64, 0, true, 0.5)] {
        for (name, backend) in &mut backends {
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
                    want[n * c + i] = before[n * c + i] * gain + scale * sum;
                }
            }
            assert_ne!(want, before);
            let a = one.f32("a", &[ranks.max(1), V], &a);
            let b = one.f32("b", &[ranks + 4, c], &b);
            let y = one.output_over("y", &[3, c], &before, &want);
            let replaced = with_rows.then_some(replaced);
            let op = ops::EmbedDelta { rows, mixes: mix_ids, a, b, ranks, replaced, scale, y };
            one.check(backend, &format!("{name} ({c}, {ranks})"), op, 3, SUMS).await;
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn head_delta() {
    let mut backends = backends().await;
    const V: usize = 7;
    for c in [5, 64, 100] {
        for (name, backend) in &mut backends {
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
            one.check(backend, &format!("{name} ({c})"), op, 3, SUMS).await;
        }
    }
}

/// The whole delta of a fused matrix of three parts, against its formula, for few rows and many: rows of
/// different mixes, and rows of one mix but for one that is inactive.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_with_adapters() {
    let mut backends = backends().await;
    const ADAPTERS: usize = 2;
    // Without gains and shifts.
    let mut plain = Mix::zeroed();
    plain.n_blocks = 2;
    plain.blocks[0] = Block::new(0, 4, 0, false, -1.25);
    plain.blocks[1] = Block::new(4, 3, 1, false, 2.0);
    let [base, one_block, affine] = mixes();
    let mixes = [base, one_block, affine, plain];
    let even = ([8, 16], 28);
    let odd = ([9, 14], 21);
    let wide = ([128, 192], 256);
    for (n, c, f, first, partials, (parts, stride), of_all) in [
        (1, 20, 28, 0, 1, even, None),
        (1, 64, 23, 4, 4, even, None),
        (3, 20, 28, 0, 1, even, None),
        (6, 16, 13, 12, 3, even, None),
        (13, 36, 24, 4, 1, even, None),
        (1, 33, 21, 0, 4, odd, None),
        (6, 16, 20, 1, 3, odd, None),
        (12, 16, 11, 6, 1, odd, None),
        (3, 20, 28, 0, 1, even, Some(3)),
        (70, 20, 256, 0, 1, wide, Some(3)),
        (70, 20, 256, 0, 1, wide, Some(2)),
        (20, 36, 200, 56, 1, wide, Some(3)),
        (20, 36, 200, 56, 1, wide, None),
        (70, 36, 23, 0, 1, ([9, 14], 23), Some(3)),
    ] {
        let (x, weight, bias) = (wave(n * c, 0.37), wave(f * c, 0.11), wave(stride, 0.7));
        let z_cols = 3 * partials * RANKS + if stride % 4 == 0 { 4 } else { 1 };
        let (mut z, b) = (wave(n * z_cols, 0.23), wave((RANKS + 2 * ADAPTERS) * stride, 0.41));
        // Of rows with one mix the second is inactive: no adapter adds anything to it.
        let is_inactive = |row: usize| of_all.is_some() && row == 1;
        let mix_of = |row: usize| if is_inactive(row) { 0 } else { of_all.unwrap_or((row + 2) % 3) };
        (0..n).filter(|&row| is_inactive(row)).for_each(|row| z[row * z_cols..][..z_cols].fill(0.0));
        let before = wave(n * stride, 0.9);
        let mut want = before.clone();
        for row in 0..n {
            for j in 0..f {
                let column = first + j;
                let at = |r: usize| f64::from(b[r * stride + column]);
                let mut dot: f64 =
                    (0..c).map(|i| f64::from(x[row * c + i]) * f64::from(weight[j * c + i])).sum();
                let part = (column >= parts[0]) as usize + (column >= parts[1]) as usize;
                let mix = mixes[mix_of(row)];
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
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let slot = |row| if is_inactive(row) { INACTIVE } else { 0 };
            let lines: Vec<u32> = (0..n).flat_map(|row| [0, 0, slot(row), mix_of(row) as u32]).collect();
            let rows = one.u32("rows", &[n, 4], &lines);
            let mixes = one.u32("mixes", &[4, 16], bytemuck::cast_slice(&mixes));
            let z = one.f32("z", &[n, z_cols], &z);
            let b = one.f32("b", &[RANKS + 2 * ADAPTERS, stride], &b);
            let x = one.f32("x", &[n, c], &x);
            let weight = one.f32("weight", &[f, c], &weight);
            let bias = Some(one.f32("bias", &[stride], &bias));
            let y = one.output_over("y", &[n, stride], &before, &want);
            let delta = Some(Delta { rows, mixes, z, b, ranks: RANKS, partials, parts });
            let op =
                ops::Linear { x, weight: Slice { tensor: weight, first }, bias, y, accumulate: true, delta };
            one.check(backend, &format!("{name}, {n} rows"), op, n, SUMS).await;
        }
    }
}
