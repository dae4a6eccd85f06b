//! Keys and values held as f16 and q8: each op over them against the twin over what they widen to, on every
//! backend, and whole models against themselves with f32. Not a test of the types, which `dtype` has.

use std::path::{Path, PathBuf};

use crate::common::models::load;
use crate::common::one_op::{FUNCTIONS, OneOp, rows};
use crate::common::{Tolerance, assert_close, backends, backends_and_variants, noise};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::cache::{CACHE_TYPES, CacheLayout};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{
    Adapter, Choice, Engine, EngineOptions, Loader, ModuleDelta, NewLora, Optimizer, Overflow, Request,
    TrainingRoom, Variant, Window, folder,
};
use lorakeet::ops::{self, AttentionInputs, Growth, Op};
use lorakeet::plan::{INACTIVE, TensorId};

const PACKED: [Dtype; 2] = [Dtype::F16, Dtype::Q8];

const SLOTS: usize = 3;
const S: usize = 70;
const H: usize = 6;
const K: usize = 2;
const D: usize = 64;
const Q: usize = H * D;
const KV: usize = K * D;
/// Positions and slots of the rows, of which one is inactive; the last slot is used by none.
const POS: [u32; 5] = [69, 3, 0, 41, 17];
const SLOT: [u32; 5] = [0, 1, INACTIVE, 1, 0];
const N: usize = POS.len();

fn layout(dtype: Dtype) -> CacheLayout {
    CacheLayout { dtype, s: S, kv_cols: KV }
}

/// Words of a cache, and the numbers that they stand for.
fn cache(dtype: Dtype, seed: u32) -> (Vec<u32>, Vec<f32>) {
    let mut words = Vec::new();
    noise(seed, SLOTS * S * KV, 2.0).chunks_exact(S * KV).for_each(|slot| dtype.pack(slot, &mut words));
    let mut numbers = vec![0.0; SLOTS * S * KV];
    dtype.unpack(&words, S * KV, &mut numbers);
    (words, numbers)
}

fn declare(one: &mut OneOp, name: &str, dtype: Dtype, seed: u32, packed: bool) -> TensorId {
    let (words, numbers) = cache(dtype, seed);
    let shape = [SLOTS, S, KV];
    if packed { one.packed(name, dtype, &shape, &words) } else { one.f32(name, &shape, &numbers) }
}

fn inputs(one: &mut OneOp, dtype: Dtype, packed: bool, window: usize) -> AttentionInputs {
    AttentionInputs {
        rows: one.u32("rows", &[N, 4], &rows(&[0; N], &POS, &SLOT)),
        q: one.f32("q", &[N, Q], &noise(3, N * Q, 1.0)),
        k_cache: declare(one, "k", dtype, 1, packed),
        v_cache: declare(one, "v", dtype, 2, packed),
        head_dim: D,
        scale: 0.125,
        cap: 5.0,
        window,
    }
}

/// What the twin writes.
async fn twin(one: &OneOp, op: &Op) -> Vec<Vec<f32>> {
    let mut judge = Backend::Cpu(Cpu::new(Kernels::Twin));
    let prepared = one.prepare(&mut judge, op.clone(), N);
    judge.run(&prepared, 1);
    let mut outputs = Vec::new();
    for id in op.writes() {
        let words = one.words(id);
        outputs.push(bytemuck::cast_slice(&judge.read(id, 0, words).await.expect("a result")).to_vec());
    }
    outputs
}

/// Each backend over the packed cache against the twin over the numbers in it. `build` makes the op with
/// outputs that begin as `before` and are to be `want`.
async fn compare(name: &str, build: impl Fn(&mut OneOp, bool, &[Vec<f32>]) -> Op) {
    let mut over_numbers = OneOp::default();
    let op = build(&mut over_numbers, false, &[]);
    let wants = twin(&over_numbers, &op).await;
    let mut packed = OneOp::default();
    let op = build(&mut packed, true, &wants);
    for (backend_name, backend) in &mut backends_and_variants().await {
        packed.check(backend, &format!("{name} on {backend_name}"), op.clone(), N, FUNCTIONS).await;
    }
}

