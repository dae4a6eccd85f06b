//! `adapter_config.json` for an exported adapter.
//! Not the tensors: their names are `base_model.model.{module}.lora_A.weight` and so on.

use super::json::Json;
use super::pattern::ModulePattern;
use super::selection::{Names, Selection};
use super::{AdapterConfig, Bias, Lora, Method};
use crate::error::{Error, Result};
use crate::json;

impl AdapterConfig {
    /// The file that PEFT reads, ending in a line break. Fields that would hold PEFT's default
    /// are left out, for older PEFTs refuse fields they do not know.
    pub fn to_json(&self) -> String {
        let mut fields = Fields(Vec::new());
        let base = self.base_model_name_or_path.clone().map_or(Json::Null, Json::String);
        fields.always("base_model_name_or_path", base);
        fields.always("fan_in_fan_out", Json::Bool(self.fan_in_fan_out));
        fields.always("inference_mode", Json::Bool(true));
        fields.always("peft_type", text(self.method.peft_type()));
        fields.always("task_type", text("CAUSAL_LM"));
        fields.add("modules_to_save", Json::from(self.modules_to_save.as_slice()));
        match &self.method {
            Method::Lora(lora) => {
                fields.always("bias", bias(self.bias, "lora_only"));
                fields.selection(&self.selection);
                fields.lora(lora);
            }
            Method::Ia3(ia3) => {
                fields.selection(&self.selection);
                fields.always("feedforward_modules", names(&ia3.feedforward_modules));
            }
            Method::Vera { r } => {
                fields.always("bias", bias(self.bias, "vera_only"));
                fields.selection(&self.selection);
                fields.always("r", size(*r));
                fields.always("save_projection", Json::Bool(self.projection_prng_key.is_none()));
                let seed = self.projection_prng_key.map(|seed| Json::Number(f64::from(seed)));
                fields.add("projection_prng_key", seed.unwrap_or(Json::Null));
            }
            Method::PromptTuning { num_virtual_tokens, token_dim } => {
                fields.always("num_virtual_tokens", size(*num_virtual_tokens));
                fields.always("token_dim", size(*token_dim));
                fields.always("num_transformer_submodules", size(1));
                fields.0.retain(|(name, _)| name != "fan_in_fan_out");
            }
            Method::PrefixTuning { num_virtual_tokens, token_dim, num_layers, num_attention_heads } => {
                fields.always("num_virtual_tokens", size(*num_virtual_tokens));
                fields.always("token_dim", size(*token_dim));
                fields.always("num_transformer_submodules", size(1));
                fields.always("num_layers", size(*num_layers));
                fields.always("num_attention_heads", size(*num_attention_heads));
                fields.0.retain(|(name, _)| name != "fan_in_fan_out");
            }
        }
        // Nothing in it can fail to be written: keys are strings and numbers finite.
        serde_json::to_string_pretty(&Json::Object(fields.0)).unwrap_or_default() + "\n"
    }
}

impl AdapterConfig {
    /// An `adapter_config.json` that names its base `name`; the same bytes where it names one already.
    ///
    /// Errors with `Format` where it is no object.
    pub fn naming_base(config: &[u8], name: &str) -> Result<Vec<u8>> {
        const FIELD: &str = "base_model_name_or_path";
        let Json::Object(mut entries) = json::read("adapter_config.json", config)? else {
            return Err(Error::format("adapter_config.json: it is not an object"));
        };
        match entries.iter_mut().find(|(field, _)| field == FIELD) {
            Some((_, value)) if !value.is_unset() => return Ok(config.to_vec()),
            Some((_, value)) => *value = text(name),
            None => entries.insert(0, (FIELD.to_owned(), text(name))),
        }
        Ok(serde_json::to_vec_pretty(&Json::Object(entries)).unwrap_or_default())
    }
}

/// By name, as PEFT writes them.
struct Fields(Vec<(String, Json)>);

impl Fields {
    fn always(&mut self, name: &str, value: Json) {
        let at = self.0.partition_point(|(before, _)| before.as_str() < name);
        self.0.insert(at, (name.to_owned(), value));
    }

    /// Unless it is null, false or empty.
    fn add(&mut self, name: &str, value: Json) {
        if !value.is_unset() {
            self.always(name, value);
        }
    }

    fn selection(&mut self, selection: &Selection) {
        self.always("target_modules", names(&selection.target));
        self.add("exclude_modules", selection.exclude.as_ref().map_or(Json::Null, names));
        if let Some(layers) = &selection.layers {
            let indices = layers.indices.iter().map(|&index| Json::Number(index as f64)).collect();
            self.add("layers_to_transform", Json::List(indices));
            self.add("layers_pattern", Json::from(layers.texts.as_slice()));
        }
    }

    fn lora(&mut self, lora: &Lora) {
        self.always("init_lora_weights", Json::Bool(true));
        self.always("lora_alpha", Json::Number(lora.lora_alpha));
        self.always("lora_dropout", Json::Number(0.0));
        self.always("r", size(lora.r));
        self.add("ensure_weight_tying", Json::Bool(lora.ensure_weight_tying));
        self.add("lora_bias", Json::Bool(lora.lora_bias));
        self.add("use_dora", Json::Bool(lora.use_dora));
        self.add("use_rslora", Json::Bool(lora.use_rslora));
        self.add("rank_pattern", patterns(&lora.rank_pattern, |&rank| size(rank)));
        self.add("alpha_pattern", patterns(&lora.alpha_pattern, |&alpha| Json::Number(alpha)));
        let ids = |ids: &[u32]| Json::List(ids.iter().map(|&id| Json::Number(f64::from(id))).collect());
        match lora.trainable_token_indices.as_slice() {
            [] => {}
            [rows] if rows.module.is_none() => self.always("trainable_token_indices", ids(&rows.indices)),
            all => {
                let entry = |rows: &super::TokenRows| Some((rows.module.clone()?, ids(&rows.indices)));
                self.always("trainable_token_indices", Json::Object(all.iter().filter_map(entry).collect()));
            }
        }
    }
}

fn names(names: &Names) -> Json {
    match names {
        Names::List(names) => Json::from(names.as_slice()),
        Names::Pattern(pattern) => text(pattern.text()),
        Names::AllLinear => text("all-linear"),
    }
}

fn patterns<V>(patterns: &[(ModulePattern, V)], value: impl Fn(&V) -> Json) -> Json {
    Json::Object(patterns.iter().map(|(pattern, v)| (pattern.text().to_owned(), value(v))).collect())
}

fn bias(bias: Bias, only: &str) -> Json {
    text(match bias {
        Bias::None => "none",
        Bias::Targets => only,
        Bias::All => "all",
    })
}

fn text(text: &str) -> Json {
    Json::String(text.to_owned())
}

fn size(size: usize) -> Json {
    Json::Number(size as f64)
}
