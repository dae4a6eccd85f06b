// OpenAI's chat completions over an engine: `create`, whole or streamed.
// Not how a conversation becomes tokens: that is conversations.ts's.

import { checkChatRequest, type ChatCompletionRequest } from "./chat-request.js";
import type { Conversations } from "./conversations.js";
import type { EngineInfo } from "./engine-options.js";
import { orCancelled } from "../error.js";
import type { Grammars } from "./grammars.js";
import { demandedCall } from "./demanded-call.js";
import { gather, generate, type FinishReason, type TokenLogprobs } from "./generation.js";
import type { CheckedRequest } from "./request.js";
import { head, usage, type CompletionUsage, type Head } from "./response.js";
import { promptOf } from "./template-fit.js";
import { Switch, type TextStream } from "./text-stream.js";
import type { Turns } from "../thread/turns.js";
import { CallParser, callMarks, markTokens, type Found } from "./tool-calls.js";
import type { ChatToolCall } from "./tools.js";

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

/** Why an answer ended: as texts do, or to have tools called. */
export type ChatFinishReason = FinishReason | "tool_calls";

/** One answer. */
export interface ChatCompletionChoice {
  /** Index among the `n` choices. */
  index: number;
  message: {
    role: "assistant";
    /** Null if the answer is nothing but calls. */
    content: string | null;
    /** The tools to call, if there are any. */
    tool_calls?: ChatToolCall[];
    refusal: null;
  };
  /**
   * `stop`: the answer is complete, or a stop string came; `tool_calls`: it is complete, and calls tools; `length`:
   * `max_tokens` or the context is used up.
   */
  finish_reason: ChatFinishReason;
  /** Null if not requested. */
  logprobs: ChatLogprobs | null;
}

/** OpenAI's `chat.completion`. */
export interface ChatCompletion extends Head<"chat.completion"> {
  choices: ChatCompletionChoice[];
  usage: CompletionUsage;
}

/** What a chunk adds to an answer: first the role, then text, or calls of tools, each of them whole. */
export interface ChatDelta {
  role?: "assistant";
  content?: string;
  tool_calls?: (ChatToolCall & { index: number })[];
}

/** A part of a streamed answer. It has one choice, or only the usage, if that was requested. */
export interface ChatCompletionChunk extends Head<"chat.completion.chunk"> {
  choices: { index: number; delta: ChatDelta; finish_reason: ChatFinishReason | null; logprobs: ChatLogprobs | null }[];
  usage?: CompletionUsage | null;
}

/** What of an engine's info requests depend on. */
type Info = Pick<EngineInfo, "model" | "generationConfig">;

/** `engine.chat` */
export class Chat {
  /** Answers conversations. */
  readonly completions: ChatCompletions;

  /** @internal */
  constructor(turns: Turns, info: Info, conversations: Conversations, grammars: Grammars) {
    this.completions = new ChatCompletions(turns, info, conversations, grammars);
  }
}

/** `engine.chat.completions` */
export class ChatCompletions {
  readonly #turns: Turns;
  readonly #info: Info;
  readonly #conversations: Conversations;
  readonly #grammars: Grammars;

