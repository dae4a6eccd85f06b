//! Encoders against transformers: hidden states of texts short and long, embeddings, adapters, GGUF files.
//! Not decoders' hidden states, which `hidden.rs` compares.

use crate::common::models::ModelFiles;
#[cfg(not(target_arch = "wasm32"))]
use crate::common::real;
use crate::common::{Fixture, Tolerance, assert_close, backends, misfit};
use lorakeet::ErrorKind;
use lorakeet::engine::{
    Engine, EngineOptions, Loader, NewLora, Optimizer, Pooling, Request, TempLoraOptions, TrainingRoom,
    Variant,
};
use lorakeet::format::gguf::Header;
use wasm_bindgen_test::wasm_bindgen_test;

macro_rules! encoder {
    ($name:literal) => {
        Encoder {
            files: ModelFiles {
                name: $name,
                config: include_bytes!(concat!("../fixtures/encoders/", $name, "/config.json")),
                tokenizer: include_bytes!(concat!("../fixtures/encoders/", $name, "/tokenizer.json")),
                weights: &[include_bytes!(concat!("../fixtures/encoders/", $name, "/model.safetensors"))],
                reference: include_bytes!(concat!("../fixtures/encoders/", $name, "/reference.safetensors")),
            },
            adapter: [
                include_bytes!(concat!("../fixtures/encoders/", $name, "/lora/adapter_config.json")),
                include_bytes!(concat!("../fixtures/encoders/", $name, "/lora/adapter_model.safetensors")),
                include_bytes!(concat!("../fixtures/encoders/", $name, "/lora/reference.safetensors")),
            ],
            gguf: include_bytes!(concat!("../fixtures/encoders/", $name, ".gguf")),
        }
    };
}

