//! A model whose weights arrive in pieces, for JavaScript, until it is an engine.
//! Not the reading of files: which pieces to read is told here, and the TypeScript reads them.

use wasm_bindgen::prelude::*;

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, Kernels};
use crate::backend::gpu::{Gpu, GpuOptions};
use crate::cache::cache_type;
use crate::dtype::Dtype;
use crate::engine::{EngineOptions, Loader};
use crate::error::{Error, Result};
use crate::format::gguf;
use crate::format::safetensors::Header;
use crate::format::{ShardIndex, TensorInfo};
use crate::words::{Words, words};

use super::convert::{LoadOptions, from_js, or_default, to_js};
use super::{JsEngine, JsResult};

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Device {
    /// WebGPU where there is one, else the CPU. Who asks for it tries one after the other.
    #[default]
    Auto,
    WebGpu,
    Cpu,
}

words!(Device, "device", ["auto" => Self::Auto, "webgpu" => Self::WebGpu, "cpu" => Self::Cpu]);

/// A model whose weights are still arriving.
#[wasm_bindgen(js_name = Loader)]
pub struct JsLoader {
    pub(super) inner: Loader,
    pieces: Vec<TensorInfo>,
}

#[wasm_bindgen(js_class = Loader)]
impl JsLoader {
    /// Which device `options` ask for: `auto`, `webgpu` or `cpu`. Throws for a word in them that is unknown,
    /// before anything is fetched.
    #[wasm_bindgen(js_name = deviceOf)]
    pub fn device_of(options: JsValue) -> JsResult<String> {
        let (device, _) = checked(&from_js(options)?)?;
        Ok(device.word().to_owned())
    }

    /// Opens the device and makes room. `options` is {device: "webgpu" | "cpu",
    /// contextLength?, batch?, dtype?, kvDtype?, exact?, threads?, software?}, `software` telling that the GPU is none; the files are
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

    /// As `open`, of a GGUF file or all parts of one: `headers` are the first bytes of each, `sizes` how many bytes
    /// each has, `tokenizer` a tokenizer.json where there is none in them. What to read is in `pieces`, as if
    /// the files lay one behind the other.
    #[wasm_bindgen(js_name = openGguf)]
    pub async fn open_gguf(
        headers: Vec<js_sys::Uint8Array>,
        sizes: Vec<f64>,
        tokenizer: Option<Vec<u8>>,
        options: JsValue,
    ) -> JsResult<JsLoader> {
        let part = |(header, size): (&js_sys::Uint8Array, &f64)| {
            let header = gguf_header(&header.to_vec(), *size)?;
            Ok((header.ok_or_else(|| Error::format("GGUF header: too short"))?, *size as u64))
        };
        let header = gguf::Header::joined(headers.iter().zip(&sizes).map(part).collect::<Result<_>>()?)?;
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

    /// Whether the model makes embeddings alone, so that `readPooling` is of use.
    #[wasm_bindgen(getter, js_name = isEncoder)]
    pub fn is_encoder(&self) -> bool {
        self.inner.is_encoder()
    }

    /// Takes how states become one vector from `1_Pooling/config.json`.
    #[wasm_bindgen(js_name = readPooling)]
    pub fn read_pooling(&mut self, json: &[u8]) -> JsResult<()> {
        Ok(self.inner.read_pooling(json)?)
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
        Ok(JsEngine::new(self.inner.finish()?))
    }
}

fn checked(options: &LoadOptions) -> Result<(Device, EngineOptions)> {
    let device = or_default(options.device.as_deref())?;
    let dtype = options.dtype.as_deref().map(Dtype::from_name).transpose()?;
    let kv_dtype = options.kv_dtype.as_deref().map(cache_type).transpose()?;
    let LoadOptions { context_length, batch, .. } = *options;
    Ok((device, EngineOptions { context_length, batch, dtype, kv_dtype }))
}

async fn open_backend(options: JsValue) -> JsResult<(Backend, EngineOptions)> {
    let options: LoadOptions = from_js(options)?;
    let (device, sizes) = checked(&options)?;
    let gpu = GpuOptions { software: options.software.then_some(true), ..GpuOptions::default() };
    let backend = match device {
        Device::WebGpu => Backend::Gpu(Box::new(Gpu::open(&gpu).await?)),
        Device::Cpu => {
            let kernels = if options.exact == Some(true) { Kernels::Fast } else { Kernels::Rounded };
            Backend::Cpu(Cpu::with_threads(kernels, options.threads.unwrap_or(1)))
        }
        Device::Auto => Err(Error::argument("device `auto`, expected the one to open"))?,
    };
    Ok((backend, sizes))
}

/// `None` if it goes on after these bytes.
fn gguf_header(bytes: &[u8], file_bytes: f64) -> Result<Option<gguf::Header>> {
    gguf::Header::parse(bytes, file_bytes as u64)
}