  /** @internal */
  constructor(turns: Turns, info: Info, conversations: Conversations, grammars: Grammars) {
    this.#turns = turns;
    this.#info = info;
    this.#conversations = conversations;
    this.#grammars = grammars;
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
   * With `tools` the model may call functions. What it writes is a request: you run the function and answer with a
   * message of role `tool`.
   *
   * ```ts
   * const { choices } = await engine.chat.completions.create({ messages, tools });
   * const { message, finish_reason } = choices[0];
   * messages.push(message);
   * for (const { id, function: { name, arguments: json } } of message.tool_calls ?? []) {
   *   messages.push({ role: "tool", tool_call_id: id, content: await run(name, JSON.parse(json)) });
   * }
   * ```
   *
   * Errors (of a stream, at its first read): `unsupported` for a model without a template, a template that needs
   * something not implemented or shows no tools, and options that are not implemented (images); `argument`
   * for a conversation that the template refuses; otherwise as `engine.completions.create`.
   */
  create(request: ChatCompletionRequest & { stream: true }): TextStream<ChatCompletionChunk>;
  create(request: ChatCompletionRequest & { stream?: false }): Promise<ChatCompletion>;
  create(request: ChatCompletionRequest): TextStream<ChatCompletionChunk> | Promise<ChatCompletion>;
  create(request: ChatCompletionRequest): TextStream<ChatCompletionChunk> | Promise<ChatCompletion> {
    if (!request?.stream) return this.#whole(request);
    const adapters = new Switch(this.#turns);
    return adapters.of(this.#stream(request, adapters));
  }

  async #whole(request: ChatCompletionRequest): Promise<ChatCompletion> {
    const checked = await this.#check(request);
    const { texts, counts } = await gather(this.#turns, checked);
    const choices = texts.map(({ index, text, logprobs, finish = "length" }): ChatCompletionChoice => {
      const { text: content, calls } = checked.reader()(text, true);
      const isCall = calls.length > 0;
      return {
        index,
        message: { role: "assistant", content: isCall && content === "" ? null : content, ...(isCall ? { tool_calls: calls } : {}), refusal: null },
        finish_reason: reason(finish, isCall),
        logprobs: shown(checked, logprobs),
      };
    });
    return { ...head("chatcmpl", "chat.completion", this.#info.model), choices, usage: usage(counts, checked.n) };
  }

  async *#stream(request: ChatCompletionRequest, adapters: Switch): AsyncGenerator<ChatCompletionChunk, void, undefined> {
    const checked = await this.#check(request);
    const unknown = checked.includeUsage ? { usage: null } : {};
    const start = head("chatcmpl", "chat.completion.chunk", this.#info.model);
    const chunk = (index: number, delta: ChatDelta, finish: ChatFinishReason | null = null, logprobs: ChatLogprobs | null = null) =>
      ({ ...start, choices: [{ index, delta, finish_reason: finish, logprobs }], ...unknown });
    const begun = new Map<number, { read: Reader; calls: number }>();
    for await (const { deltas, counts } of generate(this.#turns, checked, adapters)) {
      for (const { index, text, logprobs, finish } of deltas ?? []) {
        if (!begun.has(index)) yield chunk(index, { role: "assistant", content: "" });
        const answer = begun.get(index) ?? { read: checked.reader(), calls: 0 };
        begun.set(index, answer);
        const { text: content, calls } = answer.read(text, finish !== undefined);
        if (content !== "" || logprobs.length > 0) yield chunk(index, { content }, null, shown(checked, logprobs));
        for (const call of calls) yield chunk(index, { tool_calls: [{ index: answer.calls++, ...call }] });
        if (finish) yield chunk(index, {}, reason(finish, answer.calls > 0));
      }
      if (counts && checked.includeUsage) yield { ...start, choices: [], usage: usage(counts, checked.n) };
    }
  }

  /** The request with its conversation as token ids, and what reads an answer. */
  async #check(request: ChatCompletionRequest): Promise<CheckedRequest & { reader: () => Reader }> {
    const { conversation, isSingle, demanded, ...checked } = checkChatRequest(request, this.#info.model, this.#info.generationConfig);
    // The first chat fetches the template, and what renders it.
    const read = <T>(work: Promise<T>) => orCancelled(work, checked.signal, "the completion");
    const manner = await read(this.#conversations.manner(checked.sampling.adapter));
    const { adapter, ends } = manner;
    const { tools } = conversation;
    const { ids: prompt, template } = await read(promptOf(manner, conversation, true));
    const stop_token_ids = [...(checked.sampling.stop_token_ids ?? []), ...ends];
    const marks = tools && template !== undefined ? callMarks(template) : [];
    const names = tools?.map((tool) => tool.function.name) ?? [];
    const sampling = { ...checked.sampling, adapter, stop_token_ids, shown_tokens: markTokens(marks) };
    return {
      ...checked,
      sampling,
      grammar: this.#grammars.of(demanded ? demandedCall(demanded, marks, template!) : checked.format),
      prompts: Array<number[]>(checked.n).fill(prompt),
      reader: () => (marks.length > 0 ? callReader(new CallParser(marks, names), isSingle) : (text) => ({ text, calls: [] })),
    };
  }
}

/** Takes the next part of an answer, which may be the last, and tells calls from text. */
type Reader = (text: string, isLast: boolean) => Found;

function callReader(parser: CallParser, isSingle: boolean): Reader {
  let count = 0;
  return (text, isLast) => {
    const parts = [parser.push(text), ...(isLast ? [parser.end()] : [])];
    const calls = parts.flatMap((part) => part.calls).slice(0, isSingle ? Math.max(0, 1 - count) : undefined);
    count += calls.length;
    return { text: parts.map((part) => part.text).join(""), calls };
  };
}

function reason(finish: FinishReason, hasCalls: boolean): ChatFinishReason {
  return finish === "stop" && hasCalls ? "tool_calls" : finish;
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
