//! Models from GGUF files: logits and text as PyTorch has them of the same values, files that lie,
//! and files that say what this crate does not compute, each with the words of its error.

use std::path::{Path, PathBuf};

use crate::common::gguf::GgufFile;
use crate::common::{Fixture, Tolerance, assert_close, backends, misfit};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{
    Choice, Engine, EngineOptions, Loader, NewLora, Optimizer, Request, TrainingRoom, Variant, Window, folder,
};
use lorakeet::format::gguf::Header;
use lorakeet::model::{Blueprint, Rope, RopeScaling};
use lorakeet::tokenizer::ChatTemplate;
use lorakeet::{ErrorKind, Result};
use proptest::prelude::*;

const NAMES: &[&str] = &[
    "llama-q8_0",
    "llama-tied-q4_0",
    "mistral-bf16",
    "qwen2-f16",
    "qwen3-q8_0",
    "gpt2-f32",
    "llama-mixed",
    "llama-types",
    "gemma-f16",
    "gemma2-f16",
    "gemma3-q8_0",
    "smollm3-f16",
    "granite-f16",
    "olmo2-f16",
    "phi3-f16",
    "phi-f16",
    "stablelm-f16",
    "stablelm-parallel-q8_0",
    "gpt_neox-q8_0",
    "gpt_neox-serial-f16",
    "starcoder2-q8_0",
    "gpt_bigcode-f16",
    "cohere-q8_0",
    "cohere2-q8_0",
    "gptj-f16",
    "internlm2-q8_0",
    "ministral3-q8_0",
];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn fixture(name: &str, end: &str) -> PathBuf {
    repository(&format!("tests/fixtures/gguf/models/{name}.{end}"))
}

fn cpu() -> Backend {
    Backend::Cpu(Cpu::new(Kernels::Fast))
}

/// A file at hand whole.
fn open(bytes: &[u8], tokenizer: Option<&[u8]>) -> Result<Engine> {
    let header = Header::from_file_bytes(bytes)?;
    let mut loader = Loader::from_gguf(&header, tokenizer, cpu(), &EngineOptions::default())?;
    for piece in loader.gguf_pieces(&header)? {
        loader.load(&piece, piece.bytes_in(bytes)?)?;
    }
    loader.finish()
}

fn greedy(engine: &mut Engine, prompt: Vec<u32>, n: usize) -> (Vec<u32>, String) {
    let mut generation = engine.start(&[Request::greedy(prompt, n)]).expect("valid");
    let (mut ids, mut text) = (Vec::new(), String::new());
    while !generation.is_finished() {
        for delta in pollster::block_on(engine.next(&mut generation)).expect("works") {
            ids.extend(delta.tokens);
            text += &delta.text;
        }
    }
    (ids, text)
}

#[pollster::test]
async fn logits_and_text_are_pytorchs() {
    let mut all_logits: Vec<Vec<f32>> = Vec::new();
    for name in NAMES {
        let reference = std::fs::read(fixture(name, "safetensors")).expect("a fixture");
        let reference = Fixture::new(&reference);
        let want = reference.f32("logits");
        for (on, backend) in backends().await {
            let options = EngineOptions { batch: Some(2), ..EngineOptions::default() };
            let mut engine = folder::open(&fixture(name, "gguf"), backend, &options, |_, _| {}).expect(name);
            let ids = reference.ids("input_ids");
            let abs = if on == "gpu" { 1e-3 } else { 1e-4 };
            let logits = engine.logits(&ids).await.expect("it fits");
            assert_close(&format!("{name} {on}"), &logits, &want, Tolerance { abs, rel: 0.0 });
            let text = reference.ids("greedy_ids");
            assert_eq!(greedy(&mut engine, ids[..6].to_vec(), text.len()).0, text, "{name} {on}");
        }
        // No two references are alike: a comparer that passes all would be seen.
        let other =
            all_logits.iter().find(|other| misfit(other, &want, Tolerance { abs: 1.0, rel: 0.0 }).is_none());
        assert_eq!(other, None, "{name}");
        all_logits.push(want);
    }
}