/// An output of `len` that begins as `before`; what is wanted is the i-th of what the twin wrote.
fn output(
    one: &mut OneOp,
    name: &str,
    shape: &[usize],
    before: f32,
    wants: &[Vec<f32>],
    i: usize,
) -> TensorId {
    let len = shape.iter().product();
    let before = vec![before; len];
    let want = wants.get(i).map_or(&before[..], |want| &want[..len]);
    one.output_over(name, shape, &before, want)
}

#[pollster::test]
async fn attention_reads_what_the_words_stand_for() {
    for dtype in PACKED {
        for window in [0, 9] {
            compare(&format!("attention over {}, window {window}", dtype.name()), |one, packed, wants| {
                let AttentionInputs { rows, q, k_cache, v_cache, head_dim, scale, cap, window } =
                    inputs(one, dtype, packed, window);
                let y = output(one, "y", &[N, Q], 7.0, wants, 0);
                ops::Attention { rows, q, k_cache, v_cache, y, head_dim, scale, cap, window, shrink: None }
                    .into()
            })
            .await;
        }
    }
}

#[pollster::test]
async fn gradients_read_what_the_words_stand_for() {
    for dtype in PACKED {
        for window in [0, 9] {
            let name = format!("over {}, window {window}", dtype.name());
            compare(&format!("attention_grad_q {name}"), |one, packed, wants| {
                let forward = inputs(one, dtype, packed, window);
                let dy = one.f32("dy", &[N, Q], &noise(4, N * Q, 1.0));
                let dq = output(one, "dq", &[N, Q], 7.0, wants, 0);
                let stats = output(one, "stats", &[N, 2 * H], 7.0, wants, 1);
                ops::AttentionGradQ { forward, dy, dq, stats }.into()
            })
            .await;
            compare(&format!("attention_grad_kv {name}"), |one, packed, wants| {
                let forward = inputs(one, dtype, packed, window);
                let dy = one.f32("dy", &[N, Q], &noise(4, N * Q, 1.0));
                // Large enough that no weight is past 1.
                let stats: Vec<f32> = (0..2 * N * H).map(|i| if i % 2 == 0 { 6.0 } else { 0.3 }).collect();
                let stats = one.f32("stats", &[N, 2 * H], &stats);
                let dk_cache = output(one, "dk", &[SLOTS, S, KV], 0.5, wants, 0);
                let dv_cache = output(one, "dv", &[SLOTS, S, KV], -0.5, wants, 1);
                ops::AttentionGradKv { forward, dy, stats, dk_cache, dv_cache }.into()
            })
            .await;
        }
    }
}

