// OpenAI's completions over an engine: `create`, whole or streamed.
// Not chat (chat.ts): that is another prompt, and another shape.

import { gather, generate, type Delta, type FinishReason, type TokenLogprobs } from "./generation.js";
import { checkRequest, type CheckedRequest, type CompletionRequest } from "./request.js";
import { head, usage, type CompletionUsage, type Head } from "./response.js";
import type { Turns } from "../thread/turns.js";

/** The continuation of one prompt, or, in a chunk, its next part. */
export interface CompletionChoice {
  /** Which prompt of the request; with `n`, the choices of a prompt follow one another. */
  index: number;
  /** The text after the prompt. */
  text: string;
  /** Its tokens; not in OpenAI's shape, named as vLLM does. */
  token_ids: number[];
  /** `stop`: an end token or a stop string came; `length`: no room; null: more will come. */
  finish_reason: FinishReason | null;
  /** Null where none were asked for. */
  logprobs: CompletionLogprobs | null;
}

/** OpenAI's shape: lists with an entry for each token. */
export interface CompletionLogprobs {
  /** The tokens as text; U+FFFD for bytes that are no character alone. */
  tokens: string[];
  /** Natural logarithms of the model's own probabilities: before temperature, penalties and filters. */
  token_logprobs: number[];
  /** The likeliest tokens there with theirs. An object has digits first, and one entry for tokens of one text; chats have lists. */
  top_logprobs: Record<string, number>[];
  /** Where the tokens begin in the text of this choice, were each shown. */
  text_offset: number[];
}

/** OpenAI's `text_completion`. */
export interface Completion extends Head<"text_completion"> {
  /** `n` for each prompt, in order. */
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
   * A stream begins when it is first read; leaving its loop ends it. Prompts of all requests run side by side, as
   * many as `engine.info.batch`; others wait in line, and what is beyond the batch in one request runs in turns. A
   * stream that nobody reads keeps its place until others wait and `streamIdleTimeout` is over.
   *
   * Errors, at the first read of a stream: `argument` for an option that is unknown or out of range, a
   * prompt that does not fit, more requests waiting than `maxQueue`, or a stream read too late; `unsupported` for
   * what only OpenAI has; `cancelled` when `signal` fires; `device` if the device fails.
   */
  create(request: CompletionRequest & { stream: true }): AsyncGenerator<CompletionChunk, void, undefined>;
  create(request: CompletionRequest & { stream?: false }): Promise<Completion>;
  create(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> | Promise<Completion>;
  create(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> | Promise<Completion> {
    return request?.stream ? this.#stream(request) : this.#whole(request);
  }

  async #whole(request: CompletionRequest): Promise<Completion> {
    const checked = checkRequest(request, this.#model);
    const { texts, counts } = await gather(this.#turns, checked);
    return { ...this.#head(), choices: texts.map((text) => choice(text, checked)), usage: usage(counts, checked.n) };
  }

  async *#stream(request: CompletionRequest): AsyncGenerator<CompletionChunk, void, undefined> {
    const checked = checkRequest(request, this.#model);
    const head = this.#head();
    const unknown = checked.includeUsage ? { usage: null } : {};
    const offsets = checked.prompts.map(() => 0);
    for await (const { deltas, counts } of generate(this.#turns, checked)) {
      for (const delta of deltas ?? []) {
        const offset = offsets[delta.index]!;
        offsets[delta.index] = offset + length(delta.logprobs);
        yield { ...head, choices: [choice(delta, checked, offset)], ...unknown };
      }
      if (counts && checked.includeUsage) yield { ...head, choices: [], usage: usage(counts, checked.n) };
    }
  }

  #head(): Head<"text_completion"> {
    return head("cmpl", "text_completion", this.#model);
  }
}

/** A choice of these tokens, the first of which begins at `offset` of its text. */
function choice({ index, text, tokens, logprobs, finish }: Delta, { sampling }: CheckedRequest, offset = 0): CompletionChoice {
  let end = offset;
  const shown = sampling.logprobs === undefined ? null : {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: logprobs.map(({ token }) => (end += token.length) - token.length),
  };
  return { index, text, token_ids: tokens, finish_reason: finish ?? null, logprobs: shown };
}

/** Of the tokens' text, each shown. */
const length = (tokens: readonly TokenLogprobs[]) => tokens.reduce((sum, { token }) => sum + token.length, 0);
