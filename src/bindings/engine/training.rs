//! What JavaScript sees of training and of Temp-LoRA: work begun, moved on and ended by number.
//! Loops and their pauses are the TypeScript's.

use wasm_bindgen::prelude::*;

use crate::engine::{Engine, Schedule, TempLora, TempLoraOptions, TrainingRoom};
use crate::error::Result;

use super::convert::{Prompt, RequestOptions, Weights, from_js, to_js};
use super::convert_training::{
    LoraFields, OptimizerFields, RoomFields, Slices, TempInfo, TempLoraFields, WindowFields, event,
};
use super::{JsEngine, JsResult};

/// Ids of what comes next in a temporary adapter's text: special tokens stand at its beginning only.
fn ids(temp: &TempLora, engine: &Engine, text: Prompt) -> Result<Vec<u32>> {
    match text {
        Prompt::Ids(ids) => Ok(ids),
        Prompt::Text(text) if temp.has_text() => engine.tokenizer().encode(&text, false),
        Prompt::Text(text) => engine.encode(&text),
    }
}

#[wasm_bindgen(js_class = Engine)]
impl JsEngine {
    /// Adds a LoRA that does nothing yet; `lora` is {variant, rank, alpha, targetModules, seed}.
    #[wasm_bindgen(js_name = newLora)]
    pub async fn new_lora(&self, name: &str, lora: JsValue) -> JsResult<()> {
        let lora: LoraFields = from_js(lora)?;
        self.engine()?.new_lora(name, &lora.check()?).await?;
        Ok(())
    }

    /// Ids of an example, an end token last if the model has one, and how many are the prompt's:
    /// [ids, count].
    #[wasm_bindgen(js_name = encodeExample)]
    pub fn encode_example(&self, prompt: &str, completion: &str) -> JsResult<JsValue> {
        to_js(&self.engine()?.encode_example(prompt, completion)?)
    }

    /// Share of the highest learning rate at `step`, from 0, of `steps`; `schedule` is `constant`,
    /// `linear` or `cosine`.
    #[wasm_bindgen(js_name = scheduleShare)]
    pub fn schedule_share(schedule: &str, step: usize, warmup: usize, steps: usize) -> JsResult<f64> {
        Ok(schedule.parse::<Schedule>()?.share(step, warmup, steps))
    }

    /// Makes room to train a loaded adapter; `optimizer` is {dropout, weightDecay, seed}, `room`
    /// {maxLength, memoryLimit?}.
    #[wasm_bindgen(js_name = beginTraining)]
    pub async fn begin_training(&self, name: String, optimizer: JsValue, room: JsValue) -> JsResult<()> {
        let optimizer: OptimizerFields = from_js(optimizer)?;
        let optimizer = optimizer.check()?;
        let RoomFields { max_length, memory_limit } = from_js(room)?;
        let room = TrainingRoom { window: max_length, memory_limit: memory_limit.map(|bytes| bytes as u64) };
        let mut engine = self.engine()?;
        engine.begin_training_reserved(&name, optimizer, room).await?;
        if let Err(e) = engine.check_kernels().await {
            engine.end_training()?;
            return Err(e.into());
        }
        Ok(())
    }

    /// Begins a step on `windows`, [{tokens, first}], under {name: weight}. Returns the number that
    /// `nextSlices` and `endStep` take.
    #[wasm_bindgen(js_name = beginStep)]
    pub fn begin_step(&self, windows: JsValue, weights: JsValue, learning_rate: f32) -> JsResult<u32> {
        let windows: Vec<WindowFields> = from_js(windows)?;
        let weights: Weights = from_js(weights)?;
        let windows = windows.into_iter().map(Into::into).collect();
        let choice = weights.into_iter().collect();
        Ok(self.steps.add(self.engine()?.begin_step(windows, &choice, learning_rate)?))
    }

