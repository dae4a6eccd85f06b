//! Opening a Hugging Face model folder or a GGUF file from disk, for the terminal program and the tests.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::format::ShardIndex;
use crate::format::gguf;
use crate::format::peft::refuse_pickle;
use crate::format::safetensors::{FIRST_BYTES, Header, PREFIX_BYTES};
use crate::tokenizer::ChatTemplate;

use crate::engine::{AdapterFiles, AdapterInfo, Description, Engine, EngineOptions, Loader, POOLING_FILE};

/// How much of a GGUF file is read at first; a header that goes on makes it twice as much.
const GGUF_HEADER_BYTES: u64 = 1 << 20;

/// Loads `config.json`, `tokenizer.json` and the safetensors of `folder` or, if that is a file, a
/// GGUF model, reporting `progress(bytes read, bytes of all weight files)`. A GGUF file without a
/// tokenizer takes the `tokenizer.json` beside it. Exported adapters call their base by this path.
///
/// Errors as [`Loader`] does, and with `Argument` for a file that is not there, `Network` for one that cannot be read.
pub fn open(
    folder: &Path,
    backend: Backend,
    options: &EngineOptions,
    progress: impl FnMut(u64, u64),
) -> Result<Engine> {
    let mut engine = load(folder, backend, options, progress)?.finish()?;
    engine.set_base_name(&folder.display().to_string());
    Ok(engine)
}