struct Encoder {
    files: ModelFiles,
    /// Its config, its weights, and the states under it.
    adapter: [&'static [u8]; 3],
    gguf: &'static [u8],
}

const ENCODERS: &[Encoder] = &[encoder!("bert"), encoder!("modernbert")];

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend == "gpu" { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

impl Encoder {
    fn gguf(&self, backend: lorakeet::backend::Backend) -> Engine {
        let header = Header::from_file_bytes(self.gguf).expect("a header");
        let mut loader =
            Loader::from_gguf(&header, None, backend, &EngineOptions::default()).expect("a model");
        for piece in loader.gguf_pieces(&header).expect("known") {
            loader.load(&piece, piece.bytes_in(self.gguf).expect("there")).expect("finite");
        }
        loader.finish().expect("whole")
    }
}

/// One text after the other, of lengths on both sides of a run of rows: what was before leaves no trace.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn states_are_those_of_transformers() {
    for Encoder { files, .. } in ENCODERS {
        let fixture = Fixture::new(files.reference);
        let [short, long] = ["short_ids", "long_ids"].map(|name| fixture.ids(name));
        assert!(long.len() > 128);
        for (name, backend) in backends().await {
            let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
            let (layers, c) = (engine.config().layers.len(), engine.config().hidden_size);
            for _ in 0..2 {
                for layer in [0, 1, layers] {
                    let want = fixture.f32(&format!("short/{layer}"));
                    let got = engine.hidden_states(&short, None, Some(layer)).await.expect("it fits");
                    assert_close(&format!("{} {layer} on {name}", files.name), &got, &want, tolerance(name));
                }
                let got = engine.hidden_states(&long, None, None).await.expect("it fits");
                let rows: Vec<f32> = got.chunks_exact(c).step_by(11).flatten().copied().collect();
                let want = fixture.f32("long");
                assert_close(&format!("{} long on {name}", files.name), &rows, &want, tolerance(name));
            }
            // The last position is seen by the first.
            let mut changed = long.clone();
            let last = changed.len() - 1;
            changed[last] = (changed[last] + 1) % 80;
            let [a, b] = [&long, &changed];
            let a = engine.hidden_states(a, None, None).await.expect("it fits");
            let b = engine.hidden_states(b, None, None).await.expect("it fits");
            assert!(misfit(&a[..c], &b[..c], tolerance(name)).is_some());
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn adapters_act_as_pefts() {
    for Encoder { files, adapter: [config, weights, reference], .. } in ENCODERS {
        let fixture = Fixture::new(files.reference);
        let (ids, layers) = (fixture.ids("short_ids"), files.name);
        let want = Fixture::new(reference).f32("states");
        for (name, backend) in backends().await {
            let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
            let last = engine.config().layers.len();
            let info = engine.load_adapter("a", config, weights).await.expect("a PEFT folder");
            assert_eq!(info.name, "a");
            let chosen = vec![("a".to_owned(), 1.0)];
            let got = engine.hidden_states(&ids, Some(&chosen), None).await.expect("it fits");
            assert_close(&format!("{layers} adapted on {name}"), &got, &want, tolerance(name));
            let plain = engine.hidden_states(&ids, None, None).await.expect("it fits");
            let base = fixture.f32(&format!("short/{last}"));
            assert_close(&format!("{layers} without on {name}"), &plain, &base, tolerance(name));
            // As exported, it is the same adapter.
            let files = engine.export_adapter("a").await.expect("its files");
            engine.delete_adapter("a").expect("there");
            engine.load_adapter("b", &files.config, &files.weights).await.expect("what was written");
            let chosen = vec![("b".to_owned(), 1.0)];
            let again = engine.hidden_states(&ids, Some(&chosen), None).await.expect("it fits");
            assert_eq!(got, again);
        }
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn a_gguf_file_is_its_folder() {
    for encoder in ENCODERS {
        let ids = Fixture::new(encoder.files.reference).ids("long_ids");
        for (name, backend) in backends().await {
            let mut engine = encoder.gguf(backend);
            let states = engine.hidden_states(&ids, None, None).await.expect("it fits");
            let c = engine.config().hidden_size;
            // It says that the first token stands for all.
            let embedding = engine.embed(&ids, None, None, None).await.expect("it fits");
            assert_eq!(embedding, states[..c]);
            let mean = engine.embed(&ids, None, None, Pooling::Mean).await.expect("it fits");
            assert!(misfit(&embedding, &mean, tolerance(name)).is_some());
            let text = "The rabbit was tired of 12 sisters, begin!";
            let tokens = engine.encode(text).expect("a text");
            let (_, backend) = backends().await.remove(0);
            let mut folder = encoder.files.open(backend, &EngineOptions::default()).expect("valid");
            assert_eq!(tokens, folder.encode(text).expect("a text"));
            let want = folder.hidden_states(&ids, None, None).await.expect("it fits");
            assert_close(
                &format!("{} as GGUF on {name}", encoder.files.name),
                &states,
                &want,
                tolerance(name),
            );
        }
    }
}

/// No text comes of an encoder, and none is learned: it says so.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn an_encoder_writes_and_learns_nothing() {
    let (_, backend) = backends().await.remove(0);
    let files = &ENCODERS[0].files;
    let mut engine = files.open(backend, &EngineOptions::default()).expect("valid");
    let told = |error: lorakeet::Error, what: &str| {
        let words =
            format!("a bert model is an encoder: it makes embeddings of texts, and {what} is not supported");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unsupported, words));
    };
    told(engine.start(&[Request::greedy(vec![1, 2], 3)]).expect_err("an encoder"), "writing text");
    told(engine.logits(&[1, 2]).await.expect_err("an encoder"), "scoring text");
    told(engine.losses(&[1, 2], 1).await.expect_err("an encoder"), "scoring text");
    let lora = NewLora { variant: Variant::Lora, rank: 4, alpha: 8.0, target_modules: vec![], seed: 1 };
    engine.new_lora("me", &lora).await.expect("an adapter like any other");
    let room = TrainingRoom { window: 8, memory_limit: None };
    let error = engine.begin_training("me", Optimizer::default(), room).await.expect_err("an encoder");
    told(error, "training");
    let options = TempLoraOptions::of(Default::default(), engine.model());
    told(engine.begin_temp_lora(options).await.expect_err("an encoder"), "training");
    let states = engine.hidden_states(&[5, 6], None, None).await.expect("still works");
    assert_eq!(states.len(), 2 * engine.config().hidden_size);
}

/// Both tables of positions and token types are needed, in whichever order they come.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn tables_that_become_one() {
    let files = &ENCODERS[0].files;
    let (_, backend) = backends().await.remove(0);
    let mut loader =
        Loader::new(files.config, None, files.tokenizer, backend, &EngineOptions::default()).expect("valid");
    let file = files.weights[0];
    let header = lorakeet::format::safetensors::Header::from_file_bytes(file).expect("a header");
    let mut tensors: Vec<_> = header.tensors.iter().collect();
    tensors.reverse();
    for info in tensors {
        for piece in loader.pieces(info).expect("expected") {
            loader.load(&piece, piece.bytes_in(file).expect("there")).expect("finite");
        }
    }
    let fixture = Fixture::new(files.reference);
    let mut engine = loader.finish().expect("whole");
    let got = engine.hidden_states(&fixture.ids("short_ids"), None, Some(0)).await.expect("it fits");
    assert_close("backwards", &got, &fixture.f32("short/0"), tolerance("twin"));

    let (_, backend) = backends().await.remove(0);
    let mut loader =
        Loader::new(files.config, None, files.tokenizer, backend, &EngineOptions::default()).expect("valid");
    for info in header.tensors.iter().filter(|info| !info.name.contains("token_type")) {
        for piece in loader.pieces(info).expect("expected") {
            loader.load(&piece, piece.bytes_in(file).expect("there")).expect("finite");
        }
    }
    let error = loader.finish().expect_err("half of a sum");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(error.to_string(), "tensor `embeddings.token_type_embeddings.weight` is missing");
}

/// How a text's states become one vector is the files' to say, unless the request does.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn pooling_is_what_the_files_say() {
    let files = &ENCODERS[0].files;
    let ids = Fixture::new(files.reference).ids("short_ids");
    let file = |modes: &str| format!(r#"{{"word_embedding_dimension": 36, {modes}}}"#);
    let told = |modes: &str| {
        let backend = lorakeet::backend::Backend::Cpu(lorakeet::backend::cpu::Cpu::new(
            lorakeet::backend::cpu::Kernels::Fast,
        ));
        let mut loader = files.load(files.config, backend, &EngineOptions::default()).expect("valid");
        assert!(loader.is_encoder());
        loader.read_pooling(file(modes).as_bytes()).map(|()| loader.finish().expect("whole"))
    };
    let mean = r#""pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false"#;
    for (modes, pooling) in [
        (mean, Pooling::Mean),
        (r#""pooling_mode_cls_token": true, "include_prompt": true"#, Pooling::Cls),
        (r#""pooling_mode_lasttoken": true"#, Pooling::Last),
    ] {
        let mut engine = told(modes).expect("known");
        let got = engine.embed(&ids, None, None, None).await.expect("it fits");
        assert_eq!(got, engine.embed(&ids, None, None, pooling).await.expect("it fits"), "{pooling:?}");
    }
    let max = r#""pooling_mode_max_tokens": true"#;
    for (modes, kind, words) in [
        (
            max.to_owned(),
            ErrorKind::Unsupported,
            "1_Pooling/config.json: pooling_mode_max_tokens: not supported, expected one of pooling_mode_cls_token, pooling_mode_mean_tokens, pooling_mode_lasttoken",
        ),
        (
            format!(r#"{max}, "pooling_mode_cls_token": true"#),
            ErrorKind::Unsupported,
            "1_Pooling/config.json: pooling_mode_cls_token and pooling_mode_max_tokens: not supported, expected one of pooling_mode_cls_token, pooling_mode_mean_tokens, pooling_mode_lasttoken",
        ),
        (r#""x": 1"#.to_owned(), ErrorKind::Format, "1_Pooling/config.json: no `pooling_mode_` is true"),
    ] {
        let error = told(&modes).expect_err(words);
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
    }
}

/// all-MiniLM-L6-v2 as published: embeddings of sentences, and of a text longer than a run.
#[cfg(not(target_arch = "wasm32"))]
#[pollster::test]
async fn real_embeddings_are_those_of_transformers() {
    let Some(folder) = real::fetched("minilm", "python3 tools/real_model.py") else { return };
    let fixture = Fixture::new(include_bytes!("../fixtures/real/minilm.safetensors"));
    let texts = include_str!("../fixtures/real/minilm.txt");
    for (name, backend) in backends().await {
        if name == "twin" {
            continue; // minutes
        }
        let options = EngineOptions { batch: Some(1), ..EngineOptions::default() };
        let mut engine =
            lorakeet::engine::folder::open(&folder, backend, &options, |_, _| {}).expect("valid");
        for (i, text) in texts.lines().enumerate() {
            let ids = engine.encode(text).expect("a text");
            assert_eq!(ids, fixture.ids(&format!("ids/{i}")), "{text}");
            let got = engine.embed(&ids, None, None, None).await.expect("it fits");
            let norm = got.iter().map(|x| x * x).sum::<f32>().sqrt();
            let got: Vec<f32> = got.iter().map(|x| x / norm).collect();
            assert_close(
                &format!("{i} on {name}"),
                &got,
                &fixture.f32(&format!("embedding/{i}")),
                tolerance(name),
            );
        }
    }
}
