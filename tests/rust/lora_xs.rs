//! LoRA-XS: the gradient of its cores by way of A's, a step of AdamW on them, and what a temporary
//! adapter of that kind promises.

use std::path::{Path, PathBuf};

use crate::common::models::MODELS;
use crate::common::{Tolerance, assert_close, backends, misfit, noise};
use lorakeet::engine::{
    Adapter, Choice, Core, Engine, EngineOptions, ModuleDelta, NewLora, Optimizer, TempEvent,
    TempLoraOptions, TrainingRoom, Variant, Window, folder,
};
use lorakeet::model::MAX_ROWS;

const RANK: usize = 5;

/// q and v without k, gate without up, that parts which are not trained lie between.
const LLAMA: [&str; 5] = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.v_proj",
    "model.layers.0.mlp.gate_proj",
    "model.layers.1.self_attn.o_proj",
    "model.layers.1.mlp.down_proj",
];

const GPT2: [&str; 3] =
    ["transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_proj"];

const CASES: [(&str, &[&str]); 2] = [("llama", &LLAMA), ("gpt2", &GPT2)];

const TRAINED: &str = "x";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn model(name: &str, backend: lorakeet::backend::Backend) -> Engine {
    let files = MODELS.iter().find(|files| files.name == name).expect("a fixture");
    files.open(backend, &EngineOptions::default()).expect("valid")
}

/// The product of (rows, k) and (k, cols), row-major.
fn product(left: &[f32], right: &[f32], k: usize) -> Vec<f32> {
    let cols = right.len() / k;
    let sum = |row: &[f32], c: usize| -> f64 {
        row.iter().enumerate().map(|(i, x)| f64::from(*x) * f64::from(right[i * cols + c])).sum()
    };
    left.chunks_exact(k).flat_map(|row| (0..cols).map(move |c| sum(row, c) as f32)).collect()
}

/// (cols, rows) of (rows, cols)
fn transposed(m: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| m[c..].iter().step_by(cols).copied()).collect()
}

/// An adapter with cores, neither of them zero.
fn with_cores(engine: &Engine, modules: &[&str]) -> Adapter {
    let delta = |(module, seed): (&&str, u32)| {
        let bank = &engine.model().bank;
        let (site, part) = bank.find(module).expect("a module");
        let [c, f] = bank.sites[site].shape(part);
        let core = Core { r: noise(seed, RANK * RANK, 0.5), a: noise(seed + 50, RANK * c, 0.3) };
        ModuleDelta {
            module: (*module).to_owned(),
            rank: RANK,
            a: product(&core.r, &core.a, RANK).into(),
            b: noise(seed + 100, f * RANK, 0.2).into(),
            core: Some(core),
            ..ModuleDelta::default()
        }
    };
    Adapter { deltas: modules.iter().zip(1..).map(delta).collect(), ..Adapter::default() }
}

fn without_cores(adapter: &Adapter) -> Adapter {
    let plain = |delta: &ModuleDelta| ModuleDelta { core: None, ..delta.clone() };
    Adapter { deltas: adapter.deltas.iter().map(plain).collect(), ..Adapter::default() }
}

/// A and B of every module, in the order of the adapter.
async fn factors(engine: &mut Engine) -> Vec<[Vec<f32>; 2]> {
    let files = engine.export_adapter(TRAINED).await.expect("a LoRA");
    let header = lorakeet::format::safetensors::Header::from_file_bytes(&files.weights).expect("valid");
    let read = |name: &str, module: &str| {
        let name = format!("base_model.model.{module}.{name}.weight");
        let tensor = header.tensors.iter().find(|tensor| tensor.name == name).expect("there");
        tensor.read_f32(tensor.bytes_in(&files.weights).expect("inside")).expect("f32")
    };
    let info = engine.list_adapters().find(|info| info.name == TRAINED).expect("loaded");
    info.modules.iter().map(|module| ["lora_A", "lora_B"].map(|name| read(name, module))).collect()
}

const ROOM: TrainingRoom = TrainingRoom { window: 64, memory_limit: None };

