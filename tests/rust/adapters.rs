//! The adapter bank: its arithmetic against merged weights, and its promises about switching.

use crate::common::models::{LLAMA, MODELS, ModelFiles, models};
use crate::common::{Tolerance, assert_close, backends, backends_and_variants, gpu, gpu_with, misfit, noise};
use lorakeet::ErrorKind;
use lorakeet::backend::Backend;
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::engine::{Adapter, Choice, Engine, EngineOptions, ModuleDelta, Request, Samplers};
use lorakeet::format::safetensors::Header;
use lorakeet::format::{TensorData, write};
use wasm_bindgen_test::wasm_bindgen_test;

const IDS: [u32; 12] = [5, 90, 17, 203, 41, 8, 8, 120, 299, 66, 1, 31];

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

/// Linear maps of a checkpoint: name, shape (F, C).
fn linears(files: &ModelFiles) -> Vec<(String, [usize; 2])> {
    let headers = files.weights.iter().map(|file| Header::from_file_bytes(file).expect("valid"));
    let tensors = headers.flat_map(|header| header.tensors);
    let linear = |info: lorakeet::format::TensorInfo| {
        let module = info.name.strip_suffix(".weight")?.to_owned();
        let [rows, cols] = info.shape[..] else { return None };
        let embedding = ["embed_tokens", "embed_in", "wte", "wpe"].iter().any(|end| module.ends_with(end));
        // Conv1D keeps (in, out).
        let shape = if files.name == "gpt2" { [cols, rows] } else { [rows, cols] };
        (!embedding).then_some((module, shape))
    };
    tensors.filter_map(linear).collect()
}

/// A random adapter of `rank` on the modules that `wanted` picks.
fn adapter(files: &ModelFiles, seed: u32, rank: usize, wanted: impl Fn(&str) -> bool) -> Adapter {
    let delta = |(i, (module, [f, c])): (usize, (String, [usize; 2]))| {
        let seed = seed * 1000 + i as u32;
        let (a, b) = (noise(seed, rank * c, 0.3).into(), noise(seed + 500, f * rank, 0.3).into());
        ModuleDelta { module, rank, a, b, ..ModuleDelta::default() }
    };
    let modules = linears(files).into_iter().filter(|(module, _)| wanted(module));
    Adapter { deltas: modules.enumerate().map(delta).collect(), ..Adapter::default() }
}

/// The model with Σ weight·B·A added to its weights.
fn merged(files: &ModelFiles, adapters: &[(&Adapter, f32)], backend: Backend) -> Engine {
    let mut loader = lorakeet::engine::Loader::new(
        files.config,
        None,
        files.tokenizer,
        backend,
        &EngineOptions::default(),
    )
    .expect("valid");
    for file in files.weights {
        let header = Header::from_file_bytes(file).expect("valid");
        let mut tensors = Vec::new();
        for info in &header.tensors {
            let mut values = info.read_f32(info.bytes_in(file).expect("there")).expect("floats");
            for (adapter, weight) in adapters {
                let module = info.name.strip_suffix(".weight").unwrap_or_default();
                for delta in adapter.deltas.iter().filter(|d| d.module == module) {
                    let (a, b) = (delta.a.values(), delta.b.values());
                    let (c, f) = (a.len() / delta.rank, b.len() / delta.rank);
                    for (at, value) in values.iter_mut().enumerate() {
                        let (out, input) =
                            if files.name == "gpt2" { (at % f, at / f) } else { (at / c, at % c) };
                        let product: f64 = (0..delta.rank)
                            .map(|r| f64::from(b[out * delta.rank + r]) * f64::from(a[r * c + input]))
                            .sum();
                        *value += *weight * product as f32;
                    }
                }
            }
            tensors.push((info.name.clone(), info.shape.clone(), values));
        }
        let list: Vec<_> =
            tensors.iter().map(|(n, s, v)| (n.clone(), s.clone(), TensorData::F32(v))).collect();
        crate::common::models::load(&mut loader, &write(&list, &Default::default()).expect("valid"))
            .expect("fits");
    }
    loader.finish().expect("complete")
}