/// Keys and values are rounded to the nearest number of their type, and nothing beside them is touched.
#[pollster::test]
async fn split_qkv_writes_what_is_nearest() {
    let build = |one: &mut OneOp, dtype: Dtype, neighbours: bool| {
        let rows = one.u32("rows", &[N, 4], &rows(&[0; N], &POS, &SLOT));
        let qkv = one.f32("qkv", &[N, Q + 2 * KV], &noise(5, N * (Q + 2 * KV), 3.0));
        let rope = one.f32("rope", &[S, D - 24], &noise(6, S * (D - 24), 1.0));
        let q = one.output_over("q", &[N, Q], &vec![7.0; N * Q], &vec![7.0; N * Q]);
        let [k_cache, v_cache] =
            [("k", 1), ("v", 2)].map(|(name, seed)| declare(one, name, dtype, seed, dtype != Dtype::F32));
        let (head_dim, growth) = (D, Growth { beta: 0.5, every: 3 });
        let grouped = true;
        Op::from(ops::SplitQkv {
            rows,
            qkv,
            rope,
            q,
            k_cache,
            v_cache,
            head_dim,
            grouped,
            neighbours,
            growth,
        })
    };
    for (dtype, neighbours) in PACKED.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
        let mut exact = OneOp::default();
        let op = build(&mut exact, Dtype::F32, neighbours);
        let exact = twin(&exact, &op).await;
        let mut one = OneOp::default();
        let op = build(&mut one, dtype, neighbours);
        for (name, mut backend) in backends_and_variants().await {
            let what = format!("{} on {name}", dtype.name());
            let prepared = one.prepare(&mut backend, op.clone(), N);
            backend.run(&prepared, 1);
            let [q, k, v] = op.writes()[..] else { unreachable!("three") };
            let got = backend.read(q, 0, N * Q).await.expect("a result");
            let close = Tolerance { abs: 1e-5, rel: 1e-6 };
            assert_close(&what, bytemuck::cast_slice(&got), &exact[0][..N * Q], close);
            for (id, seed, exact) in [(k, 1, &exact[1]), (v, 2, &exact[2])] {
                let (mut want, _) = cache(dtype, seed);
                let got = backend.read(id, 0, want.len()).await.expect("a result");
                for (&pos, &slot) in POS.iter().zip(&SLOT).filter(|(_, slot)| **slot != INACTIVE) {
                    let (slot, pos) = (slot as usize, pos as usize);
                    let cell = &exact[(slot * S + pos) * KV..][..KV];
                    let spans = layout(dtype).spans(slot, pos..pos + 1);
                    let read = |words: &[u32]| {
                        let row = [&words[spans[0].clone()], &words[spans[1].clone()]].concat();
                        let mut numbers = vec![0.0; KV];
                        dtype.unpack(&row, KV, &mut numbers);
                        numbers
                    };
                    // Half a step: of f16 by its 11 bits, of q8 the 127th part of the block's largest and
                    // the rounding of its scale. GPUs may round f16 either way.
                    for (at, (got, exact)) in read(&got).into_iter().zip(cell).enumerate() {
                        let block = &cell[at / 32 * 32..][..32];
                        let most = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                        let half = match dtype {
                            Dtype::F16 if name.contains("gpu") => exact.abs() / 1024.0,
                            Dtype::F16 => exact.abs() / 2048.0,
                            _ => most * (1.0 / 254.0 + 1.0 / 1024.0),
                        };
                        assert!((got - exact).abs() <= half * 1.001 + 1e-6, "{what}: {got} for {exact}");
                    }
                    if !name.contains("gpu") {
                        for (span, words) in spans.into_iter().zip(layout(dtype).packed(cell)) {
                            want[span].copy_from_slice(&words);
                        }
                        continue;
                    }
                    spans.into_iter().for_each(|span| want[span.clone()].copy_from_slice(&got[span]));
                }
                assert_eq!(got, want, "{what}: what lies beside");
            }
        }
    }
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/demo")
}

fn options(kv_dtype: Dtype) -> EngineOptions {
    let kv_dtype = Some(kv_dtype);
    EngineOptions { context_length: Some(128), batch: Some(3), kv_dtype, ..EngineOptions::default() }
}

fn open(backend: Backend, kv_dtype: Dtype) -> Engine {
    let engine = folder::open(&demo(), backend, &options(kv_dtype), |_, _| {}).expect("the demo loads");
    assert_eq!(engine.model().kv_dtype(), kv_dtype, "K·D = 64, D = 32");
    engine
}

/// The demo with a window of so many keys.
fn open_with_window(backend: Backend, kv_dtype: Dtype, window: usize) -> Engine {
    let read = |name: &str| std::fs::read(demo().join(name)).expect(name);
    let config = String::from_utf8(read("config.json")).expect("JSON");
    let config = config.replace("\"LlamaForCausalLM\"", "\"MistralForCausalLM\"");
    let config = config.replace(
        "\"model_type\": \"llama\"",
        &format!("\"model_type\": \"mistral\", \"sliding_window\": {window}"),
    );
    let mut loader =
        Loader::new(config.as_bytes(), None, &read("tokenizer.json"), backend, &options(kv_dtype))
            .expect("a Mistral");
    load(&mut loader, &read("model.safetensors")).expect("its weights");
    loader.finish().expect("complete")
}

