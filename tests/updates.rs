//! Where a training step begins and ends: the loss, dropout, the norm of gradients, AdamW; against PyTorch,
//! on every backend. One body, run natively and in a browser. The ways back between them are `grads`.

mod common;

use bytemuck::Zeroable;
use common::one_op::{EXACT, FUNCTIONS, OneOp, SUMS, fixture, on_all, output};
use common::{Tolerance, backends_and_whole_stores as backends};
use lorakeet::ops;
use lorakeet::plan::{Dtype, INACTIVE, Plan, Row, TensorId, Tensors, Training};
use wasm_bindgen_test::wasm_bindgen_test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// A few steps of AdamW in f32; a learning rate's worth per step is divided by a root.
const UPDATES: Tolerance = Tolerance { abs: 1e-6, rel: 2e-5 };

fn training(one: &mut OneOp, numbers: Training) -> TensorId {
    one.u32("training", &[12], bytemuck::cast_slice(&[numbers]))
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn cross_entropy() {
    on_all(
        &mut backends().await,
        "cross_entropy",
        &fixture!("grads/cross_entropy"),
        FUNCTIONS,
        |case, one| {
            let [n, v] = ["N", "V"].map(|name| case.size(name));
            let training =
                training(one, Training { loss_weight: case.number("weight"), ..Training::zeroed() });
            let labelled = case.ids("labelled");
            let target = |(id, on): (u32, &u32)| if *on == 1 { id } else { INACTIVE };
            let targets: Vec<u32> = case.ids("targets").into_iter().zip(&labelled).map(target).collect();
            let targets = one.u32("targets", &[n], &targets);
            let logits = one.output_over("logits", &[n, v], &case.f32("logits"), &case.f32("dlogits"));
            let loss = one.output("loss", &[n], &case.f32("loss"));
            let [scale, cap] = ["scale", "cap"].map(|name| case.number(name));
            (ops::CrossEntropy { training, targets, logits, scale, cap, loss }, n)
        },
    )
    .await;
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn square_sum() {
    let mut backends = backends().await;
    for (i, case) in fixture!("grads/adam_w").cases().enumerate() {
        let (sizes, norm) = (case.sizes("sizes"), case.f32("norms")[0]);
        let first: Vec<f32> =
            [0, 1].iter().map(|g| squares(&case.f32(&format!("grads_{g}"))[..sizes[*g]])).collect();
        // The norm of all gradients together is PyTorch's.
        assert!((first.iter().sum::<f32>().sqrt() - norm).abs() < 1e-4 * norm);
        for (name, backend) in &mut backends {
            for index in [0, 1] {
                let mut one = OneOp::default();
                let g = &case.f32(&format!("grads_{index}"))[..sizes[index]];
                let g = one.f32("g", &[sizes[index]], g);
                let (mut before, mut want) = ([7.0; 3], [7.0; 3]);
                (before[index], want[index]) = (f32::NAN, first[index]);
                let sums = one.output_over("sums", &[3], &before, &want);
                let op = ops::SquareSum { g, sums, index };
                one.check(backend, &format!("case {i} on {name}"), op, 1, SUMS).await;
            }
        }
    }
}

fn squares(g: &[f32]) -> f32 {
    g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32
}

/// Whole steps: the norm of two gradients, then both parameters, which lie amid others.
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
        for (name, backend) in &mut backends {
            let mut tensors = Tensors::default();
            let mut plan = Plan::new(1);
            let training = tensors.declare("training", Dtype::U32, &[12]).expect("small");
            let sums = tensors.declare("sums", Dtype::F32, &[2]).expect("small");
            let mut declare = |above: usize, p: usize| {
                tensors.declare("state", Dtype::F32, &[above + sizes[p] + 1]).expect("small")
            };
            let states = [0, 1].map(|p| {
                let [g, m, v] = [(); 3].map(|()| declare(ABOVE[1], p));
                (g, m, v, declare(ABOVE[0], p))
            });
            for (index, (g, ..)) in states.into_iter().enumerate() {
                plan.push(&tensors, ops::SquareSum { g, sums, index });
            }
            for (p, (g, m, v, param)) in states.into_iter().enumerate() {
                let [param_first, g_first] = ABOVE;
                let len = sizes[p];
                let op = ops::AdamW { training, sums, g, m, v, g_first, param, param_first, len };
                plan.push(&tensors, op);
            }
            backend.allocate(&tensors).expect("small");
            // What an earlier case has left.
            tensors.iter().for_each(|(id, _)| backend.clear(id));
            let prepared = backend.prepare(&plan).expect("valid kernels");
            for (p, (.., param)) in states.into_iter().enumerate() {
                let line = [vec![7.0; ABOVE[0]], named("param", p), vec![7.0]].concat();
                backend.upload(param, 0, bytemuck::cast_slice(&line));
            }
            for step in 0..case.size("steps") {
                numbers.set_step(["beta_1", "beta_2"].map(|beta| case.double(beta)), step as u32 + 1);
                backend.upload(training, 0, bytemuck::cast_slice(&[numbers]));
                for (p, (g, ..)) in states.into_iter().enumerate() {
                    let grads = named("grads", p);
                    let line = &grads[step * sizes[p]..][..sizes[p]];
                    backend.upload(g, ABOVE[1], bytemuck::cast_slice(line));
                }
                backend.run(&prepared, 1);
            }
            for (p, (g, m, v, param)) in states.into_iter().enumerate() {
                let around = |above: usize, rest: f32, values: Vec<f32>| {
                    [vec![rest; above], values, vec![rest]].concat()
                };
                for (tensor, want) in [
                    (param, around(ABOVE[0], 7.0, named("param_out", p))),
                    (m, around(ABOVE[1], 0.0, named("m", p))),
                    (v, around(ABOVE[1], 0.0, named("v", p))),
                    (g, vec![0.0; ABOVE[1] + sizes[p] + 1]),
                ] {
                    let got = backend.read(tensor, 0, want.len()).await.expect("a result");
                    let what = format!("adam_w case {i} parameter {p} on {name}, tensor {tensor:?}");
                    common::assert_close(&what, bytemuck::cast_slice(&got), &want, UPDATES);
                }
            }
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
