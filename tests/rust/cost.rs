//! What a token, a prompt and a step of training cost a GPU, for SmolLM2-135M's shape: launches, submits, reads, bytes.
//! How long they take is not here. A change that moves a number names the new one.

use crate::common::models::LLAMA;
use crate::common::{gpu_with, noise};
use lorakeet::backend::Backend;
use lorakeet::backend::gpu::{Counts, GpuOptions};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{
    Engine, EngineOptions, Loader, NewLora, Optimizer, Request, TrainingRoom, Variant, Window, declared,
};
use lorakeet::format::{SourceDtype, TensorInfo};
use lorakeet::model::{Blueprint, Model};
use lorakeet::plan::Plan;

/// SmolLM2-135M's layers and heads.
const L: usize = 30;
const H: usize = 9;
const K: usize = 3;

/// How wide it is: D, F, V.
type Widths = [usize; 3];

const SMOLLM2: Widths = [64, 1536, 49152];
/// So narrow that no device takes its work in parts.
const NARROW: Widths = [8, 96, 300];

fn config(layers: usize, [d, f, v]: Widths) -> String {
    let c = H * d;
    format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": {c}, "intermediate_size": {f}, "num_hidden_layers": {layers}, "num_attention_heads": {H},
        "num_key_value_heads": {K}, "vocab_size": {v}, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05,
        "rope_theta": 100000.0, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}}"#
    )
}

fn options(dtype: Dtype) -> EngineOptions {
    EngineOptions {
        dtype: Some(dtype),
        context_length: Some(1024),
        batch: Some(1),
        ..EngineOptions::default()
    }
}

/// The model without memory.
fn model(widths: Widths, dtype: Dtype) -> Model {
    let config = Blueprint::from_json(config(L, widths).as_bytes()).expect("valid");
    declared(&config, &options(dtype)).expect("it can be addressed")
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps().iter().map(|op| op.name()).collect()
}

/// Bytes of weights that a run of the plan reads for one row: of the embedding a row, of all else everything.
fn bytes_read(model: &Model, plan: &Plan) -> u64 {
    let weights = model.weights.tensors();
    let read = plan.steps().iter().flat_map(|op| op.reads().into_iter().map(move |id| (op.name(), id)));
    read.filter(|(_, id)| weights.contains(id))
        .map(|(op, id)| {
            let tensor = model.tensors.get(id);
            if op == "embed" { tensor.bytes() / tensor.shape[0] as u64 } else { tensor.bytes() }
        })
        .sum()
}

#[test]
fn a_token_reads_every_weight_once() {
    // 134,479,872 numbers of maps, 35,136 of norms, which are f32, and a row of the embedding.
    for (dtype, bytes) in [
        (Dtype::F32, 538_062_336),
        (Dtype::F16, 269_101_440),
        (Dtype::Q8, 143_026_020),
        (Dtype::Q4, 75_785_796),
    ] {
        let model = model(SMOLLM2, dtype);
        assert_eq!(bytes_read(&model, &model.decode(1)), bytes, "{}", dtype.name());
    }
}

/// Neither width nor type adds a step: what is counted on a narrow model below is the true one's.
#[test]
fn a_plan_has_so_many_steps() {
    let narrow = model(NARROW, Dtype::F32);
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Q8, Dtype::Q4] {
        let model = model(SMOLLM2, dtype);
        assert_eq!(model.decode(1).steps().len(), 274, "{}", dtype.name());
        assert_eq!(names(&model.decode(1)), names(&narrow.decode(1)), "{}", dtype.name());
        for n in [1, 2, 64, 128] {
            assert_eq!(model.prefill(n).steps().len(), 271, "{}, {n} rows", dtype.name());
            assert_eq!(names(&model.prefill(n)), names(&narrow.prefill(n)), "{}, {n} rows", dtype.name());
        }
    }
}

/// The narrow model of so many layers, with random weights.
fn open(layers: usize, backend: Backend) -> Engine {
    let [d, f, v] = NARROW;
    let (c, kv) = (H * d, K * d);
    let mut tensors = vec![("embed_tokens".to_owned(), vec![v, c]), ("norm".to_owned(), vec![c])];
    for l in 0..layers {
        for (name, shape) in [
            ("input_layernorm", vec![c]),
            ("self_attn.q_proj", vec![c, c]),
            ("self_attn.k_proj", vec![kv, c]),
            ("self_attn.v_proj", vec![kv, c]),
            ("self_attn.o_proj", vec![c, c]),
            ("post_attention_layernorm", vec![c]),
            ("mlp.gate_proj", vec![f, c]),
            ("mlp.up_proj", vec![f, c]),
            ("mlp.down_proj", vec![c, f]),
        ] {
            tensors.push((format!("layers.{l}.{name}"), shape));
        }
    }
    let config = config(layers, NARROW);
    let mut loader =
        Loader::new(config.as_bytes(), None, LLAMA.tokenizer, backend, &options(Dtype::F32)).expect("small");
    for (seed, (name, shape)) in (1..).zip(tensors) {
        let numbers = noise(seed, shape.iter().product(), 0.3);
        let bytes: &[u8] = bytemuck::cast_slice(&numbers);
        let name = format!("model.{name}.weight");
        let info = TensorInfo { name, dtype: SourceDtype::F32, shape, start: 0, end: bytes.len() as u64 };
        for piece in loader.pieces(&info).expect("Llama has it") {
            loader.load(&piece, &bytes[piece.start as usize..piece.end as usize]).expect("numbers");
        }
    }
    loader.finish().expect("all has come")
}

/// Launches, submits, reads, and bytes written.
type Cost = [usize; 4];

