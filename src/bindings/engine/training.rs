//! What JavaScript sees of training and of Temp-LoRA: work begun, moved on and ended by number.
//! Loops and their pauses are the TypeScript's.

use wasm_bindgen::prelude::*;

use crate::engine::{ChunkLosses, Engine, Evaluation, Saved, TempLora, TempLoraOptions};
use crate::error::Result;

use super::convert::{Prompt, RequestOptions, from_js, to_js};
use super::convert_training::{
    ChunkFields, JsAsked, JsEvaluation, JsTrainEvent, TempInfo, TempLoraFields, TrainFields, event,
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
    /// A training that is to begin: its number. `options` are `TrainFields`; what is absent is the
    /// program's default.
    #[wasm_bindgen(js_name = planTraining)]
    pub fn plan_training(&self, options: JsValue) -> JsResult<u32> {
        let options: TrainFields = from_js(options)?;
        Ok(self.programs.add(self.engine()?.plan_training(options.check()?)?))
    }

    /// Adds an item to the dataset of training `id`. What is returned, [{messages, isOpen}], is to be written by
    /// the chat template, encoded and given to `addConversations`.
    #[wasm_bindgen(js_name = addToTraining)]
    pub fn add_to_training(&self, id: u32, item: JsValue) -> JsResult<JsValue> {
        let item = from_js(item)?;
        let engine = self.engine()?;
        let asked = self.programs.see(id, |program| engine.add_to_training(program, &item))??;
        to_js(&asked.into_iter().map(JsAsked::from).collect::<Vec<_>>())
    }

    /// Adds the token ids of the conversations that were asked for.
    #[wasm_bindgen(js_name = addConversations)]
    pub fn add_conversations(&self, id: u32, tokens: JsValue) -> JsResult<()> {
        let tokens = from_js(tokens)?;
        let engine = self.engine()?;
        Ok(self.programs.see(id, |program| engine.add_conversations(program, tokens))??)
    }

    /// What training `id` learns and in which order, as a text to be digested.
    #[wasm_bindgen(js_name = trainingIdentity)]
    pub fn training_identity(&self, id: u32) -> JsResult<String> {
        Ok(self.programs.see(id, |program| program.identity())?)
    }

    /// Begins training `id`, or goes on from the checkpoint in `file`, which is known by `key`; `of` is a
    /// digest of its identity.
    #[wasm_bindgen(js_name = beginProgram)]
    pub async fn begin_program(
        &self,
        id: u32,
        key: String,
        of: String,
        file: Option<Vec<u8>>,
    ) -> JsResult<()> {
        let mut program = self.programs.take(id)?;
        let saved = file.as_deref().map(|file| Saved { key: &key, of: &of, file });
        let work = async { self.engine()?.begin_program(&mut program, saved).await };
        let result = work.await;
        self.programs.put(id, program);
        Ok(result?)
    }

    /// Moves training `id` on, by about as much work as `rows` rows of a layer forward are:
    /// {kind: "progress", done, all}, {kind: "step", step} or {kind: "done"}.
    #[wasm_bindgen(js_name = nextOfTraining)]
    pub async fn next_of_training(&self, id: u32, rows: usize) -> JsResult<JsValue> {
        let mut program = self.programs.take(id)?;
        let work = async { self.engine()?.next_of_training(&mut program, rows).await };
        let result = work.await;
        self.programs.put(id, program);
        to_js(&JsTrainEvent::from(result?))
    }

    /// The file from which training `id` goes on.
    #[wasm_bindgen(js_name = trainingCheckpoint)]
    pub async fn training_checkpoint(&self, id: u32, of: String) -> JsResult<Vec<u8>> {
        let program = self.programs.take(id)?;
        let work = async { self.engine()?.training_checkpoint(&program, &of).await };
        let result = work.await;
        self.programs.put(id, program);
        Ok(result?)
    }

    /// Ends training `id`, complete or not; the adapter stays, unless it has learned nothing.
    #[wasm_bindgen(js_name = endProgram)]
    pub async fn end_program(&self, id: u32) -> JsResult<()> {
        let mut program = self.programs.take(id)?;
        let work = async { self.engine()?.end_program(&mut program).await };
        let result = work.await;
        self.programs.put(id, program);
        result?;
        self.programs.remove(id)?;
        Ok(())
    }

    /// How well a text was predicted, of its chunks as `tempNext` reports them.
    pub fn evaluation(chunks: JsValue) -> JsResult<JsValue> {
        let chunks: Vec<ChunkFields> = from_js(chunks)?;
        to_js(&JsEvaluation::from(Evaluation::of(chunks.into_iter().map(ChunkLosses::from))?))
    }

    /// Begins a temporary adapter: {id, name, chunkTokens, contextTokens}. `options` are those of
    /// `TempLoraOptions` and `preset`; what is absent is the preset's.
    #[wasm_bindgen(js_name = beginTempLora)]
    pub async fn begin_temp_lora(&self, options: JsValue) -> JsResult<JsValue> {
        let fields: TempLoraFields = from_js(options)?;
        let mut engine = self.engine()?;
        let options: TempLoraOptions = fields.over_preset(&engine)?;
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
    pub async fn end_temp_lora(&self, id: u32, keep: Option<String>) -> JsResult<()> {
        let mut temp = self.temps.take(id)?;
        let work = async { self.engine()?.end_temp_lora(&mut temp, keep.as_deref()).await };
        let result = work.await;
        self.temps.put(id, temp);
        result?;
        self.temps.remove(id)?;
        Ok(())
    }
}
