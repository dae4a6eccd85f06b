//! Adapters that begin here, to be trained: a LoRA that does nothing yet, in two variants.

use crate::error::{Error, Result};
use crate::mersenne_twister::MersenneTwister;
use crate::svd::Svd;
use crate::words::words;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Core, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::folder::is_targeted;
use crate::engine::adapters::loaded::{AdapterInfo, unknown};
use crate::engine::runner::Runner;

/// What of a new adapter is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// A and B (arXiv:2106.09685).
    #[default]
    Lora,
    /// LoRA-XS (arXiv:2405.17604): a core R (R, R) between the R largest singular vectors of the
    /// base's own weight. It is an ordinary LoRA but for how it learns.
    LoraXs,
}

words!(Variant, "variant", ["lora" => Self::Lora, "lora-xs" => Self::LoraXs]);

/// A new LoRA adapter to be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLora {
    /// What of it is trained.
    pub variant: Variant,
    /// R
    pub rank: usize,
    /// Numerator of the scale alpha / R.
    pub alpha: f64,
    /// Ends of the names of the modules to adapt; empty is every linear map but the head.
    pub target_modules: Vec<String>,
    /// Of the numbers that A begins with.
    pub seed: u32,
}

impl Adapters {
    /// Adds a LoRA that does nothing yet: A Kaiming-uniform with a = √5, that is ±1/√C, and B zero,
    /// as PEFT begins one (arXiv:2106.09685). LoRA-XS reads the base's weights and begins with a core
    /// of zeros.
    ///
    /// Errors with `Argument` for a rank, an alpha or a name out of range or targets that the base
    /// does not have, `Memory`, `Device`.
    pub(crate) async fn create(
        &mut self,
        runner: &mut Runner,
        name: &str,
        lora: &NewLora,
    ) -> Result<AdapterInfo> {
        let adapter = self.base(runner).begun(lora).await?;
        self.add_reserved(runner, name, adapter, None).await
    }
}

impl Base<'_> {
    /// A LoRA that does nothing yet.
    async fn begun(&mut self, lora: &NewLora) -> Result<Adapter> {
        let &NewLora { variant, rank, alpha, ref target_modules, seed } = lora;
        let mut targets: Vec<&str> = target_modules.iter().map(String::as_str).collect();
        if targets.is_empty() {
            targets.push("all-linear");
        }
        let config = AdapterConfig::lora(rank, alpha, &targets)?;
        let modules = self.trained_modules(&config, target_modules)?;
        let mut random = MersenneTwister::new(seed);
        let scale = (alpha / rank as f64) as f32;
        let mut deltas = Vec::new();
        for module in modules {
            let delta = match variant {
                Variant::Lora => self.kaiming(module, rank, &mut random)?,
                Variant::LoraXs => self.principal(module, rank).await?,
            };
            deltas.push(ModuleDelta { scale, ..delta });
        }
        Ok(Adapter { deltas, ..Adapter::default() })
    }

    /// Names of the modules that the targets mean, or of every linear map but the head.
    fn trained_modules(&self, config: &AdapterConfig, targets: &[String]) -> Result<Vec<String>> {
        let weights = &self.model.weights;
        let mut modules = Vec::new();
        for bare in self.model.bank.modules() {
            let module = weights.full_name(bare);
            let (is_head, is_embedding) = (bare == "lm_head", module == weights.embedding());
            let wanted = if targets.is_empty() {
                !is_head && !is_embedding
            } else {
                is_targeted(self.model, config, bare)
            };
            if !wanted {
                continue;
            }
            if is_head || is_embedding {
                return Err(Error::unsupported(format!(
                    "target module `{module}`: the embedding and the head are not trained"
                )));
            }
            modules.push(module);
        }
        if modules.is_empty() {
            return Err(Error::argument(format!("target modules {targets:?}: the base has none of them")));
        }
        Ok(modules)
    }

    fn kaiming(&self, module: String, rank: usize, random: &mut MersenneTwister) -> Result<ModuleDelta> {
        let [inputs, outputs] = self.shape(&module)?;
        let bound = 1.0 / (inputs as f32).sqrt();
        let [mut a, b] = [zeros(rank * inputs)?, zeros(outputs * rank)?];
        a.fill_with(|| (2.0 * random.uniform() - 1.0) * bound);
        Ok(ModuleDelta { module, rank, a: a.into(), b: b.into(), ..ModuleDelta::default() })
    }

    /// With W = U S Vᵀ cut to the rank: B = U, A₀ = S Vᵀ, as published, and R = 0. The published R
    /// begins as noise of 1e-5, which a B and an A₀ that are not zero do without.
    async fn principal(&mut self, module: String, rank: usize) -> Result<ModuleDelta> {
        let [inputs, outputs] = self.shape(&module)?;
        let most = inputs.min(outputs);
        if rank > most {
            return Err(Error::argument(format!(
                "rank {rank}: module `{module}` has {inputs} inputs and {outputs} outputs, lora-xs takes at most {most}"
            )));
        }
        let mut weight = Vec::new();
        for (tensor, first, count) in self.model.weights.rows_of(&module).ok_or_else(|| unknown(&module))? {
            weight.extend(self.read_f32(tensor, first * inputs, count * inputs).await?);
        }
        let Svd { u, s, v } = Svd::truncated(&weight, inputs, rank);
        let scaled = |(s, v): (&f64, &Vec<f64>)| -> Vec<f32> { v.iter().map(|v| (s * v) as f32).collect() };
        let core = Core { r: zeros(rank * rank)?, a: s.iter().zip(&v).flat_map(scaled).collect() };
        let b: Vec<f32> = (0..outputs).flat_map(|f| u.iter().map(move |u| u[f] as f32)).collect();
        let a = zeros(rank * inputs)?;
        let core = Some(core);
        Ok(ModuleDelta { module, rank, a: a.into(), b: b.into(), core, ..ModuleDelta::default() })
    }
}

/// `n` zeros. Errors with `Memory`.
fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut zeros = Vec::new();
    let bytes = n.saturating_mul(4);
    zeros
        .try_reserve_exact(n)
        .map_err(|_| Error::memory(format!("no room for an adapter's matrix of {bytes} bytes")))?;
    zeros.resize(n, 0.0);
    Ok(zeros)
}
