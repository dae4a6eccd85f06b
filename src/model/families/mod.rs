//! The families of models, a file for each: how their files describe, name and store them.
//! Not their arithmetic: that is what a [`Blueprint`] says, whoever made it.

mod bert;
mod cohere;
mod cohere2;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_bigcode;
mod gpt_neox;
mod gptj;
mod granite;
mod internlm2;
mod llama;
mod minicpm;
mod ministral;
mod ministral3;
mod mistral;
mod modernbert;
mod olmo2;
mod phi;
mod phi3;
mod plain;
mod qwen2;
mod qwen3;
mod smollm3;
mod stablelm;
mod starcoder2;
mod wrapped;

use serde_json::{Map, Value as Json};

use super::blueprint::{Blueprint, Family, Wrapper};
use super::fields::{Fields, token_ids};
use crate::error::{Error, Result};
use crate::format::gguf::{Header, Value};
use crate::json;

/// Every family. Of those with one GGUF architecture, the first reads it.
pub(super) const ALL: &[&Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &gpt2::FAMILY,
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &smollm3::FAMILY,
    &granite::FAMILY,
    &olmo2::FAMILY,
    &phi3::FAMILY,
    &phi::FAMILY,
    &gpt_neox::FAMILY,
    &stablelm::FAMILY,
    &bert::FAMILY,
    &modernbert::FAMILY,
    &minicpm::FAMILY,
    &ministral::FAMILY,
    &ministral3::FAMILY,
    &starcoder2::FAMILY,
    &gpt_bigcode::FAMILY,
    &gptj::FAMILY,
    &cohere::FAMILY,
    &cohere2::FAMILY,
    &internlm2::FAMILY,
];

impl Blueprint {
    /// Reads a Hugging Face `config.json`, the older (`rope_theta`, `rope_scaling`) and the
    /// newer (`rope_parameters`, `layer_types`) spelling alike.
    ///
    /// Errors: `Format` where the JSON is not a config, `Unsupported` naming the field whose
    /// arithmetic is not implemented, `Mismatch` where fields contradict each other.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let mut config: Map<String, Json> = json::read("config.json", bytes)?;
        let Some(Json::String(model_type)) = config.remove("model_type") else {
            return Err(Error::format("config.json: field `model_type` is missing"));
        };
        // A model of more may call itself as its text part is called.
        let has_text_part = config.contains_key("text_config");
        let wraps = |family: &Family, wrapper: &Wrapper| {
            wrapper.model_type == model_type || has_text_part && family.model_type == model_type
        };
        let wrapper = ALL.iter().find(|family| family.wrapper.is_some_and(|w| wraps(family, w)));
        let text_part = wrapper.map(|family| wrapped::text_part(family, &config)).transpose()?;
        let is_text_part = text_part.is_some();
        let family = wrapper.or_else(|| ALL.iter().find(|family| family.model_type == model_type));
        let family = family.ok_or_else(|| wrapped::unknown(&model_type, &config))?;
        let read = family.read(&Fields::of_config(text_part.as_ref().unwrap_or(&config)));
        read.and_then(|blueprint| {
            blueprint.check().map_err(|e| e.context("config.json"))?;
            Ok(Self { is_text_part, ..blueprint })
        })
    }

    /// Takes the end tokens that `generation_config.json` names, as transformers does.
    ///
    /// Errors with `Format` if it is not such a file.
    pub(crate) fn read_generation_config(&mut self, bytes: &[u8]) -> Result<()> {
        let json: Json = json::read("generation_config.json", bytes)?;
        let ids = token_ids(json.get("eos_token_id"), "eos_token_id")?;
        if !ids.is_empty() {
            self.eos_token_ids = ids;
        }
        self.check().map_err(|e| e.context("config.json"))
    }

    /// Reads what a GGUF file says of its model. Keys after llama.cpp's `docs/gguf.md` and
    /// `llama-arch.cpp`.
    ///
    /// Errors: `Format` where the file is no model, or a key is missing or of another type;
    /// `Unsupported` naming the key whose arithmetic is not implemented; `Mismatch` where keys
    /// contradict each other.
    pub fn from_gguf(header: &Header) -> Result<Self> {
        let kind = header.get("general.type", "a text", Value::as_text)?.unwrap_or("model");
        if kind != "model" {
            return Err(Error::format(format!("GGUF file: general.type is `{kind}`, expected `model`")));
        }
        if let Some(parts) = header.count("split.count")?.filter(|&parts| parts > 1) {
            return Err(Error::unsupported(format!(
                "GGUF file: one of {parts} parts, expected a whole model"
            )));
        }
        let architecture = header.text("general.architecture")?;
        let family = ALL.iter().find(|family| family.architecture == architecture).ok_or_else(|| {
            Error::unsupported(format!(
                "GGUF file: general.architecture `{architecture}`, expected one of {}",
                listed(|family| family.architecture)
            ))
        })?;
        let blueprint = family.read(&Fields::of_metadata(header, architecture))?;
        blueprint.check().map_err(|e| e.context("GGUF metadata"))?;
        Ok(blueprint)
    }
}

impl Family {
    fn read(&self, fields: &Fields) -> Result<Blueprint> {
        let blueprint = (self.blueprint)(fields)?;
        fields.refuse_others(self.harmless)?;
        Ok(blueprint)
    }
}

/// What all families call something, once each.
fn listed(name: fn(&Family) -> &'static str) -> String {
    let mut names: Vec<_> = ALL.iter().map(|family| name(family)).collect();
    names.dedup();
    names.join(", ")
}
