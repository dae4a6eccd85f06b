//! Arguments and commands of the terminal program.

mod bench;
mod export;
mod generate;
mod inspect;
mod inspect_adapter;
mod temp_lora;
mod train;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels, MAX_THREADS};
use lorakeet::backend::gpu::{Gpu, GpuOptions};
use lorakeet::cache::cache_type;
use lorakeet::dtype::Dtype;
use lorakeet::engine::{Choice, Engine, EngineOptions, folder};
use lorakeet::format::safetensors::Header;
use lorakeet::format::{TensorData, write};
use lorakeet::words::Words;
use lorakeet::{Error, Result};
use serde_json::json;

const DEFAULT_MODEL: &str = "www/models/demo";

/// Compact language models with live adapters.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// A Hugging Face model folder or a GGUF file [default: www/models/demo]
    #[arg(long, global = true)]
    model: Option<PathBuf>,
    /// Where to compute
    #[arg(long, global = true, default_value = "cpu")]
    backend: BackendName,
    /// Threads of the CPU, which change no number [default: one for each core, at most 8]
    #[arg(long, global = true, value_parser = clap::value_parser!(u8).range(1..=MAX_THREADS as i64))]
    threads: Option<u8>,
    /// A PEFT adapter folder or a GGUF LoRA file, with a weight after a colon if not 1; may be repeated
    #[arg(long, global = true, value_name = "PATH[:WEIGHT]")]
    adapter: Vec<AdapterArg>,
    /// Tokens a sequence may have [default: the model's, at most 2048]
    #[arg(long, global = true)]
    context_length: Option<usize>,
    /// Type of the weights in memory: f32, f16, q8 or q4 [default: f32; of a GGUF file, what keeps its numbers]
    #[arg(long, global = true, value_parser = Dtype::from_name)]
    dtype: Option<Dtype>,
    /// Type of keys and values in the cache: f32, f16 or q8 [default: f32]
    #[arg(long, global = true, value_parser = cache_type)]
    kv_dtype: Option<Dtype>,
    /// Print one JSON object and no progress
    #[arg(long, global = true)]
    json: bool,
}

impl Args {
    fn model(&self) -> &Path {
        self.model.as_deref().unwrap_or(Path::new(DEFAULT_MODEL))
    }
}

#[derive(Clone, Debug)]
struct AdapterArg {
    path: PathBuf,
    weight: f32,
}

