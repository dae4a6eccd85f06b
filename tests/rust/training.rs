//! Training of an adapter against PyTorch: gradients, steps of AdamW, a loss curve; and what a
//! step promises when it is dropped.

use std::collections::BTreeSet;

use crate::common::models::{MODELS, MORE, ModelFiles, models};
use crate::common::{Fixture, Tolerance, assert_close};
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::engine::{
    Adapter, Choice, Engine, EngineOptions, Loss, ModuleDelta, NewLora, Optimizer, Request, TrainingRoom,
    Variant, Window,
};
use lorakeet::format::safetensors::Header;
use wasm_bindgen_test::wasm_bindgen_test;

const LEARNING_RATE: f32 = 1e-3;

const ROOM: TrainingRoom = TrainingRoom { window: 128, memory_limit: None };

/// The backends; in a browser without the plain twin, which is slow there and judged natively.
async fn backends() -> Vec<(&'static str, lorakeet::backend::Backend)> {
    let all = crate::common::backends().await;
    all.into_iter().filter(|(name, _)| !cfg!(target_arch = "wasm32") || *name != "twin").collect()
}

struct TrainingFiles {
    model: &'static str,
    config: &'static [u8],
    weights: &'static [u8],
    reference: &'static [u8],
}

macro_rules! training {
    ($($name:literal),+) => {[$(TrainingFiles {
        model: $name,
        config: include_bytes!(concat!("../fixtures/training/", $name, "/adapter_config.json")),
        weights: include_bytes!(concat!("../fixtures/training/", $name, "/adapter_model.safetensors")),
        reference: include_bytes!(concat!("../fixtures/training/", $name, "/reference.safetensors")),
    }),+]};
}

const FIXTURES: [TrainingFiles; 17] = training!(
    "llama",
    "llama-tied",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen3",
    "gpt2",
    "gemma",
    "gemma2",
    "gemma3",
    "smollm3",
    "granite",
    "olmo2",
    "phi3",
    "phi",
    "stablelm-parallel",
    "gpt_neox"
);

/// Of the models of [`MORE`]: the loss and its gradients, outside browsers.
#[cfg(not(target_arch = "wasm32"))]
const GRADIENTS: &[TrainingFiles] =
    &training!("starcoder2", "gpt_bigcode", "gpt_bigcode-heads", "gptj", "cohere", "cohere2", "ministral3");

#[cfg(target_arch = "wasm32")]
const GRADIENTS: &[TrainingFiles] = &[];

/// All of them; in a browser those whose models are tried there.
fn tried() -> impl Iterator<Item = &'static TrainingFiles> {
    static ALL: [TrainingFiles; FIXTURES.len()] = FIXTURES;
    ALL.iter().filter(|fixture| models().any(|files| files.name == fixture.model))
}

fn files(name: &str) -> &'static ModelFiles {
    MODELS.iter().chain(MORE).find(|files| files.name == name).expect("a fixture")
}

impl TrainingFiles {
    async fn open(&self, backend: lorakeet::backend::Backend) -> Engine {
        self.open_with(backend, Optimizer::default()).await
    }

    async fn open_with(&self, backend: lorakeet::backend::Backend, optimizer: Optimizer) -> Engine {
        let mut engine = files(self.model).open(backend, &EngineOptions::default()).expect("valid");
        engine.load_adapter("x", self.config, self.weights).await.expect("fits");
        engine.begin_training("x", optimizer, ROOM).await.expect("a plain LoRA");
        engine
    }

    fn window(&self, reference: &Fixture<'_>, ids: &str, first: &str) -> Window {
        let first = reference.metadata(first).parse().expect("a number");
        Window::new(reference.ids(ids), first)
    }

    /// Names of the trained tensors.
    fn tensors(&self) -> Vec<String> {
        Header::from_file_bytes(self.weights).expect("valid").tensors.into_iter().map(|t| t.name).collect()
    }
}

fn on() -> Choice {
    vec![("x".to_owned(), 1.0)]
}