fn open(files: &ModelFiles, backend: Backend) -> Engine {
    files.open(backend, &EngineOptions::default()).expect("valid")
}

fn choice(parts: &[(&str, f32)]) -> Choice {
    parts.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

async fn logits(engine: &mut Engine, parts: &[(&str, f32)]) -> Vec<f32> {
    engine.set_adapter(choice(parts)).expect("loaded");
    engine.logits(&IDS).await.expect("it fits")
}

/// Those of many rows, and those of one.
async fn every_logit(engine: &mut Engine, parts: &[(&str, f32)]) -> Vec<f32> {
    let many = logits(engine, parts).await;
    [many, engine.logits(&IDS[..1]).await.expect("it fits")].concat()
}

async fn text(engine: &mut Engine, request: Request) -> Vec<u32> {
    run(engine, &[request]).await.remove(0)
}

async fn run(engine: &mut Engine, requests: &[Request]) -> Vec<Vec<u32>> {
    let mut generation = engine.start(requests).expect("valid");
    let mut tokens = vec![Vec::new(); requests.len()];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("works") {
            tokens[delta.index].extend(delta.tokens);
        }
    }
    engine.end(generation);
    tokens
}

/// One adapter on every linear map, and a blend of two with unequal ranks and a negative
/// weight, give what the merged weights give: for each family, on each backend.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn unmerged_equals_merged() {
    for files in models() {
        let a = adapter(files, 1, 3, |_| true);
        let b = adapter(files, 2, 5, |module| !module.contains("o_proj") && !module.contains("c_fc"));
        let judges = backends().await.into_iter().zip(backends().await);
        for ((name, backend), ((_, one), (_, other))) in backends().await.into_iter().zip(judges) {
            let mut engine = open(files, backend);
            engine.add_adapter("a", a.clone()).expect("fits");
            let got = logits(&mut engine, &[("a", 1.0)]).await;
            let base = logits(&mut engine, &[]).await;
            assert!(misfit(&got, &base, tolerance(name)).is_some(), "the adapter does something");
            let want = merged(files, &[(&a, 1.0)], one).logits(&IDS).await.expect("fits");
            assert_close(&format!("{} on {name}", files.name), &got, &want, tolerance(name));

            engine.add_adapter("b", b.clone()).expect("fits");
            let blend = logits(&mut engine, &[("a", 0.7), ("b", -0.4)]).await;
            let want = merged(files, &[(&a, 0.7), (&b, -0.4)], other).logits(&IDS).await.expect("fits");
            assert_close(&format!("{} blend on {name}", files.name), &blend, &want, tolerance(name));
        }
    }
}

/// base -> A -> B -> blend -> base, bit for bit; and the blend in either order.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn switching_back_restores_every_bit() {
    // One whose widths are fours, which GPUs compute in fewer steps where no adapter is loaded, and one whose are not.
    let mistral = MODELS.iter().find(|files| files.name == "mistral").expect("it is there");
    let all = backends_and_variants().await.into_iter().map(|backend| (&LLAMA, backend));
    let all = all.chain(backends_and_variants().await.into_iter().map(|backend| (mistral, backend)));
    for (files, (name, backend)) in all {
        let mut engine = open(files, backend);
        let untouched = every_logit(&mut engine, &[]).await;
        engine.add_adapter("a", adapter(files, 1, 4, |_| true)).expect("fits");
        let base = every_logit(&mut engine, &[]).await;
        let a = every_logit(&mut engine, &[("a", 1.0)]).await;
        engine.add_adapter("b", adapter(files, 2, 9, |_| true)).expect("fits");
        every_logit(&mut engine, &[("b", 1.0)]).await;
        let blend = every_logit(&mut engine, &[("a", 0.5), ("b", 0.25)]).await;
        assert_eq!(
            every_logit(&mut engine, &[("b", 0.25), ("a", 0.5)]).await,
            blend,
            "{name}: order of names"
        );
        assert_eq!(every_logit(&mut engine, &[("a", 1.0)]).await, a, "{name}: a, before and after b came");
        assert_eq!(every_logit(&mut engine, &[]).await, base, "{name}");
        assert_eq!(every_logit(&mut engine, &[("a", 0.0)]).await, base, "{name}: weight 0 is off");
        assert_eq!(untouched, base, "{name}: a loaded adapter that is off changes nothing");
    }
}