/// One step under a weight that is not 1; returns A and B before and after it.
async fn step(
    mut engine: Engine,
    adapter: Adapter,
    optimizer: Optimizer,
    rate: f32,
) -> [Vec<[Vec<f32>; 2]>; 2] {
    engine.add_adapter(TRAINED, adapter).expect("fits");
    step_of_loaded(&mut engine, optimizer, rate).await
}

async fn step_of_loaded(engine: &mut Engine, optimizer: Optimizer, rate: f32) -> [Vec<[Vec<f32>; 2]>; 2] {
    engine.begin_training(TRAINED, optimizer, ROOM).await.expect("a plain LoRA");
    let before = factors(engine).await;
    let choice: Choice = vec![(TRAINED.to_owned(), 0.7)];
    let tokens: Vec<u32> = (0..40).map(|i| (i * i * 7 + 3) % 97).collect();
    let window = Window::new(tokens, 9);
    engine.train_step(vec![window], &choice, rate).await.expect("works");
    let after = factors(engine).await;
    engine.end_training().await.expect("frees");
    [before, after]
}

/// AdamW that moves a parameter by its gradient.
const PLAIN: f32 = 1e8;

fn plain() -> Optimizer {
    Optimizer { betas: [0.0, 0.0], eps: PLAIN, max_norm: 0.0, ..Optimizer::default() }
}

fn difference([before, after]: [&Vec<f32>; 2]) -> Vec<f32> {
    before.iter().zip(after).map(|(before, after)| before - after).collect()
}

fn within(values: &[f32], share: f32) -> Tolerance {
    Tolerance { abs: share * values.iter().fold(0.0f32, |most, x| most.max(x.abs())), rel: 0.0 }
}

/// With A = R·A₀: dR = dA·A₀ᵀ, where dA is that of plain training, which is PyTorch's. A step by the
/// gradient then moves A by dR·A₀, and B not at all.
#[pollster::test]
async fn the_gradient_of_a_core_is_that_of_a_through_the_frozen_rows() {
    for (name, modules) in CASES {
        let pairs = backends().await.into_iter().zip(backends().await);
        for ((backend, first), (_, second)) in pairs {
            let what = format!("{name} on {backend}");
            let (cored, plainly) = (model(name, first), model(name, second));
            let adapter = with_cores(&cored, modules);
            let [before, after] = step(plainly, without_cores(&adapter), plain(), PLAIN).await;
            let [core_before, core_after] = step(cored, adapter.clone(), plain(), PLAIN).await;
            for (i, delta) in adapter.deltas.iter().enumerate() {
                let what = format!("{what}, {}", delta.module);
                let frozen = &delta.core.as_ref().expect("it has one").a;
                let c = frozen.len() / RANK;
                let da = difference([&before[i][0], &after[i][0]]);
                let dr = product(&da, &transposed(frozen, c), c);
                let want = product(&dr, frozen, RANK);
                let got = difference([&core_before[i][0], &core_after[i][0]]);
                assert_close(&what, &got, &want, within(&want, 2e-3));
                assert!(misfit(&got, &da, within(&da, 2e-2)).is_some(), "{what}: that is plain training's");
                assert_eq!(core_before[i][1], core_after[i][1], "{what}: B is frozen");
            }
        }
    }
}