impl std::str::FromStr for AdapterArg {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        // A colon can also be part of a path.
        match text.rsplit_once(':').and_then(|(path, weight)| Some((path, weight.parse().ok()?))) {
            Some((path, weight)) => Ok(Self { path: path.into(), weight }),
            None => Ok(Self { path: text.into(), weight: 1.0 }),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum BackendName {
    /// The CPU; activations are rounded to 16 bits where they meet packed weights
    Cpu,
    /// The CPU, activations as they are
    Exact,
    /// Vulkan, Metal or DirectX 12
    Gpu,
    /// The slow CPU kernels that judge the others
    Twin,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text
    Generate(generate::Generate),
    /// Write the logits at every position of a text to a safetensors file
    Logits {
        /// The text
        #[arg(long, required_unless_present = "ids", conflicts_with = "ids")]
        prompt: Option<String>,
        /// A safetensors file whose `input_ids` to use instead
        #[arg(long)]
        ids: Option<PathBuf>,
        /// The file to write: `input_ids (T)` and `logits (T, V)`
        #[arg(long)]
        out: PathBuf,
    },
    /// Measure how well the model predicts a text
    Perplexity {
        /// The text
        #[arg(long)]
        text: PathBuf,
        /// Tokens between two windows [default: half the context]
        #[arg(long)]
        stride: Option<usize>,
        /// Stop after this many tokens
        #[arg(long)]
        max_tokens: Option<usize>,
    },
    /// Train an adapter on a text or a dataset
    Train(train::Train),
    /// Adapters that learn a text as it goes (Temp-LoRA)
    TempLora {
        #[command(subcommand)]
        command: temp_lora::TempLora,
    },
    /// Write the adapters, as they are or combined into one, as a PEFT folder
    Export(export::Export),
    /// Show what a model is made of, or with --adapter, what those are and whether --model takes them
    Inspect {
        /// Also list the steps that decode one token, with the adapters loaded
        #[arg(long)]
        plan: bool,
    },
    /// Measure speed beside the machine's memory bandwidth
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        other: Option<bench::Other>,
        #[command(flatten)]
        options: bench::Options,
    },
}

/// Runs the command.
pub(crate) async fn run(args: &Args) -> Result<()> {
    if let Command::Bench { other: Some(bench::Other::Adapters(options)), .. } = &args.command {
        return bench_adapters(options, args).await;
    }
    if let Command::Bench { other: Some(bench::Other::Gpu(options)), .. } = &args.command {
        return bench::gpu::run(options, args.dtype, args.json).await;
    }
    if let Command::Inspect { plan: false } = args.command
        && !args.adapter.is_empty()
    {
        let paths: Vec<&Path> = args.adapter.iter().map(|adapter| adapter.path.as_path()).collect();
        let engine = if args.model.is_some() { Some(open_base(args).await?) } else { None };
        return inspect_adapter::run(&paths, engine, args.json).await;
    }
    if let Command::Inspect { plan } = args.command
        && args.adapter.is_empty()
    {
        return inspect::describe(args, plan).await;
    }
    let mut engine = open(args).await?;
    match &args.command {
        Command::Generate(options) => generate::run(&mut engine, options, args.json).await,
        Command::Logits { prompt, ids, out } => {
            let ids = match (ids, prompt) {
                (Some(path), _) => read_ids(path)?,
                (None, prompt) => engine.encode(prompt.as_deref().unwrap_or_default())?,
            };
            logits(&mut engine, &ids, out, args.json).await
        }
        Command::Perplexity { text, stride, max_tokens } => {
            perplexity(&mut engine, text, *stride, *max_tokens, args.json).await
        }
        Command::Export(options) => export::run(&mut engine, options, args.json).await,
        Command::Train(options) => train::run(&mut engine, options, args.model(), args.json).await,
        Command::TempLora { command } => temp_lora::run(&mut engine, command, args.json).await,
        Command::Inspect { plan } => {
            inspect::run(&engine, *plan, args.json);
            Ok(())
        }
        Command::Bench { other: Some(bench::Other::Train(options)), .. } => {
            bench::train::run(&mut engine, options, args.json).await
        }
        Command::Bench { options, .. } => bench::run(&mut engine, options, args.json).await,
    }
}

async fn open(args: &Args) -> Result<Engine> {
    let mut engine = open_base(args).await?;
    let mut choice = Choice::new();
    for AdapterArg { path, weight } in &args.adapter {
        let name = path.display().to_string();
        let info = folder::load_adapter(&mut engine, &name, path).await?;
        info.warnings.iter().for_each(|warning| eprintln!("warning: adapter {name}: {warning}"));
        choice.push((name, *weight));
    }
    engine.set_adapter(choice)?;
    Ok(engine)
}

/// The one command that takes no model: it makes its own.
async fn bench_adapters(options: &bench::adapters::Options, args: &Args) -> Result<()> {
    if let Some(folder) = &options.write {
        return options.write_files(folder);
    }
    let backends = [backend(args).await?, backend(args).await?];
    bench::adapters::run(options, backends).await?.print(args.json);
    Ok(())
}

async fn backend(args: &Args) -> Result<Backend> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let cpu = |kernels| {
        let threads = args.threads.map_or_else(cores, usize::from);
        Ok(Backend::Cpu(Cpu::with_threads(kernels, threads)))
    };
    match args.backend {
        BackendName::Cpu => cpu(Kernels::Rounded),
        BackendName::Exact => cpu(Kernels::Fast),
        BackendName::Twin => cpu(Kernels::Twin),
        BackendName::Gpu => Ok(Backend::Gpu(Box::new(Gpu::open(&GpuOptions::default()).await?))),
    }
}

