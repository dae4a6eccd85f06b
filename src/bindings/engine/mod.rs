//! The engine for JavaScript. Calls on one engine must not overlap; the TypeScript face queues them.
//! A request goes on in `src/engine/facade.rs`.

#![expect(
    clippy::await_holding_refcell_ref,
    reason = "calls on one engine do not overlap; one that does gets a typed error, no panic"
)]

mod adapters;
mod convert;
mod convert_training;
mod loader;
mod numbered;
mod sessions;
mod sha256;
#[cfg(target_feature = "atomics")]
#[allow(unreachable_pub, reason = "wasm-bindgen takes no other functions")]
mod threads;
mod training;

use std::cell::{RefCell, RefMut};

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::engine::{Engine, Generation, Pooling, Program, Request, Restoring, Supplied, TempLora};
use crate::error::{Error, Result};

use super::{JsResult, error::Thrown};
use convert::{EmbedOptions, EngineInfo, Prompt, RequestOptions, Weights, from_js, to_js};
use loader::JsLoader;
use numbered::Numbered;

/// A request for each prompt, which is a string or an array of ids.
fn requests(engine: &Engine, prompts: JsValue, options: &RequestOptions) -> Result<Vec<Request>> {
    let prompts: Vec<Prompt> = from_js(prompts)?;
    let request = |(i, prompt)| {
        let ids = match prompt {
            Prompt::Text(text) => engine.encode(&text)?,
            Prompt::Ids(ids) => ids,
        };
        options.request(ids, i)
    };
    prompts.into_iter().enumerate().map(request).collect()
}

/// A loaded model.
#[wasm_bindgen(js_name = Engine)]
pub struct JsEngine {
    engine: RefCell<Engine>,
    generations: Numbered<Generation>,
    programs: Numbered<Program>,
    temps: Numbered<TempLora>,
    sessions: Numbered<Restoring>,
}

impl JsEngine {
    fn new(engine: Engine) -> Self {
        Self {
            engine: RefCell::new(engine),
            generations: Numbered::new("batch"),
            programs: Numbered::new("training"),
            temps: Numbered::new("temporary adapter"),
            sessions: Numbered::new("session"),
        }
    }
}

#[wasm_bindgen(js_class = Engine)]
impl JsEngine {
    /// Settles when the device is lost, with the error; with undefined if the engine is freed first.
    pub fn lost(&self) -> JsResult<js_sys::Promise> {
        let lost = self.engine()?.lost();
        Ok(future_to_promise(async {
            Ok(lost.await.map_or(JsValue::UNDEFINED, |error| Thrown::from(error).into()))
        }))
    }

    /// Frees all memory of the device, which then counts as lost.
    #[wasm_bindgen(js_name = releaseDevice)]
    pub fn release_device(&self) -> JsResult<()> {
        self.engine()?.release_device();
        Ok(())
    }

    /// Goes on where it was, on the device of a loader that has loaded the same model.
    pub async fn recover(&self, loader: JsLoader) -> JsResult<()> {
        Ok(self.engine()?.recover(loader.inner).await?)
    }

    /// Tells where the base is from; exported adapters name it.
    #[wasm_bindgen(js_name = setBaseName)]
    pub fn set_base_name(&self, name: &str) -> JsResult<()> {
        self.engine()?.set_base_name(name);
        Ok(())
    }

    /// {device, adapter, contextLength, batch, vocabSize, memoryBytes, dtype, kvDtype, types, warnings}
    pub fn info(&self) -> JsResult<JsValue> {
        to_js(&EngineInfo::of(&*self.engine()?))
    }

    /// What is known of the GPU's kernels: [[name, isRight]].
    pub fn verdicts(&self) -> JsResult<JsValue> {
        to_js(&self.engine()?.backend().verdicts().into_iter().collect::<Vec<_>>())
    }

    /// Ids of a text, special tokens included.
    pub fn encode(&self, text: &str) -> JsResult<Vec<u32>> {
        Ok(self.engine()?.encode(text)?)
    }

    /// Ids of a text, with the special tokens around it or without.
    pub fn tokenize(&self, text: &str, add_special_tokens: bool) -> JsResult<Vec<u32>> {
        Ok(self.engine()?.tokenizer().encode(text, add_special_tokens)?)
    }

    /// Text of ids, with the special tokens in it or without.
    pub fn detokenize(&self, ids: &[u32], skip_special_tokens: bool) -> JsResult<String> {
        let engine = self.engine()?;
        engine.model().check_ids(ids)?;
        Ok(engine.tokenizer().decode(ids, skip_special_tokens)?)
    }

    /// The bytes of each of `vocabSize` tokens, for a module that decides what may come next: see
    /// `Tokenizer::packed_tokens`.
    #[wasm_bindgen(js_name = packedTokens)]
    pub fn packed_tokens(&self) -> JsResult<Vec<u8>> {
        let engine = self.engine()?;
        Ok(engine.tokenizer().packed_tokens(engine.model().config.vocab_size))
    }

    /// Logits (T, V) of `ids`, row after row, under {name: weight}; undefined is the engine's
    /// own choice.
    pub async fn logits(&self, ids: Vec<u32>, weights: JsValue) -> JsResult<Vec<f32>> {
        let weights: Option<Weights> = from_js(weights)?;
        let choice = weights.map(|weights| weights.into_iter().collect());
        Ok(self.engine()?.logits_with(&ids, choice.as_ref()).await?)
    }

