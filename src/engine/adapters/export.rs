//! A loaded adapter as the two files of a PEFT folder.
//! Not a conversion: a folder that was loaded comes back byte for byte, but that it names its base.

use crate::engine::adapters::files::{AdapterFiles, Factors};
use crate::error::{Error, Result};
use crate::json::unmarked;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::ModuleDelta;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::loaded::Loaded;
use crate::model::Model;

impl Adapters {
    /// `adapter_config.json` of a loaded adapter, as [`export`](Self::export)
    /// gives it.
    ///
    /// Errors as that does.
    pub(crate) fn config(&self, model: &Model, name: &str) -> Result<Vec<u8>> {
        match &self.find(name)?.files {
            Some(files) => Ok(unmarked(&self.naming_base(&files.config)?).into_owned()),
            None => Ok(self.export(model, name)?.config),
        }
    }

    /// The PEFT folder of a loaded adapter: the one it came from, or, where it was made here or
    /// has been trained, a LoRA of its own A, B and scale. It names its base where the folder
    /// did, or [`set_base_name`](Self::set_base_name) has told.
    ///
    /// Errors with `Argument` if it is not loaded, `Unsupported` naming what of an adapter made
    /// here no LoRA expresses.
    pub(crate) fn export(&self, model: &Model, name: &str) -> Result<AdapterFiles> {
        let Loaded { info, adapter, files, base, .. } = self.find(name)?;
        if let Some(files) = files {
            return Ok(AdapterFiles {
                config: self.naming_base(&files.config)?,
                weights: files.weights.clone(),
            });
        }
        let deltas = adapter.as_plain_lora().map_err(|more| {
            let part = more.part();
            Error::unsupported(format!(
                "adapter `{name}`: what it does to `{part}` is nothing that a LoRA can express"
            ))
        })?;
        let full = |delta: &ModuleDelta| model.weights.full_name(&delta.module);
        let modules: Vec<String> = deltas.iter().map(full).collect();
        let names: Vec<&str> = modules.iter().map(String::as_str).collect();
        let alpha = |scale: f32, rank: usize| f64::from(scale) * rank as f64;
        let scale = deltas.first().map_or(1.0, |delta| delta.scale);
        let mut config = AdapterConfig::lora(info.rank, alpha(scale, info.rank), &names)?;
        config.common.base_model_name_or_path = base.as_ref().or(self.base_name.as_ref()).cloned();
        for (module, delta) in modules.iter().zip(deltas) {
            if (config.rank(module)?, config.scale(module)?) != (delta.rank, delta.scale) {
                config.set_module(module, delta.rank, alpha(delta.scale, delta.rank))?;
            }
        }
        let table = model.weights.embedding();
        let numbers: Vec<_> = deltas.iter().map(|delta| (delta.a.values(), delta.b.values())).collect();
        let factors = modules.iter().zip(deltas).zip(&numbers).map(|((module, delta), (a, b))| {
            let embedding = *module == table;
            Factors { module, rank: delta.rank, a, b, embedding }
        });
        AdapterFiles::lora(config.to_json(), factors)
    }

    /// A folder's config, with the base's name where it has none and that is known.
    fn naming_base(&self, config: &[u8]) -> Result<Vec<u8>> {
        match &self.base_name {
            Some(name) => AdapterConfig::naming_base(config, name),
            None => Ok(config.to_vec()),
        }
    }
}