/// A and B by PEFT's names, as an export has them.
async fn exported(engine: &mut Engine) -> Vec<(String, Vec<f32>)> {
    let files = engine.export_adapter("x").await.expect("a LoRA");
    let header = Header::from_file_bytes(&files.weights).expect("valid");
    let read = |t: &lorakeet::format::TensorInfo| {
        t.read_f32(t.bytes_in(&files.weights).expect("inside")).expect("f32")
    };
    header.tensors.iter().map(|t| (t.name.clone(), read(t))).collect()
}

const EPS: f32 = 1e8;

/// Plain SGD in disguise: with β = 0 and a huge eps AdamW moves a parameter by learning rate / eps times
/// its gradient.
fn sgd() -> Optimizer {
    Optimizer { betas: [0.0, 0.0], eps: EPS, max_norm: 0.0, ..Optimizer::default() }
}

/// The gradient of every A and B of an engine that trains by [`sgd`].
async fn gradients(engine: &mut Engine, window: Window) -> (f64, Vec<(String, Vec<f32>)>) {
    let before = exported(engine).await;
    let loss = engine.train_step(vec![window], &on(), EPS).await.expect("works");
    let after = exported(engine).await;
    let moved =
        |(before, after): (&Vec<f32>, &Vec<f32>)| before.iter().zip(after).map(|(b, a)| b - a).collect();
    (loss, before.iter().zip(&after).map(|((name, b), (_, a))| (name.clone(), moved((b, a)))).collect())
}

fn assert_tensors(
    what: &str,
    got: &[(String, Vec<f32>)],
    reference: &Fixture<'_>,
    prefix: &str,
    relative: f32,
    abs: f32,
) {
    for (name, values) in got {
        let want = reference.f32(&format!("{prefix}.{name}"));
        let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(largest > 0.0, "{name}: a gradient of nothing proves nothing");
        assert_close(
            &format!("{what} {name}"),
            values,
            &want,
            Tolerance { abs: largest * relative + abs, rel: 0.0 },
        );
    }
}