async fn open_base(args: &Args) -> Result<Engine> {
    let backend = backend(args).await?;
    let options = EngineOptions {
        context_length: args.context_length,
        dtype: args.dtype,
        kv_dtype: args.kv_dtype,
        batch: None,
    };
    let bar = progress_bar(args.json, "load {bar:30} {bytes}/{total_bytes} {eta}");
    let model = args.model();
    let engine = folder::open(model, backend, &options, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    for warning in engine.iter().flat_map(Engine::warnings) {
        eprintln!("warning: model {}: {warning}", model.display());
    }
    let mut engine = engine?;
    engine.check_kernels().await?;
    Ok(engine)
}

/// Takes the words of a type, and lists them in the help.
fn word<T: Words + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let word_of = |word: String| T::ALL.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    PossibleValuesParser::new(T::ALL.iter().map(|(word, _)| *word))
        .map(move |word| word_of(word).expect("one of the possible values"))
}

/// A bar on standard error; nothing where it would end up in a file or beside JSON.
fn progress_bar(json: bool, template: &str) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    ProgressBar::new(0).with_style(ProgressStyle::with_template(template).expect("a valid template"))
}

async fn logits(engine: &mut Engine, ids: &[u32], out: &Path, json: bool) -> Result<()> {
    let logits = engine.logits(ids).await?;
    let v = engine.config().vocab_size;
    let file = write(
        &[
            ("input_ids".to_owned(), vec![ids.len()], TensorData::U32(ids)),
            ("logits".to_owned(), vec![ids.len(), v], TensorData::F32(&logits)),
        ],
        &Default::default(),
    )?;
    std::fs::write(out, file).map_err(|e| Error::network(format!("cannot write {}: {e}", out.display())))?;
    if json {
        println!("{}", json!({ "tokens": ids.len(), "vocab_size": v, "out": out }));
    } else {
        println!("logits ({}, {v}) in {}", ids.len(), out.display());
    }
    Ok(())
}

async fn perplexity(
    engine: &mut Engine,
    path: &Path,
    stride: Option<usize>,
    max_tokens: Option<usize>,
    json: bool,
) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|e| folder::failed(path, &e))?;
    let mut ids = engine.encode(&text)?;
    let all = ids.len();
    ids.truncate(max_tokens.unwrap_or(all));
    if ids.len() < 2 {
        return Err(Error::argument(format!(
            "{}: {} tokens, expected at least 2",
            path.display(),
            ids.len()
        )));
    }
    let bytes = if ids.len() == all { text.len() } else { engine.tokenizer().decode(&ids, true)?.len() };
    let context = engine.model().context();
    let stride = stride.unwrap_or(context / 2);
    let bar = progress_bar(json, "score {bar:30} {pos}/{len} tokens {eta}");
    bar.set_length(ids.len() as u64);
    let started = Instant::now();
    let losses = engine.text_losses(&ids, context, stride, |done, _| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    let total: f64 = losses.iter().sum();
    let loss = total / losses.len() as f64;
    let bits_per_byte = total / std::f64::consts::LN_2 / bytes as f64;
    if json {
        let report = json!({
            "tokens": losses.len(), "bytes": bytes, "context": context, "stride": stride,
            "loss": loss, "perplexity": loss.exp(), "bits_per_byte": bits_per_byte,
            "seconds": started.elapsed().as_secs_f64(), "tensor_bytes": engine.model().tensors.total_bytes(),
        });
        println!("{report}");
    } else {
        println!(
            "perplexity {:.4} over {} tokens (loss {loss:.5} nats, {bits_per_byte:.4} bits per byte)",
            loss.exp(),
            losses.len()
        );
        println!("windows of {context} tokens, {stride} apart");
    }
    Ok(())
}

/// `input_ids` of a safetensors file, of any integer type and shape.
fn read_ids(path: &Path) -> Result<Vec<u32>> {
    let file = std::fs::read(path).map_err(|e| folder::failed(path, &e))?;
    let header = Header::from_file_bytes(&file).map_err(|e| e.context(path.display()))?;
    let info = header
        .tensor("input_ids")
        .ok_or_else(|| Error::mismatch(format!("{}: no tensor `input_ids`", path.display())))?;
    let id =
        |id: i64| u32::try_from(id).map_err(|_| Error::argument(format!("input_ids: {id} is no token id")));
    info.read_i64(info.bytes_in(&file)?)?.into_iter().map(id).collect()
}
