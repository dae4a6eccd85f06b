// `lorakeet/ai-sdk`: an engine as a language model of the AI SDK (npm `ai`), specification v4.
// Not a chat template: how messages become a text is a setting here.

import type {
  LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Message, LanguageModelV4StreamPart, LanguageModelV4Usage, SharedV4Warning,
} from "@ai-sdk/provider";
import type { CompletionUsage } from "./completions.js";
import type { Engine } from "./engine.js";
import { LorakeetError } from "./error.js";
import type { FinishReason } from "./generation.js";
import type { CompletionRequest } from "./request.js";

/** What every request of a model has. */
export interface LanguageModelSettings
  extends Pick<CompletionRequest, "adapter" | "min_p" | "repetition_penalty" | "overflow"> {
  /** The text to go on from. Default: the messages' texts, with an empty line between them. */
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
 * const { textStream } = streamText({ model: lorakeet(engine, { adapter: "poet" }), prompt: "Once upon a time" });
 * ```
 *
 * `providerOptions: { lorakeet: { adapter: { sql: 0.7, poet: 0.3 } } }` is for one request, and may have
 * any of the settings but `prompt`. Tools, JSON answers and penalties of presence and frequency are not
 * supported: a warning says so. Files in messages are `unsupported`.
 */
export function lorakeet(engine: Engine, settings: LanguageModelSettings = {}): LanguageModelV4 {
  const { prompt = joined, ...defaults } = settings;
  const request = (options: LanguageModelV4CallOptions): CompletionRequest => ({
    prompt: prompt(options.prompt.map(message)),
    ...sampling(options),
    ...defaults,
    ...options.providerOptions?.lorakeet,
  });
  return {
    specificationVersion: "v4",
    provider: "lorakeet",
    modelId: engine.info.model,
    supportedUrls: {},

    async doGenerate(options) {
      const { id, created, model, choices, usage } = await abortable(() => engine.completions.create({ ...request(options), stream: false }));
      const { text, finish_reason } = choices[0]!;
      return {
        content: [{ type: "text", text }],
        finishReason: reason(finish_reason),
        usage: counts(usage),
        response: { id, modelId: model, timestamp: new Date(1000 * created) },
        warnings: warnings(options),
      };
    },

    async doStream(options) {
      const parts = streamed(engine, request(options), warnings(options));
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

async function* streamed(engine: Engine, request: CompletionRequest, warnings: SharedV4Warning[]): AsyncGenerator<LanguageModelV4StreamPart, void, undefined> {
  let block: string | undefined;
  let finish: FinishReason | null = null;
  let usage: CompletionUsage | null | undefined;
  for await (const chunk of engine.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
    if (block === undefined) {
      block = chunk.id;
      yield { type: "stream-start", warnings };
      yield { type: "response-metadata", id: chunk.id, modelId: chunk.model, timestamp: new Date(1000 * chunk.created) };
      yield { type: "text-start", id: block };
    }
    for (const { text, finish_reason } of chunk.choices) {
      if (text !== "") yield { type: "text-delta", id: block, delta: text };
      finish = finish_reason;
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

function sampling(options: LanguageModelV4CallOptions): Partial<CompletionRequest> {
  const all = {
    max_tokens: options.maxOutputTokens,
    temperature: options.temperature,
    top_p: options.topP,
    top_k: options.topK,
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
    presencePenalty: Boolean(options.presencePenalty),
    frequencyPenalty: Boolean(options.frequencyPenalty),
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

function joined(messages: readonly Message[]): string {
  return messages.map(({ content }) => content).join("\n\n");
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
