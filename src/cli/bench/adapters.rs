//! `bench adapters`: what adapters cost over the base, measured in turns in one run.
//! Ratios travel between machines; milliseconds do not.

use std::path::PathBuf;
use std::time::Instant;

use lorakeet::backend::Backend;
use lorakeet::engine::{Choice, Engine, EngineOptions, Loader, Request};
use lorakeet::format::safetensors::Header;
use lorakeet::{Error, Result};

use super::median;
use super::random::Shape;
use super::report::{Floors, Measure, Report, Unit};

/// Adapters loaded, and rows of the batch.
const ADAPTERS: usize = 8;
/// Adapters of the blend.
const BLENDED: usize = 4;
/// A run of 32 rows and the row that is drawn from.
const LONG_PROMPT: usize = 33;
/// Eight of them are one run of 64 rows, and the rows that are drawn from.
const SHORT_PROMPT: usize = 9;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Layers of SmolLM2-135M's shape, which has 30
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    layers: u16,
    /// Tokens of the vocabulary, of which SmolLM2-135M has 49152
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(256..))]
    vocab: u32,
    /// Rank of the adapters, which act on every linear map but the head
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    rank: u16,
    /// Tokens to draw
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    tokens: u16,
    /// Measured rounds, after one to warm up
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Only write the model and its adapters as folders into this one
    #[arg(long, value_name = "DIR")]
    pub(crate) write: Option<PathBuf>,
}

impl Options {
    fn shape(&self) -> Shape {
        Shape { layers: self.layers.into(), vocab: self.vocab as usize, rank: self.rank.into() }
    }

    /// Writes what would be measured.
    pub(crate) fn write_files(&self, folder: &std::path::Path) -> Result<()> {
        self.shape().write(folder, ADAPTERS)
    }
}

/// Measures on two engines of the same model: one that knows no adapters, one that holds them.
///
/// Errors with `Device` if a batch of adapters does not draw what each row draws alone.
pub(crate) async fn run(options: &Options, [plain, bank]: [Backend; 2]) -> Result<Report> {
    let mut bench = Bench::open(options, plain, bank).await?;
    bench.check_batch().await?;
    bench.round(0).await?;
    let mut rounds = Vec::new();
    for round in 1..=usize::from(options.runs) {
        rounds.push(bench.round(round).await?);
    }
    Ok(bench.report(&rounds))
}

/// One round's times, seconds. Ratios are taken within a round, so that a slow spell of the
/// machine falls on both sides of them.
struct Round {
    /// Per token: the base alone, the base beside the bank, one adapter, a blend.
    decode: [f64; 4],
    /// Of a long prompt: the base alone, one adapter.
    prefill: [f64; 2],
    /// Whole requests, prompts included: each adapter alone, in sum; all in one batch.
    batch: [f64; 2],
    /// `set_adapter` with a mix that is not on the device.
    set_adapter: f64,
    /// From a call to its first token: the adapter of the call before; another one; another one
    /// that has not seen the prompt. The prompt is cached in the first two.
    first_token: [f64; 3],
}

/// When parts of a generation were done, seconds from its start, and what it drew.
struct Run {
    prompt: f64,
    first: f64,
    total: f64,
    tokens: Vec<Vec<u32>>,
}

struct Bench {
    plain: Engine,
    bank: Engine,
    tokens: usize,
    runs: usize,
    shape: Shape,
    prompts: u32,
    /// That the last `set_adapter` wrote to the device.
    switch_bytes: u64,
}

impl Bench {
    async fn open(options: &Options, plain: Backend, bank: Backend) -> Result<Self> {
        let shape = options.shape();
        let (plain, mut bank) = (open(shape, plain)?, open(shape, bank)?);
        for index in 0..ADAPTERS {
            let files = shape.adapter(index)?;
            bank.load_adapter(&name(index), &files.config, &files.weights).await?;
        }
        let (tokens, runs) = (options.tokens.into(), options.runs.into());
        Ok(Self { plain, bank, tokens, runs, shape, prompts: 0, switch_bytes: 0 })
    }

    /// A prompt whose first token no recent one had, so that nothing of it is cached.
    fn prompt(&mut self, len: usize) -> Vec<u32> {
        self.prompts += 1;
        let (v, salt) = (self.shape.vocab as u32, self.prompts);
        (0..len as u32).map(|i| (salt + i * 7) % v).collect()
    }

    /// Draws with each adapter alone, then with all in one batch.
    async fn check_batch(&mut self) -> Result<()> {
        let prompt = self.prompt(SHORT_PROMPT);
        let requests = self.batch(&prompt);
        let mut alone = Vec::new();
        for request in &requests {
            alone.extend(complete(&mut self.bank, std::slice::from_ref(request)).await?.tokens);
        }
        let together = complete(&mut self.bank, &requests).await?.tokens;
        match alone.iter().zip(&together).position(|(alone, together)| alone != together) {
            Some(row) => Err(Error::device(format!(
                "row {row} of a batch: tokens {:?}, expected those it draws alone, {:?}",
                together[row], alone[row]
            ))),
            None if alone.iter().all(|tokens| *tokens == alone[0]) => {
                Err(Error::device("all adapters draw the same tokens, which would prove nothing"))
            }
            None => Ok(()),
        }
    }