const TEXT: &str = "Once upon a time there was a little girl who had a red ball. She liked to play with it in \
    the garden. One day the ball rolled away and she could not find it.";

/// How far logits of the demo may be from those over f32; over f16 they are off by 0.0033 on the CPU.
fn bound(dtype: Dtype) -> f32 {
    if dtype == Dtype::F16 { 0.02 } else { 0.4 }
}

#[pollster::test]
async fn logits_are_near_those_over_f32() {
    let mut judge = open(Backend::Cpu(Cpu::new(Kernels::Fast)), Dtype::F32);
    let ids = judge.encode(TEXT).expect("a text");
    let want = judge.logits(&ids).await.expect("it fits");
    let window = 8;
    let mut judge = open_with_window(Backend::Cpu(Cpu::new(Kernels::Fast)), Dtype::F32, window);
    let windowed = judge.logits(&ids).await.expect("it fits");
    let worst = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst(&want, &windowed) > 1.0, "the window is seen");
    for dtype in PACKED {
        let mut cpus = Vec::new();
        for ((name, backend), (_, other)) in backends().await.into_iter().zip(backends().await) {
            let mut engine = open(backend, dtype);
            let mut with_window = open_with_window(other, dtype, window);
            let logits = engine.logits(&ids).await.expect("it fits");
            let windowed_logits = with_window.logits(&ids).await.expect("it fits");
            let off = [worst(&logits, &want), worst(&windowed_logits, &windowed)];
            println!("{} on {name}: logits off by {off:?}", dtype.name());
            assert!(off.iter().all(|off| *off <= bound(dtype)), "{} on {name}: {off:?}", dtype.name());
            assert!(off.iter().all(|off| *off > 1e-5), "{} on {name}: nothing was rounded", dtype.name());
            cpus.push(logits);
        }
        // Over the same stored numbers backends agree as they do over f32, but where a number at the border
        // of two steps is rounded the other way.
        assert!(worst(&cpus[0], &cpus[1]) <= bound(dtype) / 2.0);
    }
}

/// Tokens, and the log probabilities of these and of others, as text that shows every bit.
async fn run(engine: &mut Engine, requests: &[Request]) -> Vec<(Vec<u32>, Vec<String>)> {
    let mut generation = engine.start(requests).expect("valid");
    let mut results = vec![(Vec::new(), Vec::new()); requests.len()];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("works") {
            results[delta.index].0.extend(delta.tokens);
            results[delta.index].1.extend(delta.logprobs.iter().map(|token| format!("{token:?}")));
        }
    }
    engine.end(generation);
    results
}

/// Two of unequal ranks on maps before and behind the cache.
fn add_adapters(engine: &mut Engine) {
    for (name, rank, seed) in [("a", 3, 20), ("b", 5, 40)] {
        let shapes =
            [("self_attn.k_proj", 64, 128), ("self_attn.o_proj", 128, 128), ("mlp.up_proj", 352, 128)];
        let delta = |(i, (map, f, c)): (usize, (&str, usize, usize))| ModuleDelta {
            module: format!("model.layers.{}.{map}", i + 1),
            rank,
            a: noise(seed + i as u32, rank * c, 0.3).into(),
            b: noise(seed + 10 + i as u32, f * rank, 0.3).into(),
            ..ModuleDelta::default()
        };
        let deltas = shapes.into_iter().enumerate().map(delta).collect();
        engine.add_adapter(name, Adapter { deltas, ..Adapter::default() }).expect("fits");
    }
}

fn request(prompt: &[u32], most: usize, adapter: Option<Choice>) -> Request {
    Request { logprobs: Some(3), adapter, ..Request::greedy(prompt.to_vec(), most) }
}