/// Eight rows with eight different mixes in one batch say what each says alone.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_mixed_batch_equals_single_runs() {
    for (name, backend) in backends().await {
        let mut engine = open(&LLAMA, backend);
        for (i, adapter_name) in ["a", "b", "c"].into_iter().enumerate() {
            let only = ["q_proj", "", "down_proj"][i];
            engine
                .add_adapter(adapter_name, adapter(&LLAMA, i as u32 + 1, 2 + 3 * i, |m| m.contains(only)))
                .expect("fits");
        }
        let mixes: [&[(&str, f32)]; 8] = [
            &[],
            &[("a", 1.0)],
            &[("b", 1.0)],
            &[("c", 1.0)],
            &[("a", 1.0), ("b", -1.0)],
            &[("b", 0.5), ("c", 2.0)],
            &[("c", -3.0)],
            &[("a", 0.3), ("b", 0.3), ("c", 0.3)],
        ];
        let requests: Vec<_> = (0..8)
            .map(|i| {
                let adapter = Some(choice(mixes[i]));
                Request { adapter, ..Request::greedy(IDS[..4 + i].to_vec(), 12 + i) }
            })
            .collect();
        let together = run(&mut engine, &requests).await;
        let mut different = std::collections::BTreeSet::new();
        for (request, together) in requests.into_iter().zip(together) {
            assert_eq!(text(&mut engine, request.clone()).await, together, "{name} {:?}", request.adapter);
            different.insert(together);
        }
        assert!(different.len() > 4, "{name}: the adapters say different things");
    }
}

/// Keys and values belong to the tokens and to the mix that made them. An engine that keyed
/// them by tokens alone would continue from another adapter's memory.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn no_answer_comes_from_a_stale_cache() {
    for (name, backend) in backends().await {
        // One slot: every request finds what the last one left.
        let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
        let mut engine = LLAMA.open(backend, &options).expect("valid");
        let version =
            |seed| adapter(&LLAMA, seed, 4, |module| module.contains("k_proj") || module.contains("v_proj"));
        engine.add_adapter("a", version(1)).expect("fits");
        let request = |weight: f32| Request {
            adapter: Some(if weight == 0.0 { Choice::new() } else { choice(&[("a", weight)]) }),
            ..Request::greedy(IDS.to_vec(), 16)
        };
        let mut fresh = Vec::new();
        for weight in [0.0, 1.0, 1.5] {
            fresh.push(text(&mut engine, request(weight)).await);
        }
        assert!(fresh[0] != fresh[1] && fresh[1] != fresh[2], "{name}: the adapter matters");
        for (i, weight) in [(2, 1.5), (0, 0.0), (1, 1.0), (0, 0.0), (2, 1.5)] {
            assert_eq!(text(&mut engine, request(weight)).await, fresh[i], "{name}: weight {weight}");
        }
        // The same name, another version.
        engine.add_adapter("a", version(2)).expect("replaces");
        let reloaded = text(&mut engine, request(1.5)).await;
        assert_ne!(reloaded, fresh[2], "{name}: the new version answers");
        let again = engine.start(&[request(1.5)]).expect("valid");
        assert_eq!(again.usage(0).cached_tokens, IDS.len() - 1, "{name}: the same mix is remembered");
        engine.end(again);
    }
}

