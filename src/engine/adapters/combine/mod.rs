//! Weighted combinations of LoRAs into one adapter (PEFT's `add_weighted_adapter`).
//! Not a live blend: that is a choice of several adapters, exact and free; this makes a new one.

pub(crate) mod arithmetic;
pub(crate) mod combination;
mod config;

use crate::order::sort_by_key;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::mersenne_twister::MersenneTwister;
use crate::svd::Svd;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::combine::arithmetic::combine;
use crate::engine::adapters::combine::combination::{Arithmetic, Combination, CombinationType};
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::files::{AdapterFiles, Factors};
use crate::engine::adapters::folder::{is_targeted, read};
use crate::engine::adapters::kinds::Roles;
use crate::engine::adapters::loaded::{AdapterInfo, Choice};
use crate::engine::adapters::turn::transpose;
use crate::engine::runner::Runner;
use crate::model::Model;

/// An adapter to combine.
struct Input {
    weight: f32,
    config: AdapterConfig,
    modules: BTreeMap<String, Roles>,
}

/// One adapter's part in a module.
struct Part {
    weight: f32,
    scale: f32,
    rank: usize,
    /// (R, C)
    a: Vec<f32>,
    /// (F, R)
    b: Vec<f32>,
}

/// A and B of the result.
struct Combined {
    module: String,
    rank: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Adapters {
    /// Makes adapter `name` of several LoRAs; an adapter of that name is replaced. The result is
    /// PEFT's to the element, its habits included: the first adapter's config is copied, so that
    /// with `use_rslora` in it the result is √rank too strong; one adapter alone is combined by
    /// `linear`; and after `seed` the random numbers are those PyTorch would draw.
    ///
    /// The types with `_svd` decompose each module's whole matrix, in time cubic in its size.
    ///
    /// Errors with `Argument` for adapters not loaded, options out of range, or ranks that
    /// differ where they must not; `Unsupported` naming what is no plain LoRA, or a module that
    /// the first adapter's config keeps out; and as [`load`](Self::load).
    pub(crate) async fn add_weighted(
        &mut self,
        runner: &mut Runner,
        name: &str,
        adapters: &Choice,
        combination: &Combination,
    ) -> Result<AdapterInfo> {
        let files = self.weighted(runner.model(), adapters, combination)?;
        self.load(runner, name, &files.config, &files.weights).await
    }

    fn weighted(&self, model: &Model, adapters: &Choice, combination: &Combination) -> Result<AdapterFiles> {
        combination.check()?;
        let inputs = adapters.iter().map(|(name, weight)| self.input(model, name, *weight));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let combination_type = match combination.combination_type {
            _ if inputs.len() == 1 => CombinationType::Factors(Arithmetic::Linear),
            other => other,
        };
        let rank = rank(&inputs, combination_type, combination.svd_rank)?;
        let configs: Vec<&AdapterConfig> = inputs.iter().map(|input| &input.config).collect();
        let mut config = AdapterConfig::combined(&configs, rank, &body_linears(model))?;
        let modules = targets_in_order(model, &config, &inputs)?;
        let mut random = MersenneTwister::new(combination.seed);
        if combination_type.is_random() {
            // PEFT first makes the layers of the result, and fills A, B and A again.
            random.skip(modules.iter().map(|(_, [c, f])| rank * (2 * c + f)).sum());
        }
        let mut results = Vec::with_capacity(modules.len());
        for (module, shape) in modules {
            let parts = inputs.iter().filter_map(|input| input.part(&module).transpose());
            let parts = parts.collect::<Result<Vec<_>>>()?;
            if parts.is_empty() {
                return Err(Error::argument(format!(
                    "module `{module}`: the combined target_modules name it, none of the adapters has it"
                )));
            }
            let transposed = model.weights.is_transposed(&format!("{module}.weight"));
            let target = Target { module, rank, shape, transposed };
            results.push(match combination_type {
                CombinationType::Cat => target.cat(&parts),
                CombinationType::Factors(arithmetic) => {
                    let result = target.factors(&parts, combination, arithmetic, &mut random)?;
                    config.keep_scale(&result.module, result.rank)?;
                    result
                }
                CombinationType::Svd(arithmetic) => {
                    target.svd(&parts, combination, arithmetic, &mut random)?
                }
            });
        }
        AdapterFiles::lora(config.to_json(), results.iter().map(Combined::factors))
    }

    fn input(&self, model: &Model, name: &str, weight: f32) -> Result<Input> {
        if !weight.is_finite() {
            return Err(Error::argument(format!("adapter `{name}`: weight {weight}, expected a number")));
        }
        let files = self.export(model, name)?;
        let refused = |e: Error| e.context(format!("adapter `{name}` cannot be combined"));
        let config = AdapterConfig::from_json(&files.config)?;
        config.check_plain_lora().map_err(refused)?;
        let modules = read(&config, &Arc::new(files))?;
        for loaded in modules.values().flat_map(|roles| roles.iter()) {
            if !matches!(*loaded.0, "lora_A" | "lora_B") {
                let tensor = format!("tensor `{}`, expected a plain LoRA", loaded.1.name);
                return Err(refused(Error::unsupported(tensor)));
            }
        }
        Ok(Input { weight, config, modules })
    }
}

/// Every linear map but the head, by its full name: what `all-linear` means.
fn body_linears(model: &Model) -> Vec<String> {
    let weights = &model.weights;
    let modules = model.bank.modules().map(|bare| weights.full_name(bare));
    modules.filter(|module| module != weights.head_name() && *module != weights.embedding()).collect()
}

/// The modules (and their C, F) that the result acts on, in the order in which PyTorch
/// lists them, which is that of the random numbers.
fn targets_in_order(
    model: &Model,
    config: &AdapterConfig,
    inputs: &[Input],
) -> Result<Vec<(String, [usize; 2])>> {
    let bank = &model.bank;
    let mut targets = Vec::new();
    for bare in bank.modules() {
        let module = model.weights.full_name(bare);
        let Some((site, part)) = bank.find(bare) else { continue };
        if is_targeted(model, config, bare) {
            targets.push(((site, part), (module, bank.sites[site].shape(part))));
        } else if inputs.iter().any(|input| input.modules.contains_key(&module)) {
            return Err(Error::unsupported(format!(
                "module `{module}`: an adapter acts on it, the first adapter's adapter_config.json keeps it out"
            )));
        }
    }
    sort_by_key(&mut targets, |(place, _)| *place);
    Ok(targets.into_iter().map(|(_, target)| target).collect())
}

/// `R` of the result.
fn rank(inputs: &[Input], combination_type: CombinationType, svd_rank: Option<usize>) -> Result<usize> {
    let ranks = inputs.iter().map(|input| input.config.max_rank()).collect::<Result<Vec<_>>>()?;
    let most = ranks.iter().copied().max().unwrap_or(0);
    match combination_type {
        CombinationType::Cat => Ok(ranks.iter().sum()),
        CombinationType::Svd(_) => Ok(svd_rank.unwrap_or(most)),
        CombinationType::Factors(_) if ranks.iter().all(|rank| *rank == most) => Ok(most),
        CombinationType::Factors(_) => Err(Error::argument(format!(
            "adapters of ranks {ranks:?}, expected one rank: only cat and svd combine different ones"
        ))),
    }
}

impl Input {
    fn part(&self, module: &str) -> Result<Option<Part>> {
        let Some(roles) = self.modules.get(module) else { return Ok(None) };
        let (Some(a), Some(b)) = (roles.get("lora_A"), roles.get("lora_B")) else {
            unreachable!("the adapter was loaded, so that `{module}` has both");
        };
        let (rank, scale) = (self.config.rank(module)?, self.config.scale(module)?);
        let [a, b] = [a, b].map(|tensor| tensor.values());
        Ok(Some(Part { weight: self.weight, scale, rank, a, b }))
    }
}

impl Combined {
    fn factors(&self) -> Factors<'_> {
        Factors { module: &self.module, rank: self.rank, a: &self.a, b: &self.b, embedding: false }
    }
}