/// Each weight in the narrowest type that keeps its numbers; what takes more room than in the file is told.
#[pollster::test]
async fn tensors_of_several_types_are_held_as_they_are() {
    let open = |name: &str, dtype| {
        let options = EngineOptions { batch: Some(1), dtype, ..EngineOptions::default() };
        folder::open(&fixture(name, "gguf"), cpu(), &options, |_, _| {}).expect(name)
    };
    let mut engine = open("llama-mixed", None);
    let weights = &engine.model().weights;
    // Q8_0, F16; Q4_0 beside Q8_0 and Q5_0; Q4_1; Q4_0; Q6_K
    for (name, dtype) in [
        ("model.embed_tokens.weight", Dtype::Q8),
        ("lm_head.weight", Dtype::F16),
        ("model.layers.0.self_attn.q_proj.weight", Dtype::Q4),
        ("model.layers.0.self_attn.k_proj.weight", Dtype::Q8),
        ("model.layers.0.self_attn.v_proj.weight", Dtype::Q5_0),
        ("model.layers.0.self_attn.o_proj.weight", Dtype::Q4_1),
        ("model.layers.0.mlp.gate_proj.weight", Dtype::Q4),
        ("model.layers.0.mlp.down_proj.weight", Dtype::Q6K),
        ("model.norm.weight", Dtype::F32),
    ] {
        assert_eq!(weights.dtype_of(name), Some(dtype), "{name}");
    }
    let (v, c, f, kv) = (300, 64, 256, 32);
    let held = [
        (Dtype::F16, v * c),
        (Dtype::Q8, v * c + c * kv),
        (Dtype::Q4, c * c + 2 * c * f),
        (Dtype::Q4_1, c * c),
        (Dtype::Q5_0, c * kv),
        (Dtype::Q6K, c * f),
    ];
    assert_eq!(weights.held(), held.into());
    assert_eq!(engine.warnings().len(), 0);
    // The same numbers, added in another order.
    let ids = [3, 1, 4, 1, 5];
    let mut wide = open("llama-mixed", Some(Dtype::F32));
    assert_eq!(wide.model().weights.held().keys().collect::<Vec<_>>(), [&Dtype::F32]);
    let want = wide.logits(&ids).await.expect("it fits");
    let got = engine.logits(&ids).await.expect("it fits");
    assert_close("as held and as f32", &got, &want, Tolerance { abs: 1e-5, rel: 1e-5 });
    // What the caller asks for needs no telling.
    let mut narrow = open("llama-mixed", Some(Dtype::Q4));
    assert_eq!(narrow.model().weights.held().keys().collect::<Vec<_>>(), [&Dtype::Q4]);
    assert_eq!((wide.warnings().len(), narrow.warnings().len()), (0, 0));
    let rounded = narrow.logits(&ids).await.expect("it fits");
    assert!(misfit(&rounded, &want, Tolerance { abs: 0.1, rel: 0.0 }).is_some(), "q4 rounds");
    // Files of one type are held as they are; rows that are no whole blocks of 64 take more.
    assert_eq!(open("gpt2-f32", None).warnings().len(), 0);
    let said = [
        "1 tensor of type BF16 held as f16, which rounds its numbers: 4096 bytes, 4096 in the file",
        "7 tensors of type BF16 held as f32, which keeps their numbers: 67072 bytes, 33536 in the file",
    ];
    assert_eq!(open("mistral-bf16", None).warnings(), said);
    // All types.
    let all = open("llama-types", None);
    let held: Vec<_> = all.model().weights.held().into_keys().filter(|&d| d != Dtype::F32).collect();
    assert_eq!(held, Dtype::PACKED);
    let said = [
        "1 tensor of type BF16 held as f16, which rounds its numbers: 16384 bytes, 16384 in the file",
        "1 tensor of type IQ4_NL held as q8, which keeps its numbers: 17408 bytes, 9216 in the file",
        "1 tensor of type Q3_K held as q6_k, which keeps its numbers: 54272 bytes, 28160 in the file",
    ];
    assert_eq!(all.warnings(), said);
}

