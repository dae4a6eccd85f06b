//! The engine for JavaScript. Calls on one engine must not overlap; the TypeScript face queues them.

#![expect(
    clippy::await_holding_refcell_ref,
    reason = "calls on one engine do not overlap; one that does gets a typed error, no panic"
)]

mod convert;
mod convert_training;
mod numbered;
mod sha256;
mod training;

use std::cell::{RefCell, RefMut};

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, Kernels};
use crate::backend::gpu::{Gpu, GpuOptions};
use crate::dtype::Dtype;
use crate::engine::{
    AdapterFiles, Choice, Engine, EngineOptions, Generation, Loader, Program, Request, TempLora,
};
use crate::error::{Error, Result};
use crate::format::gguf;
use crate::format::peft::refuse_pickle;
use crate::format::safetensors::Header;
use crate::format::{ShardIndex, TensorInfo};

use super::{JsResult, error::Thrown};
use convert::{
    CombinationOptions, EmbedOptions, EngineInfo, JsAdapterInfo, LoadOptions, Prompt, RequestOptions,
    Weights, from_js, to_js,
};
use numbered::Numbered;

/// A model whose weights are still arriving.
#[wasm_bindgen(js_name = Loader)]
pub struct JsLoader {
    inner: Loader,
    pieces: Vec<TensorInfo>,
}

#[wasm_bindgen(js_class = Loader)]
impl JsLoader {
    /// Opens the device and makes room. `options` is {device: "webgpu" | "cpu",
    /// contextLength?, batch?, dtype?, software?}, `software` telling that the GPU is none; the files are
    /// the bytes of their namesakes.
    pub async fn open(
        config: Vec<u8>,
        generation_config: Option<Vec<u8>>,
        tokenizer: Vec<u8>,
        options: JsValue,
    ) -> JsResult<JsLoader> {
        let (backend, options) = open_backend(options).await?;
        let inner =
            Loader::open(&config, generation_config.as_deref(), &tokenizer, backend, &options).await?;
        Ok(Self { inner, pieces: Vec::new() })
    }

    /// As `open`, of a GGUF file: `header` is its first bytes, `tokenizer` a tokenizer.json where
    /// that has none. What to read is in `pieces`.
    #[wasm_bindgen(js_name = openGguf)]
    pub async fn open_gguf(
        header: Vec<u8>,
        file_bytes: f64,
        tokenizer: Option<Vec<u8>>,
        options: JsValue,
    ) -> JsResult<JsLoader> {
        let header =
            gguf_header(&header, file_bytes)?.ok_or_else(|| Error::format("GGUF header: too short"))?;
        let (backend, options) = open_backend(options).await?;
        let inner = Loader::open_gguf(&header, tokenizer.as_deref(), backend, &options).await?;
        let pieces = inner.gguf_pieces(&header)?;
        Ok(Self { inner, pieces })
    }

    /// Whether the header in a GGUF file's first bytes has a tokenizer; undefined if it goes on
    /// after them.
    #[wasm_bindgen(js_name = ggufHasTokenizer)]
    pub fn gguf_has_tokenizer(bytes: &[u8], file_bytes: f64) -> JsResult<Option<bool>> {
        Ok(gguf_header(bytes, file_bytes)?.map(|header| header.has_tokenizer()))
    }

    /// Bytes of a weight file's JSON header, from the file's first 64 bytes or all it has.
    #[wasm_bindgen(js_name = headerBytes)]
    pub fn header_bytes(first_bytes: &[u8], file_bytes: f64) -> JsResult<u32> {
        Ok(Header::length(first_bytes, file_bytes as u64)? as u32)
    }

    /// File names in a `model.safetensors.index.json`.
    #[wasm_bindgen(js_name = shardNames)]
    pub fn shard_names(index: &[u8]) -> JsResult<Vec<String>> {
        Ok(ShardIndex::parse(index)?.files().into_iter().map(str::to_owned).collect())
    }

    /// Reads a weight file's header (its JSON alone), for `pieces`.
    pub fn plan(&mut self, header: &[u8], file_bytes: f64) -> JsResult<()> {
        let header = Header::parse(header, file_bytes as u64)?;
        self.pieces.clear();
        for info in &header.tensors {
            self.pieces.extend(self.inner.pieces(info)?);
        }
        Ok(())
    }

    /// What to read of the file, in order: [start, end, start, end, ..], offsets in bytes.
    pub fn pieces(&self) -> Vec<f64> {
        self.pieces.iter().flat_map(|piece| [piece.start as f64, piece.end as f64]).collect()
    }

