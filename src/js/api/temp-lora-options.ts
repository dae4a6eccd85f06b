// Options of a temporary adapter, and the check of what a caller passed.
// Ranges are the engine's to check, and the presets are its own.

import { adapterWeights, givenName, type AdapterChoice } from "./choice.js";
import { checkBoolean, checkNames, checkNumber, checkPositive, checkString, checkTexts, checkWhole, wrong } from "../options.js";
import { spelled, type PeftSpellings } from "./peft-names.js";
import type { SliceBudget } from "../thread/slices.js";

/** How a temporary adapter learns. Options that are left out come from the preset. */
export interface TempLoraOptions extends PeftSpellings {
  /**
   * `paper`: the published values. `small`: the values that work best on models of a few million parameters. `default`:
   * the same, with the learning rate that works best for the model's size (see `engine.info.tempLora`). Default `default`.
   */
  preset?: "paper" | "small" | "default";
  /** Its name among the adapters while it exists. Default `temp`. */
  name?: string;
  /**
   * What is trained: `lora`, both matrices; or `lora-xs`, a core matrix (rank × rank) between the largest singular
   * vectors of the base model's weights, which takes less memory. Default `lora`.
   */
  variant?: "lora" | "lora-xs";
  /** The LoRA's rank. 64 in `paper`, else 32. */
  rank?: number;
  /** Its effect is scaled by alpha / rank. Default: the rank. */
  alpha?: number;
  /**
   * Which modules to adapt, by the ends of their names. Default: every linear layer except the head. On a small
   * device `["gate_proj", "up_proj", "down_proj"]`, the feed-forward layers alone, takes less time and memory.
   */
  targetModules?: readonly string[];
  /** Seed of its initial parameters and of dropout. */
  seed?: number;
  /** Dropout probability on the LoRA's input. 0.05 in `paper`, else 0. */
  dropout?: number;
  /** AdamW's learning rate after warm-up. 5e-5 in `paper`, 1e-3 in `small`, in `default` by the model's size. */
  learningRate?: number;
  /** Number of warm-up chunks. 2 in `paper`, else 0. */
  warmupChunks?: number;
  /** Where the warm-up begins. With 0 the first chunk has a learning rate of 0; with 1 it already teaches. Default 0. */
  warmupStart?: number;
  /**
   * Of the adapter where text is scored or written, above 0 and at most 1; it learns at 1. Below 1 it stays nearer the base,
   * which a fast learner gains from. Default 1.
   */
  weight?: number;
  /** Training steps on each chunk. Default 2. */
  epochs?: number;
  /** Tokens per chunk. Half the context, in `paper` at most 1024, else at most 128. */
  chunkTokens?: number;
  /** Tokens before a chunk that are its context. As many as a chunk has. */
  contextTokens?: number;
  /** Treat the tokens before a chunk as constant, without gradients: about half the work. `true`, but in `paper`. */
  constantContext?: boolean;
  /**
   * What to do with cached keys and values after the adapter has changed: compute them again before each chunk,
   * keep them (`stale`), or compute them again before every n-th chunk. Default `recompute`.
   */
  kv?: "recompute" | "stale" | { resetEvery: number };
  /** Undo what a chunk taught if the next one is then predicted worse than by the base model. Default `false`. */
  rollBack?: boolean;
  /** How much generated text teaches, as a fraction of the learning rate, 0 to 1. Text given to `train` always counts fully. 1 in `paper`, else 0.5. */
  generatedWeight?: number;
  /**
   * How much of a lesson on generated text keeps the base model's distribution near, 0 to 1: at this fraction of its positions
   * the adapter learns what the base would have written there, and not the text. What the model makes of its own text
   * then does not drift into loops. It takes one more pass over each chunk. 0 in `paper`, else 0.75.
   */
  generatedKl?: number;
  /**
   * How many of the steps on each generated chunk, but the first, are taken on a given chunk instead (32 of them are kept, and
   * taken in turn), so that what was given is not forgotten while the model learns from itself. 0 in `paper`, else 1.
   */
  replay?: number;
  /** Do not learn generated text that repeats itself by more than this fraction. 1 in `paper` (learn all), else 0.5. */
  maxRepetition?: number;
  /** Also score generated chunks, with and without the adapter, which takes two more passes over each. Default `false`. */
  scoreGenerated?: boolean;
  /**
   * Learn a chunk of generated text while the next one is written, in slices between its tokens: the text never waits for
   * a whole lesson, and the adapter is a chunk behind. It takes an engine of `batch: 2`. With `kv: "stale"` there is no
   * stop between two chunks at all. Not together with `rollBack` or `scoreGenerated`. Default `false`.
   */
  overlap?: boolean;
  /**
   * Most bytes that all of the engine's tensors may take while it exists. If that is not enough, an error says
   * which rank and which window (context and chunk together) would fit. Default: what the device can address.
   */
  memoryLimit?: number;
  /** Other adapters that are active with it, for example a style. They do not change. Default: none. */
  beside?: AdapterChoice;
  /** A loaded adapter to start from, as a copy. Default: a new adapter that does nothing yet. */
  warmStart?: string;
  /** How long training may block the page at a time. */
  budget?: SliceBudget;
}

const NAMES = [
  "preset", "name", "variant", "rank", "alpha", "targetModules", "seed", "dropout", "learningRate", "warmupChunks", "warmupStart", "epochs",
  "weight", "chunkTokens", "contextTokens", "constantContext", "kv", "rollBack", "generatedWeight", "generatedKl", "replay", "maxRepetition", "scoreGenerated", "overlap", "memoryLimit", "beside", "warmStart", "budget",
] as const;

/** What Rust takes for the options, and the budget. Errors with `argument`. */
export function checkTempLora(given: TempLoraOptions) {
  const options = spelled(given);
  checkNames(options, NAMES);
  const { preset, name, targetModules, kv, beside, warmStart, ...numbers } = options;
  checkString("preset", preset);
  checkString("variant", options.variant);
  for (const each of ["rank", "epochs", "chunkTokens"] as const) checkPositive(each, options[each]);
  for (const each of ["seed", "warmupChunks", "warmupStart", "contextTokens", "replay"] as const) checkWhole(each, options[each]);
  for (const each of ["alpha", "dropout", "learningRate", "weight", "generatedWeight", "generatedKl", "maxRepetition", "memoryLimit"] as const) checkNumber(each, options[each]);
  for (const each of ["constantContext", "rollBack", "scoreGenerated", "overlap"] as const) checkBoolean(each, options[each]);
  checkTexts("targetModules", targetModules);
  if (typeof kv === "object" && kv !== null) {
    checkNames(kv, ["resetEvery"]);
    checkPositive("kv.resetEvery", kv.resetEvery);
    if (kv.resetEvery === undefined) throw wrong("kv", kv, "a string or {resetEvery}");
  } else {
    checkString("kv", kv);
  }
  if (warmStart !== undefined && typeof warmStart !== "string") throw wrong("warmStart", warmStart, "a string");
  return {
    ...numbers,
    preset, targetModules, kv, warmStart,
    name: name === undefined ? undefined : givenName(name),
    beside: beside === undefined ? undefined : adapterWeights("beside", beside),
  };
}
