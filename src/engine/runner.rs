//! The model on its device: what runs a plan, moves numbers there and back, and counts devices.
//! Not what is run, nor for whom: that is the other owners' business.
//! What a plan of the model is made of says `src/model/block.rs`.

mod rows;

use futures_channel::oneshot;

use crate::backend::gpu::measure::{Clock, KernelTime};
use crate::backend::{Backend, Prepared, Reading};
use crate::engine::plans::{Kind, Plans, every_kernel};
use crate::error::{Error, Result};
use crate::model::{Bank, Held, MAX_ROWS, Model, Training};
use crate::plan::{RING, Row, Target, TensorId, Tensors};

/// A model, the device it is on, and the plans made for it.
#[derive(Debug)]
pub(crate) struct Runner {
    model: Model,
    backend: Backend,
    plans: Plans,
    /// The generation whose rows lie on the device, so that a block continues where the last
    /// one ended without a write.
    rows_of: Option<u64>,
    /// The rows that lie there for other plans; none where they are not known.
    rows: Vec<Row>,
    /// Which device it is on, counted: what was computed on another is gone.
    device: u64,
}

impl Runner {
    /// A model with its weights on a device. Every kernel of inference is made here, so that the first
    /// token does not wait for them.
    ///
    /// Errors with `Device` if a kernel cannot be made.
    pub(crate) fn new(model: Model, backend: Backend) -> Result<Self> {
        let mut runner =
            Self { model, backend, plans: Plans::default(), rows_of: None, rows: Vec::new(), device: 0 };
        runner.make_ready()?;
        Ok(runner)
    }

    /// The architecture, its tensors and plans.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The device.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Both, for a caller that writes to the device what the model tells.
    pub(crate) fn parts(&mut self) -> (&Model, &mut Backend) {
        (&self.model, &mut self.backend)
    }

    /// The number of the device.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Writes words into a tensor, from element `first` on.
    pub(crate) fn upload(&mut self, tensor: TensorId, first: usize, words: &[u32]) {
        self.backend.upload(tensor, first, words);
    }

    /// Makes a tensor zeros.
    pub(crate) fn clear(&mut self, tensor: TensorId) {
        self.backend.clear(tensor);
    }

    /// `n` words of a tensor from `first` on, once all that was submitted is done.
    ///
    /// Errors with `Device`.
    pub(crate) async fn read(&mut self, tensor: TensorId, first: usize, n: usize) -> Result<Vec<u32>> {
        self.backend.read(tensor, first, n).await
    }

    /// The same of several ranges of tensors: (tensor, first, n).
    ///
    /// Errors with `Device`.
    pub(crate) async fn read_all(&mut self, parts: &[(TensorId, usize, usize)]) -> Result<Vec<Vec<u32>>> {
        self.backend.read_all(parts).await
    }

    /// Begins to read the tokens that were drawn, and the logits (rows, V) of the last run if they are asked for.
    ///
    /// Errors with `Device`.
    pub(crate) async fn begin_read_drawn(&mut self, logit_rows: Option<usize>) -> Result<Reading> {
        let Model { state, config, .. } = &self.model;
        let mut parts = vec![(state.ring, 0, self.model.slots() * RING)];
        parts.extend(logit_rows.map(|rows| (state.logits, 0, rows * config.vocab_size)));
        self.backend.begin_read(&parts).await
    }

    /// Waits for what was begun to be read. With `steps` it is a block of so many tokens, which an idle device was given.
    ///
    /// Errors with `Device`.
    pub(crate) async fn finish_read(
        &mut self,
        reading: Reading,
        steps: Option<usize>,
    ) -> Result<Vec<Vec<u32>>> {
        let (words, took) = self.backend.finish_read(reading).await?;
        if let (Backend::Gpu(gpu), Some(steps)) = (&mut self.backend, steps) {
            gpu.note_block(steps, took);
        }
        Ok(words)
    }

    /// Tokens of a block, up to `most`, and at least `least` on a GPU: more where waiting is slow. In main memory it costs
    /// nothing.
    pub(crate) fn block_steps(&self, least: usize, most: usize) -> usize {
        match &self.backend {
            Backend::Cpu(_) => 1,
            Backend::Gpu(gpu) => gpu.block_steps(least, most),
        }
    }

    /// The logits (rows, V) of the last run.
    ///
    /// Errors with `Device`.
    pub(crate) async fn read_logits(&mut self, rows: usize) -> Result<Vec<f32>> {
        let n = rows * self.model.config.vocab_size;
        self.backend.read(self.model.state.logits, 0, n).await.map(bytemuck::cast_vec)
    }

