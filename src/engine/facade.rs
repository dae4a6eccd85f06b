//! The engine: a facade of one-line methods over its owners, which it hands each other.
//! Not what they do: each tells that of itself, errors in full.
//! A request goes on in `src/engine/text/generate.rs`.

mod sessions;
mod views;

use futures_channel::oneshot;
use serde_json::Value;

use crate::backend::gpu::measure::{Clock, KernelTime};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

use super::adapters::Adapters;
use super::load::recover::recover;
use super::load::told::Told;
use super::owners::Owners;
use super::runner::Runner;
use super::text::{Texts, chat};
use super::training::Trainer;
use super::{
    Adapter, AdapterFiles, AdapterInfo, Asked, Choice, Combination, Delta, Generation, Loader, NewLora,
    Optimizer, Pooling, Program, Request, Saved, Step, TempEvent, TempLora, TempLoraOptions, TrainEvent,
    TrainOptions, TrainingRoom, Window,
};

/// A loaded model on a backend.
#[derive(Debug)]
pub struct Engine {
    runner: Runner,
    adapters: Adapters,
    texts: Texts,
    trainer: Trainer,
    tokenizer: Tokenizer,
    told: Told,
}

impl Loader {
    /// The engine, once every tensor has come, all kernels made. Errors with `Mismatch`, `Device`.
    pub fn finish(self) -> Result<Engine> {
        let (runner, tokenizer, told) = self.loaded()?;
        let (adapters, texts) = (Adapters::new(tokenizer.vocab_size()), Texts::new(runner.model().slots()));
        Ok(Engine { runner, adapters, texts, trainer: Trainer::default(), tokenizer, told })
    }
}

impl Engine {
    /// Tells where the base is from, a hub id or a folder's path: exported adapters name it.
    pub fn set_base_name(&mut self, name: &str) {
        self.adapters.set_base_name(name);
    }

    /// Tries the kernels that the model needs with what is loaded and trained. Errors with `Device`.
    pub async fn check_kernels(&mut self) -> Result<()> {
        self.runner.check_kernels().await
    }

    /// How long each GPU kernel takes, at least of `runs`, that draws a token after `keys` others, at most the context. Texts that are under
    /// way are lost. Errors with `Unsupported` on the CPU, `Device`.
    pub(crate) async fn time_kernels(
        &mut self,
        keys: usize,
        runs: usize,
        clock: Clock<'_>,
    ) -> Result<Vec<KernelTime>> {
        self.runner.time_kernels(keys, runs, clock).await
    }