/// Ten thousand random switches write at most 64 bytes each, and create nothing.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn switches_write_a_line_and_create_nothing() {
    let Some(backend) = gpu().await else { return };
    let mut engine = open(&LLAMA, backend);
    let names = ["a", "b", "c", "d", "e", "f"];
    for (i, name) in names.into_iter().enumerate() {
        engine.add_adapter(name, adapter(&LLAMA, i as u32 + 1, 4, |m| m.contains("q_proj"))).expect("fits");
    }
    let counts = |engine: &Engine| match engine.backend() {
        Backend::Gpu(gpu) => gpu.counts(),
        Backend::Cpu(_) => unreachable!("opened on a GPU"),
    };
    let picks = noise(7, 10_000, 1.0);
    let first = counts(&engine);
    let bytes = engine.model().tensors.total_bytes();
    for (i, pick) in picks.iter().enumerate() {
        let parts = (0..(i % 6)).map(|j| (names[(i / 7 + j) % 6], pick + j as f32)).collect::<Vec<_>>();
        let before = counts(&engine).uploaded_bytes;
        engine.set_adapter(choice(&parts)).expect("loaded");
        let written = counts(&engine).uploaded_bytes - before;
        assert!(written <= 64, "{written} bytes for {parts:?}");
    }
    let last = counts(&engine);
    assert!(last.uploaded_bytes > first.uploaded_bytes, "the switches took place");
    let objects = |c: lorakeet::backend::gpu::Counts| (c.buffers, c.bind_groups, c.pipelines);
    assert_eq!(objects(last), objects(first));
    assert_eq!(engine.model().tensors.total_bytes(), bytes);
    // And the device still knows what is chosen.
    let base = logits(&mut engine, &[]).await;
    assert_ne!(logits(&mut engine, &[("f", 1.0)]).await, base);
}

/// Adapters come and go while a text is being written.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn loading_and_deleting_disturb_no_running_text() {
    for (name, backend) in backends().await {
        let mut engine = open(&LLAMA, backend);
        engine.add_adapter("a", adapter(&LLAMA, 1, 4, |m| m.contains("q_proj"))).expect("fits");
        let request = Request { adapter: Some(choice(&[("a", 1.0)])), ..Request::greedy(IDS.to_vec(), 40) };
        let alone = text(&mut engine, request.clone()).await;
        let mut generation = engine.start(&[request]).expect("valid");
        let mut tokens = Vec::new();
        for step in 0.. {
            if generation.is_finished() {
                break;
            }
            let deltas = engine.next(&mut generation).await.expect("works");
            tokens.extend(deltas.into_iter().flat_map(|d| d.tokens));
            match step {
                // Larger than the room there is, and at sites that were empty.
                2 => drop(engine.add_adapter("big", adapter(&LLAMA, 2, 33, |_| true)).expect("fits")),
                3 => {
                    let error = engine.delete_adapter("a").expect_err("in use");
                    assert_eq!(error.to_string(), "adapter `a` is in use by a running generation");
                }
                4 => engine.delete_adapter("big").expect("idle"),
                5 => drop(engine.add_adapter("small", adapter(&LLAMA, 3, 1, |_| true)).expect("fits")),
                _ => {}
            }
        }
        engine.end(generation);
        assert_eq!(tokens, alone, "{name}");
        engine.delete_adapter("a").expect("idle now");
        assert_eq!(engine.list_adapters().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["small"]);
    }
}

