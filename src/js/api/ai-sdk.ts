// An engine as a language model of the AI SDK (npm `ai`), specification v4.
// Not a chat template: the model's own is rendered by `engine.chat`.

import type {
  LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Content, LanguageModelV4Message, LanguageModelV4StreamPart, LanguageModelV4ToolCall,
  LanguageModelV4ToolResultOutput, LanguageModelV4Usage, SharedV4Warning,
} from "@ai-sdk/provider";
import type { ChatCompletion, ChatCompletionChunk, ChatFinishReason } from "./chat.js";
import type { ChatCompletionRequest } from "./chat-request.js";
import type { Completion, CompletionChunk } from "./completions.js";
import type { Engine } from "./engine.js";
import { LorakeetError } from "../error.js";
import type { ResponseFormat } from "./format.js";
import type { TextRequest } from "./request.js";
import type { CompletionUsage } from "./response.js";
import type { ChatTool, ChatToolCall } from "./tools.js";

/** What every request of a model has. */
export interface LanguageModelSettings
  extends Pick<TextRequest, "adapter" | "min_p" | "repetition_penalty" | "overflow"> {
  /** The text to go on from. Default: the conversation in the model's own chat template. */
  prompt?: (messages: readonly Message[]) => string;
}

/** A message, its parts joined. */
export interface Message {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  /** The calls of an answer. */
  tool_calls?: ChatToolCall[];
  /** Of the result of a call: the call's id, and its function. */
  tool_call_id?: string;
  name?: string;
}

/**
 * An engine as a language model.
 *
 * ```ts
 * import { streamText } from "ai";
 * import { lorakeet } from "lorakeet/ai-sdk";
 *
 * const { textStream } = streamText({ model: lorakeet(engine, { adapter: "poet" }), prompt: "Why is the sky blue?" });
 * ```
 *
 * A model without a chat template goes on from a text: `prompt: (messages) => messages.at(-1).content`.
 *
 * `providerOptions: { lorakeet: { adapter: { sql: 0.7, poet: 0.3 } } }` is for one request, and may have
 * any of the settings but `prompt`. Functions of `tools` are shown to the model, and demanded by `toolChoice`, as
 * `engine.chat` does; files in messages are `unsupported`. Of providers' own tools, and tools beside `prompt`, a warning says
 * that they are not supported.
 */
export function lorakeet(engine: Engine, settings: LanguageModelSettings = {}): LanguageModelV4 {
  const { prompt, ...defaults } = settings;
  const ask = (options: LanguageModelV4CallOptions): Ask => {
    const messages = options.prompt.flatMap(messagesOf);
    const request = { ...sampling(options), ...defaults, ...options.providerOptions?.lorakeet };
    if (!prompt) return (how) => engine.chat.completions.create({ ...request, ...toolsOf(options), ...how, messages });
    const text = prompt(messages);
    return (how) => engine.completions.create({ ...request, ...how, prompt: text });
  };
  return {
    specificationVersion: "v4",
    provider: "lorakeet",
    modelId: engine.info.model,
    supportedUrls: {},

    async doGenerate(options) {
      const { id, created, model, choices, usage } = await abortable(() => ask(options)({ stream: false }) as Whole);
      const choice = choices[0]!;
      return {
        content: content(choice),
        finishReason: reason(choice.finish_reason),
        usage: counts(usage),
        response: { id, modelId: model, timestamp: new Date(1000 * created) },
        warnings: warnings(options, prompt !== undefined),
      };
    },

    async doStream(options) {
      const parts = streamed(ask(options), warnings(options, prompt !== undefined));
      const first = await abortable(() => parts.next()); // what is wrong with the request is this call's error
      return {
        stream: new ReadableStream<LanguageModelV4StreamPart>({
          start: (controller) => controller.enqueue(first.value as LanguageModelV4StreamPart),
          async pull(controller) {
            const { done, value } = await abortable(() => parts.next());
            if (done) controller.close();
            else controller.enqueue(value);
          },
          cancel: async () => void (await parts.return()),
        }),
      };
    },
  };
}

/** Asks one of the two APIs, for a whole text or a stream. */
type Ask = (how: { stream: boolean; stream_options?: { include_usage: true } }) => Whole | Streamed;
type Whole = Promise<Completion | ChatCompletion>;
type Streamed = AsyncGenerator<CompletionChunk | ChatCompletionChunk, void, undefined>;

async function* streamed(ask: Ask, warnings: SharedV4Warning[]): AsyncGenerator<LanguageModelV4StreamPart, void, undefined> {
  let block: string | undefined;
  let isText = false;
  let finish: ChatFinishReason | null = null;
  let usage: CompletionUsage | null | undefined;
  for await (const chunk of ask({ stream: true, stream_options: { include_usage: true } }) as Streamed) {
    if (block === undefined) {
      block = chunk.id;
      yield { type: "stream-start", warnings };
      yield { type: "response-metadata", id: chunk.id, modelId: chunk.model, timestamp: new Date(1000 * chunk.created) };
    }
    for (const choice of chunk.choices) {
      const { content: delta = "", tool_calls: calls = [] } = "text" in choice ? { content: choice.text } : choice.delta;
      if (delta !== "") {
        if (!isText) yield { type: "text-start", id: block };
        isText = true;
        yield { type: "text-delta", id: block, delta };
      }
      yield* calls.map(toolCall);
      finish = choice.finish_reason;
    }
    usage = chunk.usage;
  }
  if (isText) yield { type: "text-end", id: block! };
  yield { type: "finish", finishReason: reason(finish), usage: counts(usage!) };
}

