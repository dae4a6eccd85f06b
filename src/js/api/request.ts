// Requests for text: their types, and the check of what a caller passed.
// Ranges and defaults are the engine's; here are names, types, and what OpenAI has and we do not.

import { adapterNames, adapterWeights, type AdapterChoice } from "./choice.js";
import { LorakeetError } from "../error.js";
import { FORMATS, checkFormat, type FormatOptions } from "./format.js";
import type { Grammar } from "./grammars.js";
import { withDefaults, type GenerationConfig } from "./generation-config.js";
import { SAMPLERS, checkSamplers, type SamplerName, type SamplerOptions, type Samplers } from "./samplers.js";
import { checkFunction, checkNames, checkNumber, checkPositive, checkSignal, checkString, checkWhole, isWhole, wrong } from "../options.js";
import type { Format } from "../thread/grammar.js";

/**
 * What all requests for text have in common: OpenAI's options, and the sampling options of transformers. Where the model
 * has a `generation_config.json`, its temperature, filters and penalties are the defaults: {@link EngineInfo.generationConfig}.
 */
export interface TextRequest extends SamplerOptions, FormatOptions {
  /** Maximum number of tokens to generate for each prompt. Default: until an end token or a full context (OpenAI's is 16). */
  max_tokens?: number;
  /** 0 always takes the most probable token. Default 1. */
  temperature?: number;
  /** Sample from the most probable tokens whose probabilities add up to this, above 0 to 1. Default 1: from all. */
  top_p?: number;
  /** Sample from this many of the most probable tokens. Default 0: from all. */
  top_k?: number;
  /** Drop tokens whose probability is less than this fraction of the highest one, 0 to 1. Default 0: none. */
  min_p?: number;
  /** Above 1, tokens that have already occurred become less probable. Default 1. */
  repetition_penalty?: number;
  /** The same seed gives the same text on the same device. Default: a random one. */
  seed?: number;
  /** The text ends before any of these strings. They may contain special tokens, which otherwise do not appear in the text. */
  stop?: string | readonly string[];
  /** The text ends before any of these tokens, in addition to the model's own end tokens. */
  stop_token_ids?: readonly number[];
  /** Number of choices for each prompt, each sampled on its own. They run at the same time, as far as the batch allows. Default 1. */
  n?: number;
  /** `true` gives the text in parts, as it is generated. Default `false`. */
  stream?: boolean;
  /** With `include_usage` the stream ends with one more chunk, which has no choices but the token counts. */
  stream_options?: { include_usage?: boolean };
  /**
   * What to do when the context is full. `error` refuses a request that may not fit; without `max_tokens` the
   * text ends with `length`. `slide` keeps the first 4 tokens and the newest half, and goes on. Default `error`.
   */
  overflow?: "error" | "slide";
  /** Adapters to use instead of the engine's choice, for this request only; null is the base model. */
  adapter?: AdapterChoice;
  /** Cancels the request within one step, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Called before the first text comes, with how many tokens of the prompts have been computed. */
  onPrompt?: (progress: PromptProgress) => void;
  /**
   * The engine's own model name (`engine.info.model`), or that name, a colon and the name of a loaded adapter,
   * instead of `adapter`. Any other name is an error.
   */
  model?: string;
  /** Ignored. */
  user?: string;
}

/** OpenAI's completion request. */
export interface CompletionRequest extends TextRequest {
  /** A string or its token ids, or an array of either. Prompts run as one batch; those that do not fit run afterwards. */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /**
   * Return the log probability of each token, and of this many of the most likely tokens, 0 to 20. It costs one
   * read from the device per token.
   */
  logprobs?: number;
  /**
   * Adapters for each prompt, instead of `adapter`: a name, `{name: weight}`, or PEFT's `"__base__"`. The
   * prompts still run as one batch.
   */
  adapter_names?: readonly NonNullable<AdapterChoice>[];
}

/** Progress on the prompts' tokens, without those taken from the cache. */
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
  /** Compiles what the texts are to be like. */
  grammar?: (() => Promise<Grammar>) | undefined;
}

/** The same without its prompts. */
export interface CheckedOptions {
  n: number;
  sampling: Sampling;
  includeUsage: boolean;
  signal: AbortSignal | undefined;
  onPrompt: ((progress: PromptProgress) => void) | undefined;
  /** What the texts are to be like. */
  format: Format | undefined;
}

/** What Rust takes for the options of a request. What is undefined has the engine's default. */
export interface Sampling extends Pick<TextRequest, "max_tokens" | "temperature" | "top_p" | "top_k" | "min_p" | "repetition_penalty" | "stop_token_ids" | "overflow"> {
  seed: number;
  samplers: Samplers;
  is_constrained?: boolean;
  /** Special tokens that are part of the text. */
  shown_tokens?: readonly string[];
  stop: readonly string[] | undefined;
  logprobs?: number | undefined;
  adapter?: Record<string, number>;
  adapters?: Record<string, number>[] | undefined;
}

