//! `lorakeet inspect --adapter`: adapters of every kind described without a base model.
//! Not what they compute.
#![cfg(all(feature = "cli", not(target_arch = "wasm32")))]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// What `inspect --json` says of one adapter.
#[track_caller]
fn inspect(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_lorakeet"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["inspect", "--json"])
        .args(arguments)
        .output()
        .expect("the program runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    report["adapters"][0].clone()
}

/// How many modules of each name (`*` for the layer), rank, scale and tensors there are.
fn kinds(report: &Value) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for module in report["modules"].as_array().expect("a list") {
        let name = module["module"].as_str().expect("a name");
        let number = |part: &&str| part.parse::<usize>().is_ok();
        let layer = name.split('.').find(number).expect("a layer");
        let tensors: Vec<_> = module["tensors"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|tensor| {
                let whole = tensor["name"].as_str().expect("a name");
                let end = whole.split_once(name).expect("begins with its module").1;
                format!("{end} {} {}", tensor["dtype"].as_str().expect("a type"), tensor["shape"])
            })
            .collect();
        let name = name.replace(&format!(".{layer}."), ".*.");
        let kind = format!("{name} {} {} {}", module["rank"], module["scale"], tensors.join(" "));
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn counted<const N: usize>(kinds: [(&str, usize); N]) -> BTreeMap<String, usize> {
    kinds.map(|(kind, count)| (kind.to_owned(), count)).into()
}

#[test]
fn a_fixture_is_described() {
    let path = "tests/fixtures/adapters/llama/rank-alpha-pattern";
    let report = inspect(&["--adapter", path]);
    let own: Value = serde_json::from_str(
        &std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(path).join("adapter_config.json"),
        )
        .expect("there"),
    )
    .expect("JSON");
    assert_eq!(report["type"], "LORA");
    assert_eq!(report["base"], "llama");
    assert_eq!(report["alpha"].as_f64(), own["lora_alpha"].as_f64());
    assert_eq!(report["target_modules"], own["target_modules"]);
    assert_eq!(report["unsupported"], json!([]));
    assert_eq!(report["fits"], Value::Null);
    let ranks: std::collections::BTreeSet<_> =
        report["modules"].as_array().expect("a list").iter().map(|module| module["rank"].as_u64()).collect();
    assert!(ranks.len() > 1, "{ranks:?}");
}

#[test]
fn a_base_says_whether_it_takes_an_adapter() {
    let fits = |model: &str, adapter: &str| {
        let (model, adapter) =
            (format!("tests/fixtures/models/{model}"), format!("tests/fixtures/{adapter}"));
        let report = inspect(&["--adapter", &adapter, "--model", &model]);
        (report["fits"].as_bool().expect("said"), report["misfit"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(fits("llama", "adapters/llama/qv"), (true, String::new()));
    assert_eq!(fits("llama", "gguf/llama-f16.gguf"), (true, String::new()));
    let (fit, why) = fits("mistral", "adapters/llama/qv");
    assert!(!fit && why.contains("expected ["), "{why}");
    let (fit, why) = fits("qwen2", "gguf/llama-f16.gguf");
    assert!(!fit && why.ends_with("general.architecture is `llama`, this base is `qwen2`"), "{why}");
}

#[test]
fn what_is_unsupported_is_named() {
    let unsupported = |adapter: &str| {
        inspect(&["--adapter", &format!("tests/fixtures/adapters/{adapter}")])["unsupported"].clone()
    };
    assert_eq!(
        unsupported("llama/NEG-unknown-field"),
        json!(["adapter_config.json: field `use_twisted_lora` is unknown and may change the arithmetic"])
    );
    let pickle = unsupported("llama/NEG-bin");
    assert!(pickle[0].as_str().is_some_and(|words| words.contains("save_pretrained")), "{pickle}");
    assert_eq!(unsupported("llama/dora"), json!([]));
}

#[test]
fn a_gguf_lora_is_described() {
    let report = inspect(&["--adapter", "tests/fixtures/gguf/llama-rslora.gguf"]);
    assert_eq!((&report["type"], &report["base"]), (&json!("GGUF LORA"), &json!("llama")));
    assert_eq!(report["architecture"], "llama");
    assert!(report["warnings"][0].as_str().is_some_and(|words| words.contains("\"Rslora\"")), "{report}");
    assert_eq!(report["modules"][0]["module"], "blk.0.attn_output.weight");
}

/// Adapters found in public repositories.
#[test]
fn real_adapters() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/adapters/real");
    if !home.is_dir() {
        println!("skipped: no real adapters beside this checkout");
        return;
    }
    let report = |name: &str| inspect(&["--adapter", home.join(name).to_str().expect("UTF-8")]);
    let gpt2 = report("gpt2-tigrinya");
    assert_eq!(
        (&gpt2["type"], &gpt2["base"], &gpt2["alpha"]),
        (&json!("LORA"), &json!("gpt2"), &json!(32.0))
    );
    assert_eq!((&gpt2["parameters"], &gpt2["bytes"]), (&json!(811_008), &json!(3_253_104)));
    assert_eq!(gpt2["unsupported"], json!([]));
    assert_eq!(
        kinds(&gpt2),
        counted([
            ("transformer.h.*.attn.c_attn 8 4.0 .lora_A.weight F32 [8,768] .lora_B.weight F32 [2304,8]", 12),
            ("transformer.h.*.attn.c_proj 8 4.0 .lora_A.weight F32 [8,768] .lora_B.weight F32 [768,8]", 12),
            ("transformer.h.*.mlp.c_proj 8 4.0 .lora_A.weight F32 [8,3072] .lora_B.weight F32 [768,8]", 12),
        ])
    );
    let gemma = report("gemma3-270m-svg-adapter");
    assert_eq!((&gemma["base"], &gemma["alpha"]), (&json!("gemma3-270m-it"), &json!(16.0)));
    assert_eq!(gemma["unsupported"], json!([]));
    assert_eq!(
        kinds(&gemma),
        counted([
            (
                "model.layers.*.self_attn.k_proj 4 4.0 .lora_A.weight F32 [4,640] .lora_B.weight F32 [256,4]",
                18
            ),
            (
                "model.layers.*.self_attn.o_proj 4 4.0 .lora_A.weight F32 [4,1024] .lora_B.weight F32 [640,4]",
                18
            ),
            (
                "model.layers.*.self_attn.q_proj 4 4.0 .lora_A.weight F32 [4,640] .lora_B.weight F32 [1024,4]",
                18
            ),
            (
                "model.layers.*.self_attn.v_proj 4 4.0 .lora_A.weight F32 [4,640] .lora_B.weight F32 [256,4]",
                18
            ),
        ])
    );
}
