//! The ways back through a model against PyTorch's autograd, on every backend: the plain twin, the fast
//! CPU path and the shader. One body, run natively and in a browser. Loss and optimiser are `updates`.

use crate::common::one_op::{EXACT, FUNCTIONS, OneOp, SUMS, by_group, fixture, on_all, output};
use crate::common::one_op::{grown, neighbours, qk_neighbours};
use crate::common::{Case, Tolerance, backends_and_whole_stores as backends, noise};
use bytemuck::Zeroable;
use lorakeet::activation::Activation;
use lorakeet::ops::{self, AttentionInputs, Growth, Slice};
use lorakeet::plan::{Block, INACTIVE, Mix, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;

/// Differences of f32 values two 64ths to 256ths apart.
const DIFFERENCES: Tolerance = Tolerance { abs: 1e-4, rel: 1e-4 };

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad() {
    on_all(&mut backends().await, "linear_grad", &fixture!("grads/linear_grad"), SUMS, |case, one| {
        let [n, c, f] = ["N", "C", "F"].map(|name| case.size(name));
        let dy = one.f32("dy", &[n, f], &case.f32("dy"));
        let weight = one.f32("weight", &[f, c], &case.f32("weight"));
        let before = case.maybe_f32("before");
        let dx = output(one, "dx", &[n, c], &before, &case.f32("dx"));
        let weight = Slice { tensor: weight, first: 0 };
        (ops::LinearGrad { dy, weight, dx, dx_first: 0, accumulate: before.is_some() }, n)
    })
    .await;
}

/// The lower two thirds of a matrix in slices, added to what the upper third left.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad_of_a_slice() {
    on_all(
        &mut backends().await,
        "linear_grad of a slice",
        &fixture!("grads/linear_grad"),
        SUMS,
        |case, one| {
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
            (ops::LinearGrad { dy, weight: Slice { tensor, first }, dx, dx_first: 0, accumulate: true }, n)
        },
    )
    .await;
}

/// Into rows in the middle of a larger matrix; those around them keep what they held.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad_into_later_rows() {
    on_all(
        &mut backends().await,
        "linear_grad into later rows",
        &fixture!("grads/linear_grad"),
        SUMS,
        |case, one| {
            let [n, c, f] = ["N", "C", "F"].map(|name| case.size(name));
            let dy = one.f32("dy", &[n, f], &case.f32("dy"));
            let weight = Slice { tensor: one.f32("weight", &[f, c], &case.f32("weight")), first: 0 };
            let held = case.maybe_f32("before");
            let accumulate = held.is_some();
            let held = held.unwrap_or_else(|| vec![f32::NAN; n * c]);
            let around = |rows: &[f32]| [&vec![7.0; 3 * c], rows, &vec![7.0; 2 * c]].concat();
            let dx = one.output_over("dx", &[3 + n + 2, c], &around(&held), &around(&case.f32("dx")));
            (ops::LinearGrad { dy, weight, dx, dx_first: 3, accumulate }, n)
        },
    )
    .await;
}