/// A and B after steps of AdamW. It divides a gradient by its own size, so where the first gradient is lost in
/// rounding (below 1e-5 of the tensor's largest) the step's direction is too; these few are left out.
fn assert_steps(what: &str, got: &[(String, Vec<f32>)], reference: &Fixture<'_>, step: usize, abs: f32) {
    for (name, values) in got {
        let gradient = reference.f32(&format!("grad.{name}"));
        let largest = gradient.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let kept = |values: &[f32]| -> Vec<f32> {
            values.iter().zip(&gradient).filter(|(_, g)| g.abs() > 1e-5 * largest).map(|(x, _)| *x).collect()
        };
        let (got, want) = (kept(values), kept(&reference.f32(&format!("step_{step}.{name}"))));
        assert!(got.len() * 100 >= values.len() * 99, "{what} {name}: {} of {}", got.len(), values.len());
        assert_close(&format!("{what} {name}"), &got, &want, Tolerance { abs, rel: 0.0 });
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn gradients_equal_autograd() {
    for fixture in tried().chain(GRADIENTS) {
        let reference = Fixture::new(fixture.reference);
        for (name, backend) in backends().await {
            let what = format!("{} on {name}", fixture.model);
            let mut engine = fixture.open_with(backend, sgd()).await;
            let window = fixture.window(&reference, "input_ids", "first_label");
            let (loss, got) = gradients(&mut engine, window).await;
            assert_eq!(got.len(), fixture.tensors().len(), "{what}");
            assert_close(&what, &[loss as f32], &reference.f32("loss"), Tolerance { abs: 1e-4, rel: 0.0 });
            assert_tensors(&what, &got, &reference, "grad", 1e-3, 1e-6);
        }
    }
}

/// No gradient flows through the keys and values of the context.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_constant_context_passes_no_gradient() {
    for fixture in tried() {
        let reference = Fixture::new(fixture.reference);
        for (name, backend) in backends().await {
            let what = format!("{} on {name}", fixture.model);
            let mut engine = fixture.open_with(backend, sgd()).await;
            let window = fixture.window(&reference, "input_ids", "first_label");
            let (_, got) = gradients(&mut engine, Window { constant_context: true, ..window }).await;
            assert_tensors(&what, &got, &reference, "constant_grad", 1e-3, 1e-6);
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn steps_of_adam_w_equal_torch() {
    for fixture in tried() {
        let reference = Fixture::new(fixture.reference);
        for (name, backend) in backends().await {
            let abs = if name == "gpu" { 1e-4 } else { 1e-5 };
            let mut engine = fixture.open(backend).await;
            let window = fixture.window(&reference, "input_ids", "first_label");
            let mut losses = Vec::new();
            // The optimiser is the same for all; a software GPU in a browser is slow.
            let others = if cfg!(target_arch = "wasm32") { &FIXTURES[1..] } else { &FIXTURES[7..] };
            let slow = name == "gpu" && others.iter().any(|other| other.model == fixture.model);
            for step in 1..=if slow { 2 } else { 10 } {
                let windows = vec![window.clone()];
                losses.push(engine.train_step(windows, &on(), LEARNING_RATE).await.expect("works") as f32);
                if [1, 2, 10].contains(&step) {
                    let what = format!("{} on {name}, step {step}", fixture.model);
                    assert_steps(&what, &exported(&mut engine).await, &reference, step, abs);
                }
            }
            let want = &reference.f32("losses")[..losses.len()];
            assert_close(fixture.model, &losses, want, Tolerance { abs: 1e-4, rel: 1e-3 });
        }
    }
}

/// Two windows of unequal length in one step, whose labels all count the same, with weight decay.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn windows_accumulate() {
    let [fixture, ..] = &FIXTURES;
    let reference = Fixture::new(fixture.reference);
    for (name, backend) in backends().await {
        let optimizer = Optimizer { weight_decay: 0.1, ..Optimizer::default() };
        let mut engine = fixture.open_with(backend, optimizer).await;
        let windows = vec![
            fixture.window(&reference, "input_ids", "first_label"),
            fixture.window(&reference, "second_ids", "second_first_label"),
        ];
        engine.train_step(windows, &on(), 10.0 * LEARNING_RATE).await.expect("works");
        let abs = if name == "gpu" { 1e-4 } else { 1e-5 };
        assert_tensors(name, &exported(&mut engine).await, &reference, "accumulated", 0.0, abs);
    }
}

/// A loss is a value: any targets, each with a weight of its own. Weights that differ are the mean of what each
/// token alone would teach.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_window_carries_its_loss() {
    let [fixture, ..] = &FIXTURES;
    let tokens = Fixture::new(fixture.reference).ids("input_ids");
    let window = |weighed: &[(usize, f32)]| {
        let mut weights = vec![0.0; tokens.len() - 1];
        weighed.iter().for_each(|&(at, weight)| weights[at] = weight);
        let targets = tokens[1..].iter().map(|id| id ^ 1).collect();
        Window { loss: Loss::weighted(targets, weights).expect("valid"), ..Window::new(tokens.clone(), 1) }
    };
    let mut taught = Vec::new();
    for weighed in [&[(3, 1.0)][..], &[(9, 2.0)], &[(3, 1.0), (9, 3.0)]] {
        let mut of_backends = Vec::new();
        for (name, backend) in backends().await {
            let mut engine = fixture.open_with(backend, sgd()).await;
            let (loss, gradients) = gradients(&mut engine, window(weighed)).await;
            of_backends.push((name, loss, gradients));
        }
        taught.push(of_backends);
    }
    let [first, second, both] = taught.try_into().expect("three");
    for ((a, b), (name, loss, gradients)) in first.iter().zip(&second).zip(both) {
        let mean = |a: f64, b: f64| (a + 3.0 * b) / 4.0;
        assert!((loss - mean(a.1, b.1)).abs() < 1e-5, "{name}: {loss} of {} and {}", a.1, b.1);
        for (((tensor, got), (_, a)), (_, b)) in gradients.iter().zip(&a.2).zip(&b.2) {
            let want: Vec<f32> =
                a.iter().zip(b).map(|(&a, &b)| mean(f64::from(a), f64::from(b)) as f32).collect();
            let most = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let what = format!("{tensor} on {name}");
            assert_close(&what, got, &want, Tolerance { abs: 1e-3 * most + 1e-6, rel: 0.0 });
        }
    }
}

/// A hundred steps: what is learned and how fast. Of a software GPU in a browser the first ten.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_loss_curve_equals_torch() {
    let [fixture, ..] = &FIXTURES;
    let reference = Fixture::new(fixture.reference);
    let want = reference.f32("losses");
    assert!(want[99] < 0.8 * want[0], "the curve falls");
    // The twin is slow and judges single steps.
    for (name, backend) in backends().await.into_iter().filter(|(name, _)| *name != "twin") {
        let mut engine = fixture.open(backend).await;
        let window = fixture.window(&reference, "input_ids", "first_label");
        let mut losses = Vec::new();
        let want = if cfg!(target_arch = "wasm32") && name == "gpu" { &want[..10] } else { &want };
        for _ in want {
            let windows = vec![window.clone()];
            let loss = engine.train_step(windows, &on(), LEARNING_RATE).await.expect("works");
            losses.push(loss as f32);
        }
        assert_close(name, &losses, want, Tolerance { abs: 0.0, rel: 5e-3 });
    }
}

/// Finite differences, a judge that knows nothing of backward passes.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn gradients_equal_finite_differences() {
    const H: f32 = 2e-3;
    let fixture = &FIXTURES[2];
    let reference = Fixture::new(fixture.reference);
    let window = fixture.window(&reference, "input_ids", "first_label");
    let (_, backend) = crate::common::backends().await.remove(0);
    let mut engine = fixture.open_with(backend, sgd()).await;
    let before = exported(&mut engine).await;
    let (_, got) = gradients(&mut engine, window.clone()).await;
    engine.end_training().await.expect("frees");
    for t in [0, 3, 8, got.len() - 1] {
        let (name, gradient) = &got[t];
        let (at, _) =
            gradient.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).expect("some");
        let mut loss = [0.0; 2];
        for (loss, step) in loss.iter_mut().zip([H, -H]) {
            let mut tensors = before.clone();
            tensors[t].1[at] += step;
            engine.add_adapter("x", adapter(&tensors)).expect("fits");
            engine.set_adapter(vec![("x".to_owned(), 1.5)]).expect("loaded");
            let losses = engine.losses(&window.tokens, window.first()).await.expect("fits");
            *loss = losses.iter().sum::<f64>() / losses.len() as f64;
        }
        let slope = ((loss[0] - loss[1]) / f64::from(2.0 * H)) as f32;
        assert_close(name, &[gradient[at]], &[slope], Tolerance { abs: 1e-5, rel: 2e-2 });
    }
}

