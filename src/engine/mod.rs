//! A model one can talk to: loading, scoring, generation and training over one backend.
//! I/O is the caller's; nothing here fetches or opens a file (`folder` apart, native only).
//!
//! [`Engine`] is a facade: it owns what does the work and hands the owners each other. `runner` has the
//! model on its device, `adapters` what is loaded beside it, `text` the sequences, `training` the adapter
//! that is trained; `temp_lora` works over all of them, and `load` makes them from files.

mod adapters;
#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
mod load;
mod plans;
mod runner;
mod temp_lora;
mod text;
mod training;

pub use adapters::adapter::{Adapter, Core, Lead, ModuleDelta, PointDelta, RowDeltas};
pub use adapters::combine::arithmetic::MajoritySign;
pub use adapters::combine::combination::{Arithmetic, Combination, CombinationType};
pub use adapters::files::AdapterFiles;
pub use adapters::loaded::{AdapterInfo, Choice};
pub use adapters::new_lora::{NewLora, Variant};
pub use load::describe::Description;
pub use load::loader::Loader;
pub use load::options::EngineOptions;
pub use load::room::needs;
pub use temp_lora::{ChunkReport, Kv, Preset, TempEvent, TempLora, TempLoraOptions};
pub use text::hidden::Pooling;
pub use text::logprobs::TokenLogprobs;
pub use text::request::{Delta, Finish, Overflow, Request, Usage};
pub use text::sequence::Generation;
pub use training::memory::TrainingRoom;
pub use training::optimizer::Optimizer;
pub use training::schedule::Schedule;
pub use training::train::{Step, Window};

use futures_channel::oneshot;

use crate::backend::Backend;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tokenizer::Tokenizer;

use adapters::Adapters;
use runner::Runner;
use temp_lora::owners::Owners;
use text::{Texts, chat};
use training::Trainer;

/// A loaded model on a backend.
#[derive(Debug)]
pub struct Engine {
    runner: Runner,
    adapters: Adapters,
    texts: Texts,
    trainer: Trainer,
    tokenizer: Tokenizer,
    warnings: Vec<String>,
}

impl Loader {
    /// The engine, once every tensor has come; every kernel is made here, so that the first
    /// token does not wait for them.
    ///
    /// Errors with `Mismatch` naming a tensor that has not, `Device` if a kernel cannot be made.
    pub fn finish(self) -> Result<Engine> {
        let (runner, tokenizer, warnings) = self.loaded()?;
        let (adapters, texts) = (Adapters::new(tokenizer.vocab_size()), Texts::new(runner.model().slots()));
        Ok(Engine { runner, adapters, texts, trainer: Trainer::default(), tokenizer, warnings })
    }
}

/// What it is.
impl Engine {
    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.runner.model().config
    }

    /// The tensors and plans.
    pub fn model(&self) -> &Model {
        self.runner.model()
    }

    /// Where it runs.
    pub fn backend(&self) -> &Backend {
        self.runner.backend()
    }

    /// The text codec.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the caller should know of the model's files: which tensors take more memory than they do there.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tells where the base is from, a hub id or a folder's path: exported adapters name it.
    pub fn set_base_name(&mut self, name: &str) {
        self.adapters.set_base_name(name);
    }

    /// Tries the kernels that the model needs with the adapters it has, and those of training if an
    /// adapter is trained; each once. A device may compute wrongly, and nothing else tells.
    ///
    /// Errors with `Device`, naming a kernel that is wrong; or if the device is lost.
    pub async fn check_kernels(&mut self) -> Result<()> {
        self.runner.check_kernels().await
    }

    /// Brings the reason when the device is lost; cancelled if the engine is dropped instead.
    pub fn lost(&self) -> oneshot::Receiver<Error> {
        self.runner.lost()
    }

    /// Frees all memory of the device, which then counts as lost, so that there is room for
    /// [`recover`](Self::recover)'s. Main memory stays.
    pub fn release_device(&mut self) {
        self.runner.release();
    }

    /// Goes on where it was on the device of `loader`, into which the same model has been loaded
    /// with the same options. Work under way goes on from what the host has of it: a generation
    /// from its tokens, a step of training from its beginning, the trainee from the last step that
    /// ended. Keys and values that were kept although an adapter had changed are computed with it
    /// as it is.
    ///
    /// Errors with `Mismatch` if it is another model, or a part of it is missing; with `Memory` or
    /// `Device` if this device fails too. Then this is to be called once more before anything is
    /// computed.
    pub async fn recover(&mut self, loader: Loader) -> Result<()> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        load::recover::recover(runner, adapters, texts, trainer, loader).await
    }
}