/// q, k and v of three types, gate and up of one: adapters act on them and learn through them as if all
/// were f32.
#[pollster::test]
async fn adapters_learn_across_the_types_of_a_map() {
    let ids = vec![3, 1, 4, 1, 5, 9, 2, 6];
    let on: Choice = vec![("x".to_owned(), 1.0)];
    let mut runs = Vec::new();
    for dtype in [None, Some(Dtype::F32)] {
        for (name, backend) in backends().await {
            let options = EngineOptions { batch: Some(1), dtype, ..EngineOptions::default() };
            let mut engine =
                folder::open(&fixture("llama-mixed", "gguf"), backend, &options, |_, _| {}).expect("valid");
            let lora =
                NewLora { variant: Variant::Lora, rank: 3, alpha: 6.0, target_modules: vec![], seed: 7 };
            engine.new_lora("x", &lora).await.expect("fits");
            let room = TrainingRoom { window: ids.len(), memory_limit: None };
            engine.begin_training("x", Optimizer::default(), room).await.expect("a plain LoRA");
            let before = engine.logits(&ids).await.expect("it fits");
            let mut losses = Vec::new();
            for _ in 0..3 {
                let window = Window::new(ids.clone(), 1);
                let loss = engine.train_step(vec![window], &on, 1e-2).await;
                losses.push(loss.expect("works") as f32);
            }
            engine.set_adapter(on.clone()).expect("loaded");
            let after = engine.logits(&ids).await.expect("it fits");
            engine.end_training().await.expect("one is trained");
            let merged = engine.merge_adapter(&on).await.map_err(|e| e.to_string());
            let refused = merged.is_err_and(|e| e.contains(", which would round"));
            assert_eq!(refused, dtype.is_none(), "{name}: a packed map takes no adapter in");
            runs.push((name, losses, before, after));
        }
    }
    let (held, plain) = runs.split_at(runs.len() / 2);
    for ((name, losses, before, after), (_, want_losses, _, want)) in held.iter().zip(plain) {
        let tolerance = Tolerance { abs: 1e-3, rel: 0.0 };
        assert_close(&format!("losses on {name}"), losses, want_losses, tolerance);
        assert_close(&format!("after training on {name}"), after, want, tolerance);
        assert!(
            misfit(after, before, Tolerance { abs: 0.05, rel: 0.0 }).is_some(),
            "{name}: nothing learned"
        );
    }
}

/// Names and rows of q and k, and what says nothing of itself in the file, are those of the folder.
#[test]
fn a_file_is_the_config_it_was_made_of() {
    let config = |name: &str| {
        let header = Header::from_file_bytes(&std::fs::read(fixture(name, "gguf")).expect("a fixture"));
        header.and_then(|header| Blueprint::from_gguf(&header)).expect(name)
    };
    let scaling = |config: &Blueprint| match &config.ropes[0] {
        Rope::Rotary { theta, scaling } => Some((*theta, scaling.clone())),
        Rope::Identity => None,
    };
    let llama = config("llama-q8_0");
    assert_eq!((llama.head_dim, llama.num_key_value_heads, llama.tie_word_embeddings), (12, 2, false));
    assert_eq!(scaling(&llama), Some((100.0, RopeScaling::Factors(vec![]))));
    let tied = config("llama-tied-q4_0");
    assert_eq!(
        (tied.qkv_bias, tied.o_bias, tied.mlp_bias, tied.tie_word_embeddings),
        (true, true, true, true)
    );
    assert_eq!(scaling(&tied), Some((10_000.0, RopeScaling::Linear { factor: 3.0 })));
    assert_eq!(config("mistral-bf16").layers.iter().map(|layer| layer.window).collect::<Vec<_>>(), [Some(5)]);
    assert_eq!((config("qwen2-f16").qkv_bias, config("qwen2-f16").o_bias), (true, false));
    let qwen3 = config("qwen3-q8_0");
    assert_eq!((qwen3.head_dim, qwen3.qkv_bias, qwen3.tie_word_embeddings), (16, false, true));
    assert_eq!(qwen3.layers[0].head_norm, Some(1e-5));
    let gpt2 = config("gpt2-f32");
    assert_eq!((gpt2.learned_positions, gpt2.intermediate_size, gpt2.bos_token_id), (true, 28, Some(0)));
}