/// An adapter of rank 4 from tensors named by PEFT, A before B of each module.
fn adapter(tensors: &[(String, Vec<f32>)]) -> Adapter {
    let module = |name: &str| {
        let name = name.strip_prefix("base_model.model.").expect("PEFT's name");
        name.rsplit_once(".lora_").expect("A or B").0.to_owned()
    };
    let delta = |pair: &[(String, Vec<f32>)]| ModuleDelta {
        module: module(&pair[0].0),
        rank: 4,
        a: pair[0].1.clone().into(),
        b: pair[1].1.clone().into(),
        ..ModuleDelta::default()
    };
    Adapter { deltas: tensors.chunks_exact(2).map(delta).collect(), ..Adapter::default() }
}

/// A step that is dropped half way leaves the adapter as it was, and the next one is not spoiled.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_dropped_step_changes_nothing() {
    let [fixture, ..] = &FIXTURES;
    let reference = Fixture::new(fixture.reference);
    let window = fixture.window(&reference, "input_ids", "first_label");
    for (name, backend) in backends().await {
        let mut engine = fixture.open(backend).await;
        let before = exported(&mut engine).await;
        let mut step = engine.begin_step(vec![window.clone()], &on(), 1.0).expect("valid");
        for _ in 0..9 {
            engine.next_slices(&mut step, 1).await.expect("works");
        }
        let (done, all) = step.progress();
        assert!(done >= 9 && done < all, "{name}: {done} of {all}");
        engine.end_step(step);
        assert_eq!((exported(&mut engine).await, engine.steps_taken()), (before, 0), "{name}");
        // Another adapter makes the bank grow between two slices.
        let mut step = engine.begin_step(vec![window.clone()], &on(), LEARNING_RATE).expect("valid");
        let mut slices = 0;
        while !step.is_finished() {
            engine.next_slices(&mut step, 1).await.expect("works");
            slices += 1;
            if slices == 5 {
                engine.add_adapter("large", adapter_of_rank(&engine, 33)).expect("fits");
            }
        }
        let (done, all) = step.progress();
        assert!(slices > 12 && done == all, "{name}: {slices} slices, {done} of {all}");
        engine.end_step(step);
        assert_eq!(engine.steps_taken(), 1, "{name}");
        let abs = if name == "gpu" { 1e-4 } else { 1e-5 };
        assert_tensors(name, &exported(&mut engine).await, &reference, "step_1", 0.0, abs);
    }
}