/// A module of the result.
struct Target {
    module: String,
    rank: usize,
    /// C, F
    shape: [usize; 2],
    /// Whether the base keeps the weight as (C, F), so that PEFT prunes it in that order.
    transposed: bool,
}

impl Target {
    /// A = [weight·scale·A₁; …; 0], B = [B₁ | … | 0]
    fn cat(self, parts: &[Part]) -> Combined {
        let [c, f] = self.shape;
        let (mut a, mut b) = (Vec::with_capacity(self.rank * c), vec![0.0; f * self.rank]);
        let mut first = 0;
        for Part { weight, scale, rank, a: part_a, b: part_b } in parts {
            a.extend(part_a.iter().map(|a| a * weight * scale));
            for (row, from) in b.chunks_exact_mut(self.rank).zip(part_b.chunks_exact(*rank)) {
                row[first..][..*rank].copy_from_slice(from);
            }
            first += rank;
        }
        a.resize(self.rank * c, 0.0);
        Combined { module: self.module, rank: self.rank, a, b }
    }

    /// A = combine(±√|weight·scale|, A), B = combine(√|weight·scale|, B)
    fn factors(
        self,
        parts: &[Part],
        combination: &Combination,
        arithmetic: Arithmetic,
        random: &mut MersenneTwister,
    ) -> Result<Combined> {
        let rank = parts[0].rank;
        if let Some(other) = parts.iter().map(|part| part.rank).find(|other| *other != rank) {
            return Err(Error::argument(format!(
                "module `{}`: ranks {rank} and {other}, expected one rank: only cat and svd combine different ones",
                self.module
            )));
        }
        let (pruning, majority) = (combination.pruning(arithmetic)?, combination.majority(arithmetic));
        let strength = |part: &Part| f64::from(part.weight) * f64::from(part.scale);
        // One of the two has the sign, else it would be lost.
        let of_b: Vec<f32> = parts.iter().map(|part| strength(part).abs().sqrt() as f32).collect();
        let signed = |(part, root): (&Part, &f32)| if strength(part) >= 0.0 { *root } else { -root };
        let of_a: Vec<f32> = parts.iter().zip(&of_b).map(signed).collect();
        let a = parts.iter().map(|part| part.a.clone()).collect();
        let a = combine(a, &of_a, pruning, majority, random);
        let b = parts.iter().map(|part| part.b.clone()).collect();
        let b = combine(b, &of_b, pruning, majority, random);
        Ok(Combined { module: self.module, rank, a, b })
    }

