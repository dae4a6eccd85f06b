//! `export`: writes the adapters of `--adapter`, as they are or combined, as a PEFT folder.

use std::path::PathBuf;

use lorakeet::engine::{Combination, CombinationType, Engine, MajoritySign, folder};
use lorakeet::words::Words;
use lorakeet::{Error, Result};
use serde_json::json;

use super::word;

#[derive(clap::Args)]
pub(crate) struct Export {
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// How to combine, in PEFT's words [default: cat; one adapter of weight 1 is written as it is]
    #[arg(long, value_name = "TYPE", value_parser = word::<CombinationType>())]
    combination: Option<CombinationType>,
    /// Share of the elements that stay where the combination prunes
    #[arg(long)]
    density: Option<f64>,
    /// Which sign wins in ties and dare_ties
    #[arg(long, value_name = "METHOD", default_value = MajoritySign::default().word(), value_parser = word::<MajoritySign>())]
    majority_sign_method: MajoritySign,
    /// Rank of a result by svd [default: the largest of the adapters]
    #[arg(long)]
    svd_rank: Option<usize>,
    /// Quantile that limits the elements of a result by svd
    #[arg(long)]
    svd_clamp: Option<f64>,
    /// The same seed prunes the same elements in dare
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

/// Combines the engine's choice of adapters and writes the result.
pub(crate) async fn run(engine: &mut Engine, options: &Export, as_json: bool) -> Result<()> {
    let choice = engine.active_adapters().clone();
    let name = match choice.as_slice() {
        [] => return Err(Error::argument("nothing to export, expected at least one --adapter")),
        [(name, weight)] if *weight == 1.0 && options.combination.is_none() => name.clone(),
        _ => {
            let combination = Combination {
                combination_type: options.combination.unwrap_or_default(),
                density: options.density,
                majority_sign_method: options.majority_sign_method,
                svd_rank: options.svd_rank,
                svd_clamp: options.svd_clamp,
                seed: options.seed,
            };
            engine.add_weighted_adapter("combined", &choice, &combination).await?.name
        }
    };
    folder::save_adapter(&engine.export_adapter(&name).await?, &options.out)?;
    let info = engine.get_adapter(&name)?;
    let (rank, modules) = (info.rank, info.modules.len());
    if as_json {
        println!("{}", json!({ "rank": rank, "modules": modules, "out": options.out }));
    } else {
        println!("adapter of rank {rank} on {modules} modules in {}", options.out.display());
    }
    Ok(())
}
