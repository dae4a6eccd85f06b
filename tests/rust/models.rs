//! Whole models against transformers, on every backend: logits, generation, batches.

use std::cell::Cell;
use std::slice::from_ref;

use crate::common::divergence::{copy, first_difference};
use crate::common::models::{LLAMA, MORE, ModelFiles, models};
use crate::common::{Fixture, Tolerance, assert_close, backends, backends_and_variants, gpu_with, misfit};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::engine::{Delta, Engine, EngineOptions, Finish, Overflow, Request};
use lorakeet::plan::{Row, TensorId};
use wasm_bindgen_test::wasm_bindgen_test;
#[cfg(not(target_arch = "wasm32"))]
use {
    crate::common::one_op::by_group,
    lorakeet::engine::Loader,
    lorakeet::format::safetensors::Header,
    lorakeet::format::{TensorData, TensorInfo, write},
    std::collections::BTreeMap,
};

/// Logits span about ±10; promised are 1e-4 on the CPU, 1e-3 on a GPU.
fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

async fn engines(files: &ModelFiles) -> Vec<(&'static str, Engine)> {
    let open = |backend| files.open(backend, &EngineOptions::default()).expect(files.name);
    backends().await.into_iter().map(|(name, backend)| (name, open(backend))).collect()
}

/// Runs requests to their end: per request, the tokens, the text and why it ended.
async fn run(engine: &mut Engine, requests: &[Request]) -> Vec<(Vec<u32>, String, Finish)> {
    let mut generation = engine.start(requests).expect("valid requests");
    let mut results = vec![(Vec::new(), String::new(), None); requests.len()];
    while !generation.is_finished() {
        for Delta { index, text, tokens, finish, logprobs: _ } in
            engine.next(&mut generation).await.expect("a working device")
        {
            let result = &mut results[index];
            assert_eq!(result.2, None, "a delta after the end");
            result.0.extend(tokens);
            result.1 += &text;
            result.2 = finish;
        }
    }
    for (index, result) in results.iter().enumerate() {
        assert_eq!(generation.usage(index).completion_tokens, result.0.len());
    }
    engine.end(generation);
    results.into_iter().map(|(tokens, text, finish)| (tokens, text, finish.expect("finished"))).collect()
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn logits_equal_transformers() {
    for files in models().chain(MORE) {
        let reference = Fixture::new(files.reference);
        let ids = reference.ids("input_ids");
        for (name, mut engine) in engines(files).await {
            let logits = engine.logits(&ids).await.expect("it fits");
            if let Some(misfit) = misfit(&logits, &reference.f32("logits"), tolerance(name)) {
                let suspect = backends().await.into_iter().find(|(other, _)| *other == name);
                let (_, mut suspect) = suspect.expect("it was there");
                let parts = parts_from_twin(files, &ids, &mut suspect, |_, _| ()).await;
                panic!("{} on {name}: {misfit}; against the twin: {parts:?}", files.name);
            }
        }
    }
}

/// Where a backend computes another thing than the twin, once `change` was made to it.
async fn parts_from_twin(
    files: &ModelFiles,
    ids: &[u32],
    suspect: &mut Backend,
    change: impl Fn(&Engine, &mut Backend),
) -> Option<String> {
    let twin = || Backend::Cpu(Cpu::new(Kernels::Twin));
    let engine = files.open(twin(), &EngineOptions::default()).expect(files.name);
    let (model, mut judge) = (engine.model(), twin());
    let row = |(pos, &token): (usize, &u32)| Row { token, pos: pos as u32, slot: 0, mix: 0 };
    let rows: Vec<Row> = ids.iter().enumerate().map(row).collect();
    for backend in [&mut judge, &mut *suspect] {
        copy(&engine, backend);
        backend.upload(model.state.rows, 0, bytemuck::cast_slice(&rows));
    }
    change(&engine, suspect);
    let plan = model.score(rows.len());
    first_difference(&plan, &model.tensors, [&mut judge, suspect], tolerance("gpu")).await
}

/// The comparison step by step finds none where there is none, and one where a weight was changed.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn the_first_step_that_differs_is_named() {
    let ids = Fixture::new(LLAMA.reference).ids("input_ids");
    /// The third norm of a plan, and its weight.
    fn third_norm(engine: &Engine, n: usize) -> (usize, TensorId) {
        let plan = engine.model().score(n);
        let norms = plan.steps().iter().enumerate().filter(|(_, op)| op.name() == "norm");
        norms.map(|(i, op)| (i, op.reads()[1])).nth(2).expect("two layers")
    }
    for (name, mut backend) in backends().await {
        let same = parts_from_twin(&LLAMA, &ids, &mut backend, |_, _| ()).await;
        assert_eq!(same, None, "{name}");
        let at = Cell::new(0);
        let change = |engine: &Engine, backend: &mut Backend| {
            let (step, weight) = third_norm(engine, ids.len());
            at.set(step);
            backend.upload(weight, 3, bytemuck::cast_slice(&[7.0f32]));
        };
        let parts = parts_from_twin(&LLAMA, &ids, &mut backend, change).await.expect("a difference");
        assert!(parts.starts_with(&format!("step {} `norm`, output ", at.get())), "{name}: {parts}");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn greedy_text_equals_transformers() {
    for files in models().chain(MORE) {
        let reference = Fixture::new(files.reference);
        let prompt = reference.ids("input_ids")[..10].to_vec();
        let want = reference.ids("greedy_ids");
        for (name, backend) in backends_and_variants().await {
            let mut engine = files.open(backend, &EngineOptions::default()).expect(files.name);
            let [(tokens, text, finish)] =
                &run(&mut engine, &[Request::greedy(prompt.clone(), want.len())]).await[..]
            else {
                panic!("one request, one result")
            };
            assert_eq!(*tokens, want, "{} on {name}", files.name);
            assert_eq!(*finish, Finish::Length);
            assert_eq!(*text, engine.tokenizer().decode(&want, true).expect("known ids"), "{name}");
        }
    }
}

/// Three prompts of unequal lengths in one batch say what each says alone.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_batch_of_unequal_lengths_equals_single_runs() {
    for files in models() {
        let reference = Fixture::new(files.reference);
        let prompts = [0, 1, 2].map(|i| reference.ids(&format!("batch_ids_{i}")));
        for (name, mut engine) in engines(files).await {
            let what = format!("{} on {name}", files.name);
            for (i, ids) in prompts.iter().enumerate() {
                let logits = engine.logits(ids).await.expect("it fits");
                assert_close(&what, &logits, &reference.f32(&format!("batch_logits_{i}")), tolerance(name));
            }
            let lengths = [13, 9, 20];
            let requests: Vec<_> =
                prompts.iter().zip(lengths).map(|(ids, n)| Request::greedy(ids.clone(), n)).collect();
            let together = run(&mut engine, &requests).await;
            for (request, together) in requests.iter().zip(together) {
                assert_eq!(run(&mut engine, from_ref(request)).await[0], together, "{what}");
            }
        }
    }
}

/// The same text whether the prompt is computed or taken from the cache, wholly or in part.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_cached_prefix_changes_nothing() {
    let reference = Fixture::new(LLAMA.reference);
    let ids = reference.ids("input_ids");
    let want = reference.ids("greedy_ids");
    for (name, mut engine) in engines(&LLAMA).await {
        let first = Request::greedy(ids[..10].to_vec(), want.len());
        assert_eq!(run(&mut engine, from_ref(&first)).await[0].0, want, "{name}");
        let mut again = engine.start(from_ref(&first)).expect("valid");
        assert_eq!(again.usage(0).cached_tokens, 9, "{name}: all but the last token");
        while !again.is_finished() {
            engine.next(&mut again).await.expect("works");
        }
        engine.end(again);
        // Another end to the same beginning, then the beginning again.
        let mut other = ids[..6].to_vec();
        other.extend([200, 201, 202]);
        run(&mut engine, &[Request::greedy(other, 5)]).await;
        assert_eq!(run(&mut engine, &[first]).await[0].0, want, "{name}");
    }
}

