// One adapter made of several, from the caller's side: PEFT's add_weighted_adapter.
// Not a live blend, which is a choice; and not the arithmetic, which is Rust's.

import { adapterName, adapterWeights, type AdapterInfo } from "./adapters.js";
import { checkNames, checkNumber, checkOneOf, checkWhole, wrong } from "../options.js";
import type { Turns } from "../thread/turns.js";

const TYPES = [
  "cat", "linear", "svd", "ties", "dare_linear", "dare_ties", "magnitude_prune",
  "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd",
] as const;

/** PEFT's `combination_type`. Those in `_svd` decompose whole matrices: for large models they take minutes. */
export type CombinationType = (typeof TYPES)[number];

/** How to combine adapters; the meanings are PEFT's. */
export interface CombinationOptions {
  /** Default `cat`, which is exact: ranks side by side. */
  combinationType?: CombinationType;
  /** Share of the elements that stay, where the type prunes: above 0, at most 1. */
  density?: number;
  /** Which sign wins in `ties` and `dare_ties`: that of the sum, or of most. Default `total`. */
  majoritySignMethod?: "total" | "frequency";
  /** Rank of a result by `svd`. Default: the largest of the adapters. */
  svdRank?: number;
  /** Quantile that limits the elements of a result by `svd`, 0 to 1. */
  svdClamp?: number;
  /** What `dare` drops: the same as after PyTorch's `manual_seed`. Default 0. */
  seed?: number;
}

const NAMES = ["combinationType", "density", "majoritySignMethod", "svdRank", "svdClamp", "seed"] as const;

/** Makes adapter `name` of others when the engine comes to it. */
export async function addWeightedAdapter(
  turns: Turns, name: string, adapters: Readonly<Record<string, number>>, options: CombinationOptions,
): Promise<AdapterInfo> {
  checkNames(options, NAMES);
  const { combinationType = "cat", density, majoritySignMethod, svdRank, svdClamp, seed } = options;
  checkOneOf("combinationType", combinationType, TYPES);
  checkNumber("density", density);
  checkOneOf("majoritySignMethod", majoritySignMethod, ["total", "frequency"]);
  checkWhole("svdRank", svdRank);
  checkNumber("svdClamp", svdClamp);
  checkWhole("seed", seed);
  if (typeof adapters !== "object" || adapters === null) throw wrong("adapters", adapters, "{name: weight}");
  // Pairs keep the caller's order: the first adapter gives the config.
  const pairs = Object.entries(adapterWeights("adapters", adapters));
  const known = { combinationType, density, majoritySignMethod, svdRank, svdClamp, seed };
  const result = adapterName(name);
  return turns.take((engine) => engine.addWeightedAdapter(result, pairs, known) as Promise<AdapterInfo>);
}