/// Texts and tokens.
impl Engine {
    /// Ids of a prompt, with the special tokens its tokenizer puts around a text.
    ///
    /// Errors with `Argument` for a text of no tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        chat::encode(&self.tokenizer, self.config(), text)
    }

    /// Ids of a training example, an end token last if the model has one, and how many are the prompt's.
    ///
    /// Errors with `Format` if the vocabulary cannot spell it.
    pub fn encode_example(&self, prompt: &str, completion: &str) -> Result<(Vec<u32>, usize)> {
        chat::encode_example(&self.tokenizer, self.config(), [prompt, completion])
    }

    /// What a `tokenizer_config.json` would say: the template that came with the tokenizer, as it does in
    /// a GGUF file, and the special tokens that templates name.
    pub fn tokenizer_config(&self) -> String {
        chat::tokenizer_config(&self.tokenizer, self.config())
    }

    /// Token ids of a conversation, as a chat template wrote it.
    ///
    /// Errors as [`Tokenizer::encode`].
    pub fn encode_chat(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, false)
    }

    /// Tokens that end an answer, those of the model apart: the template's `eos_token`, and the first
    /// token with a meaning of its own in what it writes after an answer. That is an added one, marked as
    /// special or not, or, where there is none, all that it writes, if that is one token.
    ///
    /// Errors as [`encode_chat`](Self::encode_chat).
    pub fn chat_ends(&self, eos_token: Option<&str>, after_answer: Option<&str>) -> Result<Vec<u32>> {
        chat::chat_ends(&self.tokenizer, self.config(), eos_token, after_answer)
    }

    /// Whether requests can be begun once there are slots for them.
    ///
    /// Errors with `Argument` for no request, an option out of range, a prompt that does not fit, or an
    /// adapter that is not loaded.
    pub fn check(&self, requests: &[Request]) -> Result<()> {
        self.texts.check(&self.runner, &self.adapters, requests).map(drop)
    }

    /// Takes a slot for each request and reuses the cache where it remembers the prompt.
    ///
    /// Errors with `Argument` for an option out of range, a prompt that does not fit, or more
    /// requests than the engine has free slots.
    pub fn start(&mut self, requests: &[Request]) -> Result<Generation> {
        self.texts.start(&mut self.runner, &mut self.adapters, &self.tokenizer, requests)
    }

    /// One step: a run of the prompts, or a block of tokens. Returns what each unfinished
    /// request gained; nothing while prompts are being computed, or when all is finished.
    ///
    /// Errors with `Device` if the device fails. The generation must be [`end`](Self::end)ed
    /// all the same, or goes on where it was once the engine has [recovered](Self::recover).
    pub async fn next(&mut self, generation: &mut Generation) -> Result<Vec<Delta>> {
        generation.next(&mut self.runner, &self.adapters, &self.tokenizer).await
    }

    /// Gives the slots of a generation back; what they hold can be reused.
    pub fn end(&mut self, generation: Generation) {
        self.texts.end(&self.runner, &mut self.adapters, generation);
    }

    /// Logits (T, V) at every position of `ids`, computed anew under the engine's own choice of
    /// adapters.
    ///
    /// Errors with `Argument` if `ids` is empty, longer than the context, or names a token
    /// outside the vocabulary, and with `Device` naming the token whose logits are not numbers.
    pub async fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.logits_with(ids, None).await
    }

    /// The same under `choice`; `None` is the engine's own.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` for a choice that cannot be made.
    pub async fn logits_with(&mut self, ids: &[u32], choice: Option<&Choice>) -> Result<Vec<f32>> {
        self.texts.logits(&mut self.runner, &mut self.adapters, ids, choice).await
    }

    /// Negative log-likelihoods, nats, of `ids[first..]`, each given all tokens before it.
    ///
    /// Errors as [`logits`](Self::logits), and with `Argument` if `first` is 0: the first token
    /// is given by nothing.
    pub async fn losses(&mut self, ids: &[u32], first: usize) -> Result<Vec<f64>> {
        self.texts.losses(&mut self.runner, &mut self.adapters, ids, first).await
    }

    /// Losses of a text of any length: windows of `context` tokens move on by `stride`, and
    /// each token but the first is scored once, in the first window that holds it, given at
    /// least `context − stride` tokens where the text has them.
    /// `progress(tokens scored, of all)` is told after each window.
    ///
    /// Errors as [`losses`](Self::losses), and with `Argument` for a stride out of range.
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

    /// Hidden states (T, C) of `ids` under `choice` (`None` is the engine's own), computed anew:
    /// after `layer` layers, or by default after all and the last norm, as transformers counts
    /// `hidden_states`. Those of virtual tokens are left out.
    ///
    /// Errors with `Argument` for ids as [`logits`](Self::logits) does, a choice that cannot be
    /// made, or a layer the model has not, and with `Device` naming the token whose states are not
    /// numbers.
    pub async fn hidden_states(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        layer: Option<usize>,
    ) -> Result<Vec<f32>> {
        self.texts.hidden_states(&mut self.runner, &mut self.adapters, ids, choice, layer).await
    }

    /// One vector (C) for a text: its [`hidden_states`](Self::hidden_states), pooled.
    ///
    /// Errors as those do.
    pub async fn embed(
        &mut self,
        ids: &[u32],
        choice: Option<&Choice>,
        layer: Option<usize>,
        pooling: Pooling,
    ) -> Result<Vec<f32>> {
        self.texts.embed(&mut self.runner, &mut self.adapters, ids, choice, (layer, pooling)).await
    }
}

