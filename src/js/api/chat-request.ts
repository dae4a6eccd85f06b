// A chat request: its type, and the check of what a caller passed.
// Not what roles there are: the model's template decides that.

import { LorakeetError } from "../error.js";
import { checkBoolean, checkPositive, wrong } from "../options.js";
import { withDefaults, type GenerationConfig } from "./generation-config.js";
import { TEXT_NAMES, checkLogprobs, checkText, givenOptions, type CheckedOptions, type TextRequest } from "./request.js";
import {
  checkCalls, checkDocuments, checkTools, type ChatDocument, type ChatTool, type ChatToolCall, type ChatToolChoice,
} from "./tools.js";

/** A part of a message. Only text is supported. */
export interface TextPart {
  type: "text";
  text: string;
}

/** One message of a conversation. The answers of {@link ChatCompletions.create} have this shape too. */
export interface ChatMessage {
  /** `tool` is for the result of a call; `developer` is OpenAI's newer name of `system`. */
  role: "system" | "developer" | "user" | "assistant" | "tool";
  /** A string, or parts, which are joined with line breaks. Only an answer that calls tools may have none. */
  content?: string | readonly TextPart[] | null;
  /** The speaker's name. Few templates use it. */
  name?: string;
  /** The calls of an answer. */
  tool_calls?: readonly ChatToolCall[];
  /** Of a result: the `id` of its call. */
  tool_call_id?: string;
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
  /** Functions that the model may call; its chat template shows them. */
  tools?: readonly ChatTool[];
  /** `none` shows the model no tools. Default `auto`. */
  tool_choice?: ChatToolChoice;
  /** `false` leaves out all calls of an answer but the first. Default `true`. */
  parallel_tool_calls?: boolean;
  /** Texts that the answer is to rest on, for chat templates that show them. The name is transformers'. */
  documents?: readonly ChatDocument[];
}

/** A checked request: the conversation, and how to go on. */
export interface CheckedChat extends CheckedOptions {
  conversation: Conversation;
  /** Whether an answer has one call at most. */
  isSingle: boolean;
  /** Tools of which the answer has to call one. */
  demanded: readonly ChatTool[] | undefined;
}

/** What a template is given. */
export interface Conversation {
  messages: readonly Message[];
  variables?: object;
  tools?: readonly ChatTool[] | undefined;
  documents?: readonly ChatDocument[] | undefined;
}

const NAMES = [
  "messages", ...TEXT_NAMES, "max_completion_tokens", "logprobs", "top_logprobs", "chat_template_kwargs", "tools", "tool_choice",
  "parallel_tool_calls", "documents",
];

const NEUTRAL_HERE = {
  function_call: ["none"],
  functions: [],
};

const ROLES = ["system", "user", "assistant", "tool"];

/** Checks a request for the engine of `model`, which brought `config`. Errors with `argument`, `unsupported` for what only OpenAI has. */
export function checkChatRequest(request: ChatCompletionRequest, model: string, config: GenerationConfig = {}): CheckedChat {
  const given = withDefaults(givenOptions(request, NAMES, NEUTRAL_HERE), config);
  const { messages, max_completion_tokens, logprobs, chat_template_kwargs: variables = {} } = given;
  checkPositive("max_completion_tokens", max_completion_tokens);
  checkBoolean("logprobs", logprobs);
  const top = checkLogprobs("top_logprobs", given.top_logprobs);
  if (top !== undefined && !logprobs) throw new LorakeetError("argument", "`top_logprobs` is given, expected `logprobs: true` with it");
  if (typeof variables !== "object" || Array.isArray(variables)) throw wrong("chat_template_kwargs", variables, "an object");
  checkBoolean("parallel_tool_calls", given.parallel_tool_calls);
  const checked = checkText({ ...given, max_tokens: max_completion_tokens ?? given.max_tokens } as TextRequest, 1, model);
  const { tools, demanded } = checkTools(given.tools, given.tool_choice);
  if (demanded && checked.format) {
    throw new LorakeetError("argument", `\`tool_choice\` and \`${checked.format.option}\` are both given, expected one of them`);
  }
  return {
    ...checked,
    sampling: { ...checked.sampling, logprobs: logprobs ? (top ?? 0) : undefined },
    conversation: {
      messages: checkMessages("messages", messages),
      variables,
      tools,
      documents: checkDocuments(given.documents),
    },
    isSingle: given.parallel_tool_calls === false,
    demanded,
  };
}

