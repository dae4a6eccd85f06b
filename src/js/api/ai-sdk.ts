// An engine as a language model of the AI SDK (npm `ai`), specification v4.
// Not a chat template: the model's own is rendered by `engine.chat`.

import type {
  LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Message, LanguageModelV4StreamPart, LanguageModelV4Usage, SharedV4Warning,
} from "@ai-sdk/provider";
import type { ChatCompletion, ChatCompletionChunk } from "./chat.js";
import type { Completion, CompletionChunk } from "./completions.js";
import type { Engine } from "./engine.js";
import { LorakeetError } from "../error.js";
import type { FinishReason } from "./generation.js";
import type { TextRequest } from "./request.js";
import type { CompletionUsage } from "./response.js";

/** What every request of a model has. */
export interface LanguageModelSettings
  extends Pick<TextRequest, "adapter" | "min_p" | "repetition_penalty" | "overflow"> {
  /** The text to go on from. Default: the conversation in the model's own chat template. */
  prompt?: (messages: readonly Message[]) => string;
}

/** A message, its parts joined. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
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
 * any of the settings but `prompt`. Tools and JSON answers are not
 * supported: a warning says so. Files in messages are `unsupported`.
 */
export function lorakeet(engine: Engine, settings: LanguageModelSettings = {}): LanguageModelV4 {
  const { prompt, ...defaults } = settings;
  const ask = (options: LanguageModelV4CallOptions): Ask => {
    const messages = options.prompt.map(message);
    const request = { ...sampling(options), ...defaults, ...options.providerOptions?.lorakeet };
    if (!prompt) return (how) => engine.chat.completions.create({ ...request, ...how, messages });
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
        content: [{ type: "text", text: "text" in choice ? choice.text : choice.message.content }],
        finishReason: reason(choice.finish_reason),
        usage: counts(usage),
        response: { id, modelId: model, timestamp: new Date(1000 * created) },
        warnings: warnings(options),
      };
    },

    async doStream(options) {
      const parts = streamed(ask(options), warnings(options));
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
  let finish: FinishReason | null = null;
  let usage: CompletionUsage | null | undefined;
  for await (const chunk of ask({ stream: true, stream_options: { include_usage: true } }) as Streamed) {
    if (block === undefined) {
      block = chunk.id;
      yield { type: "stream-start", warnings };
      yield { type: "response-metadata", id: chunk.id, modelId: chunk.model, timestamp: new Date(1000 * chunk.created) };
      yield { type: "text-start", id: block };
    }
    for (const choice of chunk.choices) {
      const delta = "text" in choice ? choice.text : (choice.delta.content ?? "");
      if (delta !== "") yield { type: "text-delta", id: block, delta };
      finish = choice.finish_reason;
    }
    usage = chunk.usage;
  }
  yield { type: "text-end", id: block! };
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
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function warnings(options: LanguageModelV4CallOptions): SharedV4Warning[] {
  const asked = {
    tools: (options.tools?.length ?? 0) > 0,
    "responseFormat json": options.responseFormat?.type === "json",
    reasoning: !["provider-default", "none"].includes(options.reasoning ?? "none"),
  };
  return Object.entries(asked).filter(([, is]) => is).map(([feature]) => ({ type: "unsupported", feature }));
}

function message({ role, content }: LanguageModelV4Message): Message {
  if (role === "system") return { role, content };
  const texts = content.map((part) => {
    if (part.type !== "text") throw new LorakeetError("unsupported", `a part of type \`${part.type}\` in a message of role \`${role}\`, expected text`);
    return part.text;
  });
  if (role === "tool") throw new LorakeetError("unsupported", "a message of role `tool`, expected system, user or assistant");
  return { role, content: texts.join("") };
}

function reason(finish: FinishReason | null): { unified: FinishReason | "other"; raw: string | undefined } {
  return { unified: finish ?? "other", raw: finish ?? undefined };
}

function counts({ prompt_tokens, completion_tokens, prompt_tokens_details }: CompletionUsage): LanguageModelV4Usage {
  const cached = prompt_tokens_details.cached_tokens;
  return {
    inputTokens: { total: prompt_tokens, noCache: prompt_tokens - cached, cacheRead: cached, cacheWrite: undefined },
    outputTokens: { total: completion_tokens, text: completion_tokens, reasoning: undefined },
  };
}