#[test]
fn progress_is_that_of_the_file() {
    let path = fixture("qwen2-f16", "gguf");
    let mut seen = Vec::new();
    folder::open(&path, cpu(), &EngineOptions::default(), |done, total| seen.push((done, total)))
        .expect("valid");
    let bytes = std::fs::metadata(&path).expect("a file").len();
    assert!(
        seen.is_sorted() && seen.iter().all(|&(done, total)| done <= total && total == bytes),
        "{seen:?}"
    );
}

#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn stories260k_is_the_folders() {
    let shared = repository("../shared/data/models");
    let golden = std::fs::read_to_string(shared.join("stories260K/golden_greedy_200.txt")).expect("a file");
    let open = |path: &str| {
        folder::open(&shared.join(path), cpu(), &EngineOptions::default(), |_, _| {}).expect("a valid model")
    };
    let mut base = open("stories260K");
    let texts = ["Once upon a time", "  two  spaces\nand a line", "naïve 漢字 👍🏽", "a</s>b<s> c", "", " "];
    for kind in ["f32", "f16", "q8_0"] {
        let mut engine = open(&format!("gguf/stories260K-{kind}.gguf"));
        for text in texts {
            let ids = base.tokenizer().encode(text, true).expect("valid");
            assert_eq!(engine.tokenizer().encode(text, true).expect("valid"), ids, "{kind}: {text:?}");
            let back = base.tokenizer().decode(&ids, true).expect("valid");
            assert_eq!(engine.tokenizer().decode(&ids, true).expect("valid"), back, "{kind}: {text:?}");
        }
        let ids = base.encode(texts[0]).expect("valid");
        let (got, want) =
            (engine.logits(&ids).await.expect("it fits"), base.logits(&ids).await.expect("it fits"));
        if kind == "f32" {
            assert_eq!(got, want, "the same values");
        } else {
            assert_close(kind, &got, &want, Tolerance { abs: 0.5, rel: 0.0 });
            assert_ne!(got, want, "{kind}: rounded values");
        }
        let prompt = engine.encode("").expect("the token that begins a text");
        let (_, text) = greedy(&mut engine, prompt, 200);
        if kind != "q8_0" {
            assert_eq!(text.trim_end(), golden.trim_end(), "{kind}");
        }
    }
}

// The smallest model there is: C 2, D 2, F 3, V 5, one layer.

const LAYER: [(&str, usize, usize); 7] = [
    ("attn_q", 2, 2),
    ("attn_k", 2, 2),
    ("attn_v", 2, 2),
    ("attn_output", 2, 2),
    ("ffn_gate", 3, 2),
    ("ffn_up", 3, 2),
    ("ffn_down", 2, 3),
];

