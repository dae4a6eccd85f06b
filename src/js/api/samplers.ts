// The samplers that run beside the model: their options, and what Rust takes for them.
// Not their ranges and defaults, which are the engine's.

import { checkNumber, checkTexts, checkWhole, isWhole, wrong } from "../options.js";

/** The options that no device knows; the text is then drawn on the host. */
export interface SamplerOptions {
  /** Subtracted from the logits of tokens that were generated before, -2 to 2. Default 0. */
  presence_penalty?: number;
  /** Subtracted from the logits of tokens once for each time they were generated, -2 to 2. Default 0. */
  frequency_penalty?: number;
  /** Added to the logits of tokens, by token id: -100 to 100. Default: none. */
  logit_bias?: Readonly<Record<string, number>> | null;
  /** No sequence of this many tokens occurs twice. Default 0: any may. */
  no_repeat_ngram_size?: number;
  /** Sample from the tokens of the most usual surprise whose probabilities add up to this, above 0 to 1. Default 1: from all. */
  typical_p?: number;
  /** Drop tokens whose logit is more than this many standard deviations below the highest. Default -1: none. */
  top_n_sigma?: number;
  /** DRY: how strongly repetitions are penalised. Default 0: not at all. */
  dry_multiplier?: number;
  /** DRY: how the penalty grows with each repeated token, at least 1. Default 1.75. */
  dry_base?: number;
  /** DRY: the shortest repetition with a penalty, in tokens. Default 2. */
  dry_allowed_length?: number;
  /** DRY: how many of the last tokens are searched for repetitions. Default -1: all. */
  dry_penalty_last_n?: number;
  /** DRY: strings that no repetition continues across. Default `["\n", ":", "\"", "*"]`. */
  dry_sequence_breakers?: readonly string[];
  /** XTC: how often the most probable tokens are removed, 0 to 1. Default 0: never. */
  xtc_probability?: number;
  /** XTC: tokens at least this probable are removed, except the least probable of them. Above 0.5 is off. Default 0.1. */
  xtc_threshold?: number;
  /** 2 is mirostat 2.0, which takes the place of the filters. Default 0: off. */
  mirostat?: 0 | 2;
  /** Mirostat: the surprise to keep to, in bits. Default 5. */
  mirostat_tau?: number;
  /** Mirostat: its learning rate. Default 0.1. */
  mirostat_eta?: number;
  /** The temperature goes from `temperature` minus this to `temperature` plus this, by the entropy of the tokens. Default 0: off. */
  dynatemp_range?: number;
  /** Exponent of the entropy. Default 1. */
  dynatemp_exponent?: number;
}

const NUMBERS = [
  "presence_penalty", "frequency_penalty", "typical_p", "top_n_sigma", "dry_multiplier", "dry_base",
  "xtc_probability", "xtc_threshold", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent",
] as const;
const WHOLE = ["no_repeat_ngram_size", "dry_allowed_length", "mirostat"] as const;

/** Names of the options. */
export const SAMPLERS = [...NUMBERS, ...WHOLE, "logit_bias", "dry_penalty_last_n", "dry_sequence_breakers"] as const;

export type SamplerName = (typeof SAMPLERS)[number];

/** What Rust takes for them: only those that are given. */
export type Samplers = { [name in SamplerName]?: number | readonly string[] | readonly [number, number][] };

/** Errors with `argument` for a value of another type. */
export function checkSamplers(given: Pick<SamplerOptions, SamplerName>): Samplers {
  for (const name of NUMBERS) checkNumber(name, given[name]);
  for (const name of WHOLE) checkWhole(name, given[name]);
  const { logit_bias: biases, dry_penalty_last_n: last } = given;
  if (last !== undefined && !(last === -1 || (isWhole(last) && last < 2 ** 31))) throw wrong("dry_penalty_last_n", last, "-1 or a whole number");
  checkTexts("dry_sequence_breakers", given.dry_sequence_breakers);
  const samplers: Samplers = {};
  for (const name of SAMPLERS) if (name !== "logit_bias" && given[name] !== undefined) samplers[name] = given[name];
  if (biases !== undefined && biases !== null) samplers.logit_bias = pairs(biases);
  return samplers;
}

function pairs(biases: unknown): [number, number][] {
  if (typeof biases !== "object" || Array.isArray(biases)) throw wrong("logit_bias", biases, "{token id: number}");
  return Object.entries(biases as object).map(([token, bias]) => {
    if (!/^[0-9]{1,10}$/.test(token) || !isWhole(Number(token))) throw wrong("logit_bias: token", token, "a token id");
    if (typeof bias !== "number") throw wrong(`logit_bias of ${token}`, bias, "a number");
    return [Number(token), bias];
  });
}
