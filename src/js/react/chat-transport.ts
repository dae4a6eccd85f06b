// A transport for the AI SDK's `useChat`: its messages go to an engine instead of a server. Of no framework: Vue's and
// Svelte's take it, too.
// Not React's, and not the SDK's code: these are the shapes that it sends and reads.

import type { Engine } from "../api/engine.js";
import type { ChatCompletionRequest, ChatMessage } from "../api/chat-request.js";
import type { ChatToolCall } from "../api/tools.js";
import { LorakeetError } from "../error.js";

/** A message of the SDK's user interface. */
export interface TransportMessage {
  id: string;
  role: "system" | "user" | "assistant";
  parts: readonly { type: string }[];
}

/** What of the SDK's stream an engine's answer is made of. */
export type TransportChunk =
  | { type: "start" | "start-step" | "finish-step" }
  | { type: "text-start" | "text-end"; id: string }
  | { type: "text-delta"; id: string; delta: string }
  | { type: "tool-input-available"; toolCallId: string; toolName: string; input: unknown }
  | { type: "finish"; finishReason: "stop" | "length" | "tool-calls" };

/** The SDK's `ChatTransport`. */
export interface ChatTransport {
  sendMessages(options: { messages: readonly TransportMessage[]; abortSignal: AbortSignal | undefined; body?: object }): Promise<ReadableStream<TransportChunk>>;
  /** An answer ends with its page: there is none to go on reading. */
  reconnectToStream(): Promise<null>;
}

/** A part of a message, as far as it is read here. */
interface Part {
  type: string;
  text?: string;
  state?: string;
  toolName?: string;
  toolCallId?: string;
  input?: unknown;
  output?: unknown;
  errorText?: string;
}

/**
 * ```tsx
 * const { messages, sendMessage, status, stop } = useChat({ transport: chatTransport(engine, { max_tokens: 200, adapter: "poet" }) });
 * ```
 *
 * `request` is for all answers; `body` of `sendMessage` may have any of its options for one. Tools in `request` are
 * called through `useChat`'s `onToolCall`. Errors are those of `engine.chat.completions.create`; `unsupported` for files.
 */
export function chatTransport(engine: Engine, request: Omit<ChatCompletionRequest, "messages" | "stream" | "signal"> = {}): ChatTransport {
  return {
    async sendMessages({ messages, abortSignal, body = {} }) {
      const signal = abortSignal === undefined ? {} : { signal: abortSignal };
      const asked = { ...request, ...body, ...signal, messages: messages.flatMap(messagesOf), stream: true } as const;
      const parts = answer(engine, asked);
      const first = await abortable(parts.next()); // what is wrong with the request is this call's error
      return new ReadableStream<TransportChunk>({
        start: (controller) => controller.enqueue(first.value as TransportChunk),
        async pull(controller) {
          const { done, value } = await abortable(parts.next());
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: async () => void (await parts.return()),
      });
    },
    reconnectToStream: async () => null,
  };
}

async function* answer(engine: Engine, request: ChatCompletionRequest & { stream: true }): AsyncGenerator<TransportChunk, void, undefined> {
  const id = "text";
  let isText = false;
  let isBegun = false;
  let finishReason: "stop" | "length" | "tool-calls" = "stop";
  for await (const { choices: [choice] } of engine.chat.completions.create(request)) {
    if (!isBegun) yield* [{ type: "start" }, { type: "start-step" }] as const;
    isBegun = true;
    const { content = "", tool_calls: calls = [] } = choice!.delta;
    if (content !== "") {
      if (!isText) yield { type: "text-start", id };
      isText = true;
      yield { type: "text-delta", id, delta: content };
    }
    for (const { id: toolCallId, function: { name, arguments: given } } of calls) {
      yield { type: "tool-input-available", toolCallId, toolName: name, input: parsed(given) };
    }
    const { finish_reason: reason } = choice!;
    if (reason) finishReason = reason === "tool_calls" ? "tool-calls" : reason;
  }
  if (isText) yield { type: "text-end", id };
  yield { type: "finish-step" };
  yield { type: "finish", finishReason };
}

/** Arguments as the model wrote them: they may be no JSON. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

/** A message of the engine's; the results of calls are messages of their own, after the answer that has them. */
function messagesOf({ role, parts }: TransportMessage): ChatMessage[] {
  const calls: ChatToolCall[] = [];
  const results: ChatMessage[] = [];
  let content = "";
  for (const part of parts as readonly Part[]) {
    if (part.type === "text") content += part.text ?? "";
    else if (part.type === "file") throw new LorakeetError("unsupported", `a part of type \`file\` in a message of role \`${role}\`, expected text`);
    else if (part.type === "dynamic-tool" || part.type.startsWith("tool-")) {
      const { toolCallId: id = "", toolName: name = part.type.slice("tool-".length), input = {}, output, errorText } = part;
      calls.push({ id, type: "function", function: { name, arguments: JSON.stringify(input) } });
      const result = part.state === "output-error" ? errorText : typeof output === "string" ? output : JSON.stringify(output);
      if (part.state?.startsWith("output-")) results.push({ role: "tool", tool_call_id: id, content: result ?? "" });
    }
  }
  return [{ role, content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }, ...results];
}

/** The SDK knows an interruption by the signal's reason. */
async function abortable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof LorakeetError && error.kind === "cancelled" ? error.cause : error;
  }
}
