// OpenAI's chat completions over an engine: `create`, whole or streamed.
// Not how a conversation becomes tokens: that is conversations.ts's.

import { checkChatRequest, type ChatCompletionRequest } from "./chat-request.js";
import type { Conversations } from "./conversations.js";
import { orCancelled } from "../error.js";
import { gather, generate, type FinishReason, type TokenLogprobs } from "./generation.js";
import type { CheckedRequest } from "./request.js";
import { head, usage, type CompletionUsage, type Head } from "./response.js";
import type { Turns } from "../thread/turns.js";

/** A token of an answer. */
export interface ChatTokenLogprob {
  /** The token as text; U+FFFD for bytes that are not a whole character. */
  token: string;
  /** Natural logarithm of the model's probability, before temperature, penalties and filters. */
  logprob: number;
  /** The text in UTF-8; null if the token is not text by itself. */
  bytes: number[] | null;
}

/** Log probabilities of an answer's tokens. */
export interface ChatLogprobs {
  /** One entry per token, with the most likely tokens at its place, in falling order. */
  content: (ChatTokenLogprob & { top_logprobs: ChatTokenLogprob[] })[];
  refusal: null;
}

/** One answer. */
export interface ChatCompletionChoice {
  /** Index among the `n` choices. */
  index: number;
  message: { role: "assistant"; content: string; refusal: null };
  /** `stop`: the answer is complete, or a stop string came; `length`: `max_tokens` or the context is used up. */
  finish_reason: FinishReason;
  /** Null if not requested. */
  logprobs: ChatLogprobs | null;
}

/** OpenAI's `chat.completion`. */
export interface ChatCompletion extends Head<"chat.completion"> {
  choices: ChatCompletionChoice[];
  usage: CompletionUsage;
}

/** What a chunk adds to an answer: first the role, then text. */
export interface ChatDelta {
  role?: "assistant";
  content?: string;
}

/** A part of a streamed answer. It has one choice, or only the usage, if that was requested. */
export interface ChatCompletionChunk extends Head<"chat.completion.chunk"> {
  choices: { index: number; delta: ChatDelta; finish_reason: FinishReason | null; logprobs: ChatLogprobs | null }[];
  usage?: CompletionUsage | null;
}

/** `engine.chat` */
export class Chat {
  /** Answers conversations. */
  readonly completions: ChatCompletions;

  /** @internal */
  constructor(turns: Turns, model: string, conversations: Conversations) {
    this.completions = new ChatCompletions(turns, model, conversations);
  }
}

/** `engine.chat.completions` */
export class ChatCompletions {
  readonly #turns: Turns;
  readonly #model: string;
  readonly #conversations: Conversations;

  /** @internal */
  constructor(turns: Turns, model: string, conversations: Conversations) {
    this.#turns = turns;
    this.#model = model;
    this.#conversations = conversations;
  }

  /**
   * Answers a conversation. The model's chat template turns it into a prompt: the `chatTemplate` of
   * `createEngine`, or the one in the model's folder, read at the first call (`chat_template.jinja`, or
   * `chat_template` in `tokenizer_config.json` or `chat_template.json`). If the active adapter came with a
   * template, that one is used. If several active adapters came with different ones, the model's is used, or,
   * if the model has none, that of the adapter with the largest weight. The first chat in a page also fetches
   * the WebAssembly module that renders templates.
   *
   * ```ts
   * const messages: ChatMessage[] = [{ role: "user", content: "Why is the sky blue?" }];
   * const { choices } = await engine.chat.completions.create({ messages, max_tokens: 100 });
   * messages.push(choices[0].message, { role: "user", content: "And at night?" });
   *
   * for await (const { choices } of engine.chat.completions.create({ messages, stream: true })) {
   *   write(choices[0].delta.content ?? "");
   * }
   * ```
   *
   * Errors (of a stream, at its first read): `unsupported` for a model without a template, a template that needs
   * something not implemented, and options that are not implemented (tools, images, formats); `argument` for a
   * conversation that the template refuses; otherwise as `engine.completions.create`.
   */
  create(request: ChatCompletionRequest & { stream: true }): AsyncGenerator<ChatCompletionChunk, void, undefined>;
  create(request: ChatCompletionRequest & { stream?: false }): Promise<ChatCompletion>;
  create(request: ChatCompletionRequest): AsyncGenerator<ChatCompletionChunk, void, undefined> | Promise<ChatCompletion>;
  create(request: ChatCompletionRequest): AsyncGenerator<ChatCompletionChunk, void, undefined> | Promise<ChatCompletion> {
    return request?.stream ? this.#stream(request) : this.#whole(request);
  }

  async #whole(request: ChatCompletionRequest): Promise<ChatCompletion> {
    const checked = await this.#check(request);
    const { texts, counts } = await gather(this.#turns, checked);
    const choices = texts.map(({ index, text, logprobs, finish }): ChatCompletionChoice => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      finish_reason: finish ?? "length",
      logprobs: shown(checked, logprobs),
    }));
    return { ...head("chatcmpl", "chat.completion", this.#model), choices, usage: usage(counts, checked.n) };
  }

  async *#stream(request: ChatCompletionRequest): AsyncGenerator<ChatCompletionChunk, void, undefined> {
    const checked = await this.#check(request);
    const unknown = checked.includeUsage ? { usage: null } : {};
    const start = head("chatcmpl", "chat.completion.chunk", this.#model);
    const chunk = (index: number, delta: ChatDelta, finish: FinishReason | null = null, logprobs: ChatLogprobs | null = null) =>
      ({ ...start, choices: [{ index, delta, finish_reason: finish, logprobs }], ...unknown });
    const begun = new Set<number>();
    for await (const { deltas, counts } of generate(this.#turns, checked)) {
      for (const { index, text, logprobs, finish } of deltas ?? []) {
        if (!begun.has(index)) yield chunk(index, { role: "assistant", content: "" });
        begun.add(index);
        if (text !== "" || logprobs.length > 0) yield chunk(index, { content: text }, null, shown(checked, logprobs));
        if (finish) yield chunk(index, {}, finish);
      }
      if (counts && checked.includeUsage) yield { ...start, choices: [], usage: usage(counts, checked.n) };
    }
  }

  /** The request with its conversation as token ids. */
  async #check(request: ChatCompletionRequest): Promise<CheckedRequest> {
    const { conversation, ...checked } = checkChatRequest(request, this.#model);
    // The first chat fetches the template, and what renders it.
    const read = <T>(work: Promise<T>) => orCancelled(work, checked.signal, "the completion");
    const { adapter, ends, tokens } = await read(this.#conversations.manner(checked.sampling.adapter));
    const prompt = await read(tokens(conversation));
    const stop_token_ids = [...(checked.sampling.stop_token_ids ?? []), ...ends];
    const sampling = { ...checked.sampling, adapter, stop_token_ids };
    return { ...checked, sampling, prompts: Array<number[]>(checked.n).fill(prompt) };
  }
}

/** OpenAI's shape of log probabilities, where a request asked for them. */
function shown({ sampling }: CheckedRequest, logprobs: readonly TokenLogprobs[]): ChatLogprobs | null {
  if (sampling.logprobs === undefined) return null;
  const token = ({ token, logprob }: { token: string; logprob: number }): ChatTokenLogprob => {
    const bytes = token.includes("\ufffd") ? null : Array.from(new TextEncoder().encode(token));
    return { token, logprob, bytes };
  };
  return { content: logprobs.map((each) => ({ ...token(each), top_logprobs: each.top.map(token) })), refusal: null };
}
