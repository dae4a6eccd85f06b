//! Where a training step begins and ends: the loss, dropout, the norm of gradients, AdamW; against PyTorch,
//! on every backend. One body, run natively and in a browser. The ways back between them are `grads`.

use crate::common::Case;
use crate::common::one_op::{EXACT, FUNCTIONS, OneOp, SUMS, fixture, on_all, output};
use crate::common::{Tolerance, backends_and_whole_stores as backends};
use bytemuck::Zeroable;
use lorakeet::ops;
use lorakeet::plan::{Dtype, INACTIVE, Plan, Row, Target, TensorId, Tensors, Training};
use wasm_bindgen_test::wasm_bindgen_test;

/// A few steps of AdamW in f32; a learning rate's worth per step is divided by a root.
const UPDATES: Tolerance = Tolerance { abs: 1e-6, rel: 2e-5 };

fn training(one: &mut OneOp, numbers: Training) -> TensorId {
    one.u32("training", &[12], bytemuck::cast_slice(&[numbers]))
}

/// The case's rows, from the last to the first at every other position; in front of them one that takes no part, at the
/// position of a target. Returns the op, its rows, and where its losses are.
fn loss_of(case: &Case, one: &mut OneOp, gradient: bool) -> (ops::CrossEntropy, usize) {
    let [n, v] = ["N", "V"].map(|name| case.size(name));
    let weight = case.number("weight");
    let training = training(one, Training { loss_weight: weight / 4.0, ..Training::zeroed() });
    let row = |pos: usize, slot: u32| Row { token: 0, pos: pos as u32, slot, mix: 0 };
    let at = |i: usize| 2 * (n - i);
    let lines: Vec<Row> = [row(2, INACTIVE)].into_iter().chain((0..n).map(|i| row(at(i), 0))).collect();
    let rows = one.u32("rows", &[n + 1, 4], bytemuck::cast_slice(&lines));
    let mut targets = vec![Target { token: 1, weight: 9.0 }; 2 * n + 1];
    let mut losses = vec![7.0; 2 * n + 1];
    let (labelled, loss) = (case.ids("labelled"), case.f32("loss"));
    for (i, token) in case.ids("targets").into_iter().enumerate() {
        let token = if labelled[i] == 1 { token } else { INACTIVE };
        targets[at(i)] = Target { token, weight: 4.0 };
        losses[at(i)] = loss[i];
    }
    let targets = one.u32("targets", &[2 * n + 1, 2], bytemuck::cast_slice(&targets));
    let before = [vec![5.0; v], case.f32("logits")].concat();
    let want = if gradient { [vec![0.0; v], case.f32("dlogits")].concat() } else { before.clone() };
    let logits = one.output_over("logits", &[n + 1, v], &before, &want);
    let loss = one.output_over("loss", &[2 * n + 1], &vec![7.0; 2 * n + 1], &losses);
    let [scale, cap] = ["scale", "cap"].map(|name| case.number(name));
    (ops::CrossEntropy { training, rows, targets, logits, loss, scale, cap, gradient }, n + 1)
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn cross_entropy() {
    let fixture = fixture!("grads/cross_entropy");
    let mut backends = backends().await;
    on_all(&mut backends, "cross_entropy", &fixture, FUNCTIONS, |case, one| loss_of(case, one, true)).await;
    on_all(&mut backends, "cross_entropy alone", &fixture, FUNCTIONS, |case, one| loss_of(case, one, false))
        .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn square_sum() {
    const PARTS: usize = ops::SquareSum::PARTS;
    let mut backends = backends().await;
    for (i, case) in fixture!("grads/adam_w").cases().enumerate() {
        let (sizes, norm) = (case.sizes("sizes"), case.f32("norms")[0]);
        let gradient = |g: usize| case.f32(&format!("grads_{g}"))[..sizes[g]].to_vec();
        // The norm of all gradients together is PyTorch's.
        let all: f64 = [0, 1].into_iter().flat_map(gradient).map(|g| f64::from(g).powi(2)).sum();
        assert!((all.sqrt() - f64::from(norm)).abs() < 1e-4 * f64::from(norm));
        for (name, backend) in &mut backends {
            for g in [0, 1].map(gradient) {
                let part = g.len().div_ceil(PARTS);
                let mut want = vec![7.0f32; PARTS + 5];
                for (part, sum) in
                    g.chunks(part).chain(std::iter::repeat(&[][..])).zip(&mut want[3..][..PARTS])
                {
                    *sum = part.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32;
                }
                let mut before = want.clone();
                before[3..][..PARTS].fill(f32::NAN);
                let mut one = OneOp::default();
                let g = one.f32("g", &[g.len()], &g);
                let sums = one.output_over("sums", &[PARTS + 5], &before, &want);
                let op = ops::SquareSum { g, sums, first: 3 };
                one.check(backend, &format!("case {i} on {name}"), op, 1, SUMS).await;
            }
        }
    }
}

/// Whole steps: the norm of two gradients, then both parameters, one of them in two ranges. They lie amid others in
/// tensors of one arena, and so do gradients.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn adam_w() {
    let mut backends = backends().await;
    /// Elements in front of the parameters and of the gradients that no one may touch.
    const ABOVE: [usize; 2] = [5, 3];
    for (i, case) in fixture!("grads/adam_w").cases().enumerate() {
        let sizes = case.sizes("sizes");
        let named = |name: &str, p: usize| case.f32(&format!("{name}_{p}"));
        let mut numbers = Training {
            learning_rate: case.number("lr"),
            weight_decay: case.number("decay"),
            eps: case.number("eps"),
            max_norm: case.number("max_norm"),
            ..Training::zeroed()
        };
        let [above, g_above] = ABOVE;
        let g_firsts = [g_above, g_above + sizes[0] + 1];
        let g_len = g_firsts[1] + sizes[1] + 1;
        for (name, backend) in &mut backends {
            let mut tensors = Tensors::default();
            let mut declare =
                |name: &str, dtype, len: usize| tensors.declare(name, dtype, &[len]).expect("small");
            let training = declare("training", Dtype::U32, 12);
            let sums = declare("sums", Dtype::F32, ops::SquareSum::PARTS);
            let [g, m, v] = ["g", "m", "v"].map(|name| declare(name, Dtype::F32, g_len));
            // The second parameter comes first, and between them lies what is none.
            let second = declare("second", Dtype::F32, above + sizes[1] + 1);
            let between = declare("between", Dtype::F32, 70);
            let first = declare("first", Dtype::F32, above + sizes[0] + 1);
            [second, between, first].into_iter().for_each(|tensor| tensors.put(tensor, 4));
            let params = [first, second];
            let half = sizes[1] / 2;
            let ranges = [(0, 0, sizes[0]), (1, half, sizes[1] - half), (1, 0, half)];
            let trained = |(p, at, len): (usize, usize, usize)| ops::Trained {
                param: params[p],
                first: above + at,
                g_first: g_firsts[p] + at,
                len,
            };
            let params_of_step = ranges.into_iter().filter(|(.., len)| *len > 0).map(trained).collect();
            let mut plan = Plan::new(1);
            plan.push(&tensors, ops::SquareSum { g, sums, first: 0 });
            plan.push(&tensors, ops::AdamW { training, sums, g, m, v, params: params_of_step });
            backend.allocate(&tensors).expect("small");
            // What an earlier case has left.
            tensors.iter().for_each(|(id, _)| backend.clear(id));
            let prepared = backend.prepare(&plan).expect("valid kernels");
            let around =
                |above: usize, rest: f32, values: &[f32]| [&vec![rest; above], values, &[rest]].concat();
            for (p, param) in params.into_iter().enumerate() {
                let line = around(above, 7.0, &named("param", p));
                backend.upload(param, 0, bytemuck::cast_slice(&line));
            }
            backend.upload(between, 0, &[3; 70]);
            for step in 0..case.size("steps") {
                numbers.set_step(["beta_1", "beta_2"].map(|beta| case.double(beta)), step as u32 + 1);
                backend.upload(training, 0, bytemuck::cast_slice(&[numbers]));
                for p in [0, 1] {
                    let grads = named("grads", p);
                    let line = &grads[step * sizes[p]..][..sizes[p]];
                    backend.upload(g, g_firsts[p], bytemuck::cast_slice(line));
                }
                backend.run(&prepared, 1);
            }
            let moments = |name: &str| {
                [vec![0.0; g_above], named(name, 0), vec![0.0], named(name, 1), vec![0.0]].concat()
            };
            let [of_first, of_second] = [0, 1].map(|p| around(above, 7.0, &named("param_out", p)));
            for (tensor, want) in [
                (first, of_first),
                (second, of_second),
                (m, moments("m")),
                (v, moments("v")),
                (g, vec![0.0; g_len]),
            ] {
                let got = backend.read(tensor, 0, want.len()).await.expect("a result");
                let what = format!("adam_w case {i} on {name}, tensor `{}`", tensors.get(tensor).name);
                crate::common::assert_close(&what, bytemuck::cast_slice(&got), &want, UPDATES);
            }
            assert_eq!(backend.read(between, 0, 70).await.expect("a result"), [3; 70], "case {i} on {name}");
        }
    }
}

/// What dropout leaves of ones at `p`, on the twin.
fn kept(numbers: Training, site: u32, lines: &[Row], c: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; lines.len() * c];
    let x = vec![1.0; y.len()];
    lorakeet::backend::cpu::dropout::dropout(&numbers, lines, &x, c, site, false, &mut y);
    y
}