/// A generation given up half-way leaves nothing behind that a later one could trip over.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_abandoned_generation_does_no_harm() {
    let reference = Fixture::new(LLAMA.reference);
    let (ids, want) = (reference.ids("input_ids"), reference.ids("greedy_ids"));
    for (name, mut engine) in engines(&LLAMA).await {
        for steps in 0..4 {
            let mut generation = engine.start(&[Request::greedy(ids.clone(), 30)]).expect("valid");
            for _ in 0..steps {
                engine.next(&mut generation).await.expect("works");
            }
            engine.end(generation);
        }
        let request = Request::greedy(ids[..10].to_vec(), want.len());
        assert_eq!(run(&mut engine, &[request]).await[0].0, want, "{name}");
    }
}

/// Two streams taking turns do not disturb each other.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn interleaved_generations_equal_separate_ones() {
    let reference = Fixture::new(LLAMA.reference);
    let ids = reference.ids("input_ids");
    for (name, mut engine) in engines(&LLAMA).await {
        let requests = [Request::greedy(ids[..10].to_vec(), 24), Request::greedy(ids[3..9].to_vec(), 17)];
        let mut alone = Vec::new();
        for request in &requests {
            alone.push(run(&mut engine, from_ref(request)).await.remove(0).0);
        }
        let mut under_way = requests.map(|r| engine.start(&[r]).expect("valid"));
        let mut tokens = [Vec::new(), Vec::new()];
        while under_way.iter().any(|g| !g.is_finished()) {
            for (generation, tokens) in under_way.iter_mut().zip(&mut tokens) {
                let deltas = engine.next(generation).await.expect("works");
                tokens.extend(deltas.into_iter().flat_map(|d| d.tokens));
            }
        }
        for generation in under_way {
            engine.end(generation);
        }
        assert_eq!(tokens.to_vec(), alone, "{name}");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn the_same_seed_draws_the_same_text() {
    let prompt = Fixture::new(LLAMA.reference).ids("input_ids")[..10].to_vec();
    let request =
        |seed, temperature| Request { seed, temperature, top_p: 0.95, ..Request::greedy(prompt.clone(), 20) };
    for (name, mut engine) in engines(&LLAMA).await {
        let mut draw = async |seed, t| run(&mut engine, &[request(seed, t)]).await.remove(0).0;
        let first = draw(1, 1.5).await;
        assert_eq!(draw(1, 1.5).await, first, "{name}");
        assert_ne!(draw(2, 1.5).await, first, "{name}");
        assert_eq!(draw(1, 0.0).await, draw(2, 0.0).await, "{name}: greedy has no noise");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_stop_string_ends_the_text_before_it() {
    let reference = Fixture::new(LLAMA.reference);
    let (prompt, want) = (reference.ids("input_ids")[..10].to_vec(), reference.ids("greedy_ids"));
    for (name, mut engine) in engines(&LLAMA).await {
        let whole = engine.tokenizer().decode(&want, true).expect("known ids");
        // The last characters of one token and the first of the next.
        let cut = engine.tokenizer().decode(&want[..4], true).expect("known ids").len();
        let from = (0..cut).rev().find(|&i| whole.is_char_boundary(i)).expect("a character");
        let to = (cut + 1..).find(|&i| whole.is_char_boundary(i)).expect("a character");
        let stop = vec!["never".to_owned(), whole[from..to].to_owned()];
        let request = Request { stop: stop.clone(), ..Request::greedy(prompt.clone(), want.len()) };
        let (_, text, finish) = run(&mut engine, &[request]).await.remove(0);
        assert_eq!(finish, Finish::Stop, "{name}");
        assert_eq!(text, whole[..whole.find(&stop[1]).expect("it is there")], "{name}");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_end_token_ends_the_text() {
    let reference = Fixture::new(LLAMA.reference);
    let (prompt, want) = (reference.ids("input_ids")[..10].to_vec(), reference.ids("greedy_ids"));
    let config = String::from_utf8(LLAMA.config.to_vec()).expect("JSON is text");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let end = want[7];
    let before = want.iter().position(|&id| id == end).expect("it is there");
    config["eos_token_id"] = serde_json::json!([1, end]);
    for (name, backend) in backends().await {
        let mut engine =
            LLAMA.open_as(config.to_string().as_bytes(), backend, &EngineOptions::default()).expect("valid");
        // Beside a row that goes on, so that the batch outlives the end of one row.
        let other = Request::greedy(reference.ids("batch_ids_1"), 3);
        let requests = [Request::greedy(prompt.clone(), want.len()), other];
        let results = run(&mut engine, &requests).await;
        assert_eq!(results[0].0, want[..before], "{name}");
        assert_eq!(results[0].2, Finish::Stop, "{name}");
        assert_eq!(run(&mut engine, &requests[1..]).await[0], results[1], "{name}");
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_full_context_ends_errs_or_slides() {
    let ids = Fixture::new(LLAMA.reference).ids("input_ids");
    let options = EngineOptions { context_length: Some(24), batch: Some(2), ..EngineOptions::default() };
    for (name, backend) in backends().await {
        let mut engine = LLAMA.open(backend, &options).expect("valid");
        let prompt = ids[..10].to_vec();
        let too_long = engine.start(&[Request::greedy(prompt.clone(), 16)]).expect_err("10 + 16 − 1 > 24");
        assert_eq!(too_long.to_string(), "prompt of 10 tokens and max_tokens 16 exceed the context of 24");
        let open_ended = Request { max_tokens: None, ..Request::greedy(prompt.clone(), 1) };
        let (tokens, _, finish) = run(&mut engine, &[open_ended]).await.remove(0);
        assert_eq!((tokens.len(), finish), (15, Finish::Length), "{name}: 24 in the cache and one drawn");
        let sliding = Request { overflow: Overflow::Slide, ..Request::greedy(prompt.clone(), 60) };
        let (slid, _, finish) = run(&mut engine, &[sliding]).await.remove(0);
        assert_eq!((slid.len(), finish), (60, Finish::Length), "{name}");
        assert_eq!(slid[..15], tokens, "{name}: the same until it slides");
        // After the slide the text is that of the kept tokens alone.
        let all = [prompt, slid.clone()].concat();
        let kept = [&all[..4], &all[25 - 10..25]].concat();
        let alone = run(&mut engine, &[Request::greedy(kept, 8)]).await.remove(0).0;
        assert_eq!(slid[15..23], alone, "{name}");
    }
}

/// A device that binds little gets the same model in slices.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sharded_weights_give_the_same_logits() {
    let options =
        GpuOptions { default_limits: true, max_tensor_bytes: Some(48 << 10), ..GpuOptions::default() };
    let Some(backend) = gpu_with(options).await else { return };
    let reference = Fixture::new(LLAMA.reference);
    let options = EngineOptions { context_length: Some(64), batch: Some(1), ..EngineOptions::default() };
    let mut engine = LLAMA.open(backend, &options).expect("it fits in slices");
    assert!(
        engine.model().tensors.iter().any(|(_, t)| t.name.contains("[")),
        "no weight was cut: the limit is too high for this test"
    );
    let logits = engine.logits(&reference.ids("input_ids")).await.expect("it fits");
    assert_close("sharded", &logits, &reference.f32("logits"), tolerance("gpu"));
}

/// All that the device offers, as a user's engine asks for it; other tests keep to the default
/// limits.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn the_devices_own_limits_give_the_same_logits() {
    let Some(backend) = gpu_with(GpuOptions::default()).await else { return };
    let reference = Fixture::new(LLAMA.reference);
    let mut engine = LLAMA.open(backend, &EngineOptions::default()).expect("valid");
    let logits = engine.logits(&reference.ids("input_ids")).await.expect("it fits");
    assert_close("own limits", &logits, &reference.f32("logits"), tolerance("gpu"));
}

/// Decoding replays: it creates nothing, writes nothing, and submits once per block.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn decoding_creates_no_objects() {
    // No wait takes long.
    let options = GpuOptions { default_limits: true, clock: Some(|| 0.0), ..GpuOptions::default() };
    let Some(backend) = gpu_with(options).await else { return };
    let mut engine = LLAMA.open(backend, &EngineOptions::default()).expect("valid");
    let counts = |engine: &Engine| match engine.backend() {
        Backend::Gpu(gpu) => gpu.counts(),
        Backend::Cpu(_) => unreachable!("opened on a GPU"),
    };
    let mut generation = engine.start(&[Request::greedy(vec![1, 2, 3], 100)]).expect("valid");
    // Prefill, and blocks of 1, 2, 4, 8: the plan is made, the block has grown, and one is on its way.
    let mut tokens = 0;
    while tokens < 15 {
        tokens +=
            engine.next(&mut generation).await.expect("works").iter().map(|d| d.tokens.len()).sum::<usize>();
    }
    let before = counts(&engine);
    let mut drawn = 0;
    for _ in 0..5 {
        drawn += engine.next(&mut generation).await.expect("works")[0].tokens.len();
    }
    let after = counts(&engine);
    engine.end(generation);
    assert_eq!(drawn, 40, "blocks of eight");
    assert_eq!(after.submits - before.submits, 5, "one submission per block");
    assert_eq!(after.reads - before.reads, 5, "one read per block");
    let same = |c: lorakeet::backend::gpu::Counts| (c.buffers, c.bind_groups, c.pipelines, c.uploaded_bytes);
    assert_eq!(same(after), same(before), "buffers, bind groups, pipelines, bytes written");
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn bad_requests_are_refused_by_name() {
    let mut engine = LLAMA
        .open(
            Backend::Cpu(Cpu::new(Kernels::Fast)),
            &EngineOptions { batch: Some(2), ..EngineOptions::default() },
        )
        .expect("valid");
    let good = Request::greedy(vec![1, 2], 3);
    let cases = [
        (Request { prompt: vec![], ..good.clone() }, "prompt: no tokens"),
        (
            Request { prompt: vec![1, 300], ..good.clone() },
            "token id 300, expected below the vocabulary size 300",
        ),
        (Request { temperature: -1.0, ..good.clone() }, "temperature -1, expected 0 or more"),
        (Request { temperature: f32::NAN, ..good.clone() }, "temperature NaN, expected 0 or more"),
        (Request { top_p: 0.0, ..good.clone() }, "top_p 0, expected above 0, at most 1"),
        (Request { min_p: 1.5, ..good.clone() }, "min_p 1.5, expected 0 to 1"),
        (Request { repetition_penalty: 0.0, ..good.clone() }, "repetition_penalty 0, expected above 0"),
        (Request { max_tokens: Some(0), ..good.clone() }, "max_tokens 0, expected at least 1"),
    ];
    for (request, words) in cases {
        let error = engine.start(&[request]).expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (lorakeet::ErrorKind::Argument, words));
    }
    let error = engine.start(&vec![good.clone(); 3]).expect_err("three requests, two slots");
    assert_eq!(error.to_string(), "3 prompts, expected at most 2: the engine's `batch`");
    let under_way = engine.start(from_ref(&good)).expect("two slots");
    let error = engine.start(&[good.clone(), good.clone()]).expect_err("one slot is taken");
    assert_eq!(error.to_string(), "all 2 sequences of this engine are generating; raise `batch`");
    engine.end(under_way);
    // The slot taken before the refusal was given back.
    run(&mut engine, &[good.clone(), good]).await;
}

#[cfg(not(target_arch = "wasm32"))]
macro_rules! adapter {
    ($kind:literal) => {
        (
            include_bytes!(concat!("../fixtures/adapters/internlm2/", $kind, "/adapter_config.json"))
                .as_slice(),
            include_bytes!(concat!("../fixtures/adapters/internlm2/", $kind, "/adapter_model.safetensors"))
                .as_slice(),
            include_bytes!(concat!("../fixtures/adapters/internlm2/", $kind, "/reference.safetensors"))
                .as_slice(),
        )
    };
}

/// Of InternLM2 transformers has no code: its files are Llama's under other names, q, k and v in one tensor, by group,
/// and so are its adapters.
#[cfg(not(target_arch = "wasm32"))]
#[pollster::test]
async fn internlm2_is_llama_under_other_names() {
    let [file] = LLAMA.weights else { panic!("one file") };
    let header = Header::from_file_bytes(file).expect("valid");
    let read = |info: &TensorInfo| {
        (info.name.clone(), (info.shape.clone(), info.read_f32(info.bytes_in(file).unwrap()).unwrap()))
    };
    let mut tensors: BTreeMap<_, _> = header.tensors.iter().map(read).collect();
    let mut renamed = Vec::new();
    for l in 0..3 {
        let mut take = |part: &str| {
            tensors.remove(&format!("model.layers.{l}.self_attn.{part}_proj.weight")).expect("there").1
        };
        let [h, k, d, c] = [6, 2, 8, 42];
        let qkv = by_group(&[take("q"), take("k"), take("v")].concat(), [h, k, d * c]);
        renamed.push((format!("model.layers.{l}.attention.wqkv.weight"), vec![(h + 2 * k) * d, c], qkv));
    }
    let names = [
        ("embed_tokens", "tok_embeddings"),
        ("lm_head", "output"),
        ("input_layernorm", "attention_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attention.wo"),
        ("mlp.gate_proj", "feed_forward.w1"),
        ("mlp.up_proj", "feed_forward.w3"),
        ("mlp.down_proj", "feed_forward.w2"),
    ];
    for (name, (shape, values)) in tensors {
        let name = names.iter().fold(name, |name, (llama, internlm2)| name.replace(llama, internlm2));
        renamed.push((name, shape, values));
    }
    let list: Vec<_> =
        renamed.iter().map(|(name, shape, v)| (name.clone(), shape.clone(), TensorData::F32(v))).collect();
    let file = write(&list, &Default::default()).expect("valid");
    let mut config: serde_json::Value = serde_json::from_slice(LLAMA.config).expect("JSON");
    config["model_type"] = serde_json::json!("internlm2");
    config["bias"] = serde_json::json!(false);
    let (config, reference) = (config.to_string(), Fixture::new(LLAMA.reference));
    let adapters = [adapter!("all-linear"), adapter!("dora-patterns")];
    for (name, backend) in backends().await {
        let mut loader =
            Loader::new(config.as_bytes(), None, LLAMA.tokenizer, backend, &EngineOptions::default())
                .expect("a config");
        crate::common::models::load(&mut loader, &file).expect("its tensors");
        let mut engine = loader.finish().expect("complete");
        let logits = engine.logits(&reference.ids("input_ids")).await.expect("it fits");
        assert_close(name, &logits, &reference.f32("logits"), tolerance(name));
        for (config, weights, reference) in adapters {
            engine.load_adapter("x", config, weights).await.expect("PEFT's names");
            engine.set_adapter(vec![("x".to_owned(), 1.0)]).expect("loaded");
            let reference = Fixture::new(reference);
            let logits = engine.logits(&reference.ids("input_ids")).await.expect("it fits");
            assert_close(name, &logits, &reference.f32("logits"), tolerance(name));
            engine.delete_adapter("x").expect("idle");
        }
    }
}