/// AdamW's first step moves every element of R by rate · g / (|g| + eps), whatever else is trained.
#[pollster::test]
async fn a_step_of_adam_w_moves_the_core() {
    const RATE: f32 = 1e-2;
    let (name, modules) = CASES[0];
    for (index, (backend, _)) in backends().await.into_iter().enumerate() {
        let open = async || model(name, backends().await.remove(index).1);
        let mut adapter = with_cores(&open().await, modules);
        for delta in &mut adapter.deltas {
            // Rows that single out a column each: A shows R as it is.
            let core = delta.core.as_mut().expect("it has one");
            let c = core.a.len() / RANK;
            core.a = (0..RANK * c).map(|at| f32::from(u8::from(at % c == 2 * (at / c) + 1))).collect();
            delta.a = product(&core.r, &core.a, RANK).into();
        }
        let optimizer = || Optimizer { max_norm: 0.0, weight_decay: 0.1, ..Optimizer::default() };
        let [before, by_gradient] = step(open().await, adapter.clone(), plain(), PLAIN).await;
        let [_, after] = step(open().await, adapter.clone(), optimizer(), RATE).await;
        for (i, delta) in adapter.deltas.iter().enumerate() {
            let core = |a: &[f32]| -> Vec<f32> {
                let c = a.len() / RANK;
                (0..RANK * RANK).map(|at| a[at / RANK * c + 2 * (at % RANK) + 1]).collect()
            };
            let [r, gradient, got] = [&before[i], &by_gradient[i], &after[i]].map(|[a, _]| core(a));
            let want: Vec<f32> = r
                .iter()
                .zip(&gradient)
                .map(|(&r, &moved)| {
                    let g = r - moved;
                    r * (1.0 - 0.1 * RATE) - RATE * g / (g.abs() + optimizer().eps)
                })
                .collect();
            // A gradient near 0 is rounding, and so is its sign.
            let clear: Vec<usize> = (0..r.len()).filter(|&at| (r[at] - gradient[at]).abs() > 1e-4).collect();
            assert!(clear.len() > RANK, "{backend}, {}: gradients of next to nothing", delta.module);
            let chosen = |values: &[f32]| -> Vec<f32> { clear.iter().map(|&at| values[at]).collect() };
            let tolerance = Tolerance { abs: 2e-2 * RATE, rel: 0.0 };
            assert_close(&delta.module, &chosen(&got), &chosen(&want), tolerance);
            assert!(misfit(&chosen(&r), &chosen(&want), tolerance).is_some(), "it moves");
        }
    }
}

fn new_lora(variant: Variant, rank: usize, module: &str) -> NewLora {
    NewLora { variant, rank, alpha: rank as f64, target_modules: vec![module.to_owned()], seed: 0 }
}

/// At full rank W = B·A₀ with the columns of B orthonormal, so that A₀ᵀ·A₀ = WᵀW: a step by the gradient
/// moves A from zero by dA·WᵀW, whatever the singular vectors are.
#[pollster::test]
async fn what_is_frozen_is_the_base_decomposed() {
    for (name, module) in [("llama", "model.layers.0.mlp.up_proj"), ("gpt2", "transformer.h.0.mlp.c_fc")] {
        let files = MODELS.iter().find(|files| files.name == name).expect("a fixture");
        let header = lorakeet::format::safetensors::Header::from_file_bytes(files.weights[0]).expect("valid");
        let wanted = format!("{module}.weight");
        let tensor = header.tensors.iter().find(|tensor| wanted.ends_with(&tensor.name)).expect("there");
        let stored = tensor.read_f32(tensor.bytes_in(files.weights[0]).expect("inside")).expect("f32");
        // W (F, C); GPT-2 stores it transposed.
        let w = if name == "gpt2" { transposed(&stored, tensor.shape[1]) } else { stored };
        let c = *if name == "gpt2" { &tensor.shape[0] } else { &tensor.shape[1] };
        let square = product(&transposed(&w, c), &w, w.len() / c);
        let pairs = backends().await.into_iter().zip(backends().await);
        for ((backend, first), (_, second)) in pairs {
            let what = format!("{name} on {backend}");
            let (mut cored, plainly) = (model(name, first), model(name, second));
            cored.new_lora(TRAINED, &new_lora(Variant::LoraXs, c, module)).await.expect("full rank");
            let [before, after] = step_of_loaded(&mut cored, plain(), PLAIN).await;
            let [a, b] = before[0].clone();
            assert!(a.iter().all(|&a| a == 0.0), "{what}: it begins as nothing");
            let unit: Vec<f32> = (0..c * c).map(|at| f32::from(u8::from(at % (c + 1) == 0))).collect();
            assert_close(&what, &product(&transposed(&b, c), &b, w.len() / c), &unit, within(&unit, 1e-3));
            let delta = ModuleDelta {
                module: module.to_owned(),
                rank: c,
                a: a.into(),
                b: b.into(),
                ..ModuleDelta::default()
            };
            let adapter = Adapter { deltas: vec![delta], ..Adapter::default() };
            let [plain_before, plain_after] = step(plainly, adapter, plain(), PLAIN).await;
            let da = difference([&plain_before[0][0], &plain_after[0][0]]);
            let want = product(&da, &square, c);
            let got = difference([&before[0][0], &after[0][0]]);
            assert_close(&what, &got, &want, within(&want, 1e-2));
            assert!(misfit(&got, &da, within(&da, 0.1)).is_some(), "{what}: W is not orthonormal");
        }
    }
}

