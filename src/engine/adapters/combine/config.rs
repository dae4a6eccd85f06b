//! The config of an adapter that several LoRAs are combined into (`add_weighted_adapter`).
//! Not the combining.

use crate::error::{Error, Result};
use crate::format::peft::{Names, Pattern};
use crate::order::sort_by_key;

use crate::engine::adapters::common::Bias;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::kinds::{Lora, Method};

impl AdapterConfig {
    /// Errors with `Unsupported` naming what this adapter has beside A and B.
    pub(crate) fn check_plain_lora(&self) -> Result<()> {
        let Method::Lora(lora) = &self.method else {
            return Err(Error::unsupported(format!("peft_type {}, expected LORA", self.method.peft_type())));
        };
        let more = [
            ("use_dora", lora.use_dora),
            ("lora_bias", lora.lora_bias),
            ("bias", self.common.bias != Bias::None),
            ("modules_to_save", !self.common.modules_to_save.is_empty()),
            ("trainable_token_indices", !lora.trainable_token_indices.is_empty()),
        ];
        match more.iter().find(|(_, has)| *has) {
            Some((field, _)) => Err(Error::unsupported(format!("field `{field}`, expected a plain LoRA"))),
            None => Ok(()),
        }
    }

    /// The largest rank that a module of it can have.
    ///
    /// Errors with `Argument` for a kind without patterns of ranks.
    pub(crate) fn max_rank(&self) -> Result<usize> {
        let lora = self.as_lora()?;
        Ok(lora.rank_pattern.iter().map(|(_, rank)| *rank).fold(lora.r, usize::max))
    }

    /// The config of a combination of these LoRAs: the first one's, with all the targets, one
    /// rank everywhere and alpha equal to it. What else narrows or scales the first
    /// (`exclude_modules`, `layers_to_transform`, `use_rslora`) it keeps, as PEFT does.
    ///
    /// `linear_modules` are those that `all-linear` means.
    ///
    /// Errors with `Argument` if there is none, if lists and patterns of targets are mixed, or
    /// the rank is refused as in [`AdapterConfig::lora`].
    pub(crate) fn combined(configs: &[&Self], rank: usize, linear_modules: &[String]) -> Result<Self> {
        let first = *configs.first().ok_or_else(|| Error::argument("a combination of no adapters"))?;
        let plain = Self::lora(rank, rank as f64, &["any"])?;
        let targets: Vec<_> = configs.iter().map(|config| &config.common.selection.target).collect();
        let mut combined = first.clone();
        combined.common.selection.target = union(&targets, linear_modules)?;
        let Lora { r, lora_alpha, rank_pattern, alpha_pattern, .. } = plain.as_lora()?.clone();
        if let Method::Lora(lora) = &mut combined.method {
            *lora = Lora { r, lora_alpha, rank_pattern, alpha_pattern, ..lora.clone() };
        }
        Ok(combined)
    }
}

fn union(targets: &[&Names], linear_modules: &[String]) -> Result<Names> {
    let patterns: Vec<String> = targets
        .iter()
        .filter_map(|names| match names {
            Names::Pattern(pattern) => Some(format!("({})", pattern.text())),
            Names::List(_) | Names::AllLinear => None,
        })
        .collect();
    if patterns.len() == targets.len() {
        return Pattern::full(&patterns.join("|")).map(Names::Pattern);
    }
    if !patterns.is_empty() {
        return Err(Error::argument(
            "target_modules is a pattern in some of the adapters and a list in others, expected one of the two",
        ));
    }
    let mut all: Vec<String> = targets
        .iter()
        .flat_map(|names| match names {
            Names::List(names) => names.as_slice(),
            Names::AllLinear | Names::Pattern(_) => linear_modules,
        })
        .cloned()
        .collect();
    sort_by_key(&mut all, String::clone);
    all.dedup();
    Ok(Names::List(all))
}