    /// Takes the bytes of piece `index` of `pieces`.
    pub fn load(&mut self, index: usize, bytes: &[u8]) -> JsResult<()> {
        let piece = self.pieces.get(index).ok_or_else(|| Error::argument(format!("no piece {index}")))?;
        Ok(self.inner.load(piece, bytes)?)
    }

    /// Tries the kernels that the model needs, but those of `known`, [[name, isRight]].
    #[wasm_bindgen(js_name = checkKernels)]
    pub async fn check_kernels(&mut self, known: JsValue) -> JsResult<()> {
        let known: Vec<(String, bool)> = from_js(known)?;
        Ok(self.inner.check_kernels(known.into_iter().collect()).await?)
    }

    /// What is known of the GPU's kernels: [[name, isRight]].
    pub fn verdicts(&self) -> JsResult<JsValue> {
        to_js(&self.inner.verdicts().into_iter().collect::<Vec<_>>())
    }

    /// The engine, once every file has been read.
    pub fn finish(self) -> JsResult<JsEngine> {
        let engine = self.inner.finish()?;
        Ok(JsEngine {
            engine: RefCell::new(engine),
            generations: Numbered::new("batch"),
            programs: Numbered::new("training"),
            temps: Numbered::new("temporary adapter"),
        })
    }
}

async fn open_backend(options: JsValue) -> JsResult<(Backend, EngineOptions)> {
    let options: LoadOptions = from_js(options)?;
    let gpu = GpuOptions { software: options.software.then_some(true), ..GpuOptions::default() };
    let backend = match options.device.as_str() {
        "webgpu" => Backend::Gpu(Box::new(Gpu::open(&gpu).await?)),
        "cpu" => Backend::Cpu(Cpu::new(Kernels::Fast)),
        other => Err(Error::argument(format!("device `{other}`, expected webgpu or cpu")))?,
    };
    let dtype = options.dtype.as_deref().map(Dtype::from_name).transpose()?;
    Ok((backend, EngineOptions { context_length: options.context_length, batch: options.batch, dtype }))
}

/// A request for each prompt, which is a string or an array of ids.
fn requests(engine: &Engine, prompts: JsValue, options: JsValue) -> Result<Vec<Request>> {
    let prompts: Vec<Prompt> = from_js(prompts)?;
    let options: RequestOptions = from_js(options)?;
    let request = |(i, prompt)| {
        let ids = match prompt {
            Prompt::Text(text) => engine.encode(&text)?,
            Prompt::Ids(ids) => ids,
        };
        options.request(ids, i)
    };
    prompts.into_iter().enumerate().map(request).collect()
}

/// `None` if it goes on after these bytes.
fn gguf_header(bytes: &[u8], file_bytes: f64) -> Result<Option<gguf::Header>> {
    gguf::Header::parse(bytes, file_bytes as u64)
}

/// A loaded model.
#[wasm_bindgen(js_name = Engine)]
pub struct JsEngine {
    engine: RefCell<Engine>,
    generations: Numbered<Generation>,
    programs: Numbered<Program>,
    temps: Numbered<TempLora>,
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

    /// {device, adapter, contextLength, batch, vocabSize, memoryBytes, dtype, warnings}
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

    /// Text of ids.
    pub fn decode(&self, ids: &[u32]) -> JsResult<String> {
        Ok(self.engine()?.tokenizer().decode(ids, true)?)
    }

    /// Loads a PEFT folder's two files as adapter `name` and describes it; see `adapters`.
    #[wasm_bindgen(js_name = loadAdapter)]
    pub async fn load_adapter(&self, name: String, config: Vec<u8>, weights: Vec<u8>) -> JsResult<JsValue> {
        let mut engine = self.engine()?;
        let info = engine.load_adapter(&name, &config, &weights).await?;
        engine.check_adapter(&name).await?;
        to_js(&JsAdapterInfo::of(&info, &engine))
    }

    /// Makes adapter `name` of others, [[name, weight]], the first of which gives its config, and
    /// describes it. `options` is {combinationType, density?, majoritySignMethod?, svdRank?,
    /// svdClamp?, seed?}.
    #[wasm_bindgen(js_name = addWeightedAdapter)]
    pub async fn add_weighted_adapter(
        &self,
        name: String,
        adapters: JsValue,
        options: JsValue,
    ) -> JsResult<JsValue> {
        let adapters: Choice = from_js(adapters)?;
        let options: CombinationOptions = from_js(options)?;
        let mut engine = self.engine()?;
        let info = engine.add_weighted_adapter(&name, &adapters, &options.combination()?).await?;
        to_js(&JsAdapterInfo::of(&info, &engine))
    }