fn at_positions(positions: impl Iterator<Item = u32>) -> Vec<Row> {
    positions.map(|pos| Row { token: 0, pos, slot: 0, mix: 0 }).collect()
}

/// Every backend drops the elements that the twin drops.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn dropout() {
    let mut backends = backends().await;
    for (n, c, p, accumulate) in
        [(3, 7, 0.0, false), (5, 131, 0.05, false), (4, 64, 0.5, true), (2, 70, 0.9, false)]
    {
        let numbers = Training { seed: 0xdead_beef, dropout: p, ..Training::zeroed() };
        let lines = at_positions((0..n as u32).map(|n| 3 * n + 1));
        let x: Vec<f32> = (0..n * c).map(|i| (i as f32 * 0.37).sin() + 2.0).collect();
        let before = accumulate.then(|| (0..n * c).map(|i| (i as f32 * 0.11).cos()).collect::<Vec<f32>>());
        let mut want: Vec<f32> =
            x.iter().zip(kept(numbers, 9, &lines, c)).map(|(x, keep)| x * keep).collect();
        before.iter().for_each(|held| want.iter_mut().zip(held).for_each(|(want, held)| *want += held));
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let training = training(&mut one, numbers);
            let rows = one.u32("rows", &[n, 4], bytemuck::cast_slice(&lines));
            let x = one.f32("x", &[n, c], &x);
            let y = output(&mut one, "y", &[n, c], &before, &want);
            let op = ops::Dropout { training, rows, x, y, site: 9, accumulate };
            one.check(backend, &format!("p = {p} on {name}"), op, n, EXACT).await;
        }
    }
}