/// Sizes around the edges of the kernels' tiles, outputs that are no fours, and sums that come in parts.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_grad_at_tile_edges() {
    let mut backends = backends().await;
    for (n, c, f, first, beyond) in [
        (1, 64, 257, 0, 0),
        (33, 68, 31, 3, 2),
        (65, 128, 400, 4, 0),
        (70, 4, 301, 0, 3),
        (12, 132, 48, 8, 4),
        (9, 66, 300, 1, 0),
    ] {
        let stride = first + f + beyond;
        let (dy, weight) = (noise(1, n * stride, 1.0), noise(2, f * c, 1.0));
        let before = noise(3, (n + 1) * c, 1.0);
        for accumulate in [false, true] {
            let mut want = before.clone();
            for (at, want) in want[c..].iter_mut().enumerate() {
                let (row, column) = (at / c, at % c);
                let product =
                    |j: usize| f64::from(dy[row * stride + first + j]) * f64::from(weight[j * c + column]);
                let held = if accumulate { f64::from(*want) } else { 0.0 };
                *want = ((0..f).map(product).sum::<f64>() + held) as f32;
            }
            for (name, backend) in &mut backends {
                let mut one = OneOp::default();
                let dy = one.f32("dy", &[n, stride], &dy);
                let weight = Slice { tensor: one.f32("weight", &[f, c], &weight), first };
                let dx = one.output_over("dx", &[n + 1, c], &before, &want);
                let op = ops::LinearGrad { dy, weight, dx, dx_first: 1, accumulate };
                one.check(backend, &format!("{name} ({n}, {c}, {f})"), op, n, SUMS).await;
            }
        }
    }
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
    on_all(&mut backends().await, "shrink_grad", &fixture!("grads/lora_grad"), SUMS, |case, one| {
        let [n, f, ranks, n_parts] = ["N", "F", "R", "parts"].map(|name| case.size(name));
        let (rows, mixes) = lora_rows(case, one);
        let dy = one.f32("dy", &[n, f], &case.f32("dy"));
        let b = one.f32("b", &[ranks, f], &case.f32("b"));
        // What is off keeps what it held.
        let before = where_on(case, &vec![f32::NAN; n * n_parts * ranks], 7.0);
        let want = where_on(case, &case.f32("dz"), 7.0);
        let dz = one.output_over("dz", &[n, n_parts * ranks], &before, &want);
        (ops::ShrinkGrad { rows, mixes, dy, b, dz, ranks, parts: parts(case) }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn expand_grad() {
    for accumulate in [false, true] {
        on_all(&mut backends().await, "expand_grad", &fixture!("grads/lora_grad"), SUMS, |case, one| {
            let [n, c, ranks, n_parts] = ["N", "C", "R", "parts"].map(|name| case.size(name));
            let (rows, mixes) = lora_rows(case, one);
            // What is off may hold anything.
            let dz = one.f32("dz", &[n, n_parts * ranks], &where_on(case, &case.f32("dz"), f32::NAN));
            let a = one.f32("a", &[n_parts * ranks, c], &case.f32("a"));
            let mut want = case.f32("dx");
            let before = accumulate.then(|| case.f32("x"));
            before.iter().for_each(|x| want.iter_mut().zip(x).for_each(|(want, x)| *want += x));
            let dx = output(one, "dx", &[n, c], &before, &want);
            (ops::ExpandGrad { rows, mixes, dz, a, dx, ranks, accumulate }, n)
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
    on_all(&mut backends().await, "outer_grad", &fixture!("grads/lora_grad"), SUMS, |case, one| {
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
        let product = ops::Product { pair: 0, u_first, count, cols: [0, c], g_first: c };
        (ops::OuterGrad { rows, pairs: vec![[u, v]], g, products: vec![product] }, n + 2)
    })
    .await;
}

/// The gradient of B in its last part; the columns of others keep what they held.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn outer_grad_of_a_part() {
    on_all(&mut backends().await, "outer_grad of a part", &fixture!("grads/lora_grad"), SUMS, |case, one| {
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
        let product = ops::Product { pair: 0, u_first, count: ranks, cols, g_first: 0 };
        (ops::OuterGrad { rows, pairs: vec![[u, v]], g, products: vec![product] }, n + 2)
    })
    .await;
}

/// Those of A and of B in all parts at once, between numbers that stay.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn outer_grad_of_all_parts() {
    on_all(&mut backends().await, "outer_grad of all", &fixture!("grads/lora_grad"), SUMS, |case, one| {
        let [n, c, f, ranks, n_parts] = ["N", "C", "F", "R", "parts"].map(|name| case.size(name));
        let (rows, z_cols, edges) = (with_inactive(case, one), n_parts * ranks, case.sizes("edges"));
        let mut of = |name: &str, cols: usize| {
            let values = between_nans(&case.f32(name), cols);
            one.f32(name, &[n + 2, cols], &values)
        };
        let pairs = vec![[of("dz", z_cols), of("x", c)], [of("z", z_cols), of("dy", f)]];
        let products = (0..n_parts).flat_map(|part| {
            let of = |pair, g_first, cols| ops::Product {
                pair,
                u_first: part * ranks,
                count: ranks,
                cols,
                g_first,
            };
            let of_a = of(0, 3 + part * ranks * c, [0, c]);
            [of_a, of(1, 4 + z_cols * c, [edges[part], edges.get(part + 1).copied().unwrap_or(f)])]
        });
        let products = products.collect();
        let (a, b) = (case.f32("a"), case.f32("b"));
        let around = |a: &[f32], b: &[f32]| [&[7.0; 3], a, &[8.0], b, &[9.0; 5]].concat();
        let before = around(&a, &b);
        let sum =
            |held: &[f32], more: &[f32]| -> Vec<f32> { held.iter().zip(more).map(|(a, b)| a + b).collect() };
        let want = around(&sum(&a, &case.f32("da")), &sum(&b, &case.f32("db")));
        let g = one.output_over("g", &[before.len(), 1], &before, &want);
        (ops::OuterGrad { rows, pairs, g, products }, n + 2)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn rms_norm_grad() {
    on_all(&mut backends().await, "rms_norm_grad", &fixture!("grads/rms_norm_grad"), SUMS, |case, one| {
        let [n, c] = ["N", "C"].map(|name| case.size(name));
        let [x, dy] = ["x", "dy"].map(|name| one.f32(name, &[n, c], &case.f32(name)));
        let weight = one.f32("weight", &[c], &case.f32("weight"));
        let dx = one.output_over("dx", &[n, c], &case.f32("before"), &case.f32("dx"));
        (ops::RmsNormGrad { x, weight, dy, dx, eps: case.number("eps") }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn head_norm_grad() {
    on_all(&mut backends().await, "head_norm_grad", &fixture!("grads/head_norm_grad"), SUMS, |case, one| {
        let [n, h, k, d] = ["N", "H", "K", "D"].map(|name| case.size(name));
        let shape = [n, (h + 2 * k) * d];
        let qkv = one.f32("qkv", &shape, &case.f32("qkv"));
        let weights = ["q_weight", "k_weight"].map(|name| {
            let weight = case.f32(name);
            one.f32(name, &[weight.len()], &weight)
        });
        let dx = one.output_over("dx", &shape, &case.f32("dy"), &case.f32("dx"));
        (ops::HeadNormGrad { qkv, weights, dx, q_heads: case.size("q_norms"), eps: case.number("eps") }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn layer_norm_grad() {
    on_all(
        &mut backends().await,
        "layer_norm_grad",
        &fixture!("grads/layer_norm_grad"),
        SUMS,
        |case, one| {
            let [n, c] = ["N", "C"].map(|name| case.size(name));
            let [x, dy] = ["x", "dy"].map(|name| one.f32(name, &[n, c], &case.f32(name)));
            let weight = one.f32("weight", &[c], &case.f32("weight"));
            let dx = one.output_over("dx", &[n, c], &case.f32("before"), &case.f32("dx"));
            (ops::LayerNormGrad { x, weight, dy, dx, eps: case.number("eps") }, n)
        },
    )
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn activation_grad() {
    on_all(
        &mut backends().await,
        "activation_grad",
        &fixture!("grads/activation_grad"),
        FUNCTIONS,
        |case, one| {
            let [n, f] = ["N", "F"].map(|name| case.size(name));
            let gated = case.flag("gated");
            let kind = case.activation("kind");
            let width = if gated { 2 * f } else { f };
            let x = one.f32("x", &[n, width], &case.f32("x"));
            let dy = one.f32("dy", &[n, f], &case.f32("dy"));
            let dx = one.output("dx", &[n, width], &case.f32("dx"));
            (ops::ActivationGrad { x, dy, dx, kind, gated }, n)
        },
    )
    .await;
}

/// Slopes against differences of the forward op, another judge than autograd.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn activation_grad_is_the_slope_of_activation() {
    let mut backends = backends().await;
    /// A step whose square and whose rounding of y both stay below the tolerance.
    const H: f32 = 1.0 / 256.0;
    let at: Vec<f32> = (-40..40).map(|i| i as f32 * 0.1 + 0.05).collect();
    let f = at.len();
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let value = |x: f32| {
            let mut y = [0.0];
            lorakeet::backend::cpu::activation::activation(&[x], kind, false, 1, &mut y);
            y[0]
        };
        let want: Vec<f32> = at.iter().map(|&x| (value(x + H) - value(x - H)) / (2.0 * H)).collect();
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let x = one.f32("x", &[1, f], &at);
            let dy = one.f32("dy", &[1, f], &vec![1.0; f]);
            let dx = one.output("dx", &[1, f], &want);
            let op = ops::ActivationGrad { x, dy, dx, kind, gated: false };
            one.check(backend, &format!("{kind:?} on {name}"), op, 1, DIFFERENCES).await;
        }
    }
}

/// The rows of a case with an inactive one behind, and the inputs of its attention, which hold
/// no numbers there.
fn attention_inputs(case: &Case, one: &mut OneOp) -> AttentionInputs {
    let [n, slots, s, h, k, d] = ["N", "slots", "S", "H", "K", "D"].map(|name| case.size(name));
    let nan = vec![f32::NAN; h * d];
    let cache = [slots, s, k * d];
    AttentionInputs {
        rows: rows_and_inactive(case, one),
        q: one.f32("q", &[n + 1, h * d], &[case.f32("q"), nan].concat()),
        k_cache: one.f32("k_cache", &cache, &case.f32("k_cache")),
        v_cache: one.f32("v_cache", &cache, &case.f32("v_cache")),
        head_dim: d,
        scale: case.number("scale"),
        cap: case.number("cap"),
        window: case.size("window"),
    }
}

fn rows_and_inactive(case: &Case, one: &mut OneOp) -> TensorId {
    let (pos, slot) = (case.ids("pos"), case.ids("slot"));
    let mut lines: Vec<u32> = pos.iter().zip(&slot).flat_map(|(&pos, &slot)| [0, pos, slot, 0]).collect();
    lines.extend([0, 0, INACTIVE, 0]);
    one.u32("rows", &[pos.len() + 1, 4], &lines)
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_grad_q() {
    on_all(
        &mut backends().await,
        "attention_grad_q",
        &fixture!("grads/attention_grad"),
        FUNCTIONS,
        |case, one| {
            let [n, h, d] = ["N", "H", "D"].map(|name| case.size(name));
            let forward = attention_inputs(case, one);
            let dy = [case.f32("dy"), vec![f32::NAN; h * d]].concat();
            let dy = one.f32("dy", &[n + 1, h * d], &dy);
            let dq = one.output("dq", &[n, h * d], &case.f32("dq"));
            let stats = one.output("stats", &[n, 2 * h], &case.f32("stats"));
            (ops::AttentionGradQ { forward, dy, dq, stats }, n + 1)
        },
    )
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_grad_kv() {
    on_all(
        &mut backends().await,
        "attention_grad_kv",
        &fixture!("grads/attention_grad"),
        FUNCTIONS,
        |case, one| {
            let [n, slots, s, h, k, d] = ["N", "slots", "S", "H", "K", "D"].map(|name| case.size(name));
            let forward = attention_inputs(case, one);
            let dy = [case.f32("dy"), vec![f32::NAN; h * d]].concat();
            let dy = one.f32("dy", &[n + 1, h * d], &dy);
            let stats = [case.f32("stats"), vec![f32::NAN; 2 * h]].concat();
            let stats = one.f32("stats", &[n + 1, 2 * h], &stats);
            // What rows of later tiles have added.
            let [dk_cache, dv_cache] = [("dk_cache", 0.7), ("dv_cache", 0.9)].map(|(name, step)| {
                let before: Vec<f32> = (0..slots * s * k * d).map(|i| (i as f32 * step).sin()).collect();
                let want: Vec<f32> = before.iter().zip(case.f32(name)).map(|(b, g)| b + g).collect();
                one.output_over(name, &[slots, s, k * d], &before, &want)
            });
            (ops::AttentionGradKv { forward, dy, stats, dk_cache, dv_cache }, n + 1)
        },
    )
    .await;
}

/// 256 wide heads, the most there are, on which equal keys share their weight.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_grad_of_wide_heads() {
    let mut backends = backends().await;
    let (s, d) = (70, 256);
    // Equal scores: p = 1/S, dp = v·dy = pos, Δ = (S − 1)/2, dq = Σ p·(pos − Δ)·K = 0.
    for (name, backend) in &mut backends {
        let mut one = OneOp::default();
        let value: Vec<f32> = (0..s * d).map(|i| if i % d == 5 { (i / d) as f32 } else { 0.0 }).collect();
        let mut d_out = vec![0.0; d];
        d_out[5] = 1.0;
        let forward = AttentionInputs {
            rows: one.u32("rows", &[1, 4], &[0, s as u32 - 1, 0, 0]),
            q: one.f32("q", &[1, d], &vec![0.5; d]),
            k_cache: one.f32("k_cache", &[1, s, d], &vec![0.25; s * d]),
            v_cache: one.f32("v_cache", &[1, s, d], &value),
            head_dim: d,
            scale: 0.125,
            cap: 0.0,
            window: 0,
        };
        let dy = one.f32("dy", &[1, d], &d_out);
        let dq = one.output("dq", &[1, d], &vec![0.0; d]);
        let want = [0.5 * 0.25 * d as f32 * 0.125 + (s as f32).ln(), (s as f32 - 1.0) / 2.0];
        let stats = one.output("stats", &[1, 2], &want);
        let op = ops::AttentionGradQ { forward, dy, dq, stats };
        one.check(backend, name, op, 1, FUNCTIONS).await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn split_qkv_grad() {
    for (grouped, beside) in [(false, false), (true, false), (false, true)] {
        let (growth, tolerance) =
            if beside { (Growth { beta: 0.5, every: 3 }, FUNCTIONS) } else { (Growth::default(), EXACT) };
        on_all(
            &mut backends().await,
            "split_qkv_grad",
            &fixture!("grads/split_qkv_grad"),
            tolerance,
            |case, one| {
                let [n, slots, s, h, k, d, e] =
                    ["N", "slots", "S", "H", "K", "D", "E"].map(|name| case.size(name));
                let rows = rows_and_inactive(case, one);
                let turned = |name: &str| match case.f32(name) {
                    heads if beside => neighbours(&heads, d, e),
                    heads => heads,
                };
                let dq = one.f32("dq", &[n + 1, h * d], &[turned("dq"), vec![99.0; h * d]].concat());
                let cache = [slots, s, k * d];
                let dk_cache = one.f32("dk_cache", &cache, &turned("dk_cache"));
                let dv_cache = one.f32("dv_cache", &cache, &case.f32("dv_cache"));
                let rope = one.f32("rope", &[s, e], &case.f32("rope"));
                let mut want = case.f32("dqkv");
                for (row, pos) in want.chunks_exact_mut((h + 2 * k) * d).zip(case.ids("pos")) {
                    let q = grown(&row[..h * d], &[pos], growth);
                    row[..h * d].copy_from_slice(&q);
                }
                if grouped {
                    want = by_group(&want, [h, k, d]);
                }
                if beside {
                    want = qk_neighbours(&want, [h, k, d, e]);
                }
                let dqkv = one.output("dqkv", &[n, (h + 2 * k) * d], &want);
                let op = ops::SplitQkvGrad {
                    rows,
                    dq,
                    dk_cache,
                    dv_cache,
                    rope,
                    dqkv,
                    head_dim: d,
                    grouped,
                    neighbours: beside,
                    growth,
                };
                (op, n + 1)
            },
        )
        .await;
    }
}

/// Three rows, the second inactive, at scattered positions of five.
const KEPT: [[u32; 4]; 3] = [[0, 4, 1, 0], [0, 2, INACTIVE, 0], [0, 0, 0, 0]];

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn keep_rows() {
    let mut backends = backends().await;
    for c in [1, 64, 131] {
        let x: Vec<f32> = (0..3 * c).map(|i| i as f32 + 0.5).collect();
        let mut want = vec![7.0; 5 * c];
        want[4 * c..].copy_from_slice(&x[..c]);
        want[..c].copy_from_slice(&x[2 * c..]);
        let before: Vec<f32> = want.iter().map(|&w| if w == 7.0 { 7.0 } else { f32::NAN }).collect();
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let rows = one.u32("rows", &[3, 4], KEPT.as_flattened());
            let x = one.f32("x", &[3, c], &x);
            let y = one.output_over("y", &[5, c], &before, &want);
            one.check(backend, name, ops::KeepRows { rows, x, y }, 3, EXACT).await;
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn recall_rows() {
    let mut backends = backends().await;
    for c in [1, 64, 131] {
        let y: Vec<f32> = (0..5 * c).map(|i| i as f32 + 0.5).collect();
        let want = [&y[4 * c..], &vec![7.0; c], &y[..c]].concat();
        let before = [vec![f32::NAN; c], vec![7.0; c], vec![f32::NAN; c]].concat();
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let rows = one.u32("rows", &[3, 4], KEPT.as_flattened());
            let y = one.f32("y", &[5, c], &y);
            let x = one.output_over("x", &[3, c], &before, &want);
            one.check(backend, name, ops::RecallRows { rows, y, x }, 3, EXACT).await;
        }
    }
}

/// The slope of dy · y by each input, against differences of the forward twin.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn rms_norm_grad_is_the_slope_of_rms_norm() {
    let mut backends = backends().await;
    const H: f32 = 1.0 / 64.0;
    let (c, eps) = (6, 0.01);
    let wave = |step: f32| -> Vec<f32> { (0..c).map(|i| (i as f32 * step).sin() + 0.3).collect() };
    let (x, weight, dy) = (wave(1.3), wave(0.7), wave(2.1));
    let value = |i: usize, h: f32| -> f32 {
        let (mut x, mut y) = (x.clone(), vec![0.0; c]);
        x[i] += h;
        lorakeet::backend::cpu::norm::norm(&x, &weight, None, eps, false, &mut y);
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    let want: Vec<f32> = (0..c).map(|i| (value(i, H) - value(i, -H)) / (2.0 * H)).collect();
    for (name, backend) in &mut backends {
        let mut one = OneOp::default();
        let [x, dy] = [("x", &x), ("dy", &dy)].map(|(name, values)| one.f32(name, &[1, c], values));
        let weight = one.f32("weight", &[c], &weight);
        let dx = one.output_over("dx", &[1, c], &vec![0.0; c], &want);
        let op = ops::RmsNormGrad { x, weight, dy, dx, eps };
        one.check(backend, name, op, 1, DIFFERENCES).await;
    }
}