/// More ranks than a run has rows: the step that makes A is as long as R. Later training goes on with the
/// core, and B stays what it was.
#[pollster::test]
async fn a_core_may_be_larger_than_a_run() {
    let home = repository("www/models/novels/novels-q8_0.gguf");
    for (name, backend) in backends().await.into_iter().skip(1) {
        let mut engine =
            folder::open(&home, backend, &EngineOptions::default(), |_, _| {}).expect("a valid model");
        let rank = MAX_ROWS + 6;
        let lora = new_lora(Variant::LoraXs, rank, "model.layers.0.mlp.down_proj");
        engine.new_lora(TRAINED, &lora).await.expect("fits");
        let optimizer = Optimizer::default();
        let [before, after] = step_of_loaded(&mut engine, optimizer, 1e-2).await;
        for (row, a) in after[0][0].chunks_exact(before[0][0].len() / rank).enumerate() {
            assert!(a.iter().any(|&a| a != 0.0), "{name}: row {row} of A has not moved");
        }
        let [again, later] = step_of_loaded(&mut engine, optimizer, 1e-2).await;
        assert_eq!(again, after, "{name}: as it was left");
        assert!(later[0][0] != after[0][0] && later[0][1] == before[0][1], "{name}: A alone is trained");
    }
}

/// A refusal of memory goes by what cores take, less than both matrices do, and what it says would fit
/// fits, and no more than that.
#[pollster::test]
async fn a_refusal_of_memory_counts_the_saving() {
    let (home, backend) = (repository("www/models/demo"), backends().await.remove(1).1);
    let mut engine =
        folder::open(&home, backend, &EngineOptions::default(), |_, _| {}).expect("a valid model");
    let mut begin = async |variant: Variant, rank: usize, memory_limit: Option<u64>| {
        engine.new_lora(TRAINED, &new_lora(variant, rank, "mlp.down_proj")).await.expect("fits");
        let result =
            engine.begin_training(TRAINED, Optimizer::default(), TrainingRoom { memory_limit, ..ROOM }).await;
        let bytes = engine.model().tensors.total_bytes();
        engine.end_training().await.expect("frees");
        engine.delete_adapter(TRAINED).expect("idle");
        result.map(|()| bytes).map_err(|e| e.to_string())
    };
    // The least that training takes is what a refusal says.
    let least = |result: Result<u64, String>| -> u64 {
        let refusal = result.expect_err("refused");
        let bytes = refusal.split("`: ").nth(1).and_then(|rest| rest.split(' ').next());
        bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{refusal}"))
    };
    begin(Variant::LoraXs, 60, None).await.expect("no limit");
    let plain = least(begin(Variant::Lora, 60, Some(1)).await);
    let cores = least(begin(Variant::LoraXs, 60, Some(1)).await);
    assert!(cores < plain, "{cores} bytes, both matrices take {plain}");
    begin(Variant::Lora, 60, Some(cores)).await.expect_err("too much");
    assert_eq!(begin(Variant::LoraXs, 60, Some(cores)).await, Ok(cores), "the limit itself is allowed");
    let limit = Some(cores - 20_000);
    let words = begin(Variant::LoraXs, 60, limit).await.expect_err("too much");
    let rank = words.split("a rank of ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a rank");
    let rank: usize = rank.parse().expect("a number");
    begin(Variant::LoraXs, rank, limit).await.expect("what the message says fits");
    begin(Variant::LoraXs, rank + 1, limit).await.expect_err("no more fits");
}

fn options(variant: Variant) -> TempLoraOptions {
    TempLoraOptions {
        variant,
        rank: 16,
        alpha: 16.0,
        learning_rate: 3e-3,
        chunk_tokens: 48,
        context_tokens: 32,
        ..TempLoraOptions::small(512)
    }
}