fn smallest() -> GgufFile {
    let mut file = GgufFile::default()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.context_length", 16)
        .u32("llama.embedding_length", 2)
        .u32("llama.feed_forward_length", 3)
        .u32("llama.attention.head_count", 1)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &["<unk>", "<s>", "▁a", "▁", "a"])
        .floats("tokenizer.ggml.scores", &[0.0, 0.0, -1.0, -2.0, -3.0])
        .integers("tokenizer.ggml.token_type", &[2, 3, 1, 1, 1])
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .text("tokenizer.chat_template", "{{ bos_token }}")
        .matrix("token_embd.weight", 2, &[0.5; 10])
        .vector("output_norm.weight", &[1.0; 2])
        .vector("blk.0.attn_norm.weight", &[1.0; 2])
        .vector("blk.0.ffn_norm.weight", &[1.0; 2]);
    for (name, rows, cols) in LAYER {
        file = file.matrix(&format!("blk.0.{name}.weight"), cols, &vec![0.1; rows * cols]);
    }
    file
}

#[track_caller]
fn assert_refused(file: &GgufFile, kind: ErrorKind, words: &str) {
    let error = open(&file.bytes(), None).expect_err(words);
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
}

#[test]
fn the_smallest_file_runs() {
    let mut engine = open(&smallest().bytes(), None).expect("valid");
    assert_eq!(engine.tokenizer().chat_template(), Some("{{ bos_token }}"));
    assert_eq!(engine.encode("a").expect("valid"), [1, 2]);
    assert_eq!(pollster::block_on(engine.logits(&[1, 2])).expect("it fits").len(), 10);
}

#[test]
fn a_file_may_have_a_template_for_tools() {
    let file = smallest().text("tokenizer.chat_template.tool_use", "with tools");
    let config = open(&file.bytes(), None).expect("valid").tokenizer_config();
    let template = ChatTemplate::from_files(Some(config.as_bytes()), None, None).expect("both");
    assert_eq!(template.source(true).expect("there"), "with tools");
    assert_eq!(template.source(false).expect("there"), "{{ bos_token }}");
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    use ErrorKind::{Format, Mismatch, Unsupported};
    let refused = |file: GgufFile, words: &str| assert_refused(&file, Unsupported, words);
    for architecture in ["mamba", "qwen3moe"] {
        let file = smallest().without("general.architecture").text("general.architecture", architecture);
        let error = open(&file.bytes(), None).expect_err(architecture);
        let words =
            format!("GGUF file: general.architecture `{architecture}`, expected one of llama, qwen2, ");
        assert!(error.to_string().starts_with(&words), "{error}");
        assert_eq!(error.kind(), Unsupported);
    }
    refused(smallest().u32("split.count", 2), "GGUF file: one of 2 parts, expected a whole model");
    refused(smallest().f32("llama.logit_scale", 2.0), "GGUF metadata `llama.logit_scale` is not supported");
    refused(smallest().u32("llama.expert_count", 8), "GGUF metadata `llama.expert_count` 8 is not supported");
    refused(
        smallest().bool("llama.attention.causal", false),
        "GGUF metadata `llama.attention.causal` false is not supported",
    );
    refused(
        smallest().text("llama.rope.scaling.type", "su"),
        "GGUF metadata `llama.rope.scaling.type` `su` is not supported",
    );
    refused(
        smallest().u32("llama.rope.dimension_count", 1),
        "GGUF metadata `llama.rope.dimension_count` 1 beside a key length of 2 is not supported",
    );
    refused(
        smallest().f32("llama.rope.scaling.factor", 2.0).vector("rope_freqs.weight", &[1.0]),
        "GGUF metadata `llama.rope.scaling.factor` beside tensor `rope_freqs.weight` is not supported",
    );
    refused(
        smallest().u32("llama.attention.key_length", 3),
        "GGUF metadata: head_dim 3, expected an even number",
    );
    refused(
        smallest()
            .without_tensor("blk.0.ffn_up.weight")
            .claim("blk.0.ffn_up.weight", &[256], 16, 1024)
            .data(2048),
        "tensor `blk.0.ffn_up.weight`: type IQ2_XXS, expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, \
         Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL or IQ4_XS",
    );
    let adapter = smallest().text("general.type", "adapter");
    assert_refused(&adapter, Format, "GGUF file: general.type is `adapter`, expected `model`");
    let neutral = smallest()
        .u32("llama.expert_count", 0)
        .bool("llama.attention.causal", true)
        .u32("llama.attention.sliding_window", 0)
        .text("llama.rope.scaling.type", "none")
        .f32("llama.rope.scaling.factor", 4.0)
        .u32("llama.vocab_size", 5);
    open(&neutral.bytes(), None).expect("what changes nothing");
    assert_refused(
        &smallest().u32("llama.vocab_size", 6),
        Mismatch,
        "GGUF metadata `llama.vocab_size` is 6, tensor `token_embd.weight` has 5 rows",
    );
}