/// Adapters. One that is being trained is neither replaced nor deleted nor merged.
impl Engine {
    /// Puts an adapter into the bank under `name`; an adapter of that name is replaced, and
    /// what was cached under it is not used again.
    ///
    /// Errors with `Mismatch` naming a module or shape that this base does not have, `Argument`
    /// if the name is empty or its adapter is in use or merged, `Memory`; everything is as it was then.
    pub fn add_adapter(&mut self, name: &str, adapter: Adapter) -> Result<AdapterInfo> {
        self.adapters.add(&mut self.runner, name, adapter)
    }

    /// Loads a PEFT folder's `adapter_config.json` and `adapter_model.safetensors` as `name`;
    /// an adapter of that name is replaced. Those of mlx-lm (`adapter_config.json`,
    /// `adapters.safetensors`) and of mistral-finetune (`params.json`, or nothing, and
    /// `lora.safetensors`) are made such a folder first. What should be known of it is in the
    /// [`warnings`](AdapterInfo::warnings).
    ///
    /// Errors with `Format` for the files, `Unsupported` naming what is not implemented,
    /// `Mismatch` naming the tensor or module that does not fit this base, `Argument` for the
    /// name, `Memory`.
    pub async fn load_adapter(&mut self, name: &str, config: &[u8], weights: &[u8]) -> Result<AdapterInfo> {
        self.adapters.load(&mut self.runner, name, config, weights).await
    }

    /// Loads a LoRA adapter that llama.cpp's `convert_lora_to_gguf.py` wrote as `name`; an
    /// adapter of that name is replaced. What the file cannot say is in the
    /// [`warnings`](AdapterInfo::warnings).
    ///
    /// Errors with `Format` for the file, `Unsupported` naming what is not implemented,
    /// `Mismatch` naming the architecture or tensor that does not fit this base, `Argument` for
    /// the name, `Memory`.
    pub fn load_gguf_adapter(&mut self, name: &str, file: &[u8]) -> Result<AdapterInfo> {
        self.adapters.load_gguf(&mut self.runner, name, file)
    }

