//! `lorakeet inspect`: models described by their config alone, adapters of every kind without a base model.
//! Not what they compute.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

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

/// Folders of other trainers say as much as PEFT's, and what reads them here loads them too.
#[test]
fn folders_of_other_trainers_are_described() {
    let described = |folder: &str| {
        let report = inspect(&["--adapter", &format!("tests/fixtures/adapters/other/{folder}")]);
        assert_eq!(report["unsupported"], json!([]), "{folder}");
        let modules = report["modules"].as_array().expect("a list").clone();
        assert!(!modules.is_empty(), "{folder}");
        for module in modules {
            let has_rank = module["rank"].as_u64().is_some_and(|rank| rank > 0);
            assert!(has_rank && module["scale"].is_number(), "{folder}: {module}");
        }
        report["type"].as_str().expect("a name").to_owned()
    };
    for folder in
        ["llama/mlx-all", "llama/mlx-dora", "llama/mlx-old", "gpt2/mlx-conv1d", "qwen2/mlx-tied-table"]
    {
        assert_eq!(described(folder), "LORA of mlx-lm");
    }
    for folder in ["finetune", "finetune-alone", "finetune-wrapped"] {
        assert_eq!(described(&format!("mistral/{folder}")), "LORA of mistral-finetune");
    }
}

/// Adapters found in public repositories.
#[test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
fn real_adapters() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/adapters/real");
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

/// What `inspect --json` says of a folder that has a `config.json` and nothing else, or the words it ends
/// with: of the address space the program may have 100 MB, of time a second.
#[track_caller]
fn described(config: &str) -> Result<Value, String> {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("lorakeet-inspect-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    std::fs::write(folder.join("config.json"), config).expect("written");
    let program = env!("CARGO_BIN_EXE_lorakeet");
    let mut command = if cfg!(target_os = "linux") {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 100000; exec \"$0\" \"$@\"", program]);
        shell
    } else {
        Command::new(program)
    };
    let started = Instant::now();
    let output =
        command.args(["inspect", "--json", "--model"]).arg(&folder).output().expect("the program runs");
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(seconds < 1.0, "{seconds} s");
    let words = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("one JSON object"))
    } else {
        // A panic or the system's end of it has another code.
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert_eq!(words.lines().count(), 1, "{words}");
        Err(words)
    }
}

fn llama(hidden: u64, intermediate: u64, layers: u64, heads: u64) -> Value {
    json!({
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": hidden, "intermediate_size": intermediate,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": 8,
        "max_position_embeddings": 8192, "rope_theta": 500_000.0,
    })
}

/// Weights of 32 and 1,624 GB.
#[test]
fn a_model_is_described_by_its_config_alone() {
    let report = described(&llama(4096, 14_336, 32, 32).to_string()).expect("Llama 3 8B");
    assert_eq!(report["parameters"], json!(8_030_261_248u64));
    assert_eq!((&report["layers"], &report["tokenizer_tokens"]), (&json!(32), &Value::Null));
    let bytes = |report: &Value, dtype: &str| report["memory_bytes"][dtype].as_f64().expect(dtype);
    // The weights, and less than a twentieth beside them.
    for (dtype, bits) in [("f32", 32.0), ("f16", 16.0), ("q8", 8.5), ("q4", 4.5)] {
        let weights = 8_030_261_248.0 * bits / 8.0;
        let most = weights + 0.05 * 8_030_261_248.0 * 4.0;
        assert!((weights..most).contains(&bytes(&report, dtype)), "{dtype}: {report}");
    }
    let report = described(&llama(16_384, 53_248, 126, 128).to_string()).expect("405B");
    assert_eq!(report["parameters"], json!(405_853_388_800u64));
    assert!(bytes(&report, "f32") > 1.6e12 && bytes(&report, "q4") > 228e9, "{report}");
    assert_eq!(report["device_bytes"], report["memory_bytes"]["f32"]);
}

#[test]
fn hostile_configs_are_refused_at_once() {
    let config = |key: &str, value: Value| {
        let mut config = llama(4096, 14_336, 32, 32);
        config[key] = value;
        described(&config.to_string()).expect_err(key)
    };
    for (key, value, words) in [
        ("hidden_size", json!(1u64 << 40), "hidden_size 1099511627776 is out of range"),
        ("num_hidden_layers", json!(1_000_000_000), "num_hidden_layers 1000000000 is out of range"),
        ("vocab_size", json!(0), "vocab_size 0 is out of range"),
        ("intermediate_size", json!(1u64 << 33), "intermediate_size 8589934592 is out of range"),
        (
            "max_position_embeddings",
            json!(1u64 << 50),
            "max_position_embeddings 1125899906842624 is out of range",
        ),
    ] {
        assert_eq!(config(key, value), format!("error (unsupported): config.json: {words}"));
    }
    let mut most = llama(1 << 22, 1 << 22, 1024, 1 << 20);
    most["head_dim"] = json!(2);
    let error = described(&most.to_string()).expect_err("more than there is");
    assert!(error.contains(" parameters, expected at most 1099511627776"), "{error}");
    let gpt2 = json!({
        "model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1_000_000_000, "n_head": 2, "n_positions": 5,
    });
    let words = "error (unsupported): config.json: n_layer 1000000000 is out of range";
    assert_eq!(described(&gpt2.to_string()), Err(words.to_owned()));
    // As large as is accepted: listed all the same.
    let mut large = llama(1 << 14, 1 << 16, 240, 128);
    large["vocab_size"] = json!(1 << 22);
    described(&large.to_string()).expect("a trillion parameters");
}

#[test]
fn what_is_no_config_is_told() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let error = described(pointer).expect_err("a pointer");
    assert!(error.starts_with("error (format): config.json: a Git LFS pointer"), "{error}");
}

/// Bodies of real models: each is described, or refused by name.
#[test]
fn real_configs_are_described_or_refused() {
    let configs: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/configs.json")).expect("JSON");
    let (mut described_count, mut refused_count) = (0, 0);
    for (name, json) in &configs {
        match described(&json.to_string()) {
            Ok(report) => {
                described_count += 1;
                assert!(report["memory_bytes"]["q4"].as_u64() > Some(10_000_000), "{name}: {report}");
            }
            Err(words) => {
                refused_count += 1;
                assert!(words.starts_with("error (unsupported): config.json: "), "{name}: {words}");
            }
        }
    }
    assert!(described_count >= 40 && refused_count >= 5, "{described_count}, {refused_count}");
}