/// Under another adapter a text goes on as one that begins there with all that was written; under the same one it
/// goes on as if nothing had been, whatever its samplers remember.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_text_changes_its_adapter_at_a_token() {
    for (name, backend) in backends().await {
        let mut engine = open(&LLAMA, backend);
        engine.add_adapter("a", adapter(&LLAMA, 1, 4, |_| true)).expect("fits");
        engine.add_adapter("b", adapter(&LLAMA, 2, 3, |m| m.contains("v_proj"))).expect("fits");
        let one = |name: &str| choice(&[(name, 1.0)]);
        let samplers = Samplers { presence_penalty: 1.5, dry_multiplier: 0.8, ..Samplers::default() };
        for samplers in [Samplers::default(), samplers] {
            let request = Request {
                adapter: Some(one("a")),
                temperature: 0.9,
                seed: 11,
                samplers: samplers.clone(),
                ..Request::greedy(IDS.to_vec(), 24)
            };
            let alone = text(&mut engine, request.clone()).await;

            let mut generation = engine.start(std::slice::from_ref(&request)).expect("valid");
            let mut tokens = Vec::new();
            while !generation.is_finished() {
                let deltas = engine.next(&mut generation).await.expect("works");
                tokens.extend(deltas.into_iter().flat_map(|d| d.tokens));
                let error = engine.switch(&mut generation, &one("nobody")).expect_err("not loaded");
                assert!(error.to_string().contains("nobody"), "{error}");
                engine.switch(&mut generation, &one("a")).expect("loaded");
            }
            engine.end(generation);
            assert_eq!(tokens, alone, "{name}: to itself");

            let mut generation = engine.start(std::slice::from_ref(&request)).expect("valid");
            let mut tokens = Vec::new();
            while tokens.len() < 5 {
                let deltas = engine.next(&mut generation).await.expect("works");
                tokens.extend(deltas.into_iter().flat_map(|d| d.tokens));
            }
            let before = tokens.len();
            assert!(before < 20, "{name}: something is left to write");
            engine.switch(&mut generation, &one("b")).expect("loaded");
            engine.delete_adapter("a").expect("used no more");
            while !generation.is_finished() {
                let deltas = engine.next(&mut generation).await.expect("works");
                tokens.extend(deltas.into_iter().flat_map(|d| d.tokens));
            }
            assert_eq!(generation.usage(0).completion_tokens, 24, "{name}");
            assert_eq!(generation.usage(0).prompt_tokens, IDS.len(), "{name}");
            engine.end(generation);
            assert_eq!(tokens[..before], alone[..before], "{name}");
            assert_ne!(tokens, alone, "{name}: the adapters differ");
            if samplers == Samplers::default() {
                let prompt = [&IDS[..], &tokens[..before]].concat();
                let rest = Request {
                    prompt,
                    adapter: Some(one("b")),
                    max_tokens: Some(24 - before),
                    ..request.clone()
                };
                assert_eq!(tokens[before..], text(&mut engine, rest).await, "{name}: from there on");
            }
            engine.add_adapter("a", adapter(&LLAMA, 1, 4, |_| true)).expect("fits");
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn what_does_not_fit_is_refused_by_name() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(&LLAMA, backend);
    let good = adapter(&LLAMA, 1, 2, |m| m.contains("layers.0.self_attn.q_proj"));
    let delta = good.deltas[0].clone();
    let with = |change: &dyn Fn(&mut ModuleDelta)| {
        let mut delta = delta.clone();
        change(&mut delta);
        Adapter { deltas: vec![delta], ..Adapter::default() }
    };
    let mut refused = |adapter: Adapter, words: &str| {
        let error = engine.add_adapter("x", adapter).expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Mismatch, words));
    };
    refused(
        with(&|d| d.module = "model.layers.7.self_attn.q_proj".into()),
        "module `model.layers.7.self_attn.q_proj`: this base model has no such linear map",
    );
    refused(
        with(&|d| d.a = d.a.values()[..80].to_vec().into()),
        "module `model.layers.0.self_attn.q_proj`: A of 80 elements, expected [2, 42]",
    );
    refused(
        with(&|d| d.b = d.b.values()[..90].to_vec().into()),
        "module `model.layers.0.self_attn.q_proj`: B of 90 elements, expected [48, 2]",
    );
    refused(
        with(&|d| d.gain = vec![1.0]),
        "module `model.layers.0.self_attn.q_proj`: gain of 1 elements, expected [48, 1]",
    );
    for i in 0..6 {
        engine.add_adapter(&format!("n{i}"), good.clone()).expect("fits");
    }
    let mut words =
        |parts: &[(&str, f32)]| engine.set_adapter(choice(parts)).expect_err("refused").to_string();
    assert_eq!(
        words(&[("y", 1.0)]),
        "adapter `y` is not loaded; loaded are `n0`, `n1`, `n2`, `n3`, `n4`, `n5`"
    );
    assert_eq!(words(&[("n0", f32::NAN)]), "adapter `n0`: weight NaN, expected a number");
    assert_eq!(words(&[("n0", 1.0), ("n0", 1.0)]), "adapter `n0` is named twice");
    let six = ["n0", "n1", "n2", "n3", "n4", "n5"].map(|n| (n, 1.0));
    assert_eq!(words(&six), "a mix of 6 adapters, expected at most 5");
    assert_eq!(engine.add_adapter("", good).expect_err("no name").to_string(), "an adapter needs a name");
}

