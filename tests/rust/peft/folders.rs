//! Whole folders, as trainers wrote them.

use super::*;
use lorakeet::format::peft::refuse_pickle;
use lorakeet::format::safetensors::Header;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[test]
fn pickles_are_refused() {
    let words = "a pickled weight file is not read, for it can run code; convert it in Python with \
                 `PeftModel.from_pretrained(base, folder).save_pretrained(folder, safe_serialization=True)`: ";
    let refuses = |name: &str, bytes: &[u8]| {
        assert_error(refuse_pickle(name, bytes), ErrorKind::Format, &(words.to_owned() + name));
    };
    refuses("adapter_model.bin", b"");
    refuses("adapter_model.safetensors", b"PK\x03\x04\0\0\0\0\0");
    refuses("adapter_model", &[0x80, 2, b'}', b'q', 0, 0, 0, 0, 0]);
    assert_eq!(refuse_pickle("adapter_model.safetensors", b""), Ok(()));
    // A header of 0x280 bytes begins like a pickle.
    assert_eq!(refuse_pickle("adapter_model.safetensors", b"\x80\x02\0\0\0\0\0\0{"), Ok(()));
}

/// Every module of the base that an adapter was trained on: (name, is linear, is the head).
fn modules(base: &str) -> Vec<(String, bool, bool)> {
    let mut modules = vec![("lm_head".to_owned(), true, true)];
    let mut add = |name: String, linear| modules.push((name, linear, false));
    if base.contains("gpt2") {
        for table in ["wte", "wpe", "ln_f"] {
            add(format!("transformer.{table}"), false);
        }
        for l in 0..if base == "gpt2" { 12 } else { 2 } {
            for linear in ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"] {
                add(format!("transformer.h.{l}.{linear}"), true);
            }
        }
        return modules;
    }
    add("model.embed_tokens".to_owned(), false);
    add("model.norm".to_owned(), false);
    for l in 0..if base.contains("gemma3") { 18 } else { 5 } {
        for linear in ["q", "k", "v", "o"] {
            add(format!("model.layers.{l}.self_attn.{linear}_proj"), true);
        }
        for linear in ["gate", "up", "down"] {
            add(format!("model.layers.{l}.mlp.{linear}_proj"), true);
        }
    }
    modules
}

/// Reads a folder as a loader would; returns how many tensors were placed.
fn check_folder(folder: &Path) -> Result<usize, Error> {
    let file =
        |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{folder:?} {name}: {e}"));
    let config = AdapterConfig::from_json(&file("adapter_config.json"))?;
    if let Ok(bytes) = std::fs::read(folder.join("adapter_model.bin")) {
        refuse_pickle("adapter_model.bin", &bytes)?;
    }
    let header = Header::from_file_bytes(&file("adapter_model.safetensors")).expect("valid");
    let mut adapted = BTreeSet::new();
    let mut parts = BTreeMap::new();
    for tensor in &header.tensors {
        let part = part_of(&tensor.name, &config)?;
        let rank = match part.role {
            "lora_A" | "lora_embedding_A" => tensor.shape.first(),
            "lora_B" | "lora_embedding_B" => tensor.shape.get(1),
            _ => None,
        };
        if let Some(rank) = rank {
            assert_eq!(config.rank(&part.module)?, *rank, "{}", tensor.name);
        }
        if matches!(part.role, "lora_A" | "lora_embedding_A" | "ia3_l" | "vera_lambda_b") {
            adapted.insert(part.module.clone());
        }
        if part.role == "ia3_l" {
            let input = tensor.shape.first() == Some(&1);
            assert_eq!(is_feedforward(&config, &part.module), input, "{}", tensor.name);
        }
        assert!(parts.insert(part, &tensor.name).is_none(), "{} is not alone", tensor.name);
    }
    let base = config.common.base_model_name_or_path.clone().unwrap_or_default();
    let mut targeted = BTreeSet::new();
    for (module, is_linear, is_head) in modules(&base) {
        if config.targets(&module, is_linear, is_head) {
            targeted.insert(module);
        }
    }
    assert_eq!(adapted, targeted, "{folder:?}");
    Ok(parts.len())
}

#[test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
fn real_folders_are_read_or_refused_for_the_right_reason() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/adapters");
    let mut folders: Vec<PathBuf> = [shared.clone(), shared.join("real")]
        .iter()
        .flat_map(std::fs::read_dir)
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("adapter_config.json").exists())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "no adapters beside this checkout");
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let result = check_folder(folder);
        if name.contains("pissa") {
            let words = "adapter_config.json: field `init_lora_weights` is \"pissa\": its A and B fit only the base \
                         they were cut out of; convert it in Python with `save_pretrained(folder, \
                         path_initial_model_for_weight_conversion=…)`";
            assert_error(result, ErrorKind::Unsupported, words);
        } else if folder.join("adapter_model.bin").exists() {
            let error = result.expect_err("a pickle");
            assert_eq!(error.kind(), ErrorKind::Format, "{error}");
        } else {
            let tensors = result.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(tensors > 0, "{name} is empty");
        }
    }
}
