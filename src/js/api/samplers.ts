// The samplers that run beside the model: their names, and what Rust takes for them.
// Not their ranges and defaults, which are the engine's.

import { checkNumber, checkTexts, checkWhole, isWhole, wrong } from "../options.js";
import type { TextRequest } from "./request.js";

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
export function checkSamplers(given: Pick<TextRequest, SamplerName>): Samplers {
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