/** The names of a {@link TextRequest}. */
export const TEXT_NAMES = [
  "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", ...SAMPLERS, "seed", "stop", "stop_token_ids", "n",
  "stream", "stream_options", "overflow", "adapter", "signal", "onPrompt", "model", "user", ...FORMATS,
] as const;

const NAMES = ["prompt", ...TEXT_NAMES, "adapter_names", "logprobs"];

/** OpenAI's options that are not implemented, with the values that ask for nothing. */
const NEUTRAL_HERE = { best_of: [1], echo: [false], suffix: [""] };

/** Most tokens whose log probabilities are told at one place: OpenAI's limit for chats. */
const MOST_LOGPROBS = 20;

/** Checks a request for the engine of `model`, which brought `config`. Errors with `argument`, `unsupported` for what only OpenAI has. */
export function checkRequest(request: CompletionRequest, model: string, config: GenerationConfig = {}): CheckedRequest {
  const given = withDefaults(givenOptions(request, NAMES, NEUTRAL_HERE), config);
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
export function givenOptions<T extends object>(request: T, names: readonly string[], neutral: Readonly<Record<string, readonly unknown[]>>): T {
  if (typeof request !== "object" || request === null) throw wrong("request", request, "an object");
  for (const [name, values] of Object.entries(neutral)) {
    const value = (request as Record<string, unknown>)[name];
    if (value === undefined || value === null || values.includes(value)) continue;
    if (typeof value === "object" && Object.keys(value).length === 0) continue;
    throw new LorakeetError("unsupported", `option \`${name}\` is not supported`);
  }
  checkNames(request, names, Object.keys(neutral));
  return Object.fromEntries(Object.entries(request).filter(([name, value]) => value !== null || name === "adapter")) as T;
}

/** Checks what requests for text have in common, for `count` prompts. Errors with `argument`. */
export function checkText(given: TextRequest, count: number, model: string, names?: unknown): CheckedOptions {
  const sampling = checkSampling(given);
  checkString("overflow", given.overflow);
  checkSignal(given.signal);
  checkFunction("onPrompt", given.onPrompt);
  checkPositive("n", given.n);
  const n = given.n ?? 1;
  return {
    n,
    sampling: {
      ...sampling,
      overflow: given.overflow,
      ...adapters(checkModel(given, model), names, count, n),
    },
    includeUsage: includeUsage(given.stream_options),
    signal: given.signal,
    onPrompt: given.onPrompt,
    format: checkFormat(given),
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
  TextRequest, "max_tokens" | "temperature" | "top_p" | "top_k" | "min_p" | "repetition_penalty" | "seed" | "stop" | "stop_token_ids" | SamplerName
>;

/** What Rust takes for the options of sampling. Errors with `argument`. */
export function checkSampling(given: SamplingOptions): Sampling {
  for (const name of ["temperature", "top_p", "min_p", "repetition_penalty"] as const) checkNumber(name, given[name]);
  checkPositive("max_tokens", given.max_tokens);
  for (const name of ["top_k", "seed"] as const) checkWhole(name, given[name]);
  const { stop, stop_token_ids: ids } = given;
  const isText = (value: unknown) => typeof value === "string" && value !== "";
  const isStop = stop === undefined || isText(stop) || (Array.isArray(stop) && stop.every(isText));
  if (!isStop) throw wrong("stop", stop, "a string or an array of strings, none of them empty");
  if (ids !== undefined && !(Array.isArray(ids) && ids.every(isWhole))) throw wrong("stop_token_ids", ids, "an array of token ids");
  return {
    max_tokens: given.max_tokens,
    temperature: given.temperature,
    top_p: given.top_p,
    top_k: given.top_k,
    min_p: given.min_p,
    repetition_penalty: given.repetition_penalty,
    samplers: checkSamplers(given),
    seed: given.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    stop: typeof stop === "string" ? [stop] : stop,
    stop_token_ids: ids,
  };
}

function prompts(prompt: unknown): (string | number[])[] {
  const isIds = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isWhole);
  const isPrompt = (value: unknown) => typeof value === "string" || isIds(value);
  if (isPrompt(prompt)) return [prompt as string | number[]];
  if (Array.isArray(prompt) && prompt.length > 0 && prompt.every(isPrompt)) return prompt as (string | number[])[];
  throw wrong("prompt", prompt, "a string, token ids, or an array of either");
}

/** For each of `count` prompts, which stand `n` times. */
export function adapters(adapter: unknown, names: unknown, count: number, n = 1): Pick<Sampling, "adapter" | "adapters"> {
  if (names === undefined) return adapter === undefined ? {} : { adapter: adapterWeights("adapter", adapter) };
  if (adapter === undefined) return { adapters: adapterNames(names, count).flatMap((each) => Array(n).fill(each)) };
  throw new LorakeetError("argument", "`adapter` and `adapter_names` are both given, expected one of them");
}

function includeUsage(options: TextRequest["stream_options"]): boolean {
  if (options === undefined) return false;
  checkNames(options, ["include_usage"]);
  return options.include_usage ?? false;
}
