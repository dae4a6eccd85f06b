// Requests for text: their types, their defaults, and the check of what a caller passed.
// Ranges are the engine's to check; here are names, types and what OpenAI has and we have not.

import { adapterNames, adapterWeights, type AdapterChoice } from "./adapters.js";
import { LorakeetError } from "../error.js";
import { checkFunction, checkNames, checkNumber, checkOneOf, checkPositive, checkSignal, checkWhole, isWhole, wrong } from "../options.js";

/** What requests for text have in common: OpenAI's options, with the sampling of transformers. */
export interface TextRequest {
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
  /** The text ends before any of these, be they spelled with special tokens, which are not shown. */
  stop?: string | readonly string[];
  /** The text ends before any of these tokens, as before the model's own end tokens. */
  stop_token_ids?: readonly number[];
  /** Choices for each prompt, which run side by side as far as there is room; each draws for itself. Default 1. */
  n?: number;
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
  /** Ends the request within one step, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Hears how many tokens of the prompts have been computed, before the first text comes. */
  onPrompt?: (progress: PromptProgress) => void;
  /**
   * The engine's own model name (`engine.info.model`), or that, a colon and a loaded adapter's name, in
   * place of `adapter`; any other is an error.
   */
  model?: string;
  /** Ignored, as it changes nothing. */
  user?: string;
}

/** OpenAI's completion request. */
export interface CompletionRequest extends TextRequest {
  /** A text or its token ids, or several of either, which run as one batch, or in turns where that has no room for all. */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /**
   * Tell the log probability of each token and of this many of the likeliest, 0 to 20. A read of the
   * device for every token is its cost.
   */
  logprobs?: number;
  /**
   * One for each prompt, in place of `adapter`: a name, `{name: weight}`, or PEFT's `"__base__"`. The
   * prompts still run as one batch.
   */
  adapter_names?: readonly NonNullable<AdapterChoice>[];
}

/** Prompt tokens, those taken from the cache apart. */
export interface PromptProgress {
  /** Computed so far. */
  loaded: number;
  /** To be computed in all. */
  total: number;
}

/** A checked request, split into what Rust takes and what stays here. */
export interface CheckedRequest extends CheckedOptions {
  /** Each `n` times. */
  prompts: (string | number[])[];
}

/** The same without its prompts. */
export interface CheckedOptions {
  n: number;
  sampling: Record<string, unknown>;
  includeUsage: boolean;
  signal: AbortSignal | undefined;
  onPrompt: ((progress: PromptProgress) => void) | undefined;
}

/** The names of a {@link TextRequest}. */
export const TEXT_NAMES = [
  "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "stop_token_ids", "n",
  "stream", "stream_options", "overflow", "adapter", "signal", "onPrompt", "model", "user",
] as const;

const NAMES = ["prompt", ...TEXT_NAMES, "adapter_names", "logprobs"];

/** OpenAI's options that are not implemented, with the values that ask for nothing. */
export const NEUTRAL: Record<string, readonly unknown[]> = {
  frequency_penalty: [0],
  logit_bias: [],
  presence_penalty: [0],
};

const NEUTRAL_HERE = { ...NEUTRAL, best_of: [1], echo: [false], suffix: [""] };

/** Most tokens whose log probabilities are told at one place: OpenAI's limit for chats. */
const MOST_LOGPROBS = 20;

/** Checks a request for the engine of `model`. Errors with `argument`, `unsupported` for what only OpenAI has. */
export function checkRequest(request: CompletionRequest, model: string): CheckedRequest {
  const given = givenOptions(request, NAMES, NEUTRAL_HERE);
  const list = prompts(given.prompt);
  const checked = checkText(given, list.length, model, given.adapter_names);
  return {
    ...checked,
    prompts: list.flatMap((prompt) => Array<string | number[]>(checked.n).fill(prompt)),
    sampling: { ...checked.sampling, logprobs: checkLogprobs("logprobs", given.logprobs) },
  };
}

/**
 * The options that are set: OpenAI's clients write null for what is not, but of `adapter`, where it is
 * the base. Errors with `unsupported` for what is `neutral` at other values, `argument` for unknown names.
 */
