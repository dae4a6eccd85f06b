// OpenAI's completions over an engine: `create`, whole or streamed.
// Not chat (chat.ts): that is another prompt, and another shape.
// A request goes on in src/js/api/generation.ts.

import type { EngineInfo } from "./engine-options.js";
import type { Grammars } from "./grammars.js";
import { gather, generate, type Delta, type FinishReason, type TokenLogprobs } from "./generation.js";
import { checkRequest, type CheckedRequest, type CompletionRequest } from "./request.js";
import { head, usage, type CompletionUsage, type Head } from "./response.js";
import { Switch, type TextStream } from "./text-stream.js";
import type { Turns } from "../thread/turns.js";

/** The continuation of one prompt; in a chunk, the next part of it. */
export interface CompletionChoice {
  /** Index of the prompt in the request. With `n`, the choices of one prompt follow each other. */
  index: number;
  /** The text after the prompt. */
  text: string;
  /** Its tokens. OpenAI has no such field; the name is vLLM's. */
  token_ids: number[];
  /** `stop`: an end token or a stop string; `length`: `max_tokens` or the context is used up; null: not finished. */
  finish_reason: FinishReason | null;
  /** Null if not requested. */
  logprobs: CompletionLogprobs | null;
}

/** Log probabilities in OpenAI's shape: arrays with one entry per token. */
export interface CompletionLogprobs {
  /** The tokens as text; U+FFFD for bytes that are not a whole character. */
  tokens: string[];
  /** Natural logarithms of the model's probabilities, before temperature, penalties and filters. */
  token_logprobs: number[];
  /** The most likely tokens at each place, with their log probabilities. Tokens with the same text share one entry. (Chats have arrays.) */
  top_logprobs: Record<string, number>[];
  /** Where each token begins in the text of this choice. */
  text_offset: number[];
}

/** OpenAI's `text_completion`. */
export interface Completion extends Head<"text_completion"> {
  /** `n` choices for each prompt, in order. */
  choices: CompletionChoice[];
  usage: CompletionUsage;
}

/** A part of a streamed completion. It has one choice, or only the usage, if that was requested. */
export interface CompletionChunk extends Omit<Completion, "usage"> {
  usage?: CompletionUsage | null;
}

/** What of an engine's info requests depend on. */
type Info = Pick<EngineInfo, "model" | "generationConfig">;

/** `engine.completions` */
export class Completions {
  readonly #turns: Turns;
  readonly #info: Info;
  readonly #grammars: Grammars;

  /** @internal */
  constructor(turns: Turns, info: Info, grammars: Grammars) {
    this.#turns = turns;
    this.#info = info;
    this.#grammars = grammars;
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
   * A stream begins when it is first read, and ends when its loop is left; its `setAdapter` changes the adapters meanwhile. Up to `engine.info.batch` prompts run
   * at the same time, of one request or of several; the others wait their turn. A stream that nobody reads keeps
   * its place until others wait and `streamIdleTimeout` has passed.
   *
   * Errors (of a stream, at its first read): `argument` for an option that is unknown or out of range, a prompt
   * that does not fit, a format that cannot be kept to, more than `maxQueue` waiting requests, or a stream read too late; `unsupported` for
   * OpenAI's options that are not implemented; `cancelled` when `signal` fires; `device` if the device fails.
   */
  create(request: CompletionRequest & { stream: true }): TextStream<CompletionChunk>;
  create(request: CompletionRequest & { stream?: false }): Promise<Completion>;
  create(request: CompletionRequest): TextStream<CompletionChunk> | Promise<Completion>;
  create(request: CompletionRequest): TextStream<CompletionChunk> | Promise<Completion> {
    if (!request?.stream) return this.#whole(request);
    const adapters = new Switch(this.#turns);
    return adapters.of(this.#stream(request, adapters));
  }

  async #whole(request: CompletionRequest): Promise<Completion> {
    const checked = this.#check(request);
    const { texts, counts } = await gather(this.#turns, checked);
    return { ...this.#head(), choices: texts.map((text) => choice(text, checked)), usage: usage(counts, checked.n) };
  }

  async *#stream(request: CompletionRequest, adapters: Switch): AsyncGenerator<CompletionChunk, void, undefined> {
    const checked = this.#check(request);
    const head = this.#head();
    const unknown = checked.includeUsage ? { usage: null } : {};
    const offsets = checked.prompts.map(() => 0);
    for await (const { deltas, counts } of generate(this.#turns, checked, adapters)) {
      for (const delta of deltas ?? []) {
        const offset = offsets[delta.index]!;
        offsets[delta.index] = offset + length(delta.logprobs);
        yield { ...head, choices: [choice(delta, checked, offset)], ...unknown };
      }
      if (counts && checked.includeUsage) yield { ...head, choices: [], usage: usage(counts, checked.n) };
    }
  }

  #check(request: CompletionRequest): CheckedRequest {
    const checked = checkRequest(request, this.#info.model, this.#info.generationConfig);
    return { ...checked, grammar: this.#grammars.of(checked.format) };
  }

  #head(): Head<"text_completion"> {
    return head("cmpl", "text_completion", this.#info.model);
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
