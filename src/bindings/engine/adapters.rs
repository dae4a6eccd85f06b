//! What JavaScript sees of adapters: loaded, chosen, combined, merged, exported.
//! Not their training, which is training.rs's.

use wasm_bindgen::prelude::*;

use crate::engine::{AdapterFiles, Choice};
use crate::error::Error;
use crate::format::peft::refuse_pickle;

use super::convert::{CombinationOptions, JsAdapterInfo, Weights, from_js, to_js};
use super::{JsEngine, JsResult};

#[wasm_bindgen(js_class = Engine)]
impl JsEngine {
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
    pub async fn export_adapter(&self, name: String) -> JsResult<Vec<js_sys::Uint8Array>> {
        let AdapterFiles { config, weights } = self.engine()?.export_adapter(&name).await?;
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
}