/** Messages as a template is given them; `name` is what the caller knows them by. Errors with `argument` or `unsupported`. */
export function checkMessages(name: string, messages: unknown): Message[] {
  if (!Array.isArray(messages) || messages.length === 0) throw wrong(name, messages, "an array of messages");
  const checked = messages.map((each, i) => message(`${name}[${i}]`, each));
  const calls = checked.flatMap((each) => each.tool_calls ?? []);
  // OpenAI's results do not name the function, and some templates do.
  const named = (each: Message) => each.name ?? calls.find(({ id }) => id === each.tool_call_id)?.function.name;
  return checked.map((each) => (each.role === "tool" && named(each) ? { ...each, name: named(each)! } : each));
}

/** A conversation as Rust takes it; with `isAsked` the answer is to follow. */
export function conversation({ messages, variables = {}, tools, documents }: Conversation, isAsked: boolean): string {
  // By its own clock a page is in its user's time zone.
  const now = Math.floor(Date.now() / 1000) - new Date().getTimezoneOffset() * 60;
  // Half a character has no UTF-8; a text of `completions` is made whole in the same way.
  const whole = (_: string, value: unknown) => (typeof value === "string" ? wellFormed(value) : value);
  return JSON.stringify({ messages, add_generation_prompt: isAsked, now, tools, documents, variables }, whole);
}

/** A text with U+FFFD in the place of each half of a character. */
function wellFormed(text: string): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text));
}

/** A checked message, its parts joined. */
export interface Message {
  role: string;
  content: string;
  name?: string;
  tool_calls?: readonly ChatToolCall[];
  tool_call_id?: string;
  /** Tools for a template that looks for them here. */
  tools?: string;
}

function message(at: string, given: unknown): Message {
  if (typeof given !== "object" || given === null) throw wrong(at, given, "{role, content}");
  const { role: named, content, name, tool_calls, tool_call_id, ...rest } = given as Record<string, unknown>;
  const role = named === "developer" ? "system" : named;
  for (const [key, value] of Object.entries(rest)) {
    const empty = value === null || value === undefined || (Array.isArray(value) && value.length === 0);
    if (!empty) throw new LorakeetError("unsupported", `${at}: \`${key}\` is not supported`);
  }
  if (typeof role !== "string") throw wrong(`${at}: role`, role, ROLES.join(", "));
  if (!ROLES.includes(role)) throw new LorakeetError("unsupported", `${at}: role \`${role}\` is not supported, expected ${ROLES.join(", ")}`);
  if (name !== undefined && name !== null && typeof name !== "string") throw wrong(`${at}: name`, name, "a string");
  const calls = checkCalls(`${at}: tool_calls`, tool_calls ?? []);
  if (calls.length > 0 && role !== "assistant") throw wrong(`${at}: role`, role, "assistant, which `tool_calls` belong to");
  if ((role === "tool") !== (typeof tool_call_id === "string")) {
    throw wrong(`${at}: tool_call_id`, tool_call_id, role === "tool" ? "the id of the call that this is the result of" : "none: the role is no tool");
  }
  return {
    role,
    content: calls.length > 0 && (content ?? undefined) === undefined ? "" : text(at, content),
    ...(name ? { name: name as string } : {}),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(role === "tool" ? { tool_call_id: tool_call_id as string } : {}),
  };
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
