// One adapter made of several, from the caller's side: PEFT's add_weighted_adapter.
// Not a live blend, which is a choice; and not the arithmetic, which is Rust's.

import { adapterName, adapterWeights, type AdapterInfo } from "./choice.js";
import { checkNames, checkNumber, checkString, checkWhole, wrong } from "../options.js";
import type { Turns } from "../thread/turns.js";

/** PEFT's `combination_type`. The types that end in `_svd` decompose whole matrices, which takes minutes for large models. */
export type CombinationType =
  | "cat" | "linear" | "svd" | "ties" | "ties_svd" | "dare_linear" | "dare_linear_svd" | "dare_ties" | "dare_ties_svd"
  | "magnitude_prune" | "magnitude_prune_svd";

/** How to combine adapters; the meanings are PEFT's. */
export interface CombinationOptions {
  /** Default `cat`, which puts the ranks side by side and is exact. */
  combinationType?: CombinationType;
  /** For types that prune: the fraction of elements to keep, above 0, at most 1. */
  density?: number;
  /** For `ties` and `dare_ties`: which sign wins, that of the sum (`total`) or that of most adapters (`frequency`). Default `total`. */
  majoritySignMethod?: "total" | "frequency";
  /** For the `svd` types: the rank of the result. Default: the largest rank of the adapters. */
  svdRank?: number;
  /** For the `svd` types: elements of the result are clamped to this quantile, 0 to 1. */
  svdClamp?: number;
  /** For the `dare` types: the seed of what is dropped, the same elements as after PyTorch's `manual_seed`. Default 0. */
  seed?: number;
}

const NAMES = ["combinationType", "density", "majoritySignMethod", "svdRank", "svdClamp", "seed"] as const;

/** Makes adapter `name` of others when the engine comes to it. */
export async function addWeightedAdapter(
  turns: Turns, name: string, adapters: Readonly<Record<string, number>>, options: CombinationOptions,
): Promise<AdapterInfo> {
  checkNames(options, NAMES);
  const { combinationType, density, majoritySignMethod, svdRank, svdClamp, seed } = options;
  checkString("combinationType", combinationType);
  checkNumber("density", density);
  checkString("majoritySignMethod", majoritySignMethod);
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