export function givenOptions<T extends object>(request: T, names: readonly string[], neutral: typeof NEUTRAL): T {
  if (typeof request !== "object" || request === null) throw wrong("request", request, "an object");
  for (const [name, values] of Object.entries(neutral)) {
    const value = (request as Record<string, unknown>)[name];
    if (value === undefined || value === null || values.includes(value)) continue;
    if (typeof value === "object" && Object.keys(value).length === 0) continue;
    throw new LorakeetError("unsupported", `option \`${name}\` is not supported`);
  }
  checkNames(request, [...names, ...Object.keys(neutral)]);
  return Object.fromEntries(Object.entries(request).filter(([name, value]) => value !== null || name === "adapter")) as T;
}

/** Checks what requests for text have in common, for `count` prompts. Errors with `argument`. */
export function checkText(given: TextRequest, count: number, model: string, names?: unknown): CheckedOptions {
  const sampling = checkSampling(given);
  checkOneOf("overflow", given.overflow, ["error", "slide"]);
  checkSignal(given.signal);
  checkFunction("onPrompt", given.onPrompt);
  checkPositive("n", given.n);
  const n = given.n ?? 1;
  return {
    n,
    sampling: {
      ...sampling,
      overflow: given.overflow ?? "error",
      ...adapters(checkModel(given, model), names, count, n),
    },
    includeUsage: includeUsage(given.stream_options),
    signal: given.signal,
    onPrompt: given.onPrompt,
  };
}

/** The adapter that a request asks for, be it in its model's name. Errors with `argument`. */
export function checkModel(given: Pick<TextRequest, "model" | "adapter">, model: string): unknown {
  const named = given.model;
  if (named === undefined || named === model) return given.adapter;
  if (typeof named !== "string" || !named.startsWith(`${model}:`)) {
    throw wrong("model", named, `${JSON.stringify(model)}, or that with a colon and an adapter's name`);
  }
  if (given.adapter !== undefined) {
    throw new LorakeetError("argument", `model ${JSON.stringify(named)} and \`adapter\` both name adapters, expected one of them`);
  }
  return named.slice(model.length + 1);
}

/** How many likeliest tokens to tell. */
export function checkLogprobs(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (!isWhole(value) || value > MOST_LOGPROBS) throw wrong(name, value, `a whole number from 0 to ${MOST_LOGPROBS}`);
  return value;
}

/** How tokens are drawn and when that ends. */
export type SamplingOptions = Pick<
  TextRequest, "max_tokens" | "temperature" | "top_p" | "top_k" | "min_p" | "repetition_penalty" | "seed" | "stop" | "stop_token_ids"
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
    stop_token_ids: stopTokens(given.stop_token_ids),
  };
}

function prompts(prompt: unknown): (string | number[])[] {
  const isIds = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isWhole);
  const isPrompt = (value: unknown) => typeof value === "string" || isIds(value);
  if (isPrompt(prompt)) return [prompt as string | number[]];
  if (Array.isArray(prompt) && prompt.length > 0 && prompt.every(isPrompt)) return prompt as (string | number[])[];
  throw wrong("prompt", prompt, "a text, token ids, or several of either");
}

/** For each of `count` prompts, which stand `n` times. */
export function adapters(adapter: unknown, names: unknown, count: number, n = 1): Record<string, unknown> {
  if (names === undefined) return adapter === undefined ? {} : { adapter: adapterWeights("adapter", adapter) };
  if (adapter === undefined) return { adapters: adapterNames(names, count).flatMap((each) => Array(n).fill(each)) };
  throw new LorakeetError("argument", "`adapter` and `adapter_names` are both given, expected one of them");
}

function stops(stop: unknown): string[] {
  if (stop === undefined) return [];
  const list = typeof stop === "string" ? [stop] : stop;
  if (Array.isArray(list) && list.every((each) => typeof each === "string")) return list;
  throw wrong("stop", stop, "a text or several");
}

function stopTokens(ids: unknown): readonly number[] {
  if (ids === undefined) return [];
  if (Array.isArray(ids) && ids.every(isWhole)) return ids;
  throw wrong("stop_token_ids", ids, "an array of token ids");
}

function includeUsage(options: TextRequest["stream_options"]): boolean {
  if (options === undefined) return false;
  checkNames(options, ["include_usage"]);
  return options.include_usage ?? false;
}