    /// The same, where a device that is out of memory tells so only to who waits.
    ///
    /// Errors as that does.
    pub async fn load_gguf_adapter_reserved(&mut self, name: &str, file: &[u8]) -> Result<AdapterInfo> {
        self.adapters.load_gguf_reserved(&mut self.runner, name, file).await
    }

    /// Makes adapter `name` of several LoRAs; an adapter of that name is replaced. The result is
    /// PEFT's to the element, its habits included: the first adapter's config is copied, so that
    /// with `use_rslora` in it the result is √rank too strong; one adapter alone is combined by
    /// `linear`; and after `seed` the random numbers are those PyTorch would draw.
    ///
    /// The types with `_svd` decompose each module's whole matrix, in time cubic in its size.
    ///
    /// Errors with `Argument` for adapters not loaded, options out of range, or ranks that
    /// differ where they must not; `Unsupported` naming what is no plain LoRA, or a module that
    /// the first adapter's config keeps out; and as [`load_adapter`](Self::load_adapter).
    pub async fn add_weighted_adapter(
        &mut self,
        name: &str,
        adapters: &Choice,
        combination: &Combination,
    ) -> Result<AdapterInfo> {
        self.adapters.add_weighted(&mut self.runner, name, adapters, combination).await
    }

    /// Adds a LoRA that does nothing yet: A Kaiming-uniform with a = √5, that is ±1/√C, and B zero,
    /// as PEFT begins one (arXiv:2106.09685). LoRA-XS reads the base's weights and begins with a core
    /// of zeros.
    ///
    /// Errors with `Argument` for a rank, an alpha or a name out of range or targets that the base
    /// does not have, `Memory`, `Device`.
    pub async fn new_lora(&mut self, name: &str, lora: &NewLora) -> Result<AdapterInfo> {
        self.adapters.create(&mut self.runner, name, lora).await
    }

    /// [`check_kernels`](Self::check_kernels) for an adapter that has just been loaded, which is deleted if a
    /// kernel of its own is wrong.
    ///
    /// Errors as that does.
    pub async fn check_adapter(&mut self, name: &str) -> Result<()> {
        if let Err(e) = self.check_kernels().await {
            self.delete_adapter(name)?;
            return Err(e);
        }
        Ok(())
    }

