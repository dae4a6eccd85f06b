//! The folders of adapters that are read: PEFT's, and those of mlx-lm and of mistral-finetune, which are
//! made PEFT's. What a folder says without a base is told here to whoever asks.

mod mistral;
mod mlx;

use crate::order::sort_by_key;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::format::peft::{refuse_pickle, unwrapped};
use crate::format::safetensors::Header;
use crate::format::{TensorData, TensorInfo, write};
use crate::json;

use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::part::part_of;

use mistral::{Mistral, is_mistral, mistral_name};
use mlx::Mlx;

/// What the config of an adapter's folder says, by the trainer that wrote it.
#[derive(Clone, Debug)]
pub struct Folder(Trainer);

#[derive(Clone, Debug)]
enum Trainer {
    Peft(Box<AdapterConfig>),
    MlxLm(Mlx),
    MistralFinetune(Mistral),
}

/// The module that a tensor of a folder belongs to, as the folder names it, and what A and B have there.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderPart {
    /// The module's name.
    pub module: String,
    /// Whether it is A, or what else tells that the module has a rank.
    pub tells_rank: bool,
    /// `R`, of an adapter that has ranks.
    pub rank: Option<usize>,
    /// The factor of B (A x).
    pub scale: Option<f32>,
}

/// A PEFT folder made of another, and what its reader should know.
pub(crate) struct Converted {
    pub(crate) files: AdapterFiles,
    pub(crate) config: AdapterConfig,
    pub(crate) warnings: Vec<String>,
}

/// A tensor of the new folder: its name, shape and values.
type Tensor = (String, Vec<usize>, Vec<f32>);

impl Folder {
    /// Reads a folder's config; mistral-finetune's is its `params.json`, or nothing where that is not there.
    ///
    /// Errors with `Format` and `Unsupported` naming the file or the field.
    pub fn read(config: &[u8], weights: &[u8]) -> Result<Self> {
        refuse_pickle("adapter_model.safetensors", weights)?;
        if config.is_empty() && is_mistral(weights) {
            return Mistral::of(&Map::new()).map(Trainer::MistralFinetune).map(Self);
        }
        // What is no object is PEFT's reader to refuse.
        let fields: Map<String, Value> = json::read("adapter_config.json", config).unwrap_or_default();
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        let trainer = if has(&["peft_type"]) {
            AdapterConfig::from_json(config).map(Box::new).map(Trainer::Peft)
        } else if has(&["fine_tune_type", "lora_parameters", "lora_layers"]) {
            Mlx::of(&fields).map(Trainer::MlxLm)
        } else if has(&["lora", "n_layers"]) {
            Mistral::of(&fields).map(Trainer::MistralFinetune)
        } else {
            AdapterConfig::from_json(config).map(Box::new).map(Trainer::Peft)
        };
        trainer.map(Self)
    }

    /// The kind of adapter, and the trainer where it is not PEFT.
    pub fn kind(&self) -> String {
        match &self.0 {
            Trainer::Peft(config) => config.method.peft_type().to_owned(),
            Trainer::MlxLm(_) => "LORA of mlx-lm".to_owned(),
            Trainer::MistralFinetune(_) => "LORA of mistral-finetune".to_owned(),
        }
    }

    /// Where a tensor belongs.
    ///
    /// Errors with `Mismatch` for a name that has no place.
    pub fn part_of(&self, info: &TensorInfo) -> Result<FolderPart> {
        let name = unwrapped(&info.name);
        match &self.0 {
            Trainer::Peft(config) => {
                let part = part_of(&info.name, config)?;
                let tells_rank = matches!(part.role, "lora_A" | "lora_embedding_A" | "vera_lambda_d");
                let (rank, scale) = (config.rank(&part.module).ok(), config.scale(&part.module).ok());
                Ok(FolderPart { module: part.module, tells_rank, rank, scale })
            }
            Trainer::MlxLm(config) => {
                let (module, factor) = name.rsplit_once('.').ok_or_else(|| no_place(info, "mlx-lm"))?;
                let (rank, scale) = (Some(config.rank), Some(config.scale as f32));
                Ok(FolderPart { module: module.to_owned(), tells_rank: factor == "lora_a", rank, scale })
            }
            Trainer::MistralFinetune(config) => {
                let placed = mistral_name(&name).ok_or_else(|| no_place(info, "mistral-finetune"))?;
                let (module, factor, _) = placed;
                let tells_rank = factor == "lora_A";
                let rank = config.rank.or(info.shape.first().copied().filter(|_| tells_rank));
                Ok(FolderPart { module, tells_rank, rank, scale: Some(config.scaling as f32) })
            }
        }
    }