    /// Does of step `id`'s work about what `rows` rows of a layer forward are, one piece at least: {done, all, loss, finished}.
    #[wasm_bindgen(js_name = nextSlices)]
    pub async fn next_slices(&self, id: u32, rows: usize) -> JsResult<JsValue> {
        let mut step = self.steps.take(id)?;
        let work = async { self.engine()?.next_slices(&mut step, rows).await };
        let result = work.await;
        let reply = Slices::of(&step);
        self.steps.put(id, step);
        result?;
        to_js(&reply)
    }

    /// Forgets step `id`; unless it was finished, the adapter is as it was before.
    #[wasm_bindgen(js_name = endStep)]
    pub fn end_step(&self, id: u32) -> JsResult<()> {
        let mut engine = self.engine()?;
        engine.end_step(self.steps.remove(id)?);
        Ok(())
    }

    /// Frees what training needed; the adapter stays.
    #[wasm_bindgen(js_name = endTraining)]
    pub fn end_training(&self) -> JsResult<()> {
        Ok(self.engine()?.end_training()?)
    }

    /// Begins a temporary adapter: {id, name, chunkTokens, contextTokens}. `options` are those of
    /// `TempLoraOptions` and `preset`; what is absent is the preset's.
    #[wasm_bindgen(js_name = beginTempLora)]
    pub async fn begin_temp_lora(&self, options: JsValue) -> JsResult<JsValue> {
        let fields: TempLoraFields = from_js(options)?;
        let mut engine = self.engine()?;
        let options: TempLoraOptions = fields.over_preset(engine.model().context())?;
        let lora = engine.begin_temp_lora(options.clone()).await?;
        to_js(&TempInfo::of(self.temps.add(lora), options))
    }

    /// Appends a text, or ids, to be scored, if asked, and learned.
    #[wasm_bindgen(js_name = tempLearn)]
    pub fn temp_learn(&self, id: u32, text: JsValue, evaluate: bool) -> JsResult<()> {
        let text: Prompt = from_js(text)?;
        let mut engine = self.engine()?;
        Ok(self.temps.see(id, |temp| {
            let ids = ids(temp, &engine, text)?;
            engine.temp_learn(temp, &ids, evaluate)
        })??)
    }

    /// Goes on with the text, `prompt` first; `options` are those of a completion. With `mix` from the
    /// never-worse mix of base and adapted model.
    #[wasm_bindgen(js_name = tempGenerate)]
    pub fn temp_generate(&self, id: u32, prompt: JsValue, options: JsValue, mix: bool) -> JsResult<()> {
        let prompt: Prompt = from_js(prompt)?;
        let options: RequestOptions = from_js(options)?;
        let mut engine = self.engine()?;
        Ok(self.temps.see(id, |temp| {
            let ids = ids(temp, &engine, prompt)?;
            engine.temp_generate(temp, options.request(ids, 0)?, mix)
        })??)
    }

    /// Moves temporary adapter `id` on: {kind: "idle"}, {kind: "progress", work, done, all},
    /// {kind: "text", text, tokens, finish} or {kind: "chunk", chunk}.
    #[wasm_bindgen(js_name = tempNext)]
    pub async fn temp_next(&self, id: u32, rows: usize) -> JsResult<JsValue> {
        let mut temp = self.temps.take(id)?;
        let work = async { self.engine()?.temp_next(&mut temp, rows).await };
        let result = work.await;
        self.temps.put(id, temp);
        to_js(&event(result?))
    }

    /// Drops what is left to do.
    #[wasm_bindgen(js_name = tempCancel)]
    pub fn temp_cancel(&self, id: u32) -> JsResult<()> {
        let mut engine = self.engine()?;
        Ok(self.temps.see(id, |temp| engine.temp_cancel(temp))?)
    }

    /// Ends temporary adapter `id`, which becomes an ordinary one called `keep`, or is gone. On an
    /// error it is still there.
    #[wasm_bindgen(js_name = endTempLora)]
    pub fn end_temp_lora(&self, id: u32, keep: Option<String>) -> JsResult<()> {
        let mut engine = self.engine()?;
        self.temps.see(id, |temp| engine.end_temp_lora(temp, keep.as_deref()))??;
        self.temps.remove(id)?;
        Ok(())
    }
}
