// A completion request: its type, its defaults, and the check of what a caller passed.
// Ranges are the engine's to check; here are names, types and what OpenAI has and we have not.

import { adapterNames, adapterWeights, type AdapterChoice } from "./adapters.js";
import { LorakeetError } from "./error.js";
import { checkFunction, checkNames, checkNumber, checkOneOf, checkSignal, checkWhole, isWhole, wrong } from "./options.js";

/** OpenAI's completion request, with the sampling options of transformers. */
export interface CompletionRequest {
  /** A text or its token ids, or several of either, which run as one batch. */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** Most tokens to add to each prompt. Default: until an end token or a full context; not OpenAI's 16. */
  max_tokens?: number;
  /** 0 always takes the most probable token. Default 1. */
  temperature?: number;
  /** Keep the most probable tokens that together reach this share, above 0 to 1. Default 1: all. */
  top_p?: number;
  /** Keep this many of the most probable tokens. Default 0: all. */
  top_k?: number;
  /** Drop tokens below this share of the most probable one, 0 to 1. Default 0: none. */
  min_p?: number;
  /** Above 1, tokens that have occurred become less probable. Default 1. */
  repetition_penalty?: number;
  /** The same seed on the same device gives the same text. Default: another each time. */
  seed?: number;
  /** The text ends before any of these. */
  stop?: string | readonly string[];
  /** `true` gives the text as it is written. Default `false`. */
  stream?: boolean;
  /** `include_usage`: one more chunk at the end, without choices, with the token counts. */
  stream_options?: { include_usage?: boolean };
  /**
   * When the context is full: `error` refuses a request that may not fit (one without `max_tokens`
   * then ends with `length`); `slide` keeps the first 4 and the newest half of the tokens. Default `error`.
   */
  overflow?: "error" | "slide";
  /** What to use instead of the engine's choice, which stays as it is; null is the base. */
  adapter?: AdapterChoice;
  /**
   * One for each prompt, in place of `adapter`: a name, `{name: weight}`, or PEFT's `"__base__"`. The
   * prompts still run as one batch.
   */
  adapter_names?: readonly NonNullable<AdapterChoice>[];
  /** Ends the request within one step, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Hears how many tokens of the prompts have been computed, before the first text comes. */
  onPrompt?: (progress: PromptProgress) => void;
  /** The engine's own model name (`engine.info.model`); any other is an error. */
  model?: string;
  /** Ignored, as it changes nothing. */
  user?: string;
}

/** Prompt tokens, those taken from the cache apart. */
export interface PromptProgress {
  /** Computed so far. */
  loaded: number;
  /** To be computed in all. */
  total: number;
}

/** A checked request, split into what Rust takes and what stays here. */
export interface CheckedRequest {
  prompts: (string | number[])[];
  sampling: Record<string, unknown>;
  includeUsage: boolean;
  signal: AbortSignal | undefined;
  onPrompt: ((progress: PromptProgress) => void) | undefined;
}

const NAMES = [
  "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop",
  "stream", "stream_options", "overflow", "adapter", "adapter_names", "signal", "onPrompt", "model", "user",
] as const;

/** OpenAI's options that are not implemented, with the values that ask for nothing. */
const NEUTRAL: Record<string, readonly unknown[]> = {
  best_of: [1],
  echo: [false],
  frequency_penalty: [0],
  logit_bias: [],
  logprobs: [false],
  n: [1],
  presence_penalty: [0],
  suffix: [""],
};

/** Checks a request for the engine of `model`. Errors with `argument`, `unsupported` for what only OpenAI has. */
export function checkRequest(request: CompletionRequest, model: string): CheckedRequest {
  if (typeof request !== "object" || request === null) throw wrong("request", request, "an object");
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    const value = (request as unknown as Record<string, unknown>)[name];
    if (value === undefined || value === null || neutral.includes(value)) continue;
    if (typeof value === "object" && Object.keys(value).length === 0) continue;
    throw new LorakeetError("unsupported", `option \`${name}\` is not supported`);
  }
  checkNames(request, [...NAMES, ...Object.keys(NEUTRAL)]);
  // OpenAI's clients write null for what is not set.
  const given = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== null)) as unknown as CompletionRequest;
  const sampling = checkSampling(given);
  checkOneOf("overflow", given.overflow, ["error", "slide"]);
  checkSignal(given.signal);
  checkFunction("onPrompt", given.onPrompt);
  if (given.model !== undefined && given.model !== model) throw wrong("model", given.model, JSON.stringify(model));
  const list = prompts(given.prompt);
  return {
    prompts: list,
    sampling: {
      ...sampling,
      overflow: given.overflow ?? "error",
      ...adapters(request.adapter, given.adapter_names, list.length),
    },
    includeUsage: includeUsage(given.stream_options),
    signal: given.signal,
    onPrompt: given.onPrompt,
  };
}

/** How tokens are drawn and when that ends. */
export type SamplingOptions = Pick<
  CompletionRequest, "max_tokens" | "temperature" | "top_p" | "top_k" | "min_p" | "repetition_penalty" | "seed" | "stop"
>;

/** What Rust takes for the options of sampling. Errors with `argument`. */
export function checkSampling(given: SamplingOptions): Record<string, unknown> {
  for (const name of ["temperature", "top_p", "min_p", "repetition_penalty"] as const) checkNumber(name, given[name]);
  for (const name of ["max_tokens", "top_k", "seed"] as const) checkWhole(name, given[name]);
  return {
    max_tokens: given.max_tokens,
    temperature: given.temperature ?? 1,
    top_p: given.top_p ?? 1,
    top_k: given.top_k ?? 0,
    min_p: given.min_p ?? 0,
    repetition_penalty: given.repetition_penalty ?? 1,
    seed: given.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
    stop: stops(given.stop),
  };
}

function prompts(prompt: unknown): (string | number[])[] {
  const isIds = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isWhole);
  const isPrompt = (value: unknown) => typeof value === "string" || isIds(value);
  if (isPrompt(prompt)) return [prompt as string | number[]];
  if (Array.isArray(prompt) && prompt.length > 0 && prompt.every(isPrompt)) return prompt as (string | number[])[];
  throw wrong("prompt", prompt, "a text, token ids, or several of either");
}

/** Here null does not stand for what is not set: it is the base. */
function adapters(adapter: unknown, names: unknown, count: number): Record<string, unknown> {
  if (names === undefined) return adapter === undefined ? {} : { adapter: adapterWeights("adapter", adapter) };
  if (adapter === undefined) return { adapters: adapterNames(names, count) };
  throw new LorakeetError("argument", "`adapter` and `adapter_names` are both given, expected one of them");
}

function stops(stop: unknown): string[] {
  if (stop === undefined) return [];
  const list = typeof stop === "string" ? [stop] : stop;
  if (Array.isArray(list) && list.every((each) => typeof each === "string")) return list;
  throw wrong("stop", stop, "a text or several");
}

function includeUsage(options: CompletionRequest["stream_options"]): boolean {
  if (options === undefined) return false;
  checkNames(options, ["include_usage"]);
  return options.include_usage ?? false;
}