#[test]
fn keys_that_lie() {
    use ErrorKind::{Format, Mismatch, Unsupported};
    let with = |key: &str, value: u32| smallest().without(key).u32(key, value);
    let missing = "GGUF metadata `llama.block_count` is missing, expected a count";
    assert_refused(&smallest().without("llama.block_count"), Format, missing);
    let text = smallest().without("llama.block_count").text("llama.block_count", "1");
    assert_refused(&text, Format, "GGUF metadata `llama.block_count` is a text, expected a count");
    let layers = "GGUF metadata `llama.block_count` is 4294967295, expected at most 1024";
    assert_refused(&with("llama.block_count", u32::MAX), Unsupported, layers);
    let two = "tensor `blk.1.attn_norm.weight` is missing";
    assert_refused(&with("llama.block_count", 2), Mismatch, two);
    let heads = "GGUF metadata `llama.embedding_length` 2 is no multiple of head_count 0";
    assert_refused(&with("llama.attention.head_count", 0), Mismatch, heads);
    // Nothing is allocated for a width that no tensor has.
    let wide = "tensor `blk.0.ffn_gate.weight`: tensor `layers.0.mlp.gate_proj.weight`: shape [3, 2], expected [4096, 2]";
    assert_refused(&with("llama.feed_forward_length", 1 << 12), Mismatch, wide);
    let theta = smallest().f32("llama.rope.freq_base", f32::NAN);
    assert_refused(&theta, Format, "GGUF metadata `llama.rope.freq_base` is NaN, expected a positive number");
}

/// Ministral 3's queries grow by positions of the original context, which must then be told.
#[test]
fn growth_that_lies() {
    let refused = |file: GgufFile, words: &str| {
        let file = file.text("general.architecture", "mistral3");
        let header = Header::from_file_bytes(&file.bytes()).expect("valid");
        let error = Blueprint::from_gguf(&header).expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Format, words));
    };
    let beta = |beta: f32| GgufFile::default().f32("mistral3.attention.temperature_scale", beta);
    refused(
        beta(0.1),
        "GGUF metadata `mistral3.rope.scaling.original_context_length` is missing, expected a count above 0",
    );
    refused(
        beta(-0.1).u32("mistral3.attention.temperature_length", 8),
        "GGUF metadata `mistral3.attention.temperature_scale` is -0.1, expected a positive number",
    );
    // Growth that is right, or none, leads on to what else is missing.
    for file in [GgufFile::default(), beta(0.0), beta(0.1).u32("mistral3.attention.temperature_length", 8)] {
        refused(file, "GGUF metadata `mistral3.embedding_length` is missing, expected a count");
    }
}