    /// Takes an adapter out of the bank, and out of the default choice.
    ///
    /// Errors with `Argument` if it is not loaded, is merged, or a running generation uses it.
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        self.adapters.delete(&mut self.runner, name)
    }

    /// What is loaded, in the order of loading.
    pub fn list_adapters(&self) -> impl Iterator<Item = &AdapterInfo> {
        self.adapters.list()
    }

    /// One loaded adapter.
    ///
    /// Errors with `Argument` if it is not loaded.
    pub fn get_adapter(&self, name: &str) -> Result<&AdapterInfo> {
        Ok(&self.adapters.find(name)?.info)
    }

    /// Chooses the adapters of requests that name none, and writes the line that switches to
    /// them unless it is still there.
    ///
    /// Errors with `Argument` for a name that is not loaded, a weight that is no number, or
    /// more adapters than a mix holds.
    pub fn set_adapter(&mut self, choice: Choice) -> Result<()> {
        self.adapters.set_default(&mut self.runner, choice)
    }

    /// The adapters of requests that name none.
    pub fn active_adapters(&self) -> &Choice {
        self.adapters.default_choice()
    }

    /// Folds a blend into the weights: W ← (1 + Σ γ·gain) ∘ W + Σ γ·B·A row by row, biases
    /// ← bias + Σ γ·shift. The merged adapters leave the engine's own choice; others can be
    /// blended on top. A copy of every weight it changes is kept in main memory.
    ///
    /// Errors with `Argument` if adapters are merged already, one of these is being trained, a
    /// generation is running, or the choice cannot be made; `Unsupported` naming what no weight can take;
    /// `Device`. The weights are then as they were.
    pub async fn merge_adapter(&mut self, choice: &Choice) -> Result<()> {
        self.texts.check_idle()?;
        self.adapters.merge(&mut self.runner, choice).await
    }

    /// Gives the weights the base's bits again; what was cached before the merge is valid again.
    ///
    /// Errors with `Argument` if nothing is merged, or a generation is running.
    pub fn unmerge_adapter(&mut self) -> Result<()> {
        self.texts.check_idle()?;
        self.adapters.unmerge(&mut self.runner)
    }

    /// What is merged into the weights.
    pub fn merged_adapters(&self) -> &[(String, f32)] {
        self.adapters.merged()
    }

    /// `adapter_config.json` of a loaded adapter, as [`export_adapter`](Self::export_adapter)
    /// gives it.
    ///
    /// Errors as that does.
    pub fn adapter_config(&self, name: &str) -> Result<Vec<u8>> {
        self.adapters.config(self.runner.model(), name)
    }

    /// The PEFT folder of a loaded adapter: the one it came from, or, where it was made here, a
    /// LoRA whose alpha is such that A and B are the adapter's own. It names its base where the folder
    /// did, or [`set_base_name`](Self::set_base_name) has told.
    ///
    /// Errors with `Argument` if it is not loaded, `Unsupported` naming what of an adapter made
    /// here no LoRA expresses.
    pub fn export_adapter(&self, name: &str) -> Result<AdapterFiles> {
        self.adapters.export(self.runner.model(), name)
    }
}

/// Training. One adapter is trained at a time.
impl Engine {
    /// Makes room to train a loaded adapter further, with fresh moments. Where it came from a PEFT folder
    /// with one scale for all modules, B is trained without it, as PEFT does. One that began as LoRA-XS is
    /// trained by its cores.
    ///
    /// Errors with `Argument` if it is not loaded, in use or merged, or another is trained;
    /// `Unsupported` naming what of it is no plain LoRA; `Memory` naming what would fit. Everything is
    /// as it was then.
    pub fn begin_training(&mut self, name: &str, optimizer: Optimizer, room: TrainingRoom) -> Result<()> {
        self.trainer.begin(&mut self.runner, &mut self.adapters, name, optimizer, room)
    }

    /// The same, where a device that is out of memory tells so only to who waits.
    ///
    /// Errors as that does.
    pub async fn begin_training_reserved(
        &mut self,
        name: &str,
        optimizer: Optimizer,
        room: TrainingRoom,
    ) -> Result<()> {
        self.trainer.begin_reserved(&mut self.runner, &mut self.adapters, name, optimizer, room).await
    }

    /// Frees what training needed; the adapter stays as it has become: without a step, bit for bit
    /// what it was. No error if none is trained.
    pub fn end_training(&mut self) -> Result<()> {
        self.trainer.end(&mut self.runner, &mut self.adapters)
    }

    /// The adapter that is being trained.
    pub fn trained_adapter(&self) -> Option<&str> {
        self.adapters.trained().ok().map(|loaded| loaded.info.name.as_str())
    }

    /// Steps that the adapter has finished since its training began; 0 if none is trained.
    pub fn steps_taken(&self) -> u32 {
        self.trainer.steps()
    }

    /// Begins a step of the trained adapter on windows whose labels count equally. It acts under
    /// `choice`, which must name it.
    ///
    /// Errors with `Argument` for a window out of range, a choice without the adapter or with one
    /// that cannot be trained through, or if none is trained.
    pub fn begin_step(&mut self, windows: Vec<Window>, choice: &Choice, learning_rate: f32) -> Result<Step> {
        self.trainer.begin_step(&mut self.runner, &self.adapters, windows, choice, learning_rate)
    }

