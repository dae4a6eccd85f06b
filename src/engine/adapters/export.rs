//! A loaded adapter as the two files of a PEFT folder.
//! Not a conversion: a folder that was loaded comes back byte for byte, but that it names its base.

use crate::engine::adapters::files::{AdapterFiles, Factors};
use crate::error::{Error, Result};
use crate::format::peft::AdapterConfig;
use crate::json::unmarked;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
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

    /// The PEFT folder of a loaded adapter: the one it came from, or, where it was made here, a
    /// LoRA whose alpha is such that A and B are the adapter's own. It names its base where the folder
    /// did, or [`set_base_name`](Self::set_base_name) has told.
    ///
    /// Errors with `Argument` if it is not loaded, `Unsupported` naming what of an adapter made
    /// here no LoRA expresses.
    pub(crate) fn export(&self, model: &Model, name: &str) -> Result<AdapterFiles> {
        let Loaded { info, adapter, files, scale, base, .. } = self.find(name)?;
        if let Some(AdapterFiles { config, weights }) = files {
            return Ok(AdapterFiles { config: self.naming_base(config)?, weights: weights.clone() });
        }
        let refused = |part: &str| {
            Err(Error::unsupported(format!(
                "adapter `{name}`: what it does to `{part}` is nothing that a LoRA can express"
            )))
        };
        // Every kind is named, so that a new one cannot be left out unseen.
        let Adapter { deltas, points, rows, lead, warnings: _ } = adapter;
        if let Some(delta) = points.first() {
            return refused(&delta.point);
        }
        if rows.iter().any(|rows| !rows.tokens.is_empty()) {
            return refused("rows of the embedding");
        }
        if lead.is_some() {
            return refused("the start of a text");
        }
        let mut modules = Vec::new();
        for ModuleDelta { module, rank, a, b, gain, shift, core: _ } in deltas {
            if !gain.is_empty() || !shift.is_empty() || *rank == 0 {
                return refused(module);
            }
            modules.push((model.weights.full_name(module), *rank, a, b));
        }
        let names: Vec<&str> = modules.iter().map(|(module, ..)| module.as_str()).collect();
        let mut config = AdapterConfig::lora(info.rank, f64::from(*scale) * info.rank as f64, &names)?;
        config.base_model_name_or_path = base.as_ref().or(self.base_name.as_ref()).cloned();
        for (module, rank, ..) in &modules {
            config.keep_scale(module, *rank)?;
        }
        let table = model.weights.embedding();
        let factors = modules.iter().map(|(module, rank, a, b)| {
            let embedding = *module == table;
            Factors { module, rank: *rank, a, b, embedding }
        });
        AdapterFiles::lora(&config, factors)
    }

    /// A folder's config, with the base's name where it has none and that is known.
    fn naming_base(&self, config: &[u8]) -> Result<Vec<u8>> {
        match &self.base_name {
            Some(name) => AdapterConfig::naming_base(config, name),
            None => Ok(config.to_vec()),
        }
    }
}