/// It learns a text, takes less memory than both matrices do, and leaves the base as it was; kept, it
/// is a LoRA like any other.
#[pollster::test]
async fn a_temporary_core_learns_in_less_memory() {
    let path = repository("tests/fixtures/training/story.txt");
    let text = std::fs::read_to_string(path).expect("there");
    // The twin is slow, and judges the others above.
    for (name, backend) in backends().await.into_iter().skip(1) {
        let home = repository("www/models/demo");
        let mut engine =
            folder::open(&home, backend, &EngineOptions::default(), |_, _| {}).expect("a valid model");
        let ids = engine.encode(&text).expect("text");
        let ids = &ids[..ids.len().min(480)];
        let base = engine.logits(&ids[..40]).await.expect("fits");
        let mut bytes = [0; 2];
        for (bytes, variant) in bytes.iter_mut().zip([Variant::Lora, Variant::LoraXs]) {
            let mut temp = engine.begin_temp_lora(options(variant)).await.expect("valid");
            *bytes = engine.model().tensors.total_bytes();
            if variant == Variant::Lora {
                engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
                continue;
            }
            engine.set_adapter(vec![("temp".to_owned(), 1.0)]).expect("loaded");
            assert_eq!(engine.logits(&ids[..40]).await.expect("fits"), base, "{name}: its core is zero");
            engine.set_adapter(Choice::new()).expect("the base");
            engine.temp_learn(&mut temp, ids, true).expect("valid");
            let mut losses = [0.0; 2];
            loop {
                match engine.temp_next(&mut temp, usize::MAX).await.expect("works") {
                    TempEvent::Idle => break,
                    TempEvent::Chunk(chunk) => {
                        let labels = chunk.labels as f64;
                        losses[0] += chunk.base_loss.expect("scored") * labels;
                        losses[1] += chunk.adapted_loss.expect("scored") * labels;
                    }
                    TempEvent::Progress(..) | TempEvent::Text(_) => {}
                }
            }
            assert!(losses[1] < 0.99 * losses[0], "{name}: {losses:?}");
            engine.end_temp_lora(&mut temp, Some("kept")).await.expect("kept");
        }
        let [plain, cores] = bytes;
        assert!(cores < plain, "{name}: {cores} bytes, plain LoRA takes {plain}");
        assert_eq!(engine.logits(&ids[..40]).await.expect("fits"), base, "{name}: the base is as it was");
        let files = engine.export_adapter("kept").await.expect("a LoRA");
        engine.load_adapter("again", &files.config, &files.weights).await.expect("PEFT's folder");
        let mut logits = Vec::new();
        for adapter in ["kept", "again"] {
            engine.set_adapter(vec![(adapter.to_owned(), 1.0)]).expect("loaded");
            logits.push(engine.logits(&ids[..40]).await.expect("fits"));
        }
        assert_close(name, &logits[1], &logits[0], Tolerance { abs: 1e-4, rel: 0.0 });
        assert!(misfit(&logits[0], &base, Tolerance { abs: 1e-2, rel: 0.0 }).is_some(), "it learned");
    }
}

#[pollster::test]
async fn what_cannot_be_is_refused_by_name() {
    let mut engine = model("llama", backends().await.remove(1).1);
    let error = "lora-xl".parse::<Variant>().expect_err("unknown").to_string();
    assert_eq!(error, "variant `lora-xl`, expected lora or lora-xs");
    let module = "model.layers.0.self_attn.k_proj";
    let (site, part) = engine.model().bank.find(module).expect("a module");
    let [c, f] = engine.model().bank.sites[site].shape(part);
    let most = c.min(f);
    let lora = |rank: usize| new_lora(Variant::LoraXs, rank, module);
    let error = engine.new_lora("y", &lora(most + 1)).await.expect_err("too many").to_string();
    let start = format!("rank {}: module `{module}` has {c} inputs and {f} outputs, ", most + 1);
    assert_eq!(error, format!("{start}lora-xs takes at most {most}"));
    engine.new_lora("y", &lora(most)).await.expect("as many as there are");
    let mut mixed = with_cores(&engine, &LLAMA);
    mixed.deltas[1].core = None;
    engine.add_adapter(TRAINED, mixed).expect("fits");
    let error =
        engine.begin_training(TRAINED, Optimizer::default(), ROOM).await.expect_err("both kinds").to_string();
    assert_eq!(error, format!("adapter `x`: `{}` is no plain LoRA, which alone is trained", LLAMA[1]));
}