/// The same, for [`Engine::recover`].
pub(crate) fn load(
    folder: &Path,
    backend: Backend,
    options: &EngineOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Loader> {
    if folder.is_file() {
        return load_gguf(folder, backend, options, progress).map_err(|e| e.context(folder.display()));
    }
    let config = read(&folder.join("config.json"))?;
    let generation = read_if_there(&folder.join("generation_config.json"))?;
    let tokenizer = read(&folder.join("tokenizer.json"))?;
    let mut loader = Loader::new(&config, generation.as_deref(), &tokenizer, backend, options)?;
    if loader.is_encoder()
        && let Some(pooling) = read_if_there(&folder.join(POOLING_FILE))?
    {
        loader.read_pooling(&pooling)?;
    }
    let index = folder.join("model.safetensors.index.json");
    let names = if index.exists() {
        let index = ShardIndex::parse(&read(&index)?)?;
        index.files().into_iter().map(str::to_owned).collect()
    } else {
        vec!["model.safetensors".to_owned()]
    };
    let files = names
        .iter()
        .map(|name| {
            let path = folder.join(name);
            let file = File::open(&path).map_err(|e| failed(&path, &e))?;
            let bytes = file.metadata().map_err(|e| failed(&path, &e))?.len();
            Ok((path, file, bytes))
        })
        .collect::<Result<Vec<_>>>()?;
    let total = files.iter().map(|(_, _, bytes)| bytes).sum();
    let mut done = 0;
    for (path, mut file, bytes) in files {
        let header = read_header(&mut file, bytes).map_err(|e| e.context(path.display()))?;
        for info in &header.tensors {
            for piece in loader.pieces(info)? {
                let data =
                    read_at(&mut file, piece.start, piece.byte_len()).map_err(|e| failed(&path, &e))?;
                loader.load(&piece, &data)?;
                progress(done + piece.end, total);
            }
        }
        done += bytes;
    }
    Ok(loader)
}

/// What the files of `folder` or, if that is a file, a GGUF model say of it. A folder's weights and
/// tokenizer may be missing, and of a GGUF file only its header is read.
///
/// Errors as [`Description`]'s makers do, and with `Network` where a file cannot be read.
pub fn describe(folder: &Path, backend: Backend, options: &EngineOptions) -> Result<Description> {
    if folder.is_file() {
        let told = |e: Error| e.context(folder.display());
        let GgufFiles { header, tokenizer, .. } = open_gguf(folder).map_err(told)?;
        return Description::of_gguf(&header, tokenizer.as_deref(), backend, options).map_err(told);
    }
    let config = read(&folder.join("config.json"))?;
    let [generation, tokenizer] = ["generation_config.json", "tokenizer.json"].map(|name| folder.join(name));
    let (generation, tokenizer) = (read_if_there(&generation)?, read_if_there(&tokenizer)?);
    Description::of_files(&config, generation.as_deref(), tokenizer.as_deref(), backend, options)
}

fn load_gguf(
    path: &Path,
    backend: Backend,
    options: &EngineOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Loader> {
    let GgufFiles { mut files, header, tokenizer } = open_gguf(path)?;
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    let mut loader = Loader::from_gguf(&header, tokenizer.as_deref(), backend, options)?;
    for piece in loader.gguf_pieces(&header)? {
        let mut start = piece.start;
        for (file, bytes) in &mut files {
            if start < *bytes {
                let read = read_at(file, start, piece.byte_len()).map_err(unread)?;
                loader.load(&piece, &read)?;
                break;
            }
            start -= *bytes;
        }
        progress(piece.end, total);
    }
    Ok(loader)
}

/// A GGUF model on disk.
struct GgufFiles {
    /// The file, or all parts of which it is one, each with its bytes.
    files: Vec<(File, u64)>,
    header: gguf::Header,
    /// The `tokenizer.json` beside them, if the header has none.
    tokenizer: Option<Vec<u8>>,
}

/// Opens a GGUF file, or all parts of which it is one.
fn open_gguf(path: &Path) -> Result<GgufFiles> {
    let (mut files, mut headers) = (Vec::new(), Vec::new());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = gguf::part_names(&name);
    for part in &parts {
        let in_part = |e: Error| if parts.len() > 1 { e.context(part) } else { e };
        let path = if parts.len() > 1 { path.with_file_name(part) } else { path.to_owned() };
        let mut file = File::open(&path).map_err(|e| failed(&path, &e))?;
        let bytes = file.metadata().map_err(unread)?.len();
        headers.push((gguf_header(&mut file, bytes).map_err(in_part)?, bytes));
        files.push((file, bytes));
    }
    let header = gguf::Header::joined(headers)?;
    let beside = path.with_file_name("tokenizer.json");
    let tokenizer = if header.has_tokenizer() { None } else { read_if_there(&beside)? };
    Ok(GgufFiles { files, header, tokenizer })
}

fn unread(error: std::io::Error) -> Error {
    Error::network(format!("cannot be read: {error}"))
}

fn gguf_header(file: &mut File, file_bytes: u64) -> Result<gguf::Header> {
    let mut bytes = Vec::new();
    loop {
        let end = (2 * bytes.len() as u64).clamp(GGUF_HEADER_BYTES, file_bytes.max(GGUF_HEADER_BYTES));
        let more = end.min(file_bytes) - bytes.len() as u64;
        let read = read_at(file, bytes.len() as u64, more);
        bytes.extend(read.map_err(|e| Error::network(format!("cannot be read: {e}")))?);
        if let Some(header) = gguf::Header::parse(&bytes, file_bytes)? {
            return Ok(header);
        }
    }
}

/// Loads as `name` a PEFT folder's `adapter_config.json` and `adapter_model.safetensors`, or that of
/// another trainer that [`Engine::load_adapter`] reads, or, if `folder` is a file, a GGUF LoRA.
///
/// Errors as [`Engine::load_adapter`] and [`Engine::load_gguf_adapter`] do, and with `Argument` or `Network`
/// where a file cannot be read; a folder of the pickled kind is refused with the way to convert
/// it.
pub async fn load_adapter(engine: &mut Engine, name: &str, folder: &Path) -> Result<AdapterInfo> {
    if folder.is_file() {
        return engine.load_gguf_adapter(name, &read(folder)?).await.map_err(|e| e.context(folder.display()));
    }
    let (config, weights) = read_adapter(folder)?;
    engine.load_adapter(name, &config, &weights).await
}

/// An adapter's config and weights: PEFT's, where no other trainer's are in their place.
///
/// Errors with `Format` for a folder of the pickled kind, `Argument` or `Network` where a file cannot be read.
pub fn read_adapter(folder: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let pickle = folder.join("adapter_model.bin");
    let [config, weights] = adapter_files(folder);
    if !weights.exists() && pickle.exists() {
        refuse_pickle("adapter_model.bin", &read(&pickle)?)?;
    }
    // mistral-finetune's weights may come without their config.
    let is_alone = weights.ends_with(MISTRAL_WEIGHTS) && !config.exists();
    let config = if is_alone { Vec::new() } else { read(&config)? };
    Ok((config, read(&weights)?))
}

/// The weights that mistral-finetune writes.
const MISTRAL_WEIGHTS: &str = "lora.safetensors";

/// Where they are.
fn adapter_files(folder: &Path) -> [PathBuf; 2] {
    let first = |names: &[&str]| {
        let paths = names.iter().map(|name| folder.join(name));
        paths.clone().find(|path| path.exists()).or_else(|| paths.clone().next()).unwrap_or_default()
    };
    let weights = first(&["adapter_model.safetensors", "adapters.safetensors", MISTRAL_WEIGHTS]);
    let is_mistral = weights.ends_with(MISTRAL_WEIGHTS);
    let config = first(if is_mistral { &["params.json"] } else { &["adapter_config.json"] });
    [config, weights]
}

/// The chat template of the model in `folder` or in that file: of the files beside it, or of its tokenizer.
///
/// Errors as [`ChatTemplate::from_files`] does, and where a file cannot be read.
pub fn chat_template(engine: &Engine, folder: &Path) -> Result<ChatTemplate> {
    let home = if folder.is_file() { folder.parent().unwrap_or(Path::new("")) } else { folder };
    let [config, jinja, json] = ["tokenizer_config.json", "chat_template.jinja", "chat_template.json"]
        .map(|name| read_if_there(&home.join(name)));
    let (config, jinja, json) = (config?, jinja?, json?);
    let own = engine.tokenizer_config().into_bytes();
    if !ChatTemplate::is_in_files(config.as_deref(), jinja.as_deref(), json.as_deref())? {
        return ChatTemplate::from_files(Some(&own), None, None);
    }
    ChatTemplate::from_files(config.as_deref().or(Some(&own)), jinja.as_deref(), json.as_deref())
}

/// Writes an exported adapter's two files into `folder`, which is made if it is not there.
///
/// Errors with `Network` where that fails.
pub fn save_adapter(files: &AdapterFiles, folder: &Path) -> Result<()> {
    let failed =
        |path: &Path, e: &std::io::Error| Error::network(format!("cannot write {}: {e}", path.display()));
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    for (name, bytes) in
        [("adapter_config.json", &files.config), ("adapter_model.safetensors", &files.weights)]
    {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| failed(&path, &e))?;
    }
    Ok(())
}

fn read_header(file: &mut File, file_bytes: u64) -> Result<Header> {
    let io = |e: std::io::Error| Error::network(e.to_string());
    let first = read_at(file, 0, file_bytes.min(FIRST_BYTES as u64)).map_err(io)?;
    let length = Header::length(&first, file_bytes)? as u64;
    Header::parse(&read_at(file, PREFIX_BYTES as u64, length).map_err(io)?, file_bytes)
}

fn read_at(file: &mut File, start: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| failed(path, &e))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

/// The error of a file that could not be read: `Argument` where it is not there or is not to be read by its name,
/// `Network` where another try may help.
pub fn failed(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory => Error::argument(message),
        _ => Error::network(message),
    }
}
