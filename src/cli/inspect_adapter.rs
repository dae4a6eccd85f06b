//! `inspect --adapter`: what an adapter's files say, without any base model.
//! Whether it fits a base is the engine's word, asked for only where `--model` is given.

use std::collections::BTreeMap;
use std::path::Path;

use lorakeet::engine::{Engine, Folder, FolderPart, folder};
use lorakeet::format::gguf::LoraFile;
use lorakeet::format::safetensors::Header;
use lorakeet::format::{TensorInfo, explained};
use lorakeet::{Error, ErrorKind, Result, json};
use serde::Serialize;
use serde_json::Value;

/// One adapter, as far as its own files tell.
#[derive(Serialize)]
pub(crate) struct Report {
    path: String,
    /// `peft_type`, or `GGUF LORA`.
    r#type: String,
    /// llama.cpp's name of the base's architecture, of a GGUF LoRA.
    architecture: Option<String>,
    /// The base it names.
    base: Option<String>,
    alpha: Option<f64>,
    target_modules: Value,
    modules: Vec<Module>,
    parameters: usize,
    /// Of the weight file.
    bytes: u64,
    /// What cannot be loaded, by name.
    unsupported: Vec<String>,
    warnings: Vec<String>,
    /// Whether the base of `--model` takes it; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    misfit: Option<String>,
}

#[derive(Default, Serialize)]
struct Module {
    module: String,
    rank: Option<usize>,
    scale: Option<f32>,
    tensors: Vec<Tensor>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

impl From<&TensorInfo> for Tensor {
    fn from(info: &TensorInfo) -> Self {
        Self { name: info.name.clone(), dtype: info.dtype.to_string(), shape: info.shape.clone() }
    }
}

/// Prints what each adapter is and, with an engine, whether its base takes it.
///
/// Errors with `Network` where a file cannot be read, `Format` where it is none of its kind.
pub(crate) async fn run(paths: &[&Path], mut engine: Option<Engine>, as_json: bool) -> Result<()> {
    let mut reports = Vec::new();
    for path in paths {
        let mut report = if path.is_file() { of_gguf(path)? } else { of_folder(path)? };
        if let Some(engine) = &mut engine {
            let loaded = folder::load_adapter(engine, "inspected", path).await;
            report.fits = Some(loaded.is_ok());
            report.misfit = loaded.err().map(|e| e.to_string());
        }
        reports.push(report);
    }
    if as_json {
        println!("{}", serde_json::json!({ "adapters": reports }));
    } else {
        reports.iter().for_each(print);
    }
    Ok(())
}

fn of_gguf(path: &Path) -> Result<Report> {
    let file = read(path)?;
    let lora = LoraFile::from_file_bytes(&file).map_err(|e| e.context(path.display()))?;
    let tensors = lora.pairs.iter().flat_map(|(_, pair)| [&pair.a, &pair.b]);
    // All are of one type, as a rule: the first that cannot be read stands for them.
    let unread = tensors.map(|tensor| tensor.read_f32(tensor.bytes_in(&file)?)).find_map(Result::err);
    let modules = lora.pairs.iter().map(|(name, pair)| Module {
        module: name.clone(),
        rank: pair.rank().ok(),
        scale: lora.scale(pair).ok(),
        tensors: vec![(&pair.a).into(), (&pair.b).into()],
    });
    let modules: Vec<Module> = modules.collect();
    Ok(Report {
        path: path.display().to_string(),
        r#type: "GGUF LORA".to_owned(),
        architecture: Some(lora.architecture.clone()),
        base: lora.base_model.clone(),
        alpha: Some(lora.alpha.into()),
        target_modules: Value::Null,
        parameters: parameters(&modules),
        modules,
        bytes: file.len() as u64,
        unsupported: unread.iter().map(Error::to_string).collect(),
        warnings: lora.warnings(),
        fits: None,
        misfit: None,
    })
}

fn of_folder(path: &Path) -> Result<Report> {
    let mut unsupported = Vec::new();
    let (config, weights) = match folder::read_adapter(path) {
        Ok(files) => files,
        // One that only Python can read still has a config.
        Err(e) if e.kind() == ErrorKind::Format => {
            unsupported.push(e.to_string());
            (read(&path.join("adapter_config.json"))?, Vec::new())
        }
        Err(e) => return Err(e),
    };
    let raw: Value = if config.is_empty() { Value::Null } else { parsed(path, &config)? };
    let folder = Folder::read(&config, &weights).map_err(|e| unsupported.push(e.to_string())).ok();
    let mut modules = BTreeMap::new();
    if !weights.is_empty() {
        let header = Header::from_file_bytes(&weights).map_err(|e| e.context(path.display()))?;
        for info in &header.tensors {
            match folder.as_ref().map(|folder| folder.part_of(info)) {
                Some(Ok(part)) => place(&mut modules, info, part),
                Some(Err(e)) => unsupported.push(e.to_string()),
                None => place_unread(&mut modules, info),
            }
        }
    }
    let modules: Vec<Module> = modules.into_values().collect();
    let text = |field: &str| raw[field].as_str().map(str::to_owned);
    let named = |of: fn(&Folder) -> Option<String>| folder.as_ref().and_then(of);
    Ok(Report {
        path: path.display().to_string(),
        r#type: text("peft_type").or(named(|folder| Some(folder.kind()))).unwrap_or_default(),
        architecture: None,
        base: named(|folder| folder.base().map(str::to_owned)).or(text("base_model_name_or_path")),
        alpha: raw["lora_alpha"].as_f64(),
        target_modules: raw.get("target_modules").unwrap_or(&raw["lora_parameters"]["keys"]).clone(),
        parameters: parameters(&modules),
        modules,
        bytes: weights.len() as u64,
        unsupported,
        warnings: folder.map_or_else(Vec::new, |folder| folder.warnings().to_vec()),
        fits: None,
        misfit: None,
    })
}

/// A config's fields as they stand there.
fn parsed(path: &Path, config: &[u8]) -> Result<Value> {
    json::read("adapter_config.json", config)
        .map_err(|e| Error::format(format!("{e}, {}", path.display())))
        .map_err(|e| explained("adapter_config.json", config, e))
}

fn place(modules: &mut BTreeMap<String, Module>, info: &TensorInfo, part: FolderPart) {
    let module = modules.entry(part.module.clone()).or_default();
    module.module = part.module;
    if part.tells_rank {
        (module.rank, module.scale) = (part.rank, part.scale);
    }
    module.tensors.push(info.into());
}

/// Under its own name: without a config nobody knows what it belongs to.
fn place_unread(modules: &mut BTreeMap<String, Module>, info: &TensorInfo) {
    let module = modules.entry(info.name.clone()).or_default();
    module.module = info.name.clone();
    module.tensors.push(info.into());
}

fn parameters(modules: &[Module]) -> usize {
    modules
        .iter()
        .flat_map(|module| &module.tensors)
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| folder::failed(path, &e))
}