#[test]
fn tensors_that_do_not_fit() {
    use ErrorKind::{Format, Mismatch};
    assert_refused(
        &smallest().without_tensor("token_embd.weight"),
        Mismatch,
        "tensor `token_embd.weight` is missing",
    );
    assert_refused(
        &smallest().without_tensor("blk.0.attn_q.weight"),
        Mismatch,
        "tensor `blk.0.attn_q.weight` is missing",
    );
    for name in ["blk.0.attn_q_norm.weight", "blk.1.attn_q.weight", "nonsense"] {
        assert_refused(
            &smallest().vector(name, &[1.0; 2]),
            Mismatch,
            &format!("tensor `{name}`: the architecture llama has no such tensor"),
        );
    }
    assert_refused(
        &smallest().vector("rope_factors_long.weight", &[1.0; 2]),
        Mismatch,
        "tensor `rope_factors_long.weight`: shape [2], expected [1]",
    );
    let factors = |values: &[f32]| smallest().vector("rope_freqs.weight", values);
    open(&factors(&[2.0]).bytes(), None).expect("one for each pair");
    assert_refused(&factors(&[2.0; 2]), Mismatch, "tensor `rope_freqs.weight`: shape [2], expected [1]");
    assert_refused(&factors(&[]), Mismatch, "tensor `rope_freqs.weight`: shape [0], expected [1]");
    let words = "tensor `rope_freqs.weight`: holds 0, expected positive numbers";
    assert_refused(&factors(&[0.0]), Format, words);
}

#[test]
fn a_tokenizer_may_lie_beside() {
    let none = smallest().without("tokenizer.ggml.model");
    let words = "GGUF file: it has no tokenizer, and no tokenizer.json is beside it";
    assert_refused(&none, ErrorKind::Argument, words);
    let json = br#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}"#;
    let engine = open(&none.bytes(), Some(json)).expect("valid");
    assert_eq!(engine.encode("ab").expect("valid"), [0, 1]);
    let more = smallest()
        .without("tokenizer.ggml.tokens")
        .texts("tokenizer.ggml.tokens", &["<unk>", "<s>", "▁a", "▁", "a", "b"])
        .without("tokenizer.ggml.scores")
        .without("tokenizer.ggml.token_type");
    let words = "tokenizer: 6 tokens, expected at most the model's vocab_size 5";
    assert_refused(&more, ErrorKind::Mismatch, words);
    let unknown = smallest().bool("tokenizer.ggml.escape_whitespaces", false);
    let words = "GGUF metadata `tokenizer.ggml.escape_whitespaces` is not supported";
    assert_refused(&unknown, ErrorKind::Unsupported, words);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = smallest().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = open(&bytes, None);
    }
}

fn part(no: usize) -> PathBuf {
    repository(&format!("tests/fixtures/gguf/split/qwen3-q8_0-{no:05}-of-00003.gguf"))
}

/// The model that the `gguf` package has written in parts is the one in a file, whichever part is named.
#[pollster::test]
async fn a_model_in_parts_is_the_one_in_a_file() {
    let open = |path: &Path| {
        let mut seen = Vec::new();
        let engine = folder::open(path, cpu(), &EngineOptions::default(), |read, all| seen.push((read, all)));
        (engine.unwrap_or_else(|e| panic!("{}: {e}", path.display())), seen)
    };
    let (mut whole, _) = open(&fixture("qwen3-q8_0", "gguf"));
    let ids: Vec<u32> = (1..20).collect();
    let want = whole.logits(&ids).await.expect("it fits");
    for named in [1, 3] {
        let (mut engine, seen) = open(&part(named));
        assert_eq!(engine.logits(&ids).await.expect("it fits"), want, "part {named}");
        assert_eq!(engine.stored_types(), whole.stored_types());
        let all = (1..=3).map(|no| std::fs::metadata(part(no)).expect("there").len()).sum::<u64>();
        assert!(seen.iter().all(|(read, total)| read <= total && *total == all));
        assert!(seen.is_sorted(), "it grows");
    }
}

