// A chat request: its type, and the check of what a caller passed.
// Not what roles there are: the model's template decides that.

import { LorakeetError } from "../error.js";
import { checkBoolean, checkWhole, wrong } from "../options.js";
import { TEXT_NAMES, checkLogprobs, checkText, givenOptions, type CheckedOptions, type TextRequest } from "./request.js";

/** A part of a message. Only text is supported. */
export interface TextPart {
  type: "text";
  text: string;
}

/** One message of a conversation. The answers of {@link ChatCompletions.create} have this shape too. */
export interface ChatMessage {
  role: "system" | "user" | "assistant";
  /** A string, or parts, which are joined with line breaks. */
  content: string | readonly TextPart[];
  /** The speaker's name. Few templates use it. */
  name?: string;
  /** OpenAI's answers have it. Only null is accepted. */
  refusal?: null;
}

/** OpenAI's chat request. */
export interface ChatCompletionRequest extends TextRequest {
  /** The conversation so far. The part that an earlier request has computed is reused. */
  messages: readonly ChatMessage[];
  /** OpenAI's newer name for `max_tokens`. */
  max_completion_tokens?: number;
  /** Return the log probability of each token. It costs one read from the device per token. */
  logprobs?: boolean;
  /** With `logprobs`, also return this many of the most likely tokens at each place, 0 to 20. */
  top_logprobs?: number;
  /** Variables for the chat template, such as `{ enable_thinking: false }`. The name is vLLM's. */
  chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/** A checked request: the conversation as Rust takes it, and how to go on. */
export interface CheckedChat extends CheckedOptions {
  conversation: string;
}

const NAMES = ["messages", ...TEXT_NAMES, "max_completion_tokens", "logprobs", "top_logprobs", "chat_template_kwargs"];

const NEUTRAL_HERE = {
  documents: [],
  function_call: ["none"],
  functions: [],
  parallel_tool_calls: [true, false],
  response_format: [],
  tool_choice: ["none"],
  tools: [],
};

const ROLES = ["system", "user", "assistant"];

/** Checks a request for the engine of `model`. Errors with `argument`, `unsupported` for what only OpenAI has. */
export function checkChatRequest(request: ChatCompletionRequest, model: string): CheckedChat {
  const given = givenOptions(withoutPlainFormat(request), NAMES, NEUTRAL_HERE);
  const { messages, max_completion_tokens, logprobs, chat_template_kwargs: variables = {} } = given;
  checkWhole("max_completion_tokens", max_completion_tokens);
  checkBoolean("logprobs", logprobs);
  const top = checkLogprobs("top_logprobs", given.top_logprobs);
  if (top !== undefined && !logprobs) throw new LorakeetError("argument", "`top_logprobs` is given, expected `logprobs: true` with it");
  if (typeof variables !== "object" || Array.isArray(variables)) throw wrong("chat_template_kwargs", variables, "an object");
  const checked = checkText({ ...given, max_tokens: max_completion_tokens ?? given.max_tokens } as TextRequest, 1, model);
  return {
    ...checked,
    sampling: { ...checked.sampling, logprobs: logprobs ? (top ?? 0) : undefined },
    conversation: conversation(checkMessages("messages", messages), true, variables),
  };
}

/** Messages as a template is given them; `name` is what the caller knows them by. Errors with `argument` or `unsupported`. */
export function checkMessages(name: string, messages: unknown): Message[] {
  if (!Array.isArray(messages) || messages.length === 0) throw wrong(name, messages, "an array of messages");
  return messages.map((each, i) => message(`${name}[${i}]`, each));
}

/** A conversation as Rust takes it; with `isAsked` the answer is to follow. */
export function conversation(messages: readonly Message[], isAsked: boolean, variables: object = {}): string {
  // By its own clock a page is in its user's time zone.
  const now = Math.floor(Date.now() / 1000) - new Date().getTimezoneOffset() * 60;
  // Half a character has no UTF-8; a text of `completions` is made whole in the same way.
  const whole = (_: string, value: unknown) => (typeof value === "string" ? wellFormed(value) : value);
  return JSON.stringify({ messages, add_generation_prompt: isAsked, now, variables }, whole);
}

/** A text with U+FFFD in the place of each half of a character. */
function wellFormed(text: string): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text));
}

/** `response_format: {type: "text"}` asks for nothing. */
function withoutPlainFormat(request: ChatCompletionRequest): ChatCompletionRequest {
  const { response_format: format, ...rest } = (request ?? {}) as ChatCompletionRequest & { response_format?: { type?: unknown } };
  return format?.type === "text" ? rest : request;
}

/** A checked message, its parts joined. */
export interface Message {
  role: string;
  content: string;
  name?: string;
}

function message(at: string, given: unknown): Message {
  if (typeof given !== "object" || given === null) throw wrong(at, given, "{role, content}");
  const { role, content, name, ...rest } = given as Record<string, unknown>;
  for (const [key, value] of Object.entries(rest)) {
    const empty = value === null || value === undefined || (Array.isArray(value) && value.length === 0);
    if (!empty) throw new LorakeetError("unsupported", `${at}: \`${key}\` is not supported`);
  }
  if (typeof role !== "string") throw wrong(`${at}: role`, role, ROLES.join(", "));
  if (!ROLES.includes(role)) throw new LorakeetError("unsupported", `${at}: role \`${role}\` is not supported, expected ${ROLES.join(", ")}`);
  if (name !== undefined && name !== null && typeof name !== "string") throw wrong(`${at}: name`, name, "a string");
  return { role, content: text(at, content), ...(name ? { name: name as string } : {}) };
}

function text(at: string, content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw wrong(`${at}: content`, content, "a string or parts of type `text`");
  return content.map((part, i) => {
    const { type, text } = (part ?? {}) as Partial<TextPart>;
    if (typeof type === "string" && type !== "text") {
      throw new LorakeetError("unsupported", `${at}: a part of type \`${type}\` is not supported, expected \`text\``);
    }
    if (type !== "text" || typeof text !== "string") throw wrong(`${at}: content[${i}]`, part, '{type: "text", text}');
    return text;
  }).join("\n");
}