fn print(report: &Report) {
    let base = report.base.as_deref().unwrap_or("a base it does not name");
    let architecture = report.architecture.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    println!("{}: {}{architecture} of {base}", report.path, report.r#type);
    let alpha = report.alpha.map_or_else(String::new, |alpha| format!(", alpha {alpha}"));
    let targets = match &report.target_modules {
        Value::Null => String::new(),
        targets => format!(", target_modules {targets}"),
    };
    println!(
        "{} modules, {:.3} M parameters, {:.1} KiB{alpha}{targets}",
        report.modules.len(),
        report.parameters as f64 / 1e6,
        report.bytes as f64 / 1024.0,
    );
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for module in &report.modules {
        *kinds.entry(kind(module)).or_default() += 1;
    }
    kinds.iter().for_each(|(kind, count)| println!("  {count:3} × {kind}"));
    report.unsupported.iter().for_each(|what| println!("unsupported: {what}"));
    report.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    match &report.misfit {
        Some(why) => println!("does not fit this base: {why}"),
        None if report.fits.is_some() => println!("fits this base"),
        None => {}
    }
}

/// What modules of all layers share: the name with `*` for the layer, rank, scale and shapes.
fn kind(module: &Module) -> String {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let name: Vec<_> =
        module.module.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    let mut text = name.join(".");
    if let (Some(rank), Some(scale)) = (module.rank, module.scale) {
        text += &format!("  rank {rank}, scale {scale}");
    }
    for Tensor { name, dtype, shape } in &module.tensors {
        let end = name.split_once(&format!("{}.", module.module)).map_or("", |(_, end)| end);
        text += &format!("  {end} {shape:?} {dtype}");
    }
    text
}