    /// B = U·S and A = Vᵀ of the largest singular values of combine(weight, scale·B·A)
    fn svd(
        self,
        parts: &[Part],
        combination: &Combination,
        arithmetic: Arithmetic,
        random: &mut MersenneTwister,
    ) -> Result<Combined> {
        let [c, f] = self.shape;
        let Svd { u, s, v } = if arithmetic == Arithmetic::Linear {
            let total = parts.iter().map(|part| part.rank).sum();
            let stacked = Self { rank: total, module: String::new(), ..self }.cat(parts);
            Svd::of_product(&wide(&stacked.b), &wide(&stacked.a), total)
        } else {
            let (pruning, majority) = (combination.pruning(arithmetic)?, combination.majority(arithmetic));
            let weights: Vec<f32> = parts.iter().map(|part| part.weight).collect();
            let deltas = parts.iter().map(|part| {
                let delta = part.product(c);
                if self.transposed { transpose(&delta, c) } else { delta }
            });
            let delta = combine(deltas.collect(), &weights, pruning, majority, random);
            let delta = if self.transposed { transpose(&delta, f) } else { delta };
            Svd::new(&wide(&delta), c)
        };
        let (mut a, mut b) = (vec![0.0; self.rank * c], vec![0.0; f * self.rank]);
        for r in 0..self.rank.min(s.len()) {
            v[r].iter().zip(&mut a[r * c..][..c]).for_each(|(v, a)| *a = *v as f32);
            u[r].iter().zip(b.chunks_exact_mut(self.rank)).for_each(|(u, b)| b[r] = (u * s[r]) as f32);
        }
        if let Some(quantile) = combination.svd_clamp {
            clamp(&mut b, &mut a, quantile);
        }
        Ok(Combined { module: self.module, rank: self.rank, a, b })
    }
}

impl Part {
    /// scale·B·A, (F, C)
    fn product(&self, c: usize) -> Vec<f32> {
        let Self { rank, a, b, .. } = self;
        let rank = *rank;
        let row = |b: &[f32]| -> Vec<f32> {
            let at = |c_: usize| (0..rank).map(|r| f64::from(b[r]) * f64::from(a[r * c + c_])).sum::<f64>();
            (0..c).map(|c_| (at(c_) * f64::from(self.scale)) as f32).collect()
        };
        b.chunks_exact(rank).flat_map(row).collect()
    }
}

/// Limits all elements to ± their quantile, taken over both together.
fn clamp(b: &mut [f32], a: &mut [f32], quantile: f64) {
    let mut all: Vec<f32> = b.iter().chain(a.iter()).copied().collect();
    all.sort_by(f32::total_cmp);
    let at = quantile * (all.len() - 1) as f64;
    let (low, high) = (all[at.floor() as usize], all[at.ceil() as usize]);
    let limit = low + (high - low) * at.fract() as f32;
    // A quantile may be negative; then all become it, as where a minimum exceeds its maximum.
    b.iter_mut().chain(a.iter_mut()).for_each(|x| *x = x.max(-limit).min(limit));
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
