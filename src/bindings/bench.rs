//! `benchGpu` for JavaScript.

use serde::Deserialize;
use wasm_bindgen::prelude::*;

use crate::backend::gpu::GpuOptions;
use crate::bench::{GpuBench, Shape, bench_gpu};
use crate::dtype::Dtype;
use crate::error::Error;

use super::JsResult;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    layers: Option<usize>,
    vocab: Option<usize>,
    dtype: Option<String>,
    runs: Option<usize>,
    software: bool,
}

/// Measures the GPU: {version, adapter, lanes, layers, vocab, dtype, timestamps, known_answer, measures: [{name, value,
/// unit}]}. `options` is {layers?, vocab?, dtype?, runs?, software}; `now` gives ms, and `told` hears what is measured
/// next, and the share that is done.
#[wasm_bindgen(js_name = benchGpu)]
pub async fn js_bench_gpu(
    options: JsValue,
    now: js_sys::Function,
    told: js_sys::Function,
) -> JsResult<JsValue> {
    let Options { layers, vocab, dtype, runs, software } =
        serde_wasm_bindgen::from_value(options).map_err(|e| Error::argument(e.to_string()))?;
    let all = GpuBench::default();
    let shape = Shape { layers: layers.unwrap_or(all.shape.layers), vocab: vocab.unwrap_or(all.shape.vocab) };
    let dtype = dtype.as_deref().map(Dtype::from_name).transpose()?.unwrap_or(all.dtype);
    let what = GpuBench { shape, dtype, runs: runs.unwrap_or(all.runs) };
    let gpu = GpuOptions { software: software.then_some(true), ..GpuOptions::default() };
    let clock = || now.call0(&JsValue::NULL).ok().and_then(|ms| ms.as_f64()).unwrap_or_default();
    // What a listener throws is its own page's business.
    let mut told = |next: &str, share: f64| {
        let _ = told.call2(&JsValue::NULL, &next.into(), &share.into());
    };
    let report = bench_gpu(&what, &gpu, &clock, &mut told).await?;
    Ok(serde_wasm_bindgen::to_value(&report).map_err(JsValue::from)?)
}
