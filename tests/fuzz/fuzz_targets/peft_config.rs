//! Any bytes as an `adapter_config.json`: an error, or a config that answers for any module and
//! tensor, and is read again after it is written.
//! Not a check of what the answers are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lorakeet::format::peft::{AdapterConfig, part_of};

const MODULES: [&str; 4] = ["model.layers.1.self_attn.q_proj", "transformer.h.0.mlp.c_fc", "lm_head", ""];

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = AdapterConfig::from_json(bytes) else { return };
    for module in MODULES {
        let _ = (config.targets(module, true, false), config.is_feedforward(module));
        let _ = (config.saves(module), config.token_rows(module, true));
        if let (Ok(rank), Ok(scale)) = (config.rank(module), config.scale(module)) {
            assert!(rank > 0 && scale.is_finite());
        }
        for end in ["lora_A.weight", "base_layer.bias", "modules_to_save.default.weight", "ia3_l"] {
            let name = format!("base_model.model.{module}.{end}");
            if let Ok(part) = part_of(&name, &config) {
                assert!(part.module.starts_with(module));
            }
        }
    }
    AdapterConfig::from_json(config.to_json().as_bytes()).expect("what we write is read");
});