    /// The bytes of an adapter's two files: [adapter_config.json, adapter_model.safetensors].
    #[wasm_bindgen(js_name = exportAdapter)]
    pub fn export_adapter(&self, name: &str) -> JsResult<Vec<js_sys::Uint8Array>> {
        let AdapterFiles { config, weights } = self.engine()?.export_adapter(name)?;
        Ok([config, weights].iter().map(|bytes| js_sys::Uint8Array::from(bytes.as_slice())).collect())
    }

    /// The text of an adapter's adapter_config.json.
    #[wasm_bindgen(js_name = adapterConfig)]
    pub fn adapter_config(&self, name: &str) -> JsResult<String> {
        let config = self.engine()?.adapter_config(name)?;
        Ok(String::from_utf8(config).map_err(|_| Error::format("adapter_config.json: not UTF-8"))?)
    }

    /// Folds {name: weight} into the weights.
    #[wasm_bindgen(js_name = mergeAdapter)]
    pub async fn merge_adapter(&self, weights: JsValue) -> JsResult<()> {
        let weights: Weights = from_js(weights)?;
        Ok(self.engine()?.merge_adapter(&weights.into_iter().collect()).await?)
    }

    /// Gives the weights the base's bits again.
    #[wasm_bindgen(js_name = unmergeAdapter)]
    pub fn unmerge_adapter(&self) -> JsResult<()> {
        Ok(self.engine()?.unmerge_adapter()?)
    }

    /// Loads a GGUF LoRA as adapter `name` and describes it; see `adapters`.
    #[wasm_bindgen(js_name = loadGgufAdapter)]
    pub async fn load_gguf_adapter(&self, name: String, file: Vec<u8>) -> JsResult<JsValue> {
        let mut engine = self.engine()?;
        let info = engine.load_gguf_adapter(&name, &file).await?;
        engine.check_adapter(&name).await?;
        to_js(&JsAdapterInfo::of(&info, &engine))
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

    /// One vector (C) for a text; `options` is {adapter?, layer?, pooling}.
    pub async fn embed(&self, ids: Vec<u32>, options: JsValue) -> JsResult<Vec<f32>> {
        let EmbedOptions { adapter, layer, pooling } = from_js(options)?;
        let choice = adapter.map(|weights| weights.into_iter().collect());
        Ok(self.engine()?.embed(&ids, choice.as_ref(), layer, pooling.parse()?).await?)
    }

    /// Takes an adapter out.
    #[wasm_bindgen(js_name = deleteAdapter)]
    pub fn delete_adapter(&self, name: &str) -> JsResult<()> {
        Ok(self.engine()?.delete_adapter(name)?)
    }

    /// Sets what requests use that name no adapter: {name: weight}, empty for the base.
    #[wasm_bindgen(js_name = setAdapter)]
    pub fn set_adapter(&self, weights: JsValue) -> JsResult<()> {
        let weights: Weights = from_js(weights)?;
        Ok(self.engine()?.set_adapter(weights.into_iter().collect())?)
    }

    /// One loaded adapter: {name, rank, modules, virtualTokens, bytes, weight, merged, warnings}.
    pub fn adapter(&self, name: &str) -> JsResult<JsValue> {
        let engine = self.engine()?;
        to_js(&JsAdapterInfo::of(engine.get_adapter(name)?, &engine))
    }

    /// Throws for the name of a pickled weight file, and says how to convert it.
    #[wasm_bindgen(js_name = refusePickle)]
    pub fn refuse_pickle(file_name: &str) -> JsResult<()> {
        Ok(refuse_pickle(file_name, &[])?)
    }

    /// What is loaded: a list of what `adapter` gives.
    pub fn adapters(&self) -> JsResult<JsValue> {
        let engine = self.engine()?;
        let list: Vec<_> = engine.list_adapters().map(|info| JsAdapterInfo::of(info, &engine)).collect();
        to_js(&list)
    }

    /// Begins a batch: `prompts` are strings or arrays of ids; `options` apply to all of them.
    /// Returns the number that `next`, `usage` and `end` take.
    pub fn start(&self, prompts: JsValue, options: JsValue) -> JsResult<u32> {
        let mut engine = self.engine()?;
        let requests = requests(&engine, prompts, options)?;
        Ok(self.generations.add(engine.start(&requests)?))
    }

    /// The token ids of each prompt of a batch that is to begin later. Throws what `start` would, but for
    /// want of room.
    pub fn prepare(&self, prompts: JsValue, options: JsValue) -> JsResult<Vec<js_sys::Uint32Array>> {
        let engine = self.engine()?;
        let requests = requests(&engine, prompts, options)?;
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

    /// {prompt_tokens, cached_tokens, completion_tokens} of request `index` of batch `id`.
    pub fn usage(&self, id: u32, index: usize) -> JsResult<JsValue> {
        let usage = self.generations.see(id, |generation| generation.usage(index))?;
        to_js(&convert::Usage::of(usage))
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