fn adapter_of_rank(engine: &Engine, rank: usize) -> Adapter {
    let module = "model.layers.0.mlp.down_proj".to_owned();
    let config = engine.config();
    let (c, f) = (config.intermediate_size, config.hidden_size);
    let delta = ModuleDelta {
        module,
        rank,
        a: vec![0.1; rank * c].into(),
        b: vec![0.1; f * rank].into(),
        ..ModuleDelta::default()
    };
    Adapter { deltas: vec![delta], ..Adapter::default() }
}

/// A new LoRA changes nothing until it is trained; the trained one beside a style adapter learns,
/// the base is bit for bit as before, and the export loads again.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_new_adapter_is_trained_beside_another_and_exported() {
    let files = files("llama");
    let ids: Vec<u32> = (0..40).map(|i| (i * i * 7 + 3) % 97).collect();
    for (name, backend) in backends().await {
        let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
        let base = engine.logits(&ids).await.expect("fits");
        engine.add_adapter("style", adapter_of_rank(&engine, 5)).expect("fits");
        engine.set_adapter(vec![("style".to_owned(), 0.2)]).expect("loaded");
        let style = engine.logits(&ids).await.expect("fits");
        let lora =
            NewLora { variant: Variant::Lora, rank: 6, alpha: 9.0, target_modules: Vec::new(), seed: 7 };
        let info = engine.new_lora("me", &lora).await.expect("fits");
        assert_eq!((info.rank, info.modules.len()), (6, 21), "{name}");
        let both = vec![("style".to_owned(), 0.2), ("me".to_owned(), 1.0)];
        engine.set_adapter(both.clone()).expect("loaded");
        assert_eq!(engine.logits(&ids).await.expect("fits"), style, "{name}: B is zero");
        let optimizer = Optimizer { dropout: 0.1, ..Optimizer::default() };
        engine.begin_training("me", optimizer, ROOM).await.expect("idle");
        let window = Window::new(ids.clone(), 1);
        let mut losses = Vec::new();
        for _ in 0..12 {
            losses.push(engine.train_step(vec![window.clone()], &both, 1e-2).await.expect("works"));
        }
        assert!(losses[11] < 0.8 * losses[0], "{name}: {losses:?}");
        engine.end_training().await.expect("frees");
        let learned = engine.logits(&ids).await.expect("fits");
        let exported = engine.export_adapter("me").await.expect("a LoRA");
        engine.load_adapter("again", &exported.config, &exported.weights).await.expect("PEFT's folder");
        engine.set_adapter(vec![("style".to_owned(), 0.2), ("again".to_owned(), 1.0)]).expect("loaded");
        let again = engine.logits(&ids).await.expect("fits");
        assert_close(name, &again, &learned, Tolerance { abs: 1e-4, rel: 0.0 });
        assert!(name == "gpu" || again == learned, "{name}: bit for bit");
        engine.delete_adapter("me").expect("idle");
        engine.delete_adapter("again").expect("idle");
        engine.set_adapter(Choice::new()).expect("the base");
        assert_eq!(engine.logits(&ids).await.expect("fits"), base, "{name}: the base is as it was");
    }
}

