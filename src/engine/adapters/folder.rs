//! From a PEFT folder to an [`Adapter`]: each tensor finds its module, and the kind of adapter what to
//! make of it. Where ranks lie is the bank's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::safetensors::Header;
use crate::model::{Model, is_wrapped};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::foreign::Converted;
use crate::engine::adapters::kinds::{Role, Roles};
use crate::engine::adapters::loaded::AdapterInfo;
use crate::engine::adapters::numbers::Numbers;
use crate::engine::adapters::part::{Part, part_of};
use crate::engine::adapters::saved;
use crate::engine::adapters::tensor::Tensor;
use crate::engine::runner::Runner;

/// Most modules that a warning names.
const NAMED: usize = 4;

impl Adapters {
    /// Loads a PEFT folder's `adapter_config.json` and `adapter_model.safetensors` as `name`;
    /// an adapter of that name is replaced. Those of mlx-lm (`adapter_config.json`,
    /// `adapters.safetensors`) and of mistral-finetune (`params.json`, or nothing, and
    /// `lora.safetensors`) are made such a folder first. What should be known of it is in the
    /// [`warnings`](AdapterInfo::warnings).
    ///
    /// Errors with `Format` for the files, `Unsupported` naming what is not implemented,
    /// `Mismatch` naming the tensor or module that does not fit this base, `Argument` for the
    /// name, `Memory`.
    pub(crate) async fn load(
        &mut self,
        runner: &mut Runner,
        name: &str,
        config: &[u8],
        weights: &[u8],
    ) -> Result<AdapterInfo> {
        let mut base = self.base(runner);
        let Converted { files, config, warnings } = base.peft_folder(config, weights)?;
        let files = Arc::new(files);
        let adapter = read_folder(&mut base, &config, &files, warnings).await?;
        self.add_reserved(runner, name, adapter, Some(files)).await
    }
}

/// What a folder's adapter does to this base.
async fn read_folder(
    base: &mut Base<'_>,
    config: &AdapterConfig,
    files: &Arc<AdapterFiles>,
    warnings: Vec<String>,
) -> Result<Adapter> {
    let weights = &base.model.weights;
    let named = |(module, roles): (String, Roles)| {
        // Made on a model of texts and more, of which this is the text part.
        let module = if is_wrapped(&module) { weights.full_name(&module) } else { module };
        (module, roles)
    };
    let mut modules: BTreeMap<String, Roles> = read(config, files)?.into_iter().map(named).collect();
    let mut adapter = Adapter { warnings, ..Adapter::default() };
    let mut shared = modules.remove("").unwrap_or_default();
    adapter.lead = config.method.lead(base, &mut shared)?;
    config.method.complete(base, &modules, &mut shared)?;
    let adapted: BTreeSet<String> =
        modules.iter().filter(|(_, roles)| adapts(config, roles)).map(|(module, _)| module.clone()).collect();
    for (module, mut roles) in modules {
        if base.model.bank.find_point(&module).is_some() {
            adapter.points.push(saved::norm(base, &module, &roles).await?);
            continue;
        }
        saved::rows(base, config, &module, &roles, &mut adapter).await?;
        let mut delta = ModuleDelta { module, ..ModuleDelta::default() };
        config.method.act(base, &mut delta, &mut roles, &shared, &mut adapter).await?;
        saved::rest(base, &mut delta, roles).await?;
        if delta.rank > 0 || !delta.gain.is_empty() || !delta.shift.is_empty() {
            adapter.deltas.push(delta);
        }
    }
    saved::tie_rows(base, config, &mut adapter);
    adapter.warnings.extend(check_targets(base.model, config, &adapted)?);
    Ok(adapter)
}

/// The adapter's tensors by module and role.
pub(crate) fn read(config: &AdapterConfig, files: &Arc<AdapterFiles>) -> Result<BTreeMap<String, Roles>> {
    let header =
        Header::from_file_bytes(&files.weights).map_err(|e| e.context("adapter_model.safetensors"))?;
    let mut modules: BTreeMap<String, Roles> = BTreeMap::new();
    for info in &header.tensors {
        let Part { module, role } = part_of(&info.name, config)?;
        let numbers = Numbers::of_file(files, info)?;
        let tensor = Tensor { name: info.name.clone(), shape: info.shape.clone(), numbers };
        if let Some(twin) = modules.entry(module).or_default().insert(role, tensor) {
            return Err(Error::mismatch(format!("tensors `{}` and `{}` are the same", twin.name, info.name)));
        }
    }
    Ok(modules)
}

/// Whether tensors make their module a targeted one.
fn adapts(config: &AdapterConfig, roles: &Roles) -> bool {
    roles.keys().any(|role: &Role| config.method.adapts().contains(role))
}

/// Whether a config targets one of the bank's modules, by its name without prefix.
pub(crate) fn is_targeted(model: &Model, config: &AdapterConfig, bare: &str) -> bool {
    let module = model.weights.full_name(bare);
    config.targets(&module, module != model.weights.embedding(), bare == "lm_head")
}

/// Every module that the config targets has tensors, and no other has. Where those of some layers
/// have and those of others have none, the others stay the base's, as PEFT leaves them: a warning.
fn check_targets(
    model: &Model,
    config: &AdapterConfig,
    adapted: &BTreeSet<String>,
) -> Result<Option<String>> {
    let weights = &model.weights;
    let has = |bare: &str| adapted.contains(&weights.full_name(bare));
    let kinds: BTreeSet<String> = model.bank.modules().filter(|bare| has(bare)).map(without_layer).collect();
    let mut missing = Vec::new();
    for bare in model.bank.modules() {
        let module = weights.full_name(bare);
        let is_tied_head = bare == "lm_head" && model.config.tie_word_embeddings;
        let targeted = is_targeted(model, config, bare)
            || is_tied_head && config.ties() && config.targets(&weights.embedding(), false, false);
        if targeted && !has(bare) {
            if !kinds.contains(&without_layer(bare)) {
                return Err(Error::mismatch(format!(
                    "module `{module}`: adapter_config.json targets it, the adapter has no tensors for it"
                )));
            }
            missing.push(format!("`{module}`"));
        }
        if has(bare) && !targeted {
            return Err(Error::mismatch(format!(
                "module `{module}`: the adapter has tensors for it, adapter_config.json does not target it"
            )));
        }
    }
    let (n, more) = (missing.len(), if missing.len() > NAMED { ", …" } else { "" });
    missing.truncate(NAMED);
    Ok((n > 0).then(|| {
        format!(
            "adapter_config.json targets {n} modules that the adapter has no tensors for, which stay the base's: {}{more}",
            missing.join(", ")
        )
    }))
}

/// What modules of all layers share: the name with `*` for the layer.
fn without_layer(module: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = module.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    parts.join(".")
}
