//! Memory that is not there: known before it is asked for, and an answer where a device has not enough.

use crate::common::models::LLAMA;
use crate::common::{gpu_with, noise};
use lorakeet::ErrorKind;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::engine::{
    Adapter, Engine, EngineOptions, Loader, ModuleDelta, Optimizer, Request, TrainingRoom, needs,
};
use lorakeet::model::Blueprint;
use lorakeet::plan::Dtype;

/// Llama-3-8B's, as published.
const LLAMA_3_8B: &str = r#"{
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
    "bos_token_id": 128000, "eos_token_id": 128001, "tie_word_embeddings": false
}"#;

fn open_8b(room: u64, options: &EngineOptions) -> (ErrorKind, String) {
    let backend = Backend::Cpu(Cpu::with_max_bytes(Kernels::Fast, room));
    let result = Loader::new(LLAMA_3_8B.as_bytes(), None, LLAMA.tokenizer, backend, options);
    let error = result.expect_err("it does not fit");
    (error.kind(), error.to_string())
}

#[test]
fn a_model_that_does_not_fit_says_what_would() {
    let q4 = EngineOptions { dtype: Some(Dtype::Q4), ..EngineOptions::default() };
    let (kind, words) = open_8b(2_100_000_000, &q4);
    assert_eq!(kind, ErrorKind::Memory);
    assert_eq!(
        words,
        "the model needs 5.2 GB (weights 4.5, cache 0.5, work 0.1), this machine has 2.1 GB free; \
         no dtype, contextLength and batch would fit"
    );
    // One way after the other, as what is given up is missed least.
    let long = EngineOptions {
        context_length: Some(8192),
        batch: Some(8),
        dtype: Some(Dtype::Q8),
        ..EngineOptions::default()
    };
    for (room, would_fit) in [
        (16_000_000_000, "it would fit with batch 2"),
        (10_500_000_000, "it would fit with contextLength 4096 and batch 1"),
        (6_000_000_000, "it would fit with dtype q4, contextLength 4096 and batch 1"),
        (4_700_000_000, "it would fit with dtype q4, contextLength 256 and batch 1"),
    ] {
        let (kind, words) = open_8b(room, &long);
        assert_eq!(kind, ErrorKind::Memory);
        assert!(words.ends_with(&format!("; {would_fit}")), "{room}: {words}");
    }
}

#[test]
fn needs_are_known_without_weights() {
    let config = Blueprint::from_json(LLAMA_3_8B.as_bytes()).expect("valid");
    let of = |dtype| {
        let options = EngineOptions {
            dtype: Some(dtype),
            context_length: Some(1024),
            batch: Some(1),
            ..EngineOptions::default()
        };
        needs(&config, &options).expect("it can be addressed")
    };
    // 8.03 G parameters, 0.27 M of them norms; 32 layers of keys and values of 8 heads of 128.
    let parameters = 8_030_261_248u64;
    let norms = 65 * 4096;
    let q4 = of(Dtype::Q4);
    assert_eq!(q4.weights, (parameters - norms) / 64 * 36 + 4 * norms);
    assert_eq!(q4.cache, 2 * 32 * 1024 * 1024 * 4);
    assert!(q4.work > 128 * 2 * 14336 * 4 && q4.work < 200 << 20, "{q4:?}");
    assert!(q4.bank < 1 << 20 && q4.training < 1 << 20, "{q4:?}");
    assert_eq!(of(Dtype::F16).weights, 2 * (parameters - norms) + 4 * norms);
}

/// What it takes is what is allocated.
#[test]
fn needs_are_all_that_is_allocated() {
    let config = Blueprint::from_json(LLAMA.config).expect("valid");
    let needs = needs(&config, &EngineOptions::default()).expect("small");
    let open = |room: u64| {
        let backend = Backend::Cpu(Cpu::with_max_bytes(Kernels::Fast, room));
        LLAMA.open(backend, &EngineOptions::default())
    };
    let engine = open(u64::MAX).expect("valid");
    assert_eq!(engine.model().tensors.total_bytes(), needs.total());
    // Loading takes 32 MiB beside it.
    open(needs.total() + (32 << 20)).expect("just enough");
    assert_eq!(open(needs.total() + (32 << 20) - 1).expect_err("a byte less").kind(), ErrorKind::Memory);
}

/// A random LoRA of `rank` on some maps.
fn adapter(engine: &Engine, rank: usize) -> Adapter {
    let bank = &engine.model().bank;
    let modules = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"];
    let delta = |module: &str| {
        let (site, part) = bank.find(module).expect("Llama has it");
        let [c, f] = bank.sites[site].shape(part);
        let (a, b) = (noise(1, rank * c, 0.3).into(), noise(2, f * rank, 0.3).into());
        ModuleDelta { module: module.to_owned(), rank, a, b, ..ModuleDelta::default() }
    };
    Adapter { deltas: modules.map(delta).to_vec(), ..Adapter::default() }
}

const ROOM: TrainingRoom = TrainingRoom { window: 64, memory_limit: None };

async fn text(engine: &mut Engine, adapter: &[(&str, f32)]) -> Vec<u32> {
    let choice = adapter.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
    let request = Request { adapter: Some(choice), ..Request::greedy(vec![1, 2, 3, 4, 5], 12) };
    let mut generation = engine.start(&[request]).expect("valid");
    let mut tokens = Vec::new();
    while !generation.is_finished() {
        tokens.extend(engine.next(&mut generation).await.expect("works").into_iter().flat_map(|d| d.tokens));
    }
    engine.end(generation);
    tokens
}

