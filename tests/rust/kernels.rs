//! Every op of the base against PyTorch, on every backend: the plain twin, the fast CPU path and the
//! shader. One body, run natively and in a browser. Adapters' ops and sampling have their own files.

#[cfg(not(target_arch = "wasm32"))]
use crate::common::gpu_with;
use crate::common::one_op::{EXACT, FUNCTIONS, OneOp, SUMS, by_group, fixture, on_all, output, rows};
use crate::common::one_op::{grown, neighbours, qk_neighbours};
use crate::common::{assert_close, backends_and_variants as backends, misfit, noise};
use lorakeet::activation::Activation;
use lorakeet::backend::Backend;
#[cfg(not(target_arch = "wasm32"))]
use lorakeet::gpu::{GpuOptions, kernels::Kernel};
use lorakeet::ops::{self, Growth, Op, Slice};
use lorakeet::plan::{Dtype, INACTIVE, Row, SPAN, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn embed() {
    let fixture = fixture!("ops/embed");
    on_all(&mut backends().await, "embed", &fixture, EXACT, |case, one| {
        let [n, v, c, p] = ["N", "V", "C", "P"].map(|name| case.size(name));
        let tokens = case.ids("tokens");
        let rows = one.u32("rows", &[n, 4], &rows(&tokens, &case.ids("pos"), &vec![0; n]));
        let table = one.f32("table", &[v, c], &case.f32("table"));
        let positions = case.maybe_f32("positions").map(|t| one.f32("positions", &[p, c], &t));
        let y = one.output("y", &[n, c], &case.f32("y"));
        let table = Slice { tensor: table, first: 0 };
        (ops::Embed { rows, table, scale: case.number("scale"), positions, y }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn embed_leaves_tokens_of_other_slices_alone() {
    let mut backends = backends().await;
    for (name, backend) in &mut backends {
        let mut one = OneOp::default();
        let rows = one.u32("rows", &[4, 4], &rows(&[4, 5, 6, 7], &[0; 4], &[0; 4]));
        let table = one.f32("table", &[2, 1], &[50.0, 60.0]);
        let before = [1.0, 2.0, 3.0, 4.0];
        let y = one.output_over("y", &[4, 1], &before, &[1.0, 50.0, 60.0, 4.0]);
        let op =
            ops::Embed { rows, table: Slice { tensor: table, first: 5 }, scale: 1.0, positions: None, y };
        one.check(backend, name, op, 4, EXACT).await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn rms_norm() {
    on_all(&mut backends().await, "rms_norm", &fixture!("ops/rms_norm"), SUMS, |case, one| {
        let [n, c] = ["N", "C"].map(|name| case.size(name));
        let x = one.f32("x", &[n, c], &case.f32("x"));
        let weight = one.f32("weight", &[c], &case.f32("weight"));
        let before = case.maybe_f32("before");
        let y = output(one, "y", &[n, c], &before, &case.f32("y"));
        let (eps, accumulate) = (case.number("eps"), before.is_some());
        (ops::Norm { x, weight, bias: None, y, eps, centred: false, accumulate, shrink: None }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn head_norm() {
    on_all(&mut backends().await, "head_norm", &fixture!("ops/head_norm"), SUMS, |case, one| {
        let [n, h, k, d] = ["N", "H", "K", "D"].map(|name| case.size(name));
        let shape = [n, (h + 2 * k) * d];
        let qkv = one.f32("qkv", &shape, &case.f32("qkv"));
        let weights = ["q_weight", "k_weight"].map(|name| {
            let weight = case.f32(name);
            one.f32(name, &[weight.len()], &weight)
        });
        let y = one.output("y", &shape, &case.f32("y"));
        (ops::HeadNorm { qkv, weights, y, q_heads: case.size("q_norms"), eps: case.number("eps") }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn layer_norm() {
    on_all(&mut backends().await, "layer_norm", &fixture!("ops/layer_norm"), SUMS, |case, one| {
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
                accumulate: false,
                shrink: None,
            },
            n,
        )
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear() {
    on_all(&mut backends().await, "linear", &fixture!("ops/linear"), SUMS, |case, one| {
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
    let mut backends = backends().await;
    for (n, c, f, first) in [
        (1, 64, 257, 3),
        (1, 31, 9, 0),
        (8, 31, 64, 0),
        (7, 48, 65, 1),
        (9, 16, 33, 5),
        (33, 17, 31, 0),
        (64, 48, 96, 2),
        (65, 68, 130, 0),
        (12, 36, 70, 4),
        (97, 64, 65, 1),
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
        for (name, backend) in &mut backends {
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
            one.check(backend, &format!("{name} ({n}, {c}, {f})"), op, n, SUMS).await;
        }
    }
}

/// Norm, map and activation of one row, which a GPU computes in one launch where nobody reads what lies between:
/// what they leave is, to the bit, what the steps leave one by one.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn linear_of_a_norm_into_an_activation() {
    let mut backends = backends().await;
    // Whether up has a gate, and a bias; and which of norm and map another step reads too.
    for (c, f, gated, biased, read) in [
        (64, 96, true, false, None),
        (20, 70, true, false, None),
        (576, 22, true, false, Some("norm")),
        (64, 96, true, false, Some("map")),
        (132, 40, false, false, None),
        (64, 40, false, true, None),
        (33, 24, true, false, None),
    ] {
        let mut one = OneOp::default();
        let x = one.f32("x", &[1, c], &noise(1, c, 2.0));
        let scale = one.f32("scale", &[c], &noise(2, c, 1.0));
        let weight = Slice { tensor: one.f32("weight", &[f, c], &noise(3, f * c, 1.0)), first: 0 };
        let bias = biased.then(|| one.f32("bias", &[f], &noise(4, f, 1.0)));
        let width = if gated { f / 2 } else { f };
        let [xn, up, y, xn_again, up_again] =
            [c, f, width, c, f].map(|cols| one.f32("y", &[1, cols], &vec![f32::NAN; cols]));
        let (eps, kind) = (1e-5, Activation::Silu);
        let norm = ops::Norm {
            x,
            weight: scale,
            bias: None,
            y: xn,
            eps,
            centred: false,
            accumulate: false,
            shrink: None,
        };
        let linear = ops::Linear { x: xn, weight, bias, y: up, accumulate: false, delta: None };
        let mut steps: Vec<Op> =
            vec![norm.into(), linear.into(), ops::Activation { x: up, y, kind, gated }.into()];
        let copy = |x, y| ops::Scale { x, y, scale: 1.0, accumulate: false };
        let mut outputs = vec![(y, width)];
        match read {
            Some("norm") => {
                steps.push(copy(xn, xn_again).into());
                outputs.push((xn_again, c));
            }
            Some(_) => {
                steps.push(copy(up, up_again).into());
                outputs.push((up_again, f));
            }
            None => {}
        }
        is_the_same_at_once(&mut backends, &one, &steps, &outputs, true).await;
    }
    // A map that adds to what the norm reads is a launch of its own: others would still read it.
    let (mut one, c) = (OneOp::default(), 64);
    let x = one.f32("x", &[1, c], &noise(1, c, 2.0));
    let [weight, xn] =
        [("scale", vec![c]), ("xn", vec![1, c])].map(|(name, s)| one.f32(name, &s, &noise(2, c, 1.0)));
    let matrix = Slice { tensor: one.f32("weight", &[c, c], &noise(3, c * c, 1.0)), first: 0 };
    let norm = ops::Norm {
        x,
        weight,
        bias: None,
        y: xn,
        eps: 1e-5,
        centred: false,
        accumulate: false,
        shrink: None,
    };
    let linear = ops::Linear { x: xn, weight: matrix, bias: None, y: x, accumulate: true, delta: None };
    is_the_same_at_once(&mut backends, &one, &[norm.into(), linear.into()], &[(x, c)], true).await;
}

/// Norm, map and rotation of one row, likewise: heads of q, k and v in order and by groups, pairs apart and beside
/// each other, a part of each head, a row that is inactive, and a cache that is packed.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn split_qkv_of_a_norm_and_a_map() {
    let mut backends = backends().await;
    let [h, k, s] = [6, 2, 9];
    for (c, d, e, grouped, neighbours, biased, slot, dtype) in [
        (64, 64, 64, false, false, false, 1, Dtype::F32),
        (20, 12, 8, true, false, true, 1, Dtype::F32),
        (36, 16, 8, false, true, false, 0, Dtype::F32),
        (36, 16, 16, true, true, true, 1, Dtype::F32),
        (64, 20, 20, false, false, false, INACTIVE, Dtype::F32),
        (64, 10, 10, false, false, false, 1, Dtype::F32),
        (64, 64, 64, false, false, false, 1, Dtype::F16),
    ] {
        let mut one = OneOp::default();
        let cols = (h + 2 * k) * d;
        let rows = one.u32("rows", &[1, 4], &[0, 5, slot, 0]);
        let x = one.f32("x", &[1, c], &noise(1, c, 2.0));
        let scale = one.f32("scale", &[c], &noise(2, c, 1.0));
        let weight = Slice { tensor: one.f32("weight", &[cols, c], &noise(3, cols * c, 1.0)), first: 0 };
        let bias = biased.then(|| one.f32("bias", &[cols], &noise(4, cols, 1.0)));
        let rope = one.f32("rope", &[s, e], &noise(5, s * e, 1.0));
        let [xn, qkv, q] = [c, cols, h * d].map(|cols| one.f32("y", &[1, cols], &vec![7.0; cols]));
        let words = dtype.row_words(s * k * d) * 2;
        let [k_cache, v_cache] =
            [(); 2].map(|()| one.packed("cache", dtype, &[2, s, k * d], &vec![0x3c00_3c00; words]));
        let (eps, centred, accumulate) = (1e-5, false, false);
        let norm = ops::Norm { x, weight: scale, bias: None, y: xn, eps, centred, accumulate, shrink: None };
        let linear = ops::Linear { x: xn, weight, bias, y: qkv, accumulate, delta: None };
        let growth = Growth { beta: 0.5, every: 3 };
        let split =
            ops::SplitQkv { rows, qkv, rope, q, k_cache, v_cache, head_dim: d, grouped, neighbours, growth };
        let steps: [Op; 3] = [norm.into(), linear.into(), split.into()];
        let outputs = [(q, h * d), (k_cache, words), (v_cache, words)];
        is_the_same_at_once(&mut backends, &one, &steps, &outputs, dtype == Dtype::F32).await;
    }
}

/// Steps on one row leave the same bits as one plan and as one each, and, if they are f32, about the twin's numbers.
async fn is_the_same_at_once(
    backends: &mut [(&'static str, Backend)],
    one: &OneOp,
    steps: &[Op],
    outputs: &[(TensorId, usize)],
    is_f32: bool,
) {
    let mut want = Vec::new();
    for (name, backend) in backends {
        let mut left = Vec::new();
        for at_once in [1, steps.len()] {
            one.upload(backend);
            for steps in steps.chunks(at_once) {
                let prepared = backend.prepare(&one.plan(steps, 1)).expect("valid kernels");
                backend.run(&prepared, 1);
            }
            let mut words = Vec::new();
            for &(id, len) in outputs {
                words.extend(backend.read(id, 0, len).await.expect("a result"));
            }
            left.push(words);
        }
        let sizes: Vec<usize> = outputs.iter().map(|(_, len)| *len).collect();
        assert!(left[0] == left[1], "{name}, outputs of {sizes:?}");
        if is_f32 {
            let got: &[f32] = bytemuck::cast_slice(&left[1]);
            if want.is_empty() {
                want = got.to_vec(); // the twin's
            }
            assert_close(&format!("{name}, outputs of {sizes:?}"), got, &want, FUNCTIONS);
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn activation() {
    on_all(&mut backends().await, "activation", &fixture!("ops/activation"), FUNCTIONS, |case, one| {
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
    let mut backends = backends().await;
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let x = one.f32("x", &[1, 4], &[-1e4, -100.0, 100.0, 1e4]);
            let y = one.output("y", &[1, 4], &[0.0, 0.0, 100.0, 1e4]);
            one.check(
                backend,
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
    for (grouped, beside) in [(false, false), (true, false), (false, true)] {
        // Pairs of neighbours, and with them queries that grow every three positions.
        let (growth, tolerance) =
            if beside { (Growth { beta: 0.5, every: 3 }, FUNCTIONS) } else { (Growth::default(), EXACT) };
        on_all(&mut backends().await, "split_qkv", &fixture!("ops/split_qkv"), tolerance, |case, one| {
            let [n, slots, s, h, k, d, e] =
                ["N", "slots", "S", "H", "K", "D", "E"].map(|name| case.size(name));
            let turned = |name: &str| match case.f32(name) {
                heads if beside => neighbours(&heads, d, e),
                heads => heads,
            };
            let want = grown(&turned("q"), &case.ids("pos"), growth);
            // One row more, inactive: it may write nothing.
            let (mut pos, mut slot) = (case.ids("pos"), case.ids("slot"));
            pos.push(0);
            slot.push(INACTIVE);
            let mut qkv = case.f32("qkv");
            if grouped {
                qkv = by_group(&qkv, [h, k, d]);
            }
            if beside {
                qkv = qk_neighbours(&qkv, [h, k, d, e]);
            }
            qkv.extend(vec![99.0; (h + 2 * k) * d]);
            let rows = one.u32("rows", &[n + 1, 4], &rows(&vec![0; n + 1], &pos, &slot));
            let qkv = one.f32("qkv", &[n + 1, (h + 2 * k) * d], &qkv);
            let rope = one.f32("rope", &[s, e], &case.f32("rope"));
            let q = one.output("q", &[n, h * d], &want);
            let shape = [slots, s, k * d];
            let k_cache = one.output_over("k_cache", &shape, &turned("k_cache_in"), &turned("k_cache"));
            let v_cache = one.output_over("v_cache", &shape, &case.f32("v_cache_in"), &case.f32("v_cache"));
            let (head_dim, neighbours) = (d, beside);
            let op =
                ops::SplitQkv { rows, qkv, rope, q, k_cache, v_cache, head_dim, grouped, neighbours, growth };
            (op, n + 1)
        })
        .await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention() {
    // Windows by their size, and as the first keys that rows name.
    for spans in [false, true] {
        on_all(&mut backends().await, "attention", &fixture!("ops/attention"), FUNCTIONS, |case, one| {
            let [n, slots, s, h, k, d] = ["N", "slots", "S", "H", "K", "D"].map(|name| case.size(name));
            let (mut pos, mut slot) = (case.ids("pos"), case.ids("slot"));
            pos.push(0);
            slot.push(INACTIVE);
            let mut q = case.f32("q");
            q.extend(vec![1.0; h * d]);
            let ([scale, cap], window) =
                (["scale", "cap"].map(|name| case.number(name)), case.size("window"));
            let first = |&pos: &u32| match window {
                _ if !spans => 0,
                0 => 0,
                window => (pos + 1).saturating_sub(window as u32),
            };
            let tokens: Vec<u32> = pos.iter().map(first).collect();
            let window = if spans { SPAN } else { window };
            let rows = one.u32("rows", &[n + 1, 4], &rows(&tokens, &pos, &slot));
            let q = one.f32("q", &[n + 1, h * d], &q);
            let k_cache = one.f32("k_cache", &[slots, s, k * d], &case.f32("k_cache"));
            let v_cache = one.f32("v_cache", &[slots, s, k * d], &case.f32("v_cache"));
            let y = one.output("y", &[n, h * d], &case.f32("y"));
            let shrink = None;
            (ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale, cap, window, shrink }, n + 1)
        })
        .await;
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_of_wide_heads() {
    let mut backends = backends().await;
    // 256 wide, the most there is, over more keys than two tiles; one key outweighs all.
    let (s, d) = (150, 256);
    let key: Vec<f32> = (0..s * d).map(|i| if i / d == 101 { 1.0 } else { 0.0 }).collect();
    let value: Vec<f32> = (0..s * d).map(|i| (i / d) as f32 + (i % d) as f32 / 512.0).collect();
    let want: Vec<f32> = value[101 * d..][..d].to_vec();
    for (name, backend) in &mut backends {
        let mut one = OneOp::default();
        let rows = one.u32("rows", &[1, 4], &rows(&[0], &[149], &[0]));
        let q = one.f32("q", &[1, d], &vec![1.0; d]);
        let k_cache = one.f32("k_cache", &[1, s, d], &key);
        let v_cache = one.f32("v_cache", &[1, s, d], &value);
        let y = one.output("y", &[1, d], &want);
        let (scale, cap, window, shrink) = (1.0, 0.0, 0, None);
        let op = ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale, cap, window, shrink };
        one.check(backend, name, op, 1, FUNCTIONS).await;
    }
}

/// A cache of two slots, queries, and rows that see up to `keys` of their slot's keys.
struct Attended {
    n: usize,
    /// H, K, D
    heads: [usize; 3],
    keys: usize,
    window: usize,
    cap: f32,
    rows: Vec<u32>,
}

impl Attended {
    /// Rows of both slots, those `inactive` of no slot.
    fn new(n: usize, heads: [usize; 3], keys: usize, inactive: impl Fn(usize) -> bool) -> Self {
        let pos: Vec<u32> = (0..n).map(|i| (keys - 1 - (i * 5) % keys) as u32).collect();
        let slot: Vec<u32> = (0..n).map(|i| if inactive(i) { INACTIVE } else { (i % 2) as u32 }).collect();
        Self { n, heads, keys, window: 0, cap: 0.0, rows: rows(&vec![0; n], &pos, &slot) }
    }

    fn row(&self, n: usize) -> [usize; 2] {
        [self.rows[4 * n + 1], self.rows[4 * n + 2]].map(|word| word as usize)
    }

    /// q, keys and values.
    fn numbers(&self) -> [Vec<f32>; 3] {
        let [h, k, d] = self.heads;
        let cells = 2 * self.keys * k * d;
        [noise(3, self.n * h * d, 2.0), noise(5, cells, 2.0), noise(7, cells, 1.0)]
    }

    /// y by the formula; what inactive rows hold is 7.
    fn want(&self) -> Vec<f32> {
        let [h, k, d] = self.heads;
        let [q, keys, values] = self.numbers();
        let mut y = vec![7.0; self.n * h * d];
        for n in (0..self.n).filter(|&n| self.rows[4 * n + 2] != INACTIVE) {
            let [pos, slot] = self.row(n);
            let first = if self.window == 0 { 0 } else { (pos + 1).saturating_sub(self.window) };
            for head in 0..h {
                let q = &q[(n * h + head) * d..][..d];
                let cell = |pos: usize| ((slot * self.keys + pos) * k + head / (h / k)) * d;
                let score = |pos: usize| {
                    let dot = q.iter().zip(&keys[cell(pos)..]).map(|(q, k)| f64::from(*q) * f64::from(*k));
                    let (s, cap) = (dot.sum::<f64>() / (d as f64).sqrt(), f64::from(self.cap));
                    if cap == 0.0 { s } else { cap * (s / cap).tanh() }
                };
                let weights: Vec<f64> = (first..=pos).map(|pos| score(pos).exp()).collect();
                let total: f64 = weights.iter().sum();
                for c in 0..d {
                    let value = |(pos, w): (usize, &f64)| w * f64::from(values[cell(pos) + c]);
                    y[(n * h + head) * d + c] =
                        ((first..).zip(&weights).map(value).sum::<f64>() / total) as f32;
                }
            }
        }
        y
    }

    /// The op on some of the rows; y is to be `want`, and holds 7 before.
    fn op(&self, one: &mut OneOp, of: std::ops::Range<usize>, want: &[f32]) -> ops::Attention {
        let [h, k, d] = self.heads;
        let [q, keys, values] = self.numbers();
        let (n, shape) = (of.len(), [2, self.keys, k * d]);
        let rows = one.u32("rows", &[n, 4], &self.rows[4 * of.start..4 * of.end]);
        let q = one.f32("q", &[n, h * d], &q[of.start * h * d..of.end * h * d]);
        let k_cache = one.f32("k_cache", &shape, &keys);
        let v_cache = one.f32("v_cache", &shape, &values);
        let y = one.output_over("y", &[n, h * d], &vec![7.0; n * h * d], want);
        let (scale, cap, window) = ((d as f32).sqrt().recip(), self.cap, self.window);
        ops::Attention { rows, q, k_cache, v_cache, y, head_dim: d, scale, cap, window, shrink: None }
    }
}

/// Sizes of heads and groups, and numbers of keys and rows around the edges of the kernels' tiles.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_at_tile_edges() {
    let none = |_: usize| false;
    let mut cases = vec![
        Attended::new(1, [3, 3, 64], 1, none),
        Attended::new(2, [9, 3, 64], 31, none),
        Attended::new(8, [9, 3, 64], 777, |i| i == 0),
        Attended::new(9, [9, 3, 64], 777, |i| i == 8),
        Attended::new(3, [7, 1, 80], 33, |i| i == 2),
        Attended::new(8, [8, 1, 128], 32, |_| true),
        Attended::new(11, [14, 2, 128], 33, |i| i == 0),
        Attended::new(2, [9, 1, 256], 64, none),
        Attended::new(10, [16, 2, 256], 65, |i| i % 3 == 1),
        Attended::new(2, [17, 1, 4], 1100, none),
    ];
    cases.push(Attended { window: 40, cap: 1.5, ..Attended::new(5, [7, 1, 80], 777, none) });
    cases.push(Attended { window: 33, cap: 0.5, ..Attended::new(20, [3, 1, 72], 100, none) });
    let mut backends = backends().await;
    for case in &cases {
        let want = case.want();
        for (name, backend) in &mut backends {
            let what = format!("{name} {} rows, heads {:?}, {} keys", case.n, case.heads, case.keys);
            let mut one = OneOp::default();
            let op = case.op(&mut one, 0..case.n, &want);
            one.check(backend, &what, op, case.n, FUNCTIONS).await;
        }
    }
}

/// What a row sums, and in which order, depends on itself alone: it has the same bits in a batch.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn attention_of_a_row_is_the_same_alone_and_in_a_batch() {
    for case in [
        Attended::new(8, [9, 3, 64], 700, |i| i == 3),
        Attended { window: 70, ..Attended::new(5, [7, 1, 80], 130, |_| false) },
    ] {
        let width = case.heads[0] * case.heads[2];
        for (name, backend) in &mut backends().await {
            let mut bits = Vec::new();
            for rows in std::iter::once(0..case.n).chain((0..case.n).map(|n| n..n + 1)) {
                let mut one = OneOp::default();
                let len = rows.len();
                let op = case.op(&mut one, rows, &vec![0.0; len * width]);
                let (y, prepared) = (op.y, one.prepare(backend, op, len));
                backend.run(&prepared, 1);
                bits.extend(backend.read(y, 0, len * width).await.expect("a result"));
            }
            let (batch, alone) = bits.split_at(bits.len() / 2);
            assert!(batch == alone, "{name}, heads {:?}", case.heads);
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn scale() {
    on_all(&mut backends().await, "scale", &fixture!("ops/scale"), EXACT, |case, one| {
        let [n, c] = ["N", "C"].map(|name| case.size(name));
        let x = one.f32("x", &[n, c], &case.f32("x"));
        let before = case.maybe_f32("before");
        let y = output(one, "y", &[n, c], &before, &case.f32("y"));
        (ops::Scale { x, y, scale: case.number("scale"), accumulate: before.is_some() }, n)
    })
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn soft_cap() {
    on_all(&mut backends().await, "soft_cap", &fixture!("ops/soft_cap"), FUNCTIONS, |case, one| {
        let [n, v] = ["N", "V"].map(|name| case.size(name));
        let x = one.output_over("x", &[n, v], &case.f32("x"), &case.f32("y"));
        (ops::SoftCap { x, scale: case.number("scale"), cap: case.number("cap") }, n)
    })
    .await;
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
    let whole = |kernel: &Kernel| crate::common::stores::with_whole_stores(kernel.name, RACE);
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