    fn batch(&self, prompt: &[u32]) -> Vec<Request> {
        let request = |index| request(prompt, self.tokens, single(index));
        (0..ADAPTERS).map(request).collect()
    }

    async fn round(&mut self, round: usize) -> Result<Round> {
        Ok(Round {
            decode: self.decode(round).await?,
            prefill: self.prefill(round).await?,
            batch: self.batch_and_alone(round).await?,
            set_adapter: self.set_adapter(round)?,
            first_token: self.first_token().await?,
        })
    }

    async fn decode(&mut self, round: usize) -> Result<[f64; 4]> {
        let prompt = self.prompt(SHORT_PROMPT);
        let blend = (0..BLENDED).map(|index| (name(index), 1.0 / BLENDED as f32)).collect();
        let choices = [Choice::new(), Choice::new(), single(0), blend];
        let mut seconds = [0.0; 4];
        for variant in turns(round, 4) {
            let engine = if variant == 0 { &mut self.plain } else { &mut self.bank };
            let run = complete(engine, &[request(&prompt, self.tokens, choices[variant].clone())]).await?;
            seconds[variant] = (run.total - run.prompt) / self.tokens as f64;
        }
        Ok(seconds)
    }

    async fn prefill(&mut self, round: usize) -> Result<[f64; 2]> {
        let mut seconds = [0.0; 2];
        for variant in turns(round, 2) {
            let (prompt, choice) =
                (self.prompt(LONG_PROMPT), if variant == 0 { Choice::new() } else { single(0) });
            let engine = if variant == 0 { &mut self.plain } else { &mut self.bank };
            seconds[variant] = complete(engine, &[request(&prompt, 1, choice)]).await?.prompt;
        }
        Ok(seconds)
    }

    async fn batch_and_alone(&mut self, round: usize) -> Result<[f64; 2]> {
        let mut seconds = [0.0; 2];
        for variant in turns(round, 2) {
            let prompt = self.prompt(SHORT_PROMPT);
            let requests = self.batch(&prompt);
            for requests in requests.chunks(if variant == 0 { 1 } else { ADAPTERS }) {
                seconds[variant] += complete(&mut self.bank, requests).await?.total;
            }
        }
        Ok(seconds)
    }

    fn set_adapter(&mut self, round: usize) -> Result<f64> {
        // A weight not used before is a mix that has to be written.
        let choice = vec![(name(1), 1.0 + round as f32 / 1024.0)];
        let before = uploaded_bytes(&self.bank);
        let started = Instant::now();
        self.bank.set_adapter(choice)?;
        let seconds = started.elapsed().as_secs_f64();
        self.switch_bytes = uploaded_bytes(&self.bank) - before;
        Ok(seconds)
    }

    async fn first_token(&mut self) -> Result<[f64; 3]> {
        let prompt = self.prompt(LONG_PROMPT);
        let mut first = async |index: usize| -> Result<f64> {
            let started = Instant::now();
            self.bank.set_adapter(single(index))?;
            let switched = started.elapsed().as_secs_f64();
            let request = Request { adapter: None, ..request(&prompt, 1, Choice::new()) };
            Ok(switched + complete(&mut self.bank, &[request]).await?.first)
        };
        first(1).await?;
        let not_cached = first(0).await?;
        let same = first(0).await?;
        let cached = first(1).await?;
        Ok([same, cached, not_cached])
    }