    /// What a `tokenizer_config.json` would say of the tokenizer, and of the chat template that came with it.
    #[wasm_bindgen(js_name = tokenizerConfig)]
    pub fn tokenizer_config(&self) -> JsResult<Vec<u8>> {
        Ok(self.engine()?.tokenizer_config().into_bytes())
    }

    /// Ids of what a chat template wrote.
    #[wasm_bindgen(js_name = encodeChat)]
    pub fn encode_chat(&self, text: &str) -> JsResult<Vec<u32>> {
        Ok(self.engine()?.encode_chat(text)?)
    }

    /// Ids that end an answer, those of the model apart: of the template's `eos_token`, and in what it
    /// writes after an answer.
    #[wasm_bindgen(js_name = chatEnds)]
    pub fn chat_ends(&self, eos_token: Option<String>, after_answer: Option<String>) -> JsResult<Vec<u32>> {
        Ok(self.engine()?.chat_ends(eos_token.as_deref(), after_answer.as_deref())?)
    }

    /// One vector (C) for a text; `options` is {adapter?, layer?, pooling?}.
    pub async fn embed(&self, ids: Vec<u32>, options: JsValue) -> JsResult<Vec<f32>> {
        let EmbedOptions { adapter, layer, pooling } = from_js(options)?;
        let choice = adapter.map(|weights| weights.into_iter().collect());
        let pooling = pooling.as_deref().map(str::parse::<Pooling>).transpose()?;
        Ok(self.engine()?.embed(&ids, choice.as_ref(), layer, pooling).await?)
    }

    /// Begins a batch: `prompts` are strings or arrays of ids; `options` apply to all of them.
    /// Returns the number that `next`, `usage` and `end` take.
    pub fn start(&self, prompts: JsValue, options: JsValue) -> JsResult<u32> {
        let mut engine = self.engine()?;
        let options = from_js(options)?;
        let requests = requests(&engine, prompts, &options)?;
        let mut generation = engine.start(&requests)?;
        for index in (0..requests.len()).filter(|_| options.is_constrained) {
            generation.constrain(index, Box::<Supplied>::default())?;
        }
        Ok(self.generations.add(generation))
    }

    /// Which tokens may come next in request `index` of batch `id`, begun with `is_constrained`: bit t mod 32 of
    /// word ⌊t/32⌋ of `mask` for token t, ⌈vocabSize/32⌉ words. `ending` is `never`, `may` or `must`: whether the text
    /// may end here. To be told before each token, so not while prompt tokens are `pending`.
    pub fn allow(&self, id: u32, index: usize, mask: &[u32], ending: &str) -> JsResult<()> {
        let ending = ending.parse()?;
        Ok(self.generations.see(id, |generation| generation.supply(index, mask, ending))??)
    }

    /// The token ids of each prompt of a batch that is to begin later. Throws what `start` would, but for
    /// want of room.
    pub fn prepare(&self, prompts: JsValue, options: JsValue) -> JsResult<Vec<js_sys::Uint32Array>> {
        let engine = self.engine()?;
        let requests = requests(&engine, prompts, &from_js(options)?)?;
        engine.check(&requests)?;
        Ok(requests.iter().map(|request| js_sys::Uint32Array::from(&request.prompt[..])).collect())
    }

    /// Moves batch `id` on by one step: {deltas: [{index, text, tokens, logprobs, finish}], finished,
    /// pending}; `pending` prompt tokens are still to be computed.
    pub async fn next(&self, id: u32) -> JsResult<JsValue> {
        let mut generation = self.generations.take(id)?;
        let step = async { self.engine()?.next(&mut generation).await };
        let reply =
            step.await.and_then(|deltas| convert::step(deltas, &generation, self.engine()?.tokenizer()));
        self.generations.put(id, generation);
        to_js(&reply?)
    }

    /// How many prompt tokens of batch `id` are still to be computed.
    pub fn pending(&self, id: u32) -> JsResult<usize> {
        Ok(self.generations.see(id, |generation| generation.pending())?)
    }

    /// {prompt_tokens, cached_tokens, completion_tokens} of request `index` of batch `id`.
    pub fn usage(&self, id: u32, index: usize) -> JsResult<JsValue> {
        let usage = self.generations.see(id, |generation| generation.usage(index))?;
        to_js(&convert::Usage::of(usage))
    }

    /// Goes on with batch `id` under {name: weight}, from the next token on.
    pub fn switch(&self, id: u32, weights: JsValue) -> JsResult<()> {
        let weights: Weights = from_js(weights)?;
        let mut engine = self.engine()?;
        let choice = weights.into_iter().collect();
        Ok(self.generations.see(id, |generation| engine.switch(generation, &choice))??)
    }

    /// Forgets batch `id`, finished or not; its cache entries can be reused.
    pub fn end(&self, id: u32) -> JsResult<()> {
        let mut engine = self.engine()?;
        engine.end(self.generations.remove(id)?);
        Ok(())
    }

    fn engine(&self) -> Result<RefMut<'_, Engine>> {
        self.engine
            .try_borrow_mut()
            .map_err(|_| Error::argument("the engine is in the middle of another call"))
    }
}
