// A conversation with tools in the form that a chat template shows: some know no calls, or look elsewhere for tools.
// Not the template's language, which the module of chats has.

import { conversation as inJson, type Conversation, type Message } from "./chat-request.js";
import type { Manner } from "./conversations.js";
import { LorakeetError } from "../error.js";
import { callMarks, written } from "./tool-calls.js";

/** Token ids of a conversation; with `isAsked` the answer is to follow. And the template, where the conversation depended on it. */
export async function promptOf(manner: Manner, conversation: Conversation, isAsked: boolean): Promise<{ ids: number[]; template: string | undefined }> {
  const { text, template } = await textOf(manner, conversation, isAsked);
  return { ids: await manner.encode(text), template };
}

/** The same as text. */
export async function textOf({ source, render }: Manner, conversation: Conversation, isAsked: boolean): Promise<{ text: string; template: string | undefined }> {
  const template = needsFit(conversation) ? await source(conversation.tools !== undefined) : undefined;
  return { text: await render(inJson(template === undefined ? conversation : fitted(conversation, template), isAsked)), template };
}

/** Whether it depends on the template how a conversation is given to it. */
function needsFit({ messages, tools, documents }: Conversation): boolean {
  return tools !== undefined || documents !== undefined || messages.some((message) => message.tool_calls);
}

/** The conversation for the template that is `source`. Errors with `unsupported` for what that cannot show. */
function fitted(conversation: Conversation, source: string): Conversation {
  const { tools, documents, variables } = conversation;
  const names = variablesOf(source);
  if (documents && !names.has("documents")) throw unshown("documents", "none");
  let { messages } = conversation;
  if (!/\btool_calls\b/.test(source)) messages = messages.map((message, i) => withCallsAsText(`messages[${i}]`, message, source));
  const functions = tools?.map((tool) => tool.function);
  if (!functions || names.has("tools")) return { ...conversation, messages };
  // SmolLM3's
  if (names.has("xml_tools")) return { ...conversation, messages, variables: { xml_tools: functions, ...variables } };
  // Phi-4-mini's: JSON, with the system's message
  if (!/\bmessage\[.tools.\]/.test(source)) throw unshown("tools", "none");
  const [first, ...rest] = messages;
  const system = first?.role === "system" ? first : { role: "system", content: "" };
  return { ...conversation, messages: [{ ...system, tools: JSON.stringify(functions) }, ...(system === first ? rest : messages)] };
}

/** An answer with its calls as the model wrote them (Granite 3, Phi-4-mini, SmolLM3). */
function withCallsAsText(at: string, { tool_calls: calls, ...message }: Message, source: string): Message {
  if (!calls) return message;
  const mark = callMarks(source)[0];
  if (!mark) throw unshown(at, "no `tool_calls`");
  return { ...message, content: message.content + written(calls, mark) };
}

/** Names that a template's code has outside its strings, attributes apart. */
function variablesOf(source: string): Set<string> {
  const string = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/.source;
  const tags = source.match(new RegExp(`\\{[{%](?:${string}|[^"'])*?[}%]\\}`, "gs")) ?? [];
  const code = tags.join(" ").replace(new RegExp(string, "gs"), '""');
  return new Set(Array.from(code.matchAll(/(?:^|[^.\w])([A-Za-z_]\w*)/g), ([, name]) => name!));
}

function unshown(what: string, shown: string): LorakeetError {
  return new LorakeetError("unsupported", `${what}: the chat template shows ${shown}, expected a model whose template does, or another as \`chatTemplate\``);
}