/** The SDK knows an interruption by the signal's reason. */
async function abortable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LorakeetError && error.kind === "cancelled" ? error.cause : error;
  }
}

function sampling(options: LanguageModelV4CallOptions): Partial<TextRequest> {
  const all = {
    max_tokens: options.maxOutputTokens,
    temperature: options.temperature,
    top_p: options.topP,
    top_k: options.topK,
    presence_penalty: options.presencePenalty,
    frequency_penalty: options.frequencyPenalty,
    stop: options.stopSequences,
    seed: options.seed,
    signal: options.abortSignal,
    response_format: format(options.responseFormat),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** An answer in JSON, where the SDK asks for one. */
function format(asked: LanguageModelV4CallOptions["responseFormat"]): ResponseFormat | undefined {
  if (asked?.type !== "json") return undefined;
  if (!asked.schema) return { type: "json_object" };
  return { type: "json_schema", json_schema: { name: asked.name ?? "answer", schema: asked.schema as Record<string, unknown> } };
}

function warnings(options: LanguageModelV4CallOptions, isText: boolean): SharedV4Warning[] {
  const asked = {
    tools: isText && (options.tools?.length ?? 0) > 0,
    ...Object.fromEntries((options.tools ?? []).filter(({ type }) => type !== "function").map(({ name }) => [`tool ${name}`, true])),
    reasoning: !["provider-default", "none"].includes(options.reasoning ?? "none"),
  };
  return Object.entries(asked).filter(([, is]) => is).map(([feature]) => ({ type: "unsupported", feature }));
}

/** The functions that a model may call, and whether. */
function toolsOf({ tools = [], toolChoice: choice }: LanguageModelV4CallOptions): Pick<ChatCompletionRequest, "tools" | "tool_choice"> {
  const functions = tools.flatMap((tool): ChatTool[] => {
    if (tool.type !== "function") return [];
    const { name, description, inputSchema, strict } = tool;
    const parameters = inputSchema as Record<string, unknown>;
    return [{ type: "function", function: { name, parameters, ...(description === undefined ? {} : { description }), ...(strict ? { strict } : {}) } }];
  });
  if (functions.length === 0) return {};
  const named = choice?.type === "tool" ? { type: "function" as const, function: { name: choice.toolName } } : choice?.type;
  return { tools: functions, ...(named === undefined ? {} : { tool_choice: named as NonNullable<ChatCompletionRequest["tool_choice"]> }) };
}

/** A message of the SDK; the results of several calls are a message each. */
function messagesOf({ role, content }: LanguageModelV4Message): Message[] {
  if (role === "system") return [{ role, content }];
  const refused = (type: string) => new LorakeetError("unsupported", `a part of type \`${type}\` in a message of role \`${role}\`, expected text`);
  if (role === "tool") {
    return content.flatMap((part): Message[] => {
      if (part.type !== "tool-result") return []; // an approval, which its result follows
      return [{ role, tool_call_id: part.toolCallId, name: part.toolName, content: output(part.output) }];
    });
  }
  const calls: ChatToolCall[] = [];
  const texts = content.map((part) => {
    if (part.type === "text") return part.text;
    if (part.type !== "tool-call") throw refused(part.type);
    const given = { name: part.toolName, arguments: JSON.stringify(part.input ?? {}) };
    calls.push({ id: part.toolCallId, type: "function", function: given });
    return "";
  });
  return [{ role, content: texts.join(""), ...(calls.length > 0 ? { tool_calls: calls } : {}) }];
}

/** What a tool gave, as the model is to read it. */
function output(given: LanguageModelV4ToolResultOutput): string {
  switch (given.type) {
    case "text":
    case "error-text":
      return given.value;
    case "execution-denied":
      return given.reason ?? "The call was not allowed.";
    case "content":
      return given.value.map((part) => {
        if (part.type !== "text") throw new LorakeetError("unsupported", `a part of type \`${part.type}\` in a tool's result, expected text`);
        return part.text;
      }).join("\n");
    default:
      return JSON.stringify(given.value);
  }
}

/** An answer's text, unless it is nothing but calls, and its calls. */
function content(choice: Completion["choices"][number] | ChatCompletion["choices"][number]): LanguageModelV4Content[] {
  if ("text" in choice) return [{ type: "text", text: choice.text }];
  const { content: text, tool_calls: calls = [] } = choice.message;
  return [...(text === null ? [] : [{ type: "text" as const, text }]), ...calls.map(toolCall)];
}

function toolCall({ id, function: { name, arguments: input } }: ChatToolCall): LanguageModelV4ToolCall {
  return { type: "tool-call", toolCallId: id, toolName: name, input };
}

function reason(finish: ChatFinishReason | null): { unified: "stop" | "length" | "tool-calls" | "other"; raw: string | undefined } {
  return { unified: finish === "tool_calls" ? "tool-calls" : (finish ?? "other"), raw: finish ?? undefined };
}

function counts({ prompt_tokens, completion_tokens, prompt_tokens_details }: CompletionUsage): LanguageModelV4Usage {
  const cached = prompt_tokens_details.cached_tokens;
  return {
    inputTokens: { total: prompt_tokens, noCache: prompt_tokens - cached, cacheRead: cached, cacheWrite: undefined },
    outputTokens: { total: completion_tokens, text: completion_tokens, reasoning: undefined },
  };
}
