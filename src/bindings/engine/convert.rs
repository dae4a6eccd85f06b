//! Rust values to JavaScript ones and back; an error keeps its kind.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

use crate::backend::Backend;
use crate::engine::{
    AdapterInfo, Choice, Combination, Delta, Engine, Finish, Generation, Preset, Request, Samplers,
    StoredType, TempLoraOptions, TokenLogprobs,
};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

use super::JsResult;

pub(crate) fn from_js<T: DeserializeOwned>(value: JsValue) -> Result<T> {
    serde_wasm_bindgen::from_value(value).map_err(|e| Error::argument(e.to_string()))
}

pub(crate) fn to_js(value: &impl Serialize) -> JsResult<JsValue> {
    Ok(serde_wasm_bindgen::to_value(value).map_err(JsValue::from)?)
}

/// What a word means, or the default where none is given.
///
/// Errors with `Argument` for a word that is not in the list.
pub(crate) fn or_default<T: Default + FromStr<Err = Error>>(word: Option<&str>) -> Result<T> {
    word.map_or_else(|| Ok(T::default()), str::parse)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadOptions {
    pub device: Option<String>,
    pub context_length: Option<usize>,
    pub batch: Option<usize>,
    pub dtype: Option<String>,
    pub kv_dtype: Option<String>,
    pub exact: Option<bool>,
    pub threads: Option<usize>,
    #[serde(default)]
    pub software: bool,
}

/// How a text becomes one vector.
#[derive(Deserialize)]
pub(crate) struct EmbedOptions {
    /// {name: weight}; empty is the base, absent what the engine is set to.
    pub adapter: Option<Weights>,
    pub layer: Option<usize>,
    pub pooling: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

/// Names as in OpenAI's and transformers' requests. What is absent is as in `Request::default()`.
#[derive(Deserialize)]
pub(crate) struct RequestOptions {
    max_tokens: Option<usize>,
    temperature: Option<f32>,
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    /// Those of the host; what is absent is off.
    samplers: Option<Samplers>,
    /// Whether the mask of each token is supplied.
    #[serde(default)]
    pub is_constrained: bool,
    seed: Option<u32>,
    stop: Option<Vec<String>>,
    stop_token_ids: Option<Vec<u32>>,
    shown_tokens: Option<Vec<String>>,
    /// How many of the likeliest tokens to tell at each place.
    logprobs: Option<usize>,
    overflow: Option<String>,
    /// {name: weight}; empty is the base, absent what the engine is set to.
    adapter: Option<Weights>,
    /// The same for each prompt, in place of `adapter`.
    adapters: Option<Vec<Weights>>,
}

/// How to combine adapters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CombinationOptions {
    combination_type: Option<String>,
    density: Option<f64>,
    majority_sign_method: Option<String>,
    svd_rank: Option<usize>,
    svd_clamp: Option<f64>,
    seed: Option<u32>,
}

impl CombinationOptions {
    pub(crate) fn combination(&self) -> Result<Combination> {
        Ok(Combination {
            density: self.density,
            combination_type: or_default(self.combination_type.as_deref())?,
            majority_sign_method: or_default(self.majority_sign_method.as_deref())?,
            svd_rank: self.svd_rank,
            svd_clamp: self.svd_clamp,
            seed: self.seed.unwrap_or_default(),
        })
    }
}

/// Adapters and their weights, as JavaScript writes them.
pub(crate) type Weights = BTreeMap<String, f32>;

impl RequestOptions {
    fn choice(&self, index: usize) -> Result<Option<Choice>> {
        let weights = match &self.adapters {
            Some(each) => Some(each.get(index).ok_or_else(|| {
                Error::argument(format!("adapters for {} prompts, expected one for each", each.len()))
            })?),
            None => self.adapter.as_ref(),
        };
        Ok(weights.cloned().map(|weights| weights.into_iter().collect()))
    }

    /// The request for the `index`-th prompt; each has noise of its own.
    pub(crate) fn request(&self, prompt: Vec<u32>, index: usize) -> Result<Request> {
        let default = Request::default();
        Ok(Request {
            prompt,
            max_tokens: self.max_tokens,
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            samplers: self.samplers.clone().unwrap_or_default(),
            seed: self.seed.unwrap_or(default.seed).wrapping_add(index as u32),
            stop: self.stop.clone().unwrap_or_default(),
            stop_tokens: self.stop_token_ids.clone().unwrap_or_default(),
            shown_tokens: self.shown_tokens.clone().unwrap_or_default(),
            logprobs: self.logprobs,
            overflow: or_default(self.overflow.as_deref())?,
            adapter: self.choice(index)?,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EngineInfo {
    device: &'static str,
    threads: usize,
    adapter: String,
    context_length: usize,
    batch: usize,
    vocab_size: usize,
    memory_bytes: f64,
    dtype: &'static str,
    kv_dtype: &'static str,
    types: Vec<JsStoredType>,
    temp_lora: JsTempLora,
    warnings: Vec<String>,
}

/// What Temp-LoRA does where nothing is asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsTempLora {
    rank: usize,
    learning_rate: f64,
    epochs: usize,
    chunk_tokens: usize,
    context_tokens: usize,
}

impl JsTempLora {
    fn of(engine: &Engine) -> Self {
        let TempLoraOptions { rank, learning_rate, epochs, chunk_tokens, context_tokens, .. } =
            TempLoraOptions::of(Preset::default(), engine.model());
        // As it is written: 0.001 is another number as f64.
        let learning_rate = learning_rate.to_string().parse().expect("a number");
        Self { rank, learning_rate, epochs, chunk_tokens, context_tokens }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsStoredType {
    stored: String,
    held: &'static str,
    tensors: usize,
    stored_bytes: f64,
    held_bytes: f64,
}

impl JsStoredType {
    fn of(StoredType { stored, held, tensors, stored_bytes, held_bytes }: &StoredType) -> Self {
        Self {
            stored: stored.clone(),
            held: held.name(),
            tensors: *tensors,
            stored_bytes: *stored_bytes as f64,
            held_bytes: *held_bytes as f64,
        }
    }
}

impl EngineInfo {
    pub(crate) fn of(engine: &Engine) -> Self {
        let adapter = match engine.backend() {
            Backend::Cpu(_) => String::new(),
            Backend::Gpu(gpu) => gpu.adapter().to_owned(),
        };
        let model = engine.model();
        let most = model.weights.held().into_iter().max_by_key(|(_, elements)| *elements);
        Self {
            device: engine.backend().name(),
            threads: engine.backend().threads(),
            adapter,
            context_length: model.context(),
            batch: model.slots(),
            vocab_size: model.config.vocab_size,
            memory_bytes: model.tensors.total_bytes() as f64,
            dtype: most.map_or("f32", |(dtype, _)| dtype.name()),
            kv_dtype: model.kv_dtype().name(),
            types: engine.stored_types().iter().map(JsStoredType::of).collect(),
            temp_lora: JsTempLora::of(engine),
            warnings: engine.warnings().to_vec(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsAdapterInfo {
    name: String,
    rank: usize,
    modules: Vec<String>,
    virtual_tokens: usize,
    bytes: usize,
    /// In the engine's own choice; 0 where it is off.
    weight: f32,
    /// The same among what is merged.
    merged: f32,
    warnings: Vec<String>,
}

impl JsAdapterInfo {
    pub(crate) fn of(info: &AdapterInfo, engine: &Engine) -> Self {
        let AdapterInfo { name, rank, modules, virtual_tokens, bytes, warnings } = info.clone();
        let weight_in = |choice: &[(String, f32)]| {
            choice.iter().find(|(chosen, _)| *chosen == name).map_or(0.0, |(_, weight)| *weight)
        };
        let (weight, merged) = (weight_in(engine.active_adapters()), weight_in(engine.merged_adapters()));
        Self { name, rank, modules, virtual_tokens, bytes, weight, merged, warnings }
    }
}

#[derive(Serialize)]
pub(crate) struct Step {
    deltas: Vec<JsDelta>,
    finished: bool,
    pending: usize,
}

#[derive(Serialize)]
struct JsDelta {
    index: usize,
    text: String,
    tokens: Vec<u32>,
    /// Empty where they were not asked for.
    logprobs: Vec<Likelihood>,
    finish: Option<&'static str>,
}

/// How likely a token was, and what else was.
#[derive(Serialize)]
struct Likelihood {
    token: String,
    logprob: f32,
    top: Vec<LikelyToken>,
}

#[derive(Serialize)]
struct LikelyToken {
    /// Its text, as in the middle of a text.
    token: String,
    logprob: f32,
}

impl Likelihood {
    fn of(token: u32, logprobs: &TokenLogprobs, tokenizer: &Tokenizer) -> Result<Self> {
        let likely =
            |token: u32, logprob: f32| Ok(LikelyToken { token: tokenizer.token_text(token)?, logprob });
        let top = logprobs.top.iter().map(|&(token, logprob)| likely(token, logprob));
        let top = top.collect::<Result<_>>()?;
        Ok(Self { token: tokenizer.token_text(token)?, logprob: logprobs.logprob, top })
    }
}

pub(crate) fn step(deltas: Vec<Delta>, generation: &Generation, tokenizer: &Tokenizer) -> Result<Step> {
    let delta = |Delta { index, text, tokens, logprobs, finish }| {
        let each = tokens.iter().zip(&logprobs);
        let logprobs = each.map(|(&token, each)| Likelihood::of(token, each, tokenizer));
        let logprobs = logprobs.collect::<Result<_>>()?;
        Ok(JsDelta { index, text, tokens, logprobs, finish: finish.map(Finish::as_str) })
    };
    Ok(Step {
        deltas: deltas.into_iter().map(delta).collect::<Result<_>>()?,
        finished: generation.is_finished(),
        pending: generation.pending(),
    })
}

#[derive(Serialize)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
}

impl Usage {
    pub(crate) fn of(usage: crate::engine::Usage) -> Self {
        let crate::engine::Usage { prompt_tokens, cached_tokens, completion_tokens } = usage;
        Self { prompt_tokens, cached_tokens, completion_tokens }
    }
}