/// Backends that have room for so many bytes of tensors.
async fn capped(max_bytes: u64) -> Vec<(&'static str, Backend)> {
    let mut list = vec![("cpu", Backend::Cpu(Cpu::with_max_bytes(Kernels::Fast, max_bytes)))];
    let options = GpuOptions { default_limits: true, max_bytes: Some(max_bytes), ..GpuOptions::default() };
    list.extend(gpu_with(options).await.map(|gpu| ("gpu", gpu)));
    list
}

/// Neither the model nor an adapter nor a text that runs notices that something else did not fit.
#[pollster::test]
async fn what_does_not_fit_leaves_everything_as_it_was() {
    // Loading wants 32 MiB beside the model; the gradients of so large a cache take twice as much.
    let options = EngineOptions { context_length: Some(4096), batch: Some(128), ..EngineOptions::default() };
    let (_, free) = capped(u64::MAX).await.remove(0);
    let mut free = LLAMA.open(free, &options).expect("valid");
    let model = free.model().tensors.total_bytes();
    let small = adapter(&free, 8);
    free.add_adapter("small", small.clone()).expect("no limit");
    free.add_adapter("other", small.clone()).expect("no limit");
    let with_small = free.model().tensors.total_bytes();
    let large_rank = (48 << 20) / (4 * 600);
    let large = adapter(&free, large_rank);
    let limit = with_small + (32 << 20);
    assert!(model + (32 << 20) <= limit);
    for (name, backend) in capped(limit).await {
        let mut engine = LLAMA.open(backend, &options).expect("the model fits");
        engine.add_adapter("small", small.clone()).expect("it fits");
        let want = (text(&mut engine, &[]).await, text(&mut engine, &[("small", 1.0)]).await);
        assert_ne!(want.0, want.1, "{name}: the adapter acts");
        let logits = engine.logits(&[1, 2, 3, 4]).await.expect("fits");
        let bytes = engine.model().tensors.total_bytes();

        let choice = vec![("small".to_owned(), 1.0)];
        let request = Request { adapter: Some(choice), ..Request::greedy(vec![1, 2, 3, 4, 5], 12) };
        let mut running = engine.start(&[request]).expect("valid");
        let mut tokens = Vec::new();
        while tokens.len() < 2 {
            tokens.extend(engine.next(&mut running).await.expect("works").into_iter().flat_map(|d| d.tokens));
        }
        let refused = engine.add_adapter("large", large.clone()).expect_err("too large");
        assert_eq!(refused.kind(), ErrorKind::Memory, "{name}: {refused}");
        assert!(refused.to_string().starts_with("adapter `large`: "), "{name}: {refused}");
        let replaced = engine.add_adapter("small", large.clone());
        assert_eq!(replaced.expect_err("in use").kind(), ErrorKind::Argument, "{name}");
        while !running.is_finished() {
            tokens.extend(engine.next(&mut running).await.expect("works").into_iter().flat_map(|d| d.tokens));
        }
        engine.end(running);
        assert_eq!(tokens, want.1, "{name}: the running text goes on");

        let refused = engine.add_adapter("small", large.clone()).expect_err("too large");
        assert_eq!(refused.kind(), ErrorKind::Memory, "{name}: {refused}");
        let room = TrainingRoom { window: 4096, ..ROOM };
        let begun = engine.begin_training("small", Optimizer::default(), room).await;
        let refused = begun.expect_err("caches of gradients are too large");
        assert_eq!(refused.kind(), ErrorKind::Memory, "{name}: {refused}");
        assert!(refused.to_string().starts_with("training adapter `small`"), "{name}: {refused}");
        assert_eq!(engine.trained_adapter(), None, "{name}");
        assert_eq!(engine.model().tensors.total_bytes(), bytes, "{name}");
        engine.backend().check().expect("nothing is lost");

        let now = (text(&mut engine, &[]).await, text(&mut engine, &[("small", 1.0)]).await);
        assert_eq!(now, want, "{name}");
        assert_eq!(engine.logits(&[1, 2, 3, 4]).await.expect("fits"), logits, "{name}: bit by bit");
        engine.add_adapter("other", small.clone()).expect("a smaller one fits");
        assert_eq!(text(&mut engine, &[("other", 1.0)]).await, want.1, "{name}");
    }
}

/// A model too large for the device is refused when room is made, not after all weights have come.
#[pollster::test]
async fn a_device_without_room_for_the_model_says_so_first() {
    let options = GpuOptions { default_limits: true, max_bytes: Some(1 << 20), ..GpuOptions::default() };
    let wide = EngineOptions { context_length: Some(4096), ..EngineOptions::default() };
    for asks_first in [false, true] {
        let Some(backend) = gpu_with(options.clone()).await else { return };
        let opened = if asks_first {
            Loader::open(LLAMA.config, None, LLAMA.tokenizer, backend, &wide).await
        } else {
            Loader::new(LLAMA.config, None, LLAMA.tokenizer, backend, &wide)
        };
        let refused = opened.expect_err("a megabyte");
        assert_eq!(
            (refused.kind(), refused.to_string().as_str()),
            (ErrorKind::Memory, "WebGPU device: out of memory")
        );
    }
}