#[pollster::test]
async fn a_batch_agrees_bit_for_bit_and_a_prefill_token_by_token() {
    for dtype in CACHE_TYPES {
        let fast = || Backend::Cpu(Cpu::new(Kernels::Fast));
        let mut engine = open(fast(), dtype);
        add_adapters(&mut engine);
        let ids = engine.encode(TEXT).expect("a text");
        let of = |name: &str| Some(vec![(name.to_owned(), 1.0)]);
        let requests = [
            request(&ids[..20], 24, of("a")),
            request(&ids[..33], 24, of("b")),
            request(&ids[3..30], 24, Some(Vec::new())),
        ];
        let together = run(&mut engine, &requests).await;
        assert_ne!(together[0].0, together[1].0);
        for (request, batch) in requests.iter().zip(&together) {
            let alone = run(&mut engine, std::slice::from_ref(request)).await.remove(0);
            assert_eq!(alone, *batch, "{dtype:?}: alone and in a batch");
            assert_eq!(alone.1.len(), 24);
            // What was decoded, as a prompt of an engine that remembers nothing.
            let mut fresh = open(fast(), dtype);
            add_adapters(&mut fresh);
            let prompt = [&request.prompt[..], &alone.0[..19]].concat();
            let again = run(&mut fresh, &[Request { prompt, max_tokens: Some(5), ..request.clone() }]).await;
            assert_eq!(again[0].0, alone.0[19..]);
        }
    }
}

#[pollster::test]
async fn a_full_context_slides() {
    for dtype in PACKED {
        for (name, backend) in backends().await.into_iter().skip(1) {
            let mut engine = open(backend, dtype);
            let ids = engine.encode(TEXT).expect("a text");
            let sliding = Request { overflow: Overflow::Slide, ..Request::greedy(ids[..30].to_vec(), 130) };
            let slid = run(&mut engine, &[sliding]).await.remove(0).0;
            assert_eq!(slid.len(), 130, "{dtype:?} on {name}");
            let all = [&ids[..30], &slid[..]].concat();
            let kept = [&all[..4], &all[129 - 62..129]].concat();
            let alone = run(&mut engine, &[Request::greedy(kept, 8)]).await.remove(0).0;
            assert_eq!(slid[99..107], alone, "{dtype:?} on {name}");
        }
    }
}

#[test]
fn memory_is_what_the_type_takes() {
    let cache = |dtype| open(Backend::Cpu(Cpu::new(Kernels::Fast)), dtype).model().needs().cache;
    // Layers, keys and values, slots, positions, K·D.
    let numbers = 5 * 2 * 3 * 128 * 64;
    assert_eq!(cache(Dtype::F32), 4 * numbers);
    assert_eq!(cache(Dtype::F16), 2 * numbers);
    assert_eq!(cache(Dtype::Q8), numbers * 34 / 32);
}

/// What is trained over a rounded cache learns as over one of f32.
#[pollster::test]
async fn training_over_it_learns_the_same() {
    let losses = async |kv_dtype, backend| {
        let mut engine = open(backend, kv_dtype);
        let tokens = engine.encode(TEXT).expect("a text");
        let target_modules = vec!["q_proj".to_owned(), "k_proj".to_owned(), "v_proj".to_owned()];
        let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 8.0, target_modules, seed: 3 };
        engine.new_lora("new", &lora).await.expect("fits");
        let room = TrainingRoom { window: 128, memory_limit: None };
        engine.begin_training("new", Optimizer::default(), room).await.expect("fits");
        let choice = vec![("new".to_owned(), 1.0)];
        let mut losses = Vec::new();
        for _ in 0..6 {
            let window = Window::new(tokens.clone(), 8);
            losses.push(engine.train_step(vec![window], &choice, 0.01).await.expect("works"));
        }
        engine.end_training().await.expect("frees");
        losses
    };
    let fast = || Backend::Cpu(Cpu::new(Kernels::Fast));
    let want = losses(Dtype::F32, fast()).await;
    assert!(want[5] < want[0] - 0.1, "{want:?}");
    for dtype in PACKED {
        for (name, backend) in backends().await.into_iter().skip(1) {
            let got = losses(dtype, backend).await;
            println!("{dtype:?} on {name}: {got:?}, over f32 {want:?}");
            let most = if dtype == Dtype::F16 { 0.005 } else { 0.02 };
            assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() <= most * want), "{got:?}");
        }
    }
}