/// An adapter whose ranks lie elsewhere after others have come, in the middle of a step, learns the same.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_adapter_that_is_moved_learns_on() {
    let files = files("llama");
    let ids: Vec<u32> = (0..40).map(|i| (i * i * 7 + 3) % 97).collect();
    for modules in [vec!["q_proj", "down_proj"], Vec::new()] {
        let mut learned = Vec::new();
        for moved in [false, true] {
            let (_, backend) = crate::common::backends().await.remove(1);
            let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
            engine.add_adapter("first", adapter_of_rank(&engine, 5)).expect("fits");
            let target_modules = modules.iter().map(|module| (*module).to_owned()).collect();
            let lora = NewLora { variant: Variant::Lora, rank: 6, alpha: 9.0, target_modules, seed: 7 };
            engine.new_lora("x", &lora).await.expect("fits");
            let optimizer = Optimizer { dropout: 0.1, ..Optimizer::default() };
            engine.begin_training("x", optimizer, ROOM).await.expect("idle");
            let window = Window::new(ids.clone(), 1);
            for _ in 0..2 {
                engine.train_step(vec![window.clone()], &on(), 1e-2).await.expect("works");
            }
            engine.export_adapter("x").await.expect("a LoRA");
            let mut step = engine.begin_step(vec![window.clone()], &on(), 1e-2).expect("trained");
            for _ in 0..9 {
                engine.next_slices(&mut step, 1).await.expect("works");
            }
            assert!(!step.is_finished());
            if moved {
                engine.delete_adapter("first").expect("idle");
                engine.add_adapter("wide", adapter_of_rank(&engine, 90)).expect("fits");
            }
            while !step.is_finished() {
                engine.next_slices(&mut step, 1).await.expect("works");
            }
            engine.end_step(step);
            engine.train_step(vec![window], &on(), 1e-2).await.expect("works");
            engine.end_training().await.expect("frees");
            learned.push(engine.export_adapter("x").await.expect("a LoRA").weights);
        }
        assert!(learned[0] == learned[1], "{modules:?}");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn what_cannot_be_trained_is_refused_by_name() {
    let [fixture, ..] = &FIXTURES;
    let (_, backend) = crate::common::backends().await.remove(1);
    let mut engine = fixture.open(backend).await;
    let words = |error: lorakeet::Error| error.to_string();
    let window = |n: u32, first| vec![Window::new((0..n).collect(), first)];
    let mut step = |windows: Vec<Window>, choice: &Choice| {
        words(engine.begin_step(windows, choice, 1e-3).expect_err("refused"))
    };
    assert_eq!(
        step(window(4, 4), &on()),
        "a window of 4 tokens with 3 targets, 0 of them learned; expected one target fewer than tokens, one or more learned, and at most 128 tokens"
    );
    assert_eq!(step(Vec::new(), &on()), "no window to learn from");
    assert_eq!(step(window(4, 1), &Choice::new()), "adapter `x` is being trained, the choice lacks it");
    assert_eq!(
        words(engine.delete_adapter("x").expect_err("busy")),
        "adapter `x` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
    );
    let lora = |target: &str| NewLora {
        variant: Variant::Lora,
        rank: 2,
        alpha: 2.0,
        target_modules: vec![target.to_owned()],
        seed: 0,
    };
    assert_eq!(
        words(engine.new_lora("y", &lora("lm_head")).await.expect_err("refused")),
        "target module `lm_head`: the embedding and the head are not trained"
    );
    assert_eq!(
        words(engine.new_lora("y", &lora("qkv")).await.expect_err("refused")),
        "target modules [\"qkv\"]: the base has none of them"
    );
    engine.new_lora("y", &lora("q_proj")).await.expect("fits");
    assert_eq!(
        words(engine.begin_training("y", Optimizer::default(), ROOM).await.expect_err("refused")),
        "adapter `x` is being trained, end that first: a temporary one by `dispose` or `keepAs`"
    );
    engine.end_training().await.expect("frees");
    let mut norm = Adapter::default();
    norm.points.push(lorakeet::engine::PointDelta {
        point: "model.norm".to_owned(),
        gain: vec![0.0; engine.config().hidden_size],
        shift: vec![0.0; engine.config().hidden_size],
    });
    engine.add_adapter("norm", norm).expect("fits");
    assert_eq!(
        words(engine.begin_training("norm", Optimizer::default(), ROOM).await.expect_err("refused")),
        "adapter `norm`: `model.norm` is no plain LoRA, which alone is trained"
    );
}

/// A limit on memory is kept, and what the refusal says would fit fits, and no more than that.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_refusal_of_memory_names_what_fits() {
    let files = files("llama");
    let (_, backend) = crate::common::backends().await.remove(1);
    let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
    let resting = engine.model().tensors.total_bytes();
    let mut begin = async |rank: usize, window: usize, limit: Option<u64>| {
        engine
            .new_lora(
                "x",
                &NewLora { variant: Variant::Lora, rank, alpha: 4.0, target_modules: Vec::new(), seed: 0 },
            )
            .await
            .expect("fits");
        let result = engine
            .begin_training("x", Optimizer::default(), TrainingRoom { window, memory_limit: limit })
            .await;
        let bytes = engine.model().tensors.total_bytes();
        engine.end_training().await.expect("frees");
        engine.delete_adapter("x").expect("idle");
        result.map(|()| bytes).map_err(|e| (e.kind(), e.to_string()))
    };
    // The least that training takes is what a refusal says; without a limit it takes more and computes less.
    let least = |refusal: &str| -> u64 {
        let bytes = refusal.strip_prefix("training adapter `x`: ").and_then(|rest| rest.split(' ').next());
        bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{refusal}"))
    };
    let most = begin(600, 100, None).await.expect("no limit");
    let all = least(&begin(600, 100, Some(1)).await.expect_err("refused").1);
    let less = least(&begin(40, 100, Some(1)).await.expect_err("refused").1);
    assert!(all < most, "activations are kept");
    assert_eq!(begin(600, 100, Some(all)).await, Ok(all), "the limit itself is allowed");
    let limit = (all + less) / 2;
    let (kind, words) = begin(600, 100, Some(limit)).await.expect_err("refused");
    assert_eq!(kind, lorakeet::ErrorKind::Memory);
    let start = format!("training adapter `x`: {all} bytes with the model's, expected at most {}; ", limit);
    let advice = words.strip_prefix(&start).unwrap_or_else(|| panic!("{words}"));
    let rank = advice.strip_prefix("a rank of ").and_then(|rest| rest.split(' ').next()).expect("a rank");
    let rank: usize = rank.parse().expect("a number");
    begin(rank, 100, Some(limit)).await.expect("what the message says fits");
    begin(rank + 1, 100, Some(limit)).await.expect_err("no more fits");
    // A few bytes too few: a shorter window is enough.
    let limit = Some(all - 4000);
    let (_, words) = begin(600, 100, limit).await.expect_err("refused");
    let window = words.strip_suffix(" tokens").and_then(|rest| rest.rsplit(' ').next()).expect("a window");
    let window: usize = window.parse().expect("a number");
    begin(600, window, limit).await.expect("what the message says fits");
    begin(600, window + 1, limit).await.expect_err("no more fits");
    let (_, words) = begin(600, 100, Some(1000)).await.expect_err("refused");
    assert!(words.ends_with("; no rank and no window would fit"), "{words}");
    // Room for many ranks is given back with the adapter.
    assert!(engine.model().tensors.total_bytes() < (resting + all) / 2);
}