/// Adapters whose ranks differ from map to map give the same numbers as each alone, whichever comes first,
/// and as merged weights.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn ranks_may_differ_from_map_to_map() {
    let all = || adapter(&LLAMA, 1, 8, |_| true);
    let wide = || adapter(&LLAMA, 2, 80, |m| m.contains("0.self_attn.q_proj") || m.contains("1.mlp.up"));
    let narrow = || adapter(&LLAMA, 3, 4, |m| m.contains("k_proj") || m.contains("o_proj"));
    for (name, _) in backends().await {
        let backend = async || backends().await.into_iter().find(|(n, _)| *n == name).expect("as before").1;
        let mut alone = Vec::new();
        for adapter in [all(), wide(), narrow()] {
            let mut engine = open(&LLAMA, backend().await);
            engine.add_adapter("x", adapter).expect("fits");
            alone.push(logits(&mut engine, &[("x", 0.5)]).await);
        }
        let mut engine = open(&LLAMA, backend().await);
        let mut even = engine.model().tensors.total_bytes();
        engine.add_adapter("all", all()).expect("fits");
        even = engine.model().tensors.total_bytes() - even;
        let request = Request { adapter: Some(choice(&[("all", 0.5)])), ..Request::greedy(IDS.to_vec(), 16) };
        let want = text(&mut engine, request.clone()).await;
        let mut running = engine.start(&[request]).expect("a seat is free");
        let mut tokens = Vec::new();
        for (name, adapter) in [("wide", wide()), ("narrow", narrow())] {
            tokens.extend(engine.next(&mut running).await.expect("works").into_iter().flat_map(|d| d.tokens));
            // The ranks of the adapter that draws move.
            engine.add_adapter(name, adapter).expect("fits");
        }
        while !running.is_finished() {
            tokens.extend(engine.next(&mut running).await.expect("works").into_iter().flat_map(|d| d.tokens));
        }
        engine.end(running);
        assert_eq!(tokens, want, "{name}");
        assert!(engine.model().bank.layouts().len() > 1, "{name}");
        for (adapter, want) in ["all", "wide", "narrow"].into_iter().zip(&alone) {
            let got = logits(&mut engine, &[(adapter, 0.5)]).await;
            if name == "gpu" {
                assert_close(adapter, &got, want, tolerance(name));
            } else {
                assert_eq!(&got, want, "{adapter} on {name}");
            }
        }
        let blend = [("all", 0.5), ("wide", -0.3), ("narrow", 0.8)];
        let got = logits(&mut engine, &blend).await;
        let mut merged = merged(&LLAMA, &[(&all(), 0.5), (&wide(), -0.3), (&narrow(), 0.8)], backend().await);
        let want = merged.logits(&IDS).await.expect("it fits");
        assert_close(name, &got, &want, Tolerance { abs: 2e-3, rel: 2e-3 });
        // Room for many ranks is given back.
        engine.delete_adapter("wide").expect("idle");
        engine.delete_adapter("narrow").expect("idle");
        let base = LLAMA.open(backend().await, &EngineOptions::default()).expect("valid");
        let bank = engine.model().tensors.total_bytes() - base.model().tensors.total_bytes();
        assert!(bank <= 2 * even, "{name}: {bank} bytes, alone {even}");
        assert_eq!(logits(&mut engine, &[("all", 0.5)]).await, alone[0], "{name}");
    }
}

