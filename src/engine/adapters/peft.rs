//! From a PEFT folder to an [`Adapter`]: the arithmetic that its config asks for, done once.
//! What the folder says is `format::peft`'s; where ranks lie is `adapters`'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::peft::{AdapterConfig, Method, Part, Role, part_of, refuse_pickle};
use crate::format::safetensors::Header;
use crate::model::Model;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, ModuleDelta, PointDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::foreign::Converted;
use crate::engine::adapters::loaded::{AdapterInfo, unknown};
use crate::engine::adapters::numbers::Numbers;
use crate::engine::runner::Runner;

/// Most modules that a warning names.
const NAMED: usize = 4;

/// A tensor of the adapter's file.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Numbers,
}

/// The tensors of one module.
pub(crate) type Roles = BTreeMap<Role, Tensor>;

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
        let (adapter, files) = self.base(runner).peft(config, weights).await?;
        self.add_reserved(runner, name, adapter, Some(files)).await
    }
}

impl Base<'_> {
    /// What a folder's two files mean, and the folder that keeps it.
    async fn peft(&mut self, config: &[u8], weights: &[u8]) -> Result<(Adapter, Arc<AdapterFiles>)> {
        refuse_pickle("adapter_model.safetensors", weights)?;
        let Converted { files, warnings } = match self.other_trainers(config, weights)? {
            Some(converted) => converted,
            None => {
                let files = AdapterFiles { config: config.to_vec(), weights: weights.to_vec() };
                Converted { files, warnings: Vec::new() }
            }
        };
        let (config, files) = (AdapterConfig::from_json(&files.config)?, Arc::new(files));
        let mut modules = read(&config, &files)?;
        let mut adapter = Adapter { warnings, ..Adapter::default() };
        let mut shared = modules.remove("").unwrap_or_default();
        adapter.lead = self.virtual_tokens(&config, &shared)?;
        self.make_projections(&config, &modules, &mut shared)?;
        let embedding = self.model.weights.embedding();
        for (module, roles) in &modules {
            if self.model.bank.find_point(module).is_some() {
                adapter.points.push(self.norm(module, roles).await?);
                continue;
            }
            self.replace_rows(&config, module, roles, &mut adapter).await?;
            let delta = match &config.method {
                _ if *module == embedding => self.embedding(&config, module, roles).await?,
                Method::Ia3(_) if config.is_feedforward(module) => {
                    adapter.points.push(self.ia3_input(module, roles)?);
                    continue;
                }
                Method::Ia3(_) if adapts(roles) => self.ia3(module, roles).await?,
                Method::Vera { r } if adapts(roles) => self.vera(*r, module, roles, &shared)?,
                _ => self.lora(&config, module, roles).await?,
            };
            if delta.rank > 0 || !delta.gain.is_empty() || !delta.shift.is_empty() {
                adapter.deltas.push(delta);
            }
        }
        self.tie_rows(&config, &mut adapter);
        adapter.warnings.extend(self.check_targets(&config, &modules)?);
        Ok((adapter, files))
    }

    /// Every module that the config targets has tensors, and no other has. Where those of some layers
    /// have and those of others have none, the others stay the base's, as PEFT leaves them: a warning.
    fn check_targets(
        &self,
        config: &AdapterConfig,
        modules: &BTreeMap<String, Roles>,
    ) -> Result<Option<String>> {
        let weights = &self.model.weights;
        let has = |bare: &str| modules.get(&weights.full_name(bare)).is_some_and(adapts);
        let adapted: BTreeSet<String> =
            self.model.bank.modules().filter(|bare| has(bare)).map(kind).collect();
        let mut missing = Vec::new();
        for bare in self.model.bank.modules() {
            let module = weights.full_name(bare);
            let is_tied_head = bare == "lm_head" && self.model.config.tie_word_embeddings;
            let targeted = is_targeted(self.model, config, bare)
                || is_tied_head && config.ties() && config.targets(&weights.embedding(), false, false);
            if targeted && !has(bare) {
                if !adapted.contains(&kind(bare)) {
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

    /// y += scale · B (A x), with what else the config asks for: a latent mapping between A and
    /// B (LoRA-XS), a bias of B, a new bias of the base, a magnitude (DoRA, arXiv:2402.09353):
    ///
    /// y = m / ‖W + scale·B·A‖ · (W x + scale · B (A x)), norms row by row.
    async fn lora(&mut self, config: &AdapterConfig, module: &str, roles: &Roles) -> Result<ModuleDelta> {
        let mut delta = ModuleDelta { module: module.to_owned(), ..ModuleDelta::default() };
        if adapts(roles) {
            let (rank, scale) = (config.rank(module)?, config.scale(module)?);
            let a = find(roles, &Role::LoraA, module, "lora_A")?;
            let b = find(roles, &Role::LoraB, module, "lora_B")?;
            let [inputs, outputs] = self.shape(module)?;
            a.expect(&[rank, inputs])?;
            b.expect(&[outputs, rank])?;
            (delta.rank, delta.scale) = (rank, scale);
            delta.a = a.values.clone();
            delta.b = match roles.get(&Role::LatentMapping) {
                Some(core) => {
                    core.expect(&[rank, rank])?;
                    product(&b.values.values(), &core.values.values(), rank).into()
                }
                None => b.values.clone(),
            };
            if let Some(bias) = roles.get(&Role::LoraBBias) {
                bias.expect(&[outputs])?;
                delta.shift = bias.values.values().iter().map(|b| b * scale).collect();
            }
            if config.has_magnitudes() {
                let magnitude = find(roles, &Role::Magnitude, module, "lora_magnitude_vector")?;
                magnitude.expect(&[outputs])?;
                self.renormalise(&mut delta, &magnitude.values.values(), inputs).await?;
            }
        }
        for (role, loaded) in roles {
            match role {
                Role::LoraA
                | Role::LoraB
                | Role::LoraBBias
                | Role::Magnitude
                | Role::LatentMapping
                | Role::Unused(_) => {}
                Role::BaseBias => self.replace_bias(&mut delta, loaded).await?,
                // The head's rows are `replace_rows`' business.
                Role::Saved(_) | Role::TokenDelta if module == "lm_head" => {}
                Role::Saved(_) => {
                    return Err(Error::unsupported(format!(
                        "tensor `{}`: of modules_to_save only norms, the embedding and the head are read",
                        loaded.name
                    )));
                }
                _ => {
                    return Err(Error::mismatch(format!(
                        "tensor `{}`: module `{module}` is no embedding",
                        loaded.name
                    )));
                }
            }
        }
        Ok(delta)
    }

    /// y = l ∘ (W x + bias) (arXiv:2205.05638), for modules whose output is scaled
    async fn ia3(&mut self, module: &str, roles: &Roles) -> Result<ModuleDelta> {
        let l = find(roles, &Role::Ia3, module, "ia3_l")?;
        let [_, outputs] = self.shape(module)?;
        l.expect(&[outputs, 1])?;
        let gain: Vec<f32> = l.values.values().iter().map(|l| l - 1.0).collect();
        let shift = match self.vector(&format!("{module}.bias")).await? {
            Some(bias) => bias.iter().zip(&gain).map(|(bias, gain)| bias * gain).collect(),
            None => Vec::new(),
        };
        Ok(ModuleDelta { module: module.to_owned(), gain, shift, ..ModuleDelta::default() })
    }

    /// y = W (l ∘ x) + bias, for feed-forward modules
    fn ia3_input(&self, module: &str, roles: &Roles) -> Result<PointDelta> {
        let l = find(roles, &Role::Ia3, module, "ia3_l")?;
        let [inputs, _] = self.shape(module)?;
        l.expect(&[1, inputs])?;
        let gain = l.values.values().iter().map(|l| l - 1.0).collect();
        Ok(PointDelta { point: format!("{module}.input"), gain, shift: vec![0.0; inputs] })
    }

    /// A norm whose weight or bias is replaced: with y = x̂ ∘ w + b, the new output is
    /// y ∘ (w'/w) + b' − b ∘ (w'/w).
    async fn norm(&mut self, module: &str, roles: &Roles) -> Result<PointDelta> {
        let c = self.model.config.hidden_size;
        let weight = self.vector(&format!("{module}.weight")).await?.ok_or_else(|| unknown(module))?;
        let bias = self.vector(&format!("{module}.bias")).await?;
        let (mut new_weight, mut new_bias) = (weight.clone(), bias.clone().unwrap_or_else(|| vec![0.0; c]));
        for (role, loaded) in roles {
            loaded.expect(&[c])?;
            match role {
                Role::Saved(name) if name == "weight" => new_weight = loaded.values.values(),
                Role::Saved(_) | Role::BaseBias if bias.is_some() => new_bias = loaded.values.values(),
                _ => {
                    return Err(Error::mismatch(format!(
                        "tensor `{}`: a norm has no place for it",
                        loaded.name
                    )));
                }
            }
        }
        if let Some(c) = weight.iter().position(|w| *w == 0.0) {
            return Err(Error::unsupported(format!("module `{module}`: weight {c} of the base is 0")));
        }
        let gain: Vec<f32> = new_weight.iter().zip(&weight).map(|(new, old)| new / old - 1.0).collect();
        let old_bias = bias.unwrap_or_else(|| vec![0.0; c]);
        let shift =
            new_bias.iter().zip(&old_bias).zip(&gain).map(|((new, old), gain)| new - old * (1.0 + gain));
        Ok(PointDelta { point: module.to_owned(), shift: shift.collect(), gain })
    }

    /// y += λ_b ∘ B (λ_d ∘ A x) (arXiv:2310.11454); A (R, ≥ C) and B (≥ F, R) are those of all
    /// modules, cut to this one's size
    fn vera(&self, rank: usize, module: &str, roles: &Roles, shared: &Roles) -> Result<ModuleDelta> {
        let [inputs, outputs] = self.shape(module)?;
        let lambda_b = find(roles, &Role::VeraLambdaB, module, "vera_lambda_b")?;
        let lambda_d = find(roles, &Role::VeraLambdaD, module, "vera_lambda_d")?;
        let a = find(shared, &Role::VeraA, module, "vera_A")?;
        let b = find(shared, &Role::VeraB, module, "vera_B")?;
        lambda_b.expect(&[outputs])?;
        lambda_d.expect(&[rank])?;
        let [a_rows, a_cols] = a.matrix()?;
        let [b_rows, b_cols] = b.matrix()?;
        if a_rows != rank || a_cols < inputs || b_rows < outputs || b_cols != rank {
            return Err(Error::mismatch(format!(
                "tensors `{}` {:?} and `{}` {:?}: expected at least [{rank}, {inputs}] and [{outputs}, {rank}]",
                a.name, a.shape, b.name, b.shape
            )));
        }
        let (a, lambda_d) = (a.values.values(), lambda_d.values.values());
        let rows = a.chunks_exact(a_cols).zip(&lambda_d);
        let scaled_a = rows.flat_map(|(row, d)| row.iter().take(inputs).map(move |a| a * d));
        let (b, lambda_b) = (b.values.values(), lambda_b.values.values());
        let rows = b.chunks_exact(rank).zip(&lambda_b);
        let scaled_b = rows.flat_map(|(row, l)| row.iter().map(move |b| b * l));
        Ok(ModuleDelta {
            module: module.to_owned(),
            rank,
            a: scaled_a.collect::<Vec<_>>().into(),
            b: scaled_b.collect::<Vec<_>>().into(),
            ..ModuleDelta::default()
        })
    }

    /// VeRA's A and B, where the file leaves them to a seed.
    fn make_projections(
        &self,
        config: &AdapterConfig,
        modules: &BTreeMap<String, Roles>,
        shared: &mut Roles,
    ) -> Result<()> {
        let [mut inputs, mut outputs] = [0, 0];
        for (module, _) in modules.iter().filter(|(_, roles)| roles.contains_key(&Role::VeraLambdaD)) {
            let [c_in, c_out] = self.shape(module)?;
            (inputs, outputs) = (inputs.max(c_in), outputs.max(c_out));
        }
        let Some((a, b)) = config.vera_projections(inputs, outputs)? else { return Ok(()) };
        let rank = b.len() / outputs;
        let made = |name: &str, shape, values: Vec<f32>| Tensor {
            name: name.to_owned(),
            shape,
            values: values.into(),
        };
        shared.insert(Role::VeraA, made("vera_A", vec![rank, inputs], a));
        shared.insert(Role::VeraB, made("vera_B", vec![outputs, rank], b));
        Ok(())
    }

    /// Puts m / ‖W + B·A‖ into gain and the factors of B's rows.
    async fn renormalise(&mut self, delta: &mut ModuleDelta, magnitude: &[f32], inputs: usize) -> Result<()> {
        let (rank, a, scaled_b) = (delta.rank, delta.a.values(), delta.scaled_b());
        let rows = self.model.weights.rows_of(&delta.module).ok_or_else(|| unknown(&delta.module))?;
        let mut done = 0;
        for (tensor, first, count) in rows {
            let weight = self.read_f32(tensor, first * inputs, count * inputs).await?;
            for (w, row) in weight.chunks_exact(inputs).zip(done..) {
                let b = &scaled_b[row * rank..][..rank];
                let squares: f64 = (0..inputs)
                    .map(|c| {
                        let update: f32 = (0..rank).map(|r| b[r] * a[r * inputs + c]).sum();
                        f64::from(w[c] + update).powi(2)
                    })
                    .sum();
                let scale = magnitude[row] / squares.sqrt() as f32;
                delta.rows.push(scale);
                delta.gain.push(scale - 1.0);
            }
            done += count;
        }
        Ok(())
    }

    /// shift += the new bias − the base's
    async fn replace_bias(&mut self, delta: &mut ModuleDelta, new: &Tensor) -> Result<()> {
        let [_, outputs] = self.shape(&delta.module)?;
        new.expect(&[outputs])?;
        let Some(old) = self.vector(&format!("{}.bias", delta.module)).await? else {
            return Err(Error::mismatch(format!(
                "tensor `{}`: module `{}` has no bias",
                new.name, delta.module
            )));
        };
        delta.shift.resize(outputs, 0.0);
        for ((shift, new), old) in delta.shift.iter_mut().zip(new.values.values()).zip(old) {
            *shift += new - old;
        }
        Ok(())
    }
}

impl Tensor {
    pub(crate) fn matrix(&self) -> Result<[usize; 2]> {
        self.shape.as_slice().try_into().map_err(|_| {
            Error::mismatch(format!("tensor `{}`: shape {:?}, expected a matrix", self.name, self.shape))
        })
    }

    pub(crate) fn expect(&self, shape: &[usize]) -> Result<()> {
        if self.shape == shape {
            return Ok(());
        }
        Err(Error::mismatch(format!("tensor `{}`: shape {:?}, expected {shape:?}", self.name, self.shape)))
    }
}

/// The adapter's tensors by module and role.
pub(crate) fn read(config: &AdapterConfig, files: &Arc<AdapterFiles>) -> Result<BTreeMap<String, Roles>> {
    let header =
        Header::from_file_bytes(&files.weights).map_err(|e| e.context("adapter_model.safetensors"))?;
    let mut modules: BTreeMap<String, Roles> = BTreeMap::new();
    for info in &header.tensors {
        let Part { module, role } = part_of(&info.name, config)?;
        let values = Numbers::of_file(files, info)?;
        let loaded = Tensor { name: info.name.clone(), shape: info.shape.clone(), values };
        if let Some(twin) = modules.entry(module).or_default().insert(role, loaded) {
            return Err(Error::mismatch(format!("tensors `{}` and `{}` are the same", twin.name, info.name)));
        }
    }
    Ok(modules)
}

/// Whether a config targets one of the bank's modules, by its name without prefix.
pub(crate) fn is_targeted(model: &Model, config: &AdapterConfig, bare: &str) -> bool {
    let module = model.weights.full_name(bare);
    config.targets(&module, module != model.weights.embedding(), bare == "lm_head")
}

/// What modules of all layers share: the name with `*` for the layer.
fn kind(module: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = module.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    parts.join(".")
}

/// Whether tensors make their module a targeted one.
fn adapts(roles: &Roles) -> bool {
    use Role::{EmbeddingA, EmbeddingB, Ia3, LoraA, LoraB, VeraLambdaB, VeraLambdaD};
    let adapts = |role: &Role| {
        matches!(role, LoraA | LoraB | EmbeddingA | EmbeddingB | Ia3 | VeraLambdaB | VeraLambdaD)
    };
    roles.keys().any(adapts)
}

/// b (F, R) · core (R, R)
fn product(b: &[f32], core: &[f32], rank: usize) -> Vec<f32> {
    let row = |b: &[f32]| -> Vec<f32> {
        (0..rank).map(|to| (0..rank).map(|from| b[from] * core[from * rank + to]).sum()).collect()
    };
    b.chunks_exact(rank).flat_map(row).collect()
}

/// A tensor that an adapter of this kind must have.
pub(crate) fn find<'a>(roles: &'a Roles, role: &Role, module: &str, name: &str) -> Result<&'a Tensor> {
    let missing = || Error::mismatch(format!("module `{module}`: the adapter has no {name} for it"));
    roles.get(role).ok_or_else(missing)
}