    /// Writes into one of the tensors of targets what is to follow the tokens from position `first` on.
    pub(crate) fn write_targets(&mut self, tensor: TensorId, first: usize, targets: &[Target]) {
        self.upload(tensor, size_of::<Target>() / 4 * first, bytemuck::cast_slice(targets));
    }

    /// Puts other logits (V) in the place of the first row's.
    pub(crate) fn write_logits(&mut self, logits: &[f32]) {
        self.backend.upload(self.model.state.logits, 0, bytemuck::cast_slice(logits));
    }

    /// Waits for all that was submitted. It bounds the work that is queued, so that a caller can stop
    /// after each run.
    ///
    /// Errors with `Device`.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        self.backend.read(self.model.state.ring, 0, 1).await.map(drop)
    }

    /// Runs a plan once on these rows; on a GPU beside others that take no part, so that few plans serve every
    /// number.
    ///
    /// Errors with `Device` if a kernel cannot be made.
    pub(crate) fn run(&mut self, kind: Kind, rows: &[Row]) -> Result<()> {
        self.run_exactly(kind, &self.whole_run(kind, rows.to_vec()))
    }

    /// The same on no more rows than these.
    pub(crate) fn run_exactly(&mut self, kind: Kind, rows: &[Row]) -> Result<()> {
        self.rows_of = None;
        if self.rows != rows {
            self.upload_rows(rows);
            self.rows = rows.to_vec();
        }
        self.replay(kind, rows.len(), 1)
    }

    /// Draws `steps` tokens for each row of a generation. Its rows are written only if they are not there:
    /// a step leaves behind the row of the next one.
    ///
    /// Errors as [`run`](Self::run).
    pub(crate) fn decode(&mut self, generation: u64, rows: &[Row], steps: usize) -> Result<()> {
        if self.rows_of != Some(generation) {
            self.upload_rows(rows);
            self.rows_of = Some(generation);
            self.rows.clear();
        }
        self.replay(Kind::Decode, rows.len(), steps)
    }

    /// Whether the rows on the device are those that come next in a generation.
    pub(crate) fn continues(&self, generation: u64) -> bool {
        self.rows_of == Some(generation)
    }

    /// The rows on the device are no longer those that come next.
    pub(crate) fn forget_rows(&mut self) {
        self.rows_of = None;
        self.rows.clear();
    }

    /// Runs a plan once on the first `rows` rows as they lie there, or for so many of something else.
    ///
    /// Errors as [`run`](Self::run).
    pub(crate) fn run_as_is(&mut self, kind: Kind, rows: usize) -> Result<()> {
        self.replay(kind, rows, 1)
    }

    /// Runs a plan of an encoder once on these rows, of which the text's last token is at `end`.
    ///
    /// Errors as [`run`](Self::run).
    pub(crate) fn encode(&mut self, kind: Kind, rows: &[Row], end: usize) -> Result<()> {
        let rows = self.whole_run(kind, rows.to_vec());
        let ends: Vec<Row> = rows.iter().map(|row| Row { pos: end as u32, ..*row }).collect();
        self.backend.upload(self.model.whole().ends, 0, bytemuck::cast_slice(&ends));
        if let Some(side) = self.model.config.layers.iter().find_map(|layer| layer.window) {
            let span = |row: &Row| {
                let (first, last) =
                    (row.pos.saturating_sub(side as u32), row.pos.saturating_add(side as u32));
                Row { token: first, pos: last.min(end as u32), ..*row }
            };
            let spans: Vec<Row> = rows.iter().map(span).collect();
            self.backend.upload(self.model.whole().spans, 0, bytemuck::cast_slice(&spans));
        }
        self.run_exactly(kind, &rows)
    }

    /// How long each kernel takes that draws a token after so many others.
    ///
    /// Errors with `Unsupported` on the CPU, `Device`.
    pub(crate) async fn time_kernels(
        &mut self,
        keys: usize,
        runs: usize,
        clock: Clock<'_>,
    ) -> Result<Vec<KernelTime>> {
        self.forget_rows();
        self.upload_rows(&[Row { token: 0, pos: keys as u32 - 1, slot: 0, mix: 0 }]);
        let Self { model, backend, plans, .. } = self;
        let prepared = plans.get(Kind::Decode, 1, model, backend)?;
        match (prepared, backend) {
            (Prepared::Gpu(recording), Backend::Gpu(gpu)) => gpu.time_kernels(recording, runs, clock).await,
            _ => Err(Error::unsupported("the CPU has no kernels to time")),
        }
    }

    fn upload_rows(&mut self, rows: &[Row]) {
        self.backend.upload(self.model.state.rows, 0, bytemuck::cast_slice(rows));
    }

    fn replay(&mut self, kind: Kind, rows: usize, times: usize) -> Result<()> {
        let plan = self.plans.get(kind, rows, &self.model, &mut self.backend)?;
        self.backend.run(plan, times);
        Ok(())
    }

    /// Tries the kernels that the model needs, and those of training if an adapter is trained; each once.
    ///
    /// Errors with `Device`, naming a kernel that is wrong; or if the device is lost.
    pub(crate) async fn check_kernels(&mut self) -> Result<()> {
        self.backend.check_kernels(&every_kernel(&self.model)).await
    }

    /// Asks the device whether it has room for these tensors. One that is out of memory tells so in
    /// browsers only to who waits.
    ///
    /// Errors with `Memory`.
    pub(crate) async fn reserve(&mut self, tensors: &Tensors) -> Result<()> {
        self.backend.reserve(tensors).await
    }

    /// Puts a larger bank, or a smaller one, in the place of the one there is; what lay in it is to be
    /// written again. On an error all stays.
    ///
    /// Errors with `Memory`.
    pub(crate) fn set_bank(&mut self, bank: Bank, tensors: Tensors) -> Result<()> {
        self.set_tensors(tensors)?;
        self.model.bank = bank;
        Ok(())
    }

    /// The adapter that is trained has these ranks now.
    pub(crate) fn move_trainee(&mut self, ranks: &Held) {
        let Model { training, bank, .. } = &mut self.model;
        for trained in training.trainee.iter_mut().flat_map(|trainee| &mut trainee.sites) {
            trained.first = ranks[bank.sites[trained.site].layout].start;
        }
    }

    /// Makes room to train, or frees it. On an error all stays.
    ///
    /// Errors with `Memory`.
    pub(crate) fn set_training(&mut self, training: Training, tensors: Tensors) -> Result<()> {
        self.set_tensors(tensors)?;
        self.model.training = training;
        Ok(())
    }

    fn set_tensors(&mut self, tensors: Tensors) -> Result<()> {
        self.backend.allocate(&tensors)?;
        self.model.tensors = tensors;
        self.plans = Plans::default();
        self.forget_rows();
        Ok(())
    }

    /// Brings the reason when the device is lost; cancelled if the engine is dropped instead.
    pub(crate) fn lost(&self) -> oneshot::Receiver<Error> {
        self.backend.lost()
    }

    /// Frees all memory of the device, which then counts as lost.
    pub(crate) fn release(&mut self) {
        self.plans = Plans::default();
        self.backend.release();
    }

    /// Goes over to another device, on which the same model's weights lie. What else lay on the one
    /// before is to be written again.
    ///
    /// Errors with `Mismatch` if it is another model or a part of it is missing, `Memory`, `Device`.
    pub(crate) async fn move_to(&mut self, loaded: &Model, mut backend: Backend) -> Result<()> {
        loaded.weights.check_complete()?;
        if loaded.config != self.model.config || !continues(&self.model.tensors, &loaded.tensors) {
            return Err(Error::mismatch("the model loaded again is not the one that was lost"));
        }
        backend.reserve(&self.model.tensors).await?;
        backend.allocate(&self.model.tensors)?;
        self.plans = Plans::default();
        self.backend = backend;
        self.device += 1;
        self.forget_rows();
        Ok(())
    }

    /// Makes every kernel of inference, so that the first token, or embedding, does not wait for them.
    ///
    /// Errors with `Device` if the device fails.
    pub(crate) fn make_ready(&mut self) -> Result<()> {
        let kinds = match self.model.config.encoder {
            None => [(Kind::Decode, 1), (Kind::Prefill, MAX_ROWS)],
            Some(_) => [(Kind::EncodeEmbed, MAX_ROWS), (Kind::EncodeLayer(0), MAX_ROWS)],
        };
        for (kind, rows) in kinds {
            self.plans.get(kind, rows, &self.model, &mut self.backend)?;
        }
        self.backend.check()
    }
}

/// Whether `all` are the tensors of `base`, in other shapes perhaps, and more.
fn continues(all: &Tensors, base: &Tensors) -> bool {
    let mut all = all.iter().map(|(_, tensor)| (&tensor.name, tensor.dtype));
    base.iter().all(|(_, tensor)| all.next() == Some((&tensor.name, tensor.dtype)))
}
