// applyChatTemplate: a conversation as the text that the model would be given, to see what it reads.
// Not the prompt of a request: that is token ids, of the same text.

import { checkMessages, type ChatMessage } from "./chat-request.js";
import { adapterWeights, type AdapterChoice } from "./choice.js";
import type { Conversations } from "./conversations.js";
import { checkBoolean, checkNames, wrong } from "../options.js";
import { textOf } from "./template-fit.js";
import { checkDocuments, checkTools, type ChatDocument, type ChatTool } from "./tools.js";

/** How a conversation is written. The names are transformers'. */
export interface TemplateOptions {
  /** Whether the beginning of the answer follows. Default `true`. */
  add_generation_prompt?: boolean;
  /** As in a chat's request. */
  tools?: readonly ChatTool[];
  /** As in a chat's request. */
  documents?: readonly ChatDocument[];
  /** Variables for the template, as in a chat's request. */
  chat_template_kwargs?: Readonly<Record<string, unknown>>;
  /** Adapters whose template it is, if they brought one, instead of the engine's choice. */
  adapter?: AdapterChoice;
}

/** The text of a conversation. Errors as chats do. */
export async function applyChatTemplate(conversations: Conversations, messages: readonly ChatMessage[], options: TemplateOptions): Promise<string> {
  checkNames(options, ["add_generation_prompt", "tools", "documents", "chat_template_kwargs", "adapter"]);
  const { add_generation_prompt: isAsked = true, chat_template_kwargs: variables = {}, adapter } = options;
  checkBoolean("add_generation_prompt", isAsked);
  if (typeof variables !== "object" || variables === null || Array.isArray(variables)) throw wrong("chat_template_kwargs", variables, "an object");
  const conversation = {
    messages: checkMessages("messages", messages),
    variables,
    tools: checkTools(options.tools, undefined).tools,
    documents: checkDocuments(options.documents),
  };
  const manner = await conversations.manner(adapter === undefined ? undefined : adapterWeights("adapter", adapter));
  return (await textOf(manner, conversation, isAsked)).text;
}
