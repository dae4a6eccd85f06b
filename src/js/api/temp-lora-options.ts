// Options of a temporary adapter, and the check of what a caller passed.
// Ranges are the engine's to check, and the presets are its own.

import { adapterWeights, givenName, type AdapterChoice } from "./adapters.js";
import { checkBoolean, checkNames, checkNumber, checkOneOf, checkPositive, checkTexts, checkWhole, wrong } from "../options.js";
import type { SliceBudget } from "../thread/slices.js";

/** How a temporary adapter learns. What is left out is the preset's. */
export interface TempLoraOptions {
  /** `paper`: the published constants. `small`: what measures best on small models. Default `small`. */
  preset?: "paper" | "small";
  /** What to call it among the adapters while it lives. Default `temp`. */
  name?: string;
  /**
   * What is trained: `lora`, both matrices, or `lora-xs`, a core of rank by rank numbers between the largest
   * singular vectors of the base's own weights, which takes less memory. Default `lora`.
   */
  variant?: "lora" | "lora-xs";
  /** Numbers per input and output of a module. 64 in `paper`, 32 in `small`. */
  rank?: number;
  /** Its effect is scaled by alpha / rank. As the rank. */
  alpha?: number;
  /**
   * Ends of the names of the modules to adapt. Default: every linear map but the head. On a small device
   * `["gate_proj", "up_proj", "down_proj"]`, the feed-forward alone, takes less time and memory.
   */
  targetModules?: readonly string[];
  /** Of its first numbers and of dropout. */
  seed?: number;
  /** Probability of an element of a LoRA's input to be dropped. 0.05 in `paper`, 0 in `small`. */
  dropout?: number;
  /**
   * Of AdamW, once warm. 5e-5 in `paper`, 1e-3 in `small`. `probe` learns the first three chunks at a sixteenth, a
   * quarter, one and four times that, and goes on with the rate that has predicted best what followed each.
   */
  learningRate?: number | "probe";
  /** Chunks until it is warm. 2 in `paper`, 0 in `small`. */
  warmupChunks?: number;
  /** Where the warm-up begins: with 0, the first chunk teaches nothing; with 1, it does. Default 0. */
  warmupStart?: number;
  /** Steps on each chunk. Default 2. */
  epochs?: number;
  /** Tokens of a chunk. Half the context, at most 1024, in `paper`; a quarter, at most 128, in `small`. */
  chunkTokens?: number;
  /** Tokens before it that it is read under. As many in `paper`; what the context leaves, at most 896, in `small`. */
  contextTokens?: number;
  /** Whether what is before a chunk counts as constant in training: about half the work. In `small` it does. */
  constantContext?: boolean;
  /**
   * What happens to the keys and values of generated text when the adapter has changed: they are
   * computed anew before each chunk, stay, or are computed anew before every n-th. Default `recompute`.
   */
  kv?: "recompute" | "stale" | { resetEvery: number };
  /** Undo what a chunk taught where the next is predicted worse than by the base. Default `false`. */
  rollBack?: boolean;
  /** Learn nothing from generated text that repeats itself by more than this share. 1 in `paper`: never mind; 0.5 in `small`. */
  maxRepetition?: number;
  /** Score generated chunks too, with and without the adapter: two more passes over each. Default `false`. */
  scoreGenerated?: boolean;
  /**
   * Bytes that all the engine's tensors may take while it lives; beyond them it is refused, with the rank
   * and the window, context and chunk together, that would fit. Default: what the device can address.
   */
  memoryLimit?: number;
  /** Adapters at work beside it, as a style; they do not change. Default: none. */
  beside?: AdapterChoice;
  /** A loaded adapter to begin as a copy of. Default: one that does nothing yet. */
  warmStart?: string;
  /** How long training may hold the page at a time. */
  budget?: SliceBudget;
}

const NAMES = [
  "preset", "name", "variant", "rank", "alpha", "targetModules", "seed", "dropout", "learningRate", "warmupChunks", "warmupStart", "epochs",
  "chunkTokens", "contextTokens", "constantContext", "kv", "rollBack", "maxRepetition", "scoreGenerated", "memoryLimit", "beside", "warmStart", "budget",
] as const;

/** What Rust takes for the options, and the budget. Errors with `argument`. */
export function checkTempLora(options: TempLoraOptions) {
  checkNames(options, NAMES);
  const { preset = "small", name, targetModules, learningRate, kv, beside, warmStart, ...numbers } = options;
  checkOneOf("preset", preset, ["paper", "small"]);
  checkOneOf("variant", options.variant, ["lora", "lora-xs"]);
  for (const each of ["rank", "epochs", "chunkTokens"] as const) checkPositive(each, options[each]);
  for (const each of ["seed", "warmupChunks", "warmupStart", "contextTokens"] as const) checkWhole(each, options[each]);
  if (learningRate !== "probe") checkNumber("learningRate", learningRate);
  for (const each of ["alpha", "dropout", "maxRepetition", "memoryLimit"] as const) checkNumber(each, options[each]);
  for (const each of ["constantContext", "rollBack", "scoreGenerated"] as const) checkBoolean(each, options[each]);
  checkTexts("targetModules", targetModules);
  if (typeof kv === "object" && kv !== null) {
    checkNames(kv, ["resetEvery"]);
    checkPositive("kv.resetEvery", kv.resetEvery);
    if (kv.resetEvery === undefined) throw wrong("kv", kv, "recompute, stale or {resetEvery}");
  } else {
    checkOneOf("kv", kv, ["recompute", "stale"]);
  }
  if (warmStart !== undefined && typeof warmStart !== "string") throw wrong("warmStart", warmStart, "a text");
  return {
    ...numbers,
    preset, targetModules, kv, warmStart,
    learningRate: learningRate === "probe" ? undefined : learningRate,
    probeRate: learningRate === "probe",
    name: name === undefined ? undefined : givenName(name),
    beside: beside === undefined ? undefined : adapterWeights("beside", beside),
  };
}