    fn report(&self, rounds: &[Round]) -> Report {
        let seconds = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let ratio = |of: &dyn Fn(&Round) -> [f64; 2]| {
            seconds(&|round| {
                let [over, under] = of(round);
                over / under
            })
        };
        let ms = |of: &dyn Fn(&Round) -> f64| 1e3 * seconds(of);
        let weights = &self.plain.model().weights;
        let adapter = self.bank.list_adapters().next().map_or(0, |info| info.bytes / 4);
        let head = self.shape.vocab * self.plain.config().hidden_size;
        let floors = Floors { weights: weights.read_per_token(), head, adapter };
        let steps = |engine: &Engine| engine.model().decode(1).steps().len() as f64;
        let mut measures = vec![
            Measure::new("decode, base", Unit::Ms, ms(&|r| r.decode[0])),
            Measure::new("decode, 8 loaded, none on", Unit::Ratio, ratio(&|r| [r.decode[1], r.decode[0]])),
            Measure::new("decode, one adapter", Unit::Ratio, ratio(&|r| [r.decode[2], r.decode[0]]))
                .floor(floors.decode(1))
                .target(1.25),
            Measure::new("decode, blend of 4", Unit::Ratio, ratio(&|r| [r.decode[3], r.decode[0]]))
                .floor(floors.decode(BLENDED))
                .target(1.60),
            Measure::new("prefill of 32, base", Unit::Ms, ms(&|r| r.prefill[0])),
            Measure::new("prefill of 32, one adapter", Unit::Ratio, ratio(&|r| [r.prefill[1], r.prefill[0]]))
                .floor(floors.prefill()),
            Measure::new("batch of 8 adapters / 8 alone", Unit::Ratio, ratio(&|r| [r.batch[1], r.batch[0]]))
                .floor(floors.batch(ADAPTERS))
                .target(0.5),
            Measure::new("set_adapter", Unit::Us, 1e6 * seconds(&|r| r.set_adapter)),
            Measure::new("first token, same adapter", Unit::Ms, ms(&|r| r.first_token[0])),
            Measure::new("first token, switched, cached", Unit::Ms, ms(&|r| r.first_token[1])),
            Measure::new("first token, switched, not cached", Unit::Ms, ms(&|r| r.first_token[2])),
            Measure::new("steps a token, base", Unit::Steps, steps(&self.plain)),
            Measure::new("steps a token, adapters", Unit::Steps, steps(&self.bank)),
        ];
        let device = match self.bank.backend() {
            Backend::Gpu(gpu) => {
                measures.push(Measure::new("set_adapter writes", Unit::Bytes, self.switch_bytes as f64));
                gpu.adapter().to_owned()
            }
            Backend::Cpu(_) => "cpu".to_owned(),
        };
        Report { device, shape: self.shape, tokens: self.tokens, runs: self.runs, measures }
    }
}

/// The variants of a round, first to last and back, so that none always follows the same.
fn turns(round: usize, variants: usize) -> impl Iterator<Item = usize> {
    (0..variants).map(move |i| if round.is_multiple_of(2) { i } else { variants - 1 - i })
}

/// Bytes sent to a GPU so far; main memory keeps no count.
fn uploaded_bytes(engine: &Engine) -> u64 {
    match engine.backend() {
        Backend::Gpu(gpu) => gpu.counts().uploaded_bytes,
        Backend::Cpu(_) => 0,
    }
}

fn name(index: usize) -> String {
    format!("adapter-{index}")
}

fn single(index: usize) -> Choice {
    vec![(name(index), 1.0)]
}

fn request(prompt: &[u32], tokens: usize, choice: Choice) -> Request {
    Request { adapter: Some(choice), ..Request::greedy(prompt.to_vec(), tokens) }
}

fn open(shape: Shape, backend: Backend) -> Result<Engine> {
    let files = shape.model()?;
    let options =
        EngineOptions { context_length: Some(2048), batch: Some(ADAPTERS), ..EngineOptions::default() };
    let mut loader = Loader::new(&files.config, None, &files.tokenizer, backend, &options)?;
    for info in &Header::from_file_bytes(&files.weights)?.tensors {
        for piece in loader.pieces(info)? {
            loader.load(&piece, piece.bytes_in(&files.weights)?)?;
        }
    }
    loader.finish()
}

async fn complete(engine: &mut Engine, requests: &[Request]) -> Result<Run> {
    let started = Instant::now();
    let mut generation = engine.start(requests)?;
    while generation.pending() > 0 {
        engine.next(&mut generation).await?;
    }
    let prompt = started.elapsed().as_secs_f64();
    let mut tokens = vec![Vec::new(); requests.len()];
    let mut first = None;
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await? {
            first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            tokens[delta.index].extend(delta.tokens);
        }
    }
    engine.end(generation);
    let total = started.elapsed().as_secs_f64();
    Ok(Run { prompt, first: first.unwrap_or(total), total, tokens })
}

#[cfg(test)]
mod tests {
    use lorakeet::backend::cpu::{Cpu, Kernels};

    use super::*;

    #[test]
    fn a_short_run_measures_everything() {
        let options = Options { layers: 1, vocab: 256, rank: 6, tokens: 2, runs: 1, write: None };
        let backend = || Backend::Cpu(Cpu::new(Kernels::Fast));
        let report = pollster::block_on(run(&options, [backend(), backend()])).expect("the rows agree");
        for measure in &report.measures {
            assert!(measure.value.is_finite() && measure.value > 0.0, "{measure:?}");
        }
        let steps: Vec<_> =
            report.measures.iter().filter(|m| m.unit == Unit::Steps).map(|m| m.value).collect();
        assert!(steps[0] < steps[1], "an adapter adds steps: {steps:?}");
    }

    #[test]
    fn every_second_round_runs_backwards() {
        assert_eq!(turns(2, 3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(turns(3, 3).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