/// A window of several runs: activations that were copied are those computed once more where memory is short, to the bit.
#[cfg(not(target_arch = "wasm32"))]
#[pollster::test]
async fn copied_activations_are_those_computed_again() {
    for name in ["llama", "gemma3", "qwen3", "gpt_neox"] {
        let files = files(name);
        let config = String::from_utf8(files.config.to_vec()).expect("UTF-8");
        let config = config.replace("\"max_position_embeddings\": 128", "\"max_position_embeddings\": 512");
        for (backend, opened) in crate::common::backends().await.into_iter().skip(1) {
            let mut engine =
                files.open_as(config.as_bytes(), opened, &EngineOptions::default()).expect("valid");
            let window = Window::new((0..300).map(|i| (i * i * 7 + 3) % 90).collect(), 100);
            let mut learned = async |memory_limit: Option<u64>| {
                let lora = NewLora {
                    variant: Variant::Lora,
                    rank: 4,
                    alpha: 4.0,
                    target_modules: Vec::new(),
                    seed: 3,
                };
                engine.new_lora("x", &lora).await.expect("fits");
                let room = TrainingRoom { window: 300, memory_limit };
                engine.begin_training("x", Optimizer::default(), room).await.expect("fits");
                let bytes = engine.model().tensors.total_bytes();
                for _ in 0..2 {
                    engine.train_step(vec![window.clone()], &on(), 1e-2).await.expect("works");
                }
                engine.end_training().await.expect("frees");
                let files = engine.export_adapter("x").await.expect("a LoRA");
                engine.delete_adapter("x").expect("idle");
                (bytes, files.weights)
            };
            let (most, copied) = learned(None).await;
            let (less, again) = learned(Some(most - 1)).await;
            assert!(less < most, "{name} on {backend}: something was copied");
            assert!(copied == again, "{name} on {backend}");
        }
    }
}