#[test]
fn parts_that_are_missing_or_mixed_are_refused_by_name() {
    let parts: Vec<_> = (1..=3).map(|no| std::fs::read(part(no)).expect("a fixture")).collect();
    let header = |bytes: &[u8]| (Header::from_file_bytes(bytes).expect("valid"), bytes.len() as u64);
    let refusal = |of: &[&[u8]]| {
        let error = Header::joined(of.iter().map(|bytes| header(bytes)).collect()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        error.to_string()
    };
    let [a, b, c] = [0, 1, 2].map(|i| &parts[i][..]);
    assert_eq!(Header::joined([a, b, c].map(header).into()).expect("all").tensors.len(), 13);
    assert_eq!(
        refusal(&[a]),
        "GGUF file 1 of 1: one of the 3 files of a model, expected one of 1: parts are found by their names, `…-00001-of-00003.gguf`"
    );
    assert_eq!(refusal(&[a, c, b]), "GGUF file 2 of 3: part 3 of its model, expected part 2");
    let again = "GGUF file 3 of 3: part 2 of its model, expected part 3";
    assert_eq!(refusal(&[a, b, b]), again);
    let other = |no: u32, count: u32, name: &str, all: u32| {
        let file = GgufFile::default().u32("split.no", no).u32("split.count", count);
        file.u32("split.tensors.count", all).vector(name, &[1.0]).bytes()
    };
    assert_eq!(refusal(&[a, b, &other(2, 3, "x", 4)]), "GGUF file 3 of 3: of another model than the first");
    assert_eq!(refusal(&[a, b, &other(2, 3, "x", 13)]), "GGUF files: 11 tensors in all 3, expected 13");
    let twice = header(a).0.tensors[0].name.clone();
    assert_eq!(
        refusal(&[a, b, &other(2, 3, &twice, 13)]),
        format!("GGUF file 3 of 3: tensor `{twice}` is in another part, too")
    );
    assert!(
        refusal(&[a, b, &std::fs::read(fixture("qwen3-q8_0", "gguf")).expect("a fixture")])
            .starts_with("GGUF file 3 of 3: one")
    );
    // One alone is not taken for a model of few layers.
    let error = open(a, None).expect_err("a part");
    assert_eq!(error.to_string(), "GGUF file: one of 3 parts, expected a whole model");
    let alone =
        std::env::temp_dir().join(format!("lorakeet-part-{}-00001-of-00003.gguf", std::process::id()));
    std::fs::write(&alone, a).expect("written");
    let error = folder::open(&alone, cpu(), &EngineOptions::default(), |_, _| {}).expect_err("alone");
    std::fs::remove_file(&alone).expect("removed");
    assert!(
        error.kind() == ErrorKind::Argument && error.to_string().contains("-00002-of-00003.gguf"),
        "{error}"
    );
}

/// Every tensor of a file is counted once, under the type it has there.
#[test]
fn types_are_told_with_their_tensors_and_bytes() {
    for name in ["llama-types", "llama-mixed", "gpt2-f32"] {
        let bytes = std::fs::read(fixture(name, "gguf")).expect("a fixture");
        let header = Header::from_file_bytes(&bytes).expect("valid");
        let engine = open(&bytes, None).expect("it loads");
        let types = engine.stored_types();
        assert!(types.is_sorted_by_key(|each| std::cmp::Reverse(each.stored_bytes)), "{name}");
        for stored in header.tensors.iter().map(|tensor| tensor.dtype.to_string()) {
            let told = types.iter().filter(|each| each.stored == stored);
            let (tensors, bytes) =
                told.fold((0, 0), |sum, each| (sum.0 + each.tensors, sum.1 + each.stored_bytes));
            let of_type = header.tensors.iter().filter(|tensor| tensor.dtype.to_string() == stored);
            let all = of_type.fold((0, 0), |sum, tensor| (sum.0 + 1, sum.1 + tensor.end - tensor.start));
            assert_eq!((tensors, bytes), all, "{name}: {stored}");
        }
        assert!(engine.model().needs().weights >= types.iter().map(|each| each.held_bytes).sum::<u64>());
    }
    let bytes = std::fs::read(fixture("llama-types", "gguf")).expect("a fixture");
    let engine = open(&bytes, None).expect("it loads");
    let q3 = engine.stored_types().iter().find(|each| each.stored == "Q3_K").expect("it has one");
    assert_eq!((q3.held, q3.tensors, q3.stored_bytes, q3.held_bytes), (Dtype::Q6K, 1, 28160, 54272));
}
