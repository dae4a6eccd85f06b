// A conversation with tools in the form that a chat template shows: some know no calls, or look elsewhere for tools.
// Not the template's language, which the module of chats has.

import type { Conversation, Message } from "./chat-request.js";
import { LorakeetError } from "../error.js";
import { callMarks, written } from "./tool-calls.js";

/** Whether it depends on the template how a conversation is given to it. */
export function needsFit({ messages, tools, documents }: Conversation): boolean {
  return tools !== undefined || documents !== undefined || messages.some((message) => message.tool_calls);
}

/** The conversation for the template that is `source`. Errors with `unsupported` for what that cannot show. */
export function fitted(conversation: Conversation, source: string): Conversation {
  const { tools, documents } = conversation;
  const other = "expected a model whose template does, or another as `chatTemplate`";
  if (documents && !/\bdocuments\b/.test(source)) throw new LorakeetError("unsupported", `documents: the chat template shows none, ${other}`);
  if (tools && !/\btools\b/.test(source)) throw new LorakeetError("unsupported", `tools: the chat template shows none, ${other}`);
  let { messages } = conversation;
  if (!/\btool_calls\b/.test(source)) messages = messages.map((message, i) => withCallsAsText(`messages[${i}]`, message, source, other));
  // Phi-4-mini's is given the functions, as JSON, with the system's message.
  if (tools && /\bmessage\[.tools.\]/.test(source)) {
    const [first, ...rest] = messages;
    const system = first?.role === "system" ? first : { role: "system", content: "" };
    messages = [{ ...system, tools: JSON.stringify(tools.map((tool) => tool.function)) }, ...(system === first ? rest : messages)];
  }
  return { ...conversation, messages };
}

/** An answer with its calls as the model wrote them (Granite 3, Phi-4-mini). */
function withCallsAsText(at: string, { tool_calls: calls, ...message }: Message, source: string, other: string): Message {
  if (!calls) return message;
  const mark = callMarks(source)[0];
  if (!mark) throw new LorakeetError("unsupported", `${at}: the chat template shows no \`tool_calls\`, ${other}`);
  return { ...message, content: message.content + written(calls, mark) };
}