/// The share that is kept, what is left of it, and that no argument of the noise is idle.
#[wasm_bindgen_test(unsupported = test)]
fn dropout_keeps_its_share_of_independent_elements() {
    let (n, c) = (200, 101);
    let numbers = Training { seed: 1, dropout: 0.3, ..Training::zeroed() };
    let lines = at_positions(0..n);
    let noise = kept(numbers, 4, &lines, c);
    // Five standard deviations of a count of independent elements.
    let spread = |p: f64| 5.0 * (noise.len() as f64 * p * (1.0 - p)).sqrt();
    let share = |f: &dyn Fn(usize) -> bool, p: f64| {
        let count = (0..noise.len()).filter(|&i| f(i)).count() as f64;
        assert!((count - noise.len() as f64 * p).abs() <= spread(p), "{count} of {}, p = {p}", noise.len());
    };
    share(&|i| noise[i] != 0.0, 0.7);
    assert!(noise.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.7).abs() < 1e-6));
    let same = 0.7 * 0.7 + 0.3 * 0.3;
    share(&|i| (noise[i] != 0.0) == (noise[(i + 1) % noise.len()] != 0.0), same);
    share(&|i| (noise[i] != 0.0) == (noise[(i + c) % noise.len()] != 0.0), same);
    for other in [
        kept(Training { seed: 2, ..numbers }, 4, &lines, c),
        kept(numbers, 5, &lines, c),
        kept(numbers, 4, &at_positions(n..2 * n), c),
    ] {
        share(&|i| (noise[i] != 0.0) == (other[i] != 0.0), same);
    }
    assert_eq!(noise, kept(numbers, 4, &lines, c), "the same arguments, the same noise");
}
