//! Adapters that begin here, to be trained: a LoRA that does nothing yet. What numbers its matrices begin with
//! is for its method to say.

use crate::error::{Error, Result};
use crate::mersenne_twister::MersenneTwister;
use crate::model::{Begun, Variant};
use crate::words::Words;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Core, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::folder::is_targeted;
use crate::engine::adapters::loaded::{AdapterInfo, unknown};
use crate::engine::runner::Runner;

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
    /// Adds a LoRA that does nothing yet, as its method begins one.
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
            let delta = self.begin(module, variant, rank, &mut random).await?;
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

    /// The matrices of one module, which do nothing yet.
    async fn begin(
        &mut self,
        module: String,
        variant: Variant,
        rank: usize,
        random: &mut MersenneTwister,
    ) -> Result<ModuleDelta> {
        let [inputs, outputs] = self.shape(&module)?;
        if let Some(most) = variant.most_rank([inputs, outputs]).filter(|&most| rank > most) {
            return Err(Error::argument(format!(
                "rank {rank}: module `{module}` has {inputs} inputs and {outputs} outputs, {} takes at most {most}",
                variant.word()
            )));
        }
        let mut weight = Vec::new();
        if variant.reads_base() {
            for (tensor, first, count) in
                self.model.weights.rows_of(&module).ok_or_else(|| unknown(&module))?
            {
                weight.extend(self.read_f32(tensor, first * inputs, count * inputs).await?);
            }
        }
        let Begun { a, b, core } = variant.begin([inputs, outputs], rank, &weight, random)?;
        let core = core.map(|[r, a]| Core { r, a });
        Ok(ModuleDelta { module, rank, a: a.into(), b: b.into(), core, ..ModuleDelta::default() })
    }
}
