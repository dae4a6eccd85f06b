//! The names of tensors: which module each belongs to, and what it is to it.

use super::*;

#[test]
fn names_of_lora() {
    let config = of(lora(json!({})));
    for prefix in ["base_model.model.", ""] {
        for adapter in ["", ".default"] {
            placed(&config, &format!("{prefix}{Q}.lora_A{adapter}.weight"), Q, "lora_A");
            placed(&config, &format!("{prefix}{Q}.lora_B{adapter}.weight"), Q, "lora_B");
            let table = "model.embed_tokens";
            placed(&config, &format!("{prefix}{table}.lora_embedding_A{adapter}"), table, "lora_embedding_A");
            placed(&config, &format!("{prefix}{table}.lora_embedding_B{adapter}"), table, "lora_embedding_B");
        }
    }
    let gpt2 = "transformer.h.0.attn.c_attn";
    placed(&config, &format!("base_model.model.{gpt2}.lora_A.weight"), gpt2, "lora_A");
    placed(&config, &format!("{Q}.default_lora_latent_mapping.weight"), Q, "lora_latent_mapping");
    placed(&config, &format!("{Q}_lora_latent_mapping.weight"), Q, "lora_latent_mapping");
    placed(&config, "lm_head.base_layer.weight", "lm_head", "modules_to_save.weight");
    for table in ["model.embed_tokens", "lm_head", "transformer.wte"] {
        placed(&config, &format!("base_model.model.{table}.weight"), table, "modules_to_save.weight");
    }
    for name in [
        "",
        "lora_A.weight",
        "base_model.model.lora_A.weight",
        &format!("{Q}.lora_A"),
        &format!("{Q}.lora_A.other.weight"),
        &format!("{Q}.lora_A.default_1.weight"),
        &format!("{Q}.xlora_A.weight"),
        &format!("{Q}.lora_A.bias"),
        &format!("{Q}.lora_B.bias"),
        &format!("{Q}.lora_E"),
        &format!("{Q}.weight"),
        &format!("{Q}.bias"),
        &format!("{Q}.base_layer.bias"),
        &format!("{Q}.lora_magnitude_vector"),
        "model.embed_tokens.token_adapter.trainable_tokens_delta",
        "model.norm.modules_to_save.weight",
        "prompt_embeddings",
        &format!("{Q}.ia3_l"),
        "base_model.vera_A",
    ] {
        unplaced(&config, name);
    }
}

#[test]
fn names_of_dora_and_of_lora_bias() {
    let config = of(lora(json!({"use_dora": true})));
    for end in ["", ".weight", ".default", ".default.weight"] {
        placed(
            &config,
            &format!("base_model.model.{Q}.lora_magnitude_vector{end}"),
            Q,
            "lora_magnitude_vector",
        );
    }
    let config = of(lora(json!({"lora_bias": true})));
    placed(&config, &format!("base_model.model.{Q}.lora_B.bias"), Q, "lora_B.bias");
    placed(&config, &format!("base_model.model.{Q}.lora_B.default.bias"), Q, "lora_B.bias");
}

#[test]
fn names_of_biases() {
    for bias in ["all", "lora_only"] {
        let config = of(lora(json!({"bias": bias})));
        for name in [format!("{Q}.bias"), format!("base_model.model.{Q}.base_layer.bias")] {
            placed(&config, &name, Q, "bias");
        }
    }
    let config = of(lora(json!({"bias": "all", "modules_to_save": ["ln_f"]})));
    let bias = "modules_to_save.bias";
    placed(&config, "base_model.model.transformer.ln_f.bias", "transformer.ln_f", bias);
    for (copy, unused) in [
        ("modules_to_save", "modules_to_save.bias, unused"),
        ("original_module", "original_module.bias, unused"),
    ] {
        placed(
            &config,
            &format!("base_model.model.transformer.ln_f.{copy}.bias"),
            "transformer.ln_f",
            unused,
        );
    }
    unplaced(&config, "base_model.model.transformer.ln_f.original_module.weight");
}

#[test]
fn names_of_whole_modules_and_of_tokens() {
    let config = of(lora(json!({"modules_to_save": ["lm_head", "norm", "0.mlp"]})));
    let (weight, bias) = ("modules_to_save.weight", "modules_to_save.bias");
    for wrapper in ["", ".modules_to_save", ".modules_to_save.default"] {
        placed(&config, &format!("base_model.model.lm_head{wrapper}.weight"), "lm_head", weight);
        placed(&config, &format!("base_model.model.model.norm{wrapper}.bias"), "model.norm", bias);
    }
    let inner = "model.layers.0.mlp.up_proj";
    placed(&config, &format!("base_model.model.{inner}.weight"), inner, weight);
    unplaced(&config, "base_model.model.lm_head.weight.absmax");
    unplaced(&config, "base_model.model.lm_head.original_module.weight");
    let config = of(lora(json!({"trainable_token_indices": [1]})));
    let table = "model.embed_tokens";
    for end in ["", ".default"] {
        let name = format!("base_model.model.{table}.token_adapter.trainable_tokens_delta{end}");
        placed(&config, &name, table, "trainable_tokens_delta");
    }
    placed(&config, &format!("base_model.model.{table}.token_adapter.base_layer.weight"), table, weight);
}

#[test]
fn names_of_the_other_kinds() {
    let ia3 = of(json!({"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}));
    let vera = of(json!({"peft_type": "VERA", "target_modules": ["q_proj"]}));
    for adapter in ["", ".default"] {
        placed(&ia3, &format!("base_model.model.{Q}.ia3_l{adapter}"), Q, "ia3_l");
        placed(&vera, &format!("base_model.model.{Q}.vera_lambda_b{adapter}"), Q, "vera_lambda_b");
        placed(&vera, &format!("base_model.model.{Q}.vera_lambda_d{adapter}"), Q, "vera_lambda_d");
        placed(&vera, &format!("base_model.vera_A{adapter}"), "", "vera_A");
        placed(&vera, &format!("base_model.vera_B{adapter}"), "", "vera_B");
    }
    let prompt = of(json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "token_dim": 4}));
    placed(&prompt, "prompt_embeddings", "", "prompt_embeddings");
    let prefix = of(json!({
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "token_dim": 4, "num_layers": 1, "num_attention_heads": 2,
    }));
    placed(&prefix, "prompt_embeddings", "", "prompt_embeddings");
    for config in [&ia3, &vera, &prompt, &prefix] {
        unplaced(config, &format!("base_model.model.{Q}.lora_A.weight"));
    }
}

#[test]
fn wrappers_in_a_tensors_name_are_left_out() {
    let config = of(lora(json!({})));
    for name in [
        "_orig_mod.base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
        "base_model.model._orig_mod.model.layers.1.self_attn.q_proj.lora_A.weight",
        "module.base_model.model.model.layers.1.self_attn.q_proj.lora_A.default.weight",
        "base_model.model.model.layers.1._checkpoint_wrapped_module.self_attn.q_proj.lora_A.weight",
        "_fsdp_wrapped_module.base_model.model.model.layers.1._fsdp_wrapped_module._checkpoint_wrapped_module.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.1.self_attn.q_proj._orig_mod.lora_A._orig_mod.weight",
    ] {
        placed(&config, name, Q, "lora_A");
    }
    unplaced(&config, "base_model.model.submodule.lora_C.weight");
    let saving = of(lora(json!({"modules_to_save": ["lm_head"]})));
    placed(&saving, "module.base_model.model._orig_mod.lm_head.weight", "lm_head", "modules_to_save.weight");
}