/// Ranks are counted in sixteen bits: one adapter more than fit is refused before it is written.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn more_ranks_than_a_block_can_name_are_refused() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(&LLAMA, backend);
    let rank = 65_540;
    let huge = adapter(&LLAMA, 1, rank, |m| m.contains("layers.0.self_attn.k_proj"));
    let error = engine.add_adapter("huge", huge).expect_err("too many ranks");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            ErrorKind::Memory,
            "adapter `huge`: rank 65540, the bank stacks at most 65532 ranks of all adapters"
        )
    );
    assert_eq!(engine.list_adapters().count(), 0);
}

/// An adapter for which there is no memory leaves those that are loaded as they were.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_adapter_too_large_harms_no_other() {
    let options =
        GpuOptions { default_limits: true, max_tensor_bytes: Some(64 << 10), ..GpuOptions::default() };
    let Some(backend) = gpu_with(options).await else { return };
    let sizes = EngineOptions { context_length: Some(64), batch: Some(1), ..EngineOptions::default() };
    let mut engine = LLAMA.open(backend, &sizes).expect("it fits in slices");
    engine.add_adapter("a", adapter(&LLAMA, 1, 4, |m| m.contains("q_proj"))).expect("fits");
    let base = logits(&mut engine, &[]).await;
    let a = logits(&mut engine, &[("a", 1.0)]).await;
    let bytes = engine.model().tensors.total_bytes();
    let error = engine.add_adapter("big", adapter(&LLAMA, 2, 100, |_| true)).expect_err("past the limit");
    assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
    assert_eq!(engine.list_adapters().count(), 1);
    assert_eq!(engine.model().tensors.total_bytes(), bytes);
    assert_eq!(logits(&mut engine, &[("a", 1.0)]).await, a);
    assert_eq!(logits(&mut engine, &[]).await, base);
    engine.add_adapter("b", adapter(&LLAMA, 3, 5, |m| m.contains("o_proj"))).expect("fits");
    assert_eq!(logits(&mut engine, &[("a", 1.0)]).await, a);
}

/// What an adapter does behind the last keys and values leaves no trace in the cache: there the
/// base's serve, and those of another weight.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn adapters_behind_the_cache_share_it() {
    for (name, backend) in backends().await {
        let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
        let mut engine = LLAMA.open(backend, &options).expect("valid");
        let last = format!("layers.{}", engine.config().layers.len() - 1);
        let behind = |module: &str| {
            module == "lm_head"
                || module.contains(&last) && !module.contains("k_proj") && !module.contains("v_proj")
        };
        engine.add_adapter("behind", adapter(&LLAMA, 1, 4, behind)).expect("fits");
        engine
            .add_adapter("keys", adapter(&LLAMA, 2, 4, |m| m.contains(&last) && m.contains("k_proj")))
            .expect("fits");
        engine.add_adapter("early", adapter(&LLAMA, 3, 4, |m| m.contains("layers.0.mlp"))).expect("fits");
        let cached = |engine: &mut Engine, parts: &[(&str, f32)]| {
            let request = Request { adapter: Some(choice(parts)), ..Request::greedy(IDS.to_vec(), 1) };
            let generation = engine.start(&[request]).expect("valid");
            let cached = generation.usage(0).cached_tokens;
            engine.end(generation);
            cached
        };
        let request = |parts: &[(&str, f32)]| Request {
            adapter: Some(choice(parts)),
            ..Request::greedy(IDS.to_vec(), 12)
        };
        let fresh = text(&mut engine, request(&[("behind", 1.0)])).await;
        let base = text(&mut engine, request(&[])).await;
        assert_ne!(fresh, base, "{name}: the adapter matters");
        assert_eq!(cached(&mut engine, &[("behind", 1.0)]), IDS.len() - 1, "{name}");
        assert_eq!(
            text(&mut engine, request(&[("behind", 1.0)])).await,
            fresh,
            "{name}: over the base's cache"
        );
        for parts in [&[("keys", 1.0)], &[("early", 1.0)]] {
            text(&mut engine, request(&[])).await;
            assert_eq!(cached(&mut engine, parts), 0, "{name}: {parts:?}");
        }
    }
}