    /// The base it names.
    pub fn base(&self) -> Option<&str> {
        match &self.0 {
            Trainer::Peft(config) => config.common.base_model_name_or_path.as_deref(),
            Trainer::MlxLm(config) => config.model.as_deref(),
            Trainer::MistralFinetune(_) => None,
        }
    }

    /// What a reader should know.
    pub fn warnings(&self) -> &[String] {
        match &self.0 {
            Trainer::Peft(_) => &[],
            Trainer::MlxLm(config) => &config.warnings,
            Trainer::MistralFinetune(config) => &config.warnings,
        }
    }
}

impl Base<'_> {
    /// The PEFT folder that a config and weights mean.
    ///
    /// Errors with `Format`, `Unsupported` and `Mismatch` naming the field or the tensor.
    pub(crate) fn peft_folder(&self, config: &[u8], weights: &[u8]) -> Result<Converted> {
        match Folder::read(config, weights)?.0 {
            Trainer::Peft(parsed) => {
                let files = AdapterFiles { config: config.to_vec(), weights: weights.to_vec() };
                Ok(Converted { files, config: *parsed, warnings: Vec::new() })
            }
            Trainer::MlxLm(config) => self.of_mlx(config, weights),
            Trainer::MistralFinetune(config) => self.of_mistral(config, weights),
        }
    }
}

impl Converted {
    /// The folder of these tensors.
    ///
    /// Errors with `Mismatch` for one that is there twice.
    fn of(config: AdapterConfig, mut tensors: Vec<Tensor>, warnings: Vec<String>) -> Result<Self> {
        sort_by_key(&mut tensors, |(name, ..)| name.clone());
        let twin = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some([(name, ..), _]) = twin {
            return Err(Error::mismatch(format!("tensor `{name}`: the file has it twice, under two names")));
        }
        let data: Vec<_> = tensors
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), TensorData::F32(values)))
            .collect();
        let weights = write(&data, &[("format".to_owned(), "pt".to_owned())].into())?;
        let files = AdapterFiles { config: config.to_json().into_bytes(), weights };
        Ok(Self { files, config, warnings })
    }
}

/// The tensors of a file, widened to f32.
fn read(file: &str, bytes: &[u8]) -> Result<Vec<(TensorInfo, Vec<f32>)>> {
    let header = Header::from_file_bytes(bytes).map_err(|e| e.context(file))?;
    let one = |info: TensorInfo| {
        let values = info.read_f32(info.bytes_in(bytes)?)?;
        Ok((info, values))
    };
    header.tensors.into_iter().map(one).collect()
}

/// PEFT's name of a tensor.
fn tensor(module: &str, part: &str) -> String {
    format!("base_model.model.{module}.{part}")
}

/// What a module is called within its layer, or as a whole where it lies in none.
fn key(module: &str) -> String {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = module.split('.').collect();
    let from = parts.iter().position(|part| is_number(part)).map_or(0, |at| at + 1);
    parts[from..].join(".")
}

fn lora(keys: &BTreeSet<String>, rank: usize, alpha: f64, field: &str) -> Result<AdapterConfig> {
    let targets: Vec<&str> = keys.iter().map(String::as_str).collect();
    AdapterConfig::lora(rank, alpha, &targets).map_err(|e| Error::format(format!("field `{field}`: {e}")))
}

fn no_place(info: &TensorInfo, trainer: &str) -> Error {
    Error::mismatch(format!("tensor `{}`: an adapter of {trainer} has no place for it", info.name))
}

fn no_matrix(info: &TensorInfo) -> Error {
    Error::mismatch(format!("tensor `{}`: shape {:?}, expected a matrix", info.name, info.shape))
}

fn wrong_rank(info: &TensorInfo, rank: usize) -> Error {
    Error::mismatch(format!("tensor `{}`: shape {:?}, expected rank {rank}", info.name, info.shape))
}

fn number(file: &str, field: &str, value: &Value) -> Result<f64> {
    let number = value.as_f64().filter(|n| *n != 0.0 && n.abs() <= f64::from(f32::MAX));
    number.ok_or_else(|| {
        Error::format(format!("{file}: field `{field}` is {value}, expected a number other than 0"))
    })
}

fn size(file: &str, field: &str, value: &Value) -> Result<usize> {
    let size = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    size.ok_or_else(|| {
        Error::format(format!("{file}: field `{field}` is {value}, expected an integer from 1 on"))
    })
}