/// What the GPU has been given since the last call.
fn spent(engine: &Engine, before: &mut Counts) -> Cost {
    let Backend::Gpu(gpu) = engine.backend() else { unreachable!("opened on a GPU") };
    let now = gpu.counts();
    let then = std::mem::replace(before, now);
    let bytes = (now.uploaded_bytes - then.uploaded_bytes) as usize;
    [now.dispatches - then.dispatches, now.submits - then.submits, now.reads - then.reads, bytes]
}

/// What the narrow model of so many layers costs, each under its name; `None` without a GPU.
async fn costs(layers: usize) -> Option<Vec<(String, Cost)>> {
    // A clock that stands still: how much a submit takes does not depend on this machine. Nor does what it is:
    // the launches are those of a GPU.
    let options = GpuOptions {
        default_limits: true,
        software: Some(false),
        clock: Some(|| 0.0),
        ..GpuOptions::default()
    };
    let mut engine = open(layers, gpu_with(options).await?);
    let (mut before, mut costs) = (Counts::default(), Vec::new());
    for (rows, tokens) in [(127, 1), (128, 1), (511, 1), (512, 23)] {
        // Another first token: nothing of it is cached.
        let prompt: Vec<u32> = (0..=rows).map(|i| 3 + (rows + i * 7) % 250).collect();
        let mut generation = engine.start(&[Request::greedy(prompt, tokens)]).expect("valid");
        spent(&engine, &mut before);
        let mut prefill: Cost = [0; 4];
        while !generation.is_finished() {
            let deltas = engine.next(&mut generation).await.expect("works");
            let cost = spent(&engine, &mut before);
            match deltas.iter().map(|delta| delta.tokens.len()).sum() {
                0 => (0..4).for_each(|i| prefill[i] += cost[i]),
                drawn => {
                    if prefill != [0; 4] {
                        costs.push((format!("prefill of {rows}"), std::mem::take(&mut prefill)));
                    }
                    costs.push((format!("block of {drawn}"), cost));
                }
            }
        }
        engine.end(generation);
    }
    let lora = NewLora { variant: Variant::Lora, rank: 8, alpha: 8.0, target_modules: Vec::new(), seed: 3 };
    engine.new_lora("x", &lora).await.expect("fits");
    let choice = vec![("x".to_owned(), 1.0)];
    let request = Request { adapter: Some(choice.clone()), ..Request::greedy(vec![7], 1) };
    let mut generation = engine.start(&[request]).expect("valid");
    spent(&engine, &mut before);
    engine.next(&mut generation).await.expect("works");
    costs.push(("block of 1 with an adapter".to_owned(), spent(&engine, &mut before)));
    engine.end(generation);
    Some(costs)
}

/// Every layer costs the same, so that two of them and three tell of thirty.
#[pollster::test]
async fn a_prompt_and_a_block_of_tokens_cost_so_much() {
    let (Some(two), Some(three)) = (costs(2).await, costs(3).await) else { return };
    let of_all = |((name, two), (_, three)): (&(String, Cost), &(String, Cost))| {
        (name.clone(), [0, 1, 2, 3].map(|i| two[i] + (L - 2) * (three[i] - two[i])))
    };
    let got: Vec<(String, Cost)> = two.iter().zip(&three).map(of_all).collect();
    let want = [
        // Runs are filled up with rows that take no part, and only the last is waited for.
        ("prefill of 127", [271, 1, 1, 128 * 16]),
        // The first token of a text is read alone; its row is the only one that is written.
        ("block of 1", [183, 1, 1, 16]),
        ("prefill of 128", [271, 1, 1, 128 * 16]),
        ("block of 1", [183, 1, 1, 16]),
        ("prefill of 511", [4 * 271, 4, 1, 512 * 16]),
        ("block of 1", [183, 1, 1, 16]),
        ("prefill of 512", [4 * 271, 4, 1, 512 * 16]),
        ("block of 1", [183, 1, 1, 16]),
        ("block of 2", [2 * 183, 1, 1, 0]),
        ("block of 4", [4 * 183, 1, 1, 0]),
        // The next block is given to the device before this one is looked at.
        ("block of 8", [2 * 8 * 183, 2, 2, 0]),
        ("block of 8", [0, 0, 0, 0]),
        // Norms and qkv's split are launches again, and down's shrink is one.
        ("block of 1 with an adapter", [303, 1, 1, 16]),
    ];
    assert_eq!(got, want.map(|(name, cost)| (name.to_owned(), cost)));
}

/// A window of 256 tokens with rank 8 on every linear map: one run of all its rows, whose activations are kept, and two of
/// the head. What a submit holds depends on the depth, so that this is the whole of it.
#[pollster::test]
async fn a_step_of_training_costs_so_much() {
    let options = GpuOptions { default_limits: true, clock: Some(|| 0.0), ..GpuOptions::default() };
    let Some(gpu) = gpu_with(options).await else { return };
    let (mut engine, mut before) = (open(L, gpu), Counts::default());
    let lora = NewLora { variant: Variant::Lora, rank: 8, alpha: 8.0, target_modules: Vec::new(), seed: 3 };
    engine.new_lora("x", &lora).await.expect("fits");
    let room = TrainingRoom { window: 256, memory_limit: None };
    engine.begin_training("x", Optimizer::default(), room).await.expect("a plain LoRA");
    let tokens: Vec<u32> = (0..256).map(|i| 3 + i * 11 % 250).collect();
    let choice = vec![("x".to_owned(), 1.0)];
    spent(&engine, &mut before);
    engine.train_step(vec![Window::new(tokens, 1)], &choice, 1e-3).await.expect("a loss");
    assert_eq!(spent(&engine, &mut before), [1341, 20, 2, 14392]);
}