    /// Does at least one piece of work, and others while all together take no longer than `rows` rows of a
    /// layer forward; then waits for them.
    ///
    /// Errors with `Device`. The step must be [`end_step`](Self::end_step)ed all the same, or begins
    /// anew if it is asked for more, as it does once the engine has [recovered](Self::recover).
    pub async fn next_slices(&mut self, step: &mut Step, rows: usize) -> Result<()> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        trainer.next_slices(runner, adapters, texts, step, rows).await
    }

    /// Gives back what a step occupies, finished or not.
    pub fn end_step(&mut self, step: Step) {
        self.trainer.end_step(&self.runner, &mut self.adapters, &mut self.texts, step);
    }

    /// Runs a whole step, and returns its loss before the update.
    ///
    /// Errors as [`begin_step`](Self::begin_step) and [`next_slices`](Self::next_slices) do.
    pub async fn train_step(
        &mut self,
        windows: Vec<Window>,
        choice: &Choice,
        learning_rate: f32,
    ) -> Result<f64> {
        let Self { runner, adapters, texts, trainer, .. } = self;
        trainer.whole_step(runner, adapters, texts, windows, choice, learning_rate).await
    }
}

/// Temporary adapters.
impl Engine {
    /// Begins a temporary adapter. The base, and every other adapter, stay as they are.
    ///
    /// Errors with `Argument` for an option out of range or while another adapter is trained,
    /// `Unsupported` for adapters beside it that cannot be trained through, `Memory`.
    pub async fn begin_temp_lora(&mut self, options: TempLoraOptions) -> Result<TempLora> {
        TempLora::begin(&mut self.owners(), options).await
    }

    /// Appends a text to be learned; with `evaluate` each chunk is scored first, with and without
    /// the adapter. [`temp_next`](Self::temp_next) does it.
    ///
    /// Errors with `Argument` for a token the base does not have, or while a text is generated.
    pub fn temp_learn(&mut self, temp: &mut TempLora, tokens: &[u32], evaluate: bool) -> Result<()> {
        temp.learn(&self.runner, tokens, evaluate)
    }

    /// Goes on with the text, drawing tokens as `request` says: its prompt is put after what is
    /// there, and each chunk is learned once it is drawn. `max_tokens` counts them all. With `mix` they
    /// are drawn from the never-worse mix of base and adapted model, which takes two slots and two rows
    /// a token. [`temp_next`](Self::temp_next) does it.
    ///
    /// Errors with `Argument` for options out of range, no token to begin with, an engine of too few slots,
    /// or while other work is left.
    pub fn temp_generate(&mut self, temp: &mut TempLora, request: Request, mix: bool) -> Result<()> {
        temp.generate(&self.runner, request, mix)
    }

    /// Moves the work on by one run, or by training as long as [`next_slices`](Self::next_slices) with `rows`.
    ///
    /// Errors with `Device`, and as generation does. The adapter is then as the last step that
    /// ended left it, and [`temp_cancel`](Self::temp_cancel) makes it usable again. Where the device
    /// was lost, the work goes on once the engine has [recovered](Self::recover).
    pub async fn temp_next(&mut self, temp: &mut TempLora, rows: usize) -> Result<TempEvent> {
        temp.next(&mut self.owners(), rows).await
    }

    /// Drops what is under way and what is left to do; the adapter stays as the last step that
    /// ended left it. A given text stays as far as it was learned, a generated one whole: it has been
    /// read, and what is generated next goes on from its end.
    pub fn temp_cancel(&mut self, temp: &mut TempLora) {
        temp.cancel(&mut self.owners());
    }

    /// Ends a temporary adapter: it becomes an ordinary one called `keep`, or is gone and the base
    /// as if it had never been.
    ///
    /// Errors with `Argument` if the name is taken or empty, or for one that is to go if a running generation
    /// uses it: it is then still there.
    pub fn end_temp_lora(&mut self, temp: &mut TempLora, keep: Option<&str>) -> Result<()> {
        temp.end(&mut self.owners(), keep)
    }

    fn owners(&mut self) -> Owners<'_> {
        let Self { runner, adapters, texts, trainer, tokenizer, .. } = self;
        Owners { runner, adapters, texts, trainer, tokenizer }
    }
}