    /// Waits for all that the device was given. Errors with `Device`.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        self.runner.wait().await
    }

    /// Brings the reason when the device is lost; cancelled if the engine is dropped instead.
    pub fn lost(&self) -> oneshot::Receiver<Error> {
        self.runner.lost()
    }

    /// Frees all memory of the device, which then counts as lost. Main memory stays.
    pub fn release_device(&mut self) {
        self.runner.release();
    }

    /// Goes on where it was on the device of `loader`. Errors with `Mismatch`, `Memory`, `Device`: call it again.
    pub async fn recover(&mut self, loader: Loader) -> Result<()> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        recover(runner, adapters, texts, trainer, loader).await
    }

    /// Ids of a prompt, with the tokenizer's special tokens. Errors with `Argument` for a text of no tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        chat::encode(&self.tokenizer, self.config(), text)
    }

    /// What a `tokenizer_config.json` would say of the chat template and the special tokens.
    pub fn tokenizer_config(&self) -> String {
        chat::tokenizer_config(&self.tokenizer, self.config())
    }

    /// Token ids of a conversation, as a chat template wrote it.
    pub fn encode_chat(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, false)
    }

    /// Tokens that end an answer: the template's `eos_token`, and what marks the end in what comes after one.
    pub fn chat_ends(&self, eos_token: Option<&str>, after_answer: Option<&str>) -> Result<Vec<u32>> {
        chat::chat_ends(&self.tokenizer, self.config(), eos_token, after_answer)
    }

    /// Whether requests can be begun once there are slots for them. Errors as [`start`](Self::start).
    pub fn check(&self, requests: &[Request]) -> Result<()> {
        self.texts.check(&self.runner, &self.adapters, requests).map(drop)
    }

    /// Takes a slot for each request. Errors with `Argument` for an option, a prompt or too few free slots.
    pub fn start(&mut self, requests: &[Request]) -> Result<Generation> {
        self.texts.start(&mut self.runner, &mut self.adapters, &self.tokenizer, requests)
    }

    /// A run of the prompts, or a block of tokens: what each unfinished request gained. Errors with `Device`.
    pub async fn next(&mut self, generation: &mut Generation) -> Result<Vec<Delta>> {
        generation.next(&mut self.runner, &self.adapters, &self.tokenizer).await
    }

    /// Goes on with the unfinished texts of a generation under other adapters, from the next token on. Errors with
    /// `Argument`, and changes nothing then, for an adapter that is not loaded or a text that has no room under it.
    pub fn switch(&mut self, generation: &mut Generation, choice: &Choice) -> Result<()> {
        let Self { runner, adapters, texts, .. } = self;
        texts.switch(runner, adapters, generation, choice)
    }

    /// Gives the slots of a generation back; what they hold can be reused.
    pub fn end(&mut self, generation: Generation) {
        self.texts.end(&self.runner, &mut self.adapters, generation);
    }

    /// Logits (T, V) at every position of `ids`, computed anew. Errors with `Argument`, `Device`.
    pub async fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.logits_with(ids, None).await
    }

    /// The same under `choice`; `None` is the default.
    pub async fn logits_with(&mut self, ids: &[u32], choice: Option<&Choice>) -> Result<Vec<f32>> {
        self.texts.logits(&mut self.runner, &mut self.adapters, ids, choice).await
    }

    /// Losses, nats, of `ids[first..]`, each given all tokens before it. Errors as [`logits`](Self::logits).
    pub async fn losses(&mut self, ids: &[u32], first: usize) -> Result<Vec<f64>> {
        self.texts.losses(&mut self.runner, &mut self.adapters, ids, first).await
    }

    /// Losses of a text of any length, in windows that move on by `stride`; `progress(scored, of all)`.
    pub async fn text_losses(
        &mut self,
        ids: &[u32],
        context: usize,
        stride: usize,
        progress: impl FnMut(usize, usize),
    ) -> Result<Vec<f64>> {
        let Self { runner, adapters, texts, .. } = self;
        texts.text_losses(runner, adapters, ids, [context, stride], progress).await
    }

    /// Hidden states (T, C) after `layer` layers, or after the last norm. Errors as [`logits`](Self::logits).
    pub async fn hidden_states(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        layer: Option<usize>,
    ) -> Result<Vec<f32>> {
        self.texts.hidden_states(&mut self.runner, &mut self.adapters, ids, choice, layer).await
    }

    /// One vector (C) for a text: its [`hidden_states`](Self::hidden_states), pooled.
    pub async fn embed(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        layer: Option<usize>,
        pooling: impl Into<Option<Pooling>>,
    ) -> Result<Vec<f32>> {
        self.texts.embed(&mut self.runner, &mut self.adapters, ids, choice, (layer, pooling.into())).await
    }

    /// Puts an adapter into the bank, for one of its name. Errors with `Mismatch`, `Argument`, `Memory`.
    pub fn add_adapter(&mut self, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        self.adapters.add(&mut self.runner, name, adapter)
    }

    /// Loads a folder of PEFT, mlx-lm or mistral-finetune. Errors with `Format`, `Unsupported`, `Mismatch`.
    pub async fn load_adapter(&mut self, name: &str, config: &[u8], weights: &[u8]) -> Result<AdapterInfo> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        self.adapters.load(&mut self.runner, name, config, weights).await
    }

    /// The same of a LoRA that llama.cpp's `convert_lora_to_gguf.py` wrote.
    pub async fn load_gguf_adapter(&mut self, name: &str, file: &[u8]) -> Result<AdapterInfo> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        self.adapters.load_gguf(&mut self.runner, name, file).await
    }

    /// Makes adapter `name` of several LoRAs, to the element as PEFT's `add_weighted_adapter` does.
    pub async fn add_weighted_adapter(
        &mut self,
        name: &str,
        of: &Choice,
        how: &Combination,
    ) -> Result<AdapterInfo> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        self.adapters.add_weighted(&mut self.runner, name, of, how).await
    }

    /// Adds a LoRA that does nothing yet. Errors with `Argument` for options or targets, `Memory`, `Device`.
    pub async fn new_lora(&mut self, name: &str, lora: &NewLora) -> Result<AdapterInfo> {
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        self.adapters.create(&mut self.runner, name, lora).await
    }

    /// Tries the kernels of an adapter just loaded, and deletes it if one is wrong.
    pub async fn check_adapter(&mut self, name: &str) -> Result<()> {
        self.adapters.check_kernels(&mut self.runner, name).await
    }

    /// Takes an adapter out. Errors with `Argument` if it is not loaded, or in use, merged or trained.
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        self.adapters.delete(&mut self.runner, name)
    }

    /// What is loaded, in the order of loading.
    pub fn list_adapters(&self) -> impl Iterator<Item = &AdapterInfo> {
        self.adapters.list()
    }

    /// One loaded adapter. Errors with `Argument` if it is not loaded.
    pub fn get_adapter(&self, name: &str) -> Result<&AdapterInfo> {
        Ok(&self.adapters.find(name)?.info)
    }

    /// Sets the adapters of requests that name none. Errors with `Argument` for a choice that cannot be made.
    pub fn set_adapter(&mut self, choice: Choice) -> Result<()> {
        self.adapters.set_default(&mut self.runner, choice)
    }

    /// The adapters of requests that name none.
    pub fn active_adapters(&self) -> &Choice {
        self.adapters.default_choice()
    }

    /// Folds a blend into the weights. Errors with `Argument`, `Device`, `Unsupported` naming what takes none.
    pub async fn merge_adapter(&mut self, choice: &Choice) -> Result<()> {
        self.texts.check_idle()?;
        self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        self.adapters.merge(&mut self.runner, choice).await
    }

    /// Gives the weights the base's bits again. Errors with `Argument` if nothing is merged, or a text runs.
    pub fn unmerge_adapter(&mut self) -> Result<()> {
        self.texts.check_idle()?;
        self.adapters.unmerge(&mut self.runner)
    }

    /// What is merged into the weights.
    pub fn merged_adapters(&self) -> &[(String, f32)] {
        self.adapters.merged()
    }

    /// `adapter_config.json` of a loaded adapter, as [`export_adapter`](Self::export_adapter) gives it.
    pub fn adapter_config(&self, name: &str) -> Result<Vec<u8>> {
        self.adapters.config(self.runner.model(), name)
    }

    /// Its PEFT folder: as it came, or a LoRA of its own A, B and scale. Errors with `Unsupported`.
    pub async fn export_adapter(&mut self, name: &str) -> Result<AdapterFiles> {
        if self.trained_adapter() == Some(name) {
            self.trainer.copy(&mut self.runner, &mut self.adapters).await?;
        }
        self.adapters.export(self.runner.model(), name)
    }

    /// Makes room to train an adapter, one at a time. Errors with `Argument`, `Unsupported`, `Memory` with
    /// advice.
    pub async fn begin_training(&mut self, name: &str, with: Optimizer, room: TrainingRoom) -> Result<()> {
        self.trainer.begin(&mut self.runner, &mut self.adapters, name, with, room).await
    }

    /// Frees what training needed; the adapter stays as it has become. No error if none is trained.
    pub async fn end_training(&mut self) -> Result<()> {
        self.trainer.end(&mut self.runner, &mut self.adapters).await
    }

    /// The adapter that is being trained.
    pub fn trained_adapter(&self) -> Option<&str> {
        self.adapters.trained().ok().map(|loaded| loaded.info.name.as_str())
    }

    /// Steps that the adapter has finished since its training began; 0 if none is trained.
    pub fn steps_taken(&self) -> u32 {
        self.trainer.steps()
    }

    /// Begins a step on windows under `choice`, which must name what is trained. Errors with `Argument`.
    pub fn begin_step(&mut self, windows: Vec<Window>, choice: &Choice, learning_rate: f32) -> Result<Step> {
        self.trainer.begin_step(&mut self.runner, &self.adapters, windows, choice, learning_rate)
    }

    /// Work of about `rows` rows of a layer forward, one piece at least. Errors with `Device`.
    pub async fn next_slices(&mut self, step: &mut Step, rows: usize) -> Result<()> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        trainer.next_slices(runner, adapters, texts, step, rows).await
    }

    /// Gives back what a step occupies, finished or not.
    pub fn end_step(&mut self, step: Step) {
        self.trainer.end_step(&self.runner, &mut self.adapters, &mut self.texts, step);
    }

    /// Runs a whole step, and returns its loss before the update.
    pub async fn train_step(&mut self, windows: Vec<Window>, choice: &Choice, rate: f32) -> Result<f64> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        trainer.whole_step(runner, adapters, texts, windows, choice, rate).await
    }

    /// A training that is to begin. Errors with `Argument` for an option out of range.
    pub fn plan_training(&self, options: TrainOptions) -> Result<Program> {
        Program::plan(self.model().context(), options)
    }

    /// Adds an item to the dataset; tells which conversations it asks for. Errors with `Argument`, `Unsupported`.
    pub fn add_to_training(&self, program: &mut Program, item: &Value) -> Result<Vec<Asked>> {
        program.add(&self.tokenizer, self.config(), item)
    }

    /// Adds the token ids of the conversations that were asked for. Errors with `Argument`, `Unsupported`.
    pub fn add_conversations(&self, program: &mut Program, tokens: Vec<Vec<u32>>) -> Result<()> {
        program.answer(tokens)
    }

    /// Begins a training, or goes on from a checkpoint. Errors as [`begin_training`](Self::begin_training),
    /// `Format`.
    pub async fn begin_program(&mut self, program: &mut Program, saved: Option<Saved<'_>>) -> Result<()> {
        program.begin(&mut self.owners(), saved).await
    }

    /// Moves a training on, by as much as [`next_slices`](Self::next_slices) does; after an error once more.
    pub async fn next_of_training(&mut self, program: &mut Program, rows: usize) -> Result<TrainEvent> {
        program.next(&mut self.owners(), rows).await
    }

    /// The file from which the same training goes on; `of` is a digest of its [identity](Program::identity).
    pub async fn training_checkpoint(&mut self, program: &Program, of: &str) -> Result<Vec<u8>> {
        program.checkpoint(of, self.export_adapter(program.name()).await?)
    }

    /// Ends a training, complete or not. The adapter stays, unless it is new and has learned nothing.
    pub async fn end_program(&mut self, program: &mut Program) -> Result<()> {
        program.end(&mut self.owners()).await
    }

    /// Begins a temporary adapter. Errors with `Argument`, `Unsupported` for adapters beside it, `Memory`.
    pub async fn begin_temp_lora(&mut self, options: TempLoraOptions) -> Result<TempLora> {
        TempLora::begin(&mut self.owners(), options).await
    }

    /// Appends a text to be learned; with `evaluate` each chunk is scored first. Errors with `Argument`.
    pub fn temp_learn(&mut self, temp: &mut TempLora, tokens: &[u32], evaluate: bool) -> Result<()> {
        temp.learn(&self.runner, tokens, evaluate)
    }

    /// Writes on, `request`'s prompt first; with `mix` from the never-worse mix. Errors with `Argument`.
    pub fn temp_generate(&mut self, temp: &mut TempLora, request: Request, mix: bool) -> Result<()> {
        temp.generate(&self.runner, request, mix)
    }

    /// Moves on by a run, or by as much as [`next_slices`](Self::next_slices) does. Errors with `Device`.
    pub async fn temp_next(&mut self, temp: &mut TempLora, rows: usize) -> Result<TempEvent> {
        temp.next(&mut self.owners(), rows).await
    }

    /// Drops what is left to do; the adapter stays as the last step that ended left it.
    pub fn temp_cancel(&mut self, temp: &mut TempLora) {
        temp.cancel(&mut self.owners());
    }

    /// Ends it: it becomes an adapter called `keep`, or is gone. Errors with `Argument` if either cannot be.
    pub async fn end_temp_lora(&mut self, temp: &mut TempLora, keep: Option<&str>) -> Result<()> {
        temp.end(&mut self.owners(), keep).await
    }

    fn owners(&mut self) -> Owners<'_> {
        let Self { runner, adapters, texts, trainer, tokenizer, .. } = self;
        Owners { runner, adapters, texts, trainer, tokenizer }
    }
}
