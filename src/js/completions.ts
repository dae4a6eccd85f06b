// OpenAI's completions over an engine: `create`, whole or streamed.
// Not chat: that is another prompt, and another shape.

import { generate, type Counts, type FinishReason } from "./generation.js";
import { checkRequest, type CheckedRequest, type CompletionRequest } from "./request.js";
import type { Turns } from "./turns.js";

/** The continuation of one prompt, or, in a chunk, its next part. */
export interface CompletionChoice {
  /** Which prompt of the request. */
  index: number;
  /** The text after the prompt. */
  text: string;
  /** Its tokens; not in OpenAI's shape, named as vLLM does. */
  token_ids: number[];
  /** `stop`: an end token or a stop string came; `length`: no room; null: more will come. */
  finish_reason: FinishReason | null;
  /** Always null. */
  logprobs: null;
}

/** Token counts, summed over the prompts. */
export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** `cached_tokens`: prompt tokens that an earlier request had computed. */
  prompt_tokens_details: { cached_tokens: number };
}

/** OpenAI's `text_completion`. */
export interface Completion {
  id: string;
  object: "text_completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  /** One for each prompt, in order. */
  choices: CompletionChoice[];
  usage: CompletionUsage;
}

/** A part of a streamed completion: one choice, or none but the usage where that was asked for. */
export interface CompletionChunk extends Omit<Completion, "usage"> {
  usage?: CompletionUsage | null;
}

/** `engine.completions` */
export class Completions {
  readonly #turns: Turns;
  readonly #model: string;

  /** @internal */
  constructor(turns: Turns, model: string) {
    this.#turns = turns;
    this.#model = model;
  }

  /**
   * Continues one prompt or several.
   *
   * ```ts
   * const { choices } = await engine.completions.create({ prompt: "Once upon a time", max_tokens: 40 });
   *
   * for await (const { choices } of engine.completions.create({ prompt: "Once", stream: true })) {
   *   write(choices[0].text);
   * }
   * ```
   *
   * A stream begins when it is first read; leaving its loop ends it. Requests made side by side take
   * turns, as long as their prompts together are no more than `engine.info.batch`.
   *
   * Errors, at the first read of a stream: `argument` for an option that is unknown or out of range, a
   * prompt that does not fit, or more prompts than there is room for; `unsupported` for what only OpenAI
   * has; `cancelled` when `signal` fires; `device` if the device fails.
   */
  create(request: CompletionRequest & { stream: true }): AsyncGenerator<CompletionChunk, void, undefined>;
  create(request: CompletionRequest & { stream?: false }): Promise<Completion>;
  create(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> | Promise<Completion>;
  create(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> | Promise<Completion> {
    return request?.stream ? this.#stream(request) : this.#whole(request);
  }

  async #whole(request: CompletionRequest): Promise<Completion> {
    const checked = checkRequest(request, this.#model);
    const choices = checked.prompts.map((_, index) => choice(index));
    let usage = sum([]);
    for await (const { deltas, counts } of generate(this.#turns, checked)) {
      for (const { index, text, tokens, finish } of deltas ?? []) {
        const whole = choices[index]!;
        whole.text += text;
        whole.token_ids.push(...tokens);
        whole.finish_reason = finish ?? null;
      }
      if (counts) usage = sum(counts);
    }
    return { ...this.#head(), choices, usage };
  }

  async *#stream(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> {
    const checked: CheckedRequest = checkRequest(request, this.#model);
    const head = this.#head();
    const unknown = checked.includeUsage ? { usage: null } : {};
    for await (const { deltas, counts } of generate(this.#turns, checked)) {
      for (const { index, text, tokens, finish } of deltas ?? []) {
        yield { ...head, choices: [{ ...choice(index), text, token_ids: tokens, finish_reason: finish ?? null }], ...unknown };
      }
      if (counts && checked.includeUsage) yield { ...head, choices: [], usage: sum(counts) };
    }
  }

  #head(): Omit<Completion, "choices" | "usage"> {
    const created = Math.floor(Date.now() / 1000);
    const number = crypto.getRandomValues(new Uint32Array(2)).reduce((hex, word) => hex + word.toString(16).padStart(8, "0"), "");
    return { id: `cmpl-${number}`, object: "text_completion", created, model: this.#model };
  }
}

function choice(index: number): CompletionChoice {
  return { index, text: "", token_ids: [], finish_reason: null, logprobs: null };
}

function sum(counts: readonly Counts[]): CompletionUsage {
  const total = (of: (each: Counts) => number) => counts.reduce((tokens, each) => tokens + of(each), 0);
  const prompt = total((each) => each.prompt_tokens);
  const completion = total((each) => each.completion_tokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: total((each) => each.cached_tokens) },
  };
}