/// Where a device binds little at once an adapter lies in several arenas, and learns the same.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_adapter_in_several_arenas_learns_the_same() {
    let files = files("llama");
    let mut learned = Vec::new();
    for max_tensor_bytes in [None, Some(256 << 10)] {
        let options = GpuOptions { default_limits: true, max_tensor_bytes, ..GpuOptions::default() };
        let Some(gpu) = crate::common::gpu_with(options).await else { return };
        let mut engine = files.open(gpu, &EngineOptions::default()).expect("valid");
        let lora =
            NewLora { variant: Variant::Lora, rank: 64, alpha: 64.0, target_modules: Vec::new(), seed: 3 };
        engine.new_lora("x", &lora).await.expect("fits");
        // The norm is a sum in another order.
        let optimizer = Optimizer { max_norm: 0.0, ..Optimizer::default() };
        engine.begin_training("x", optimizer, ROOM).await.expect("a plain LoRA");
        let arenas: BTreeSet<_> = engine.model().tensors.iter().filter_map(|(_, t)| t.arena).collect();
        assert_eq!(arenas.len() > 1, max_tensor_bytes.is_some());
        let window = Window::new((0..40).map(|i| (i * i * 7 + 3) % 97).collect(), 1);
        for _ in 0..2 {
            engine.train_step(vec![window.clone()], &on(), 1e-2).await.expect("works");
        }
        learned.push(engine.export_adapter("x").await.expect("a LoRA").weights);
    }
    assert!(learned[0] == learned[1]);
}

/// A text that is being drawn with an adapter keeps it from being deleted, also once a step has made the
/// adapter a new version.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_adapter_in_use_is_not_deleted_after_a_step() {
    let [fixture, ..] = &FIXTURES;
    let reference = Fixture::new(fixture.reference);
    let window = fixture.window(&reference, "input_ids", "first_label");
    let backend = crate::common::backends().await.remove(1).1;
    let mut engine = fixture.open(backend).await;
    let request = Request { adapter: Some(on()), ..Request::greedy(window.tokens[..4].to_vec(), 8) };
    let generation = engine.start(&[request]).expect("a slot is free");
    engine.train_step(vec![window], &on(), LEARNING_RATE).await.expect("works");
    engine.end_training().await.expect("it was trained");
    let error = engine.delete_adapter("x").expect_err("in use");
    assert_eq!(error.to_string(), "adapter `x` is in use by a running generation");
    engine.end(generation);
    engine.delete_adapter("x").expect("it is idle");
}
