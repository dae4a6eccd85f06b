// What an adapter is to learn, cut into windows of tokens.
// Not how a conversation becomes tokens: that is conversations.ts's.

import { checkMessages, conversation, type ChatMessage } from "./chat-request.js";
import type { Conversations } from "./conversations.js";
import { LorakeetError } from "./error.js";
import { checkBoolean, checkNames, wrong } from "./options.js";
import { pause } from "./pause.js";
import type { Turns } from "./turns.js";

/** A text to go on from, and what is to come after it. */
export interface TrainingExample {
  /** Given. */
  prompt: string;
  /** To be learned, with an end token after it where the model has one. */
  completion: string;
}

/** A conversation in the model's chat template, whose answers are to be learned, each after what came before it. */
export interface TrainingConversation {
  messages: readonly ChatMessage[];
}

/** One text, or several of texts, examples and conversations. */
export type TrainingDataset = string | readonly (string | TrainingExample | TrainingConversation)[];

/** Tokens, learned from the `first` on; those before are given. */
export interface Window {
  tokens: number[];
  first: number;
}

/**
 * The windows of a dataset: texts in pieces of `maxLength` tokens that overlap by one, so that every
 * token but a text's first is learned once; examples, and a conversation up to each of its answers, one by
 * one, cut at `maxLength`.
 */
export async function windows(
  turns: Turns, conversations: Conversations, dataset: unknown, maxLength: number, completionOnly: boolean | undefined,
): Promise<Window[]> {
  checkBoolean("completionOnly", completionOnly);
  const items: unknown[] = typeof dataset === "string" ? [dataset] : Array.isArray(dataset) ? dataset : [];
  if (items.length === 0) throw wrong("dataset", dataset, "a text, or a list of texts, {prompt, completion} or {messages}");
  const all: Window[] = [];
  for (const [i, item] of items.entries()) {
    await pause();
    if (typeof item === "object" && item !== null && "messages" in item) {
      all.push(...(await answers(conversations, `dataset[${i}]`, item, maxLength, completionOnly ?? true)));
    } else if (typeof item !== "string") {
      all.push(await example(turns, `dataset[${i}]`, item, maxLength, completionOnly ?? true));
    } else if (completionOnly) {
      throw new LorakeetError("argument", "completionOnly true, expected examples of {prompt, completion} or {messages}: a text has no completion");
    } else {
      const ids = Array.from(await turns.take((engine) => engine.encode(item)));
      for (let at = 0; at + 1 < ids.length; at += maxLength - 1) all.push({ tokens: ids.slice(at, at + maxLength), first: 1 });
    }
  }
  if (all.length === 0) throw new LorakeetError("argument", "dataset: no text of at least two tokens");
  return all;
}

async function example(turns: Turns, name: string, item: unknown, maxLength: number, completionOnly: boolean): Promise<Window> {
  if (typeof item !== "object" || item === null) throw wrong(name, item, "a text, {prompt, completion} or {messages}");
  checkNames(item, ["prompt", "completion"]);
  const { prompt, completion } = item as Partial<TrainingExample>;
  if (typeof prompt !== "string") throw wrong(`${name}.prompt`, prompt, "a text");
  if (typeof completion !== "string" || completion === "") throw wrong(`${name}.completion`, completion, "a text");
  const [ids, given] = await turns.take((engine) => engine.encodeExample(prompt, completion) as [number[], number]);
  return cut(name, ids, given, maxLength, completionOnly);
}

/** A window for each answer of a conversation, or one for all of it. */
async function answers(
  conversations: Conversations, name: string, item: object, maxLength: number, completionOnly: boolean,
): Promise<Window[]> {
  checkNames(item, ["messages"]);
  const messages = checkMessages(`${name}.messages`, (item as TrainingConversation).messages);
  if (!completionOnly) return [{ tokens: (await conversations.tokens(conversation(messages, false))).slice(0, maxLength), first: 1 }];
  const all: Window[] = [];
  for (const [i, { role }] of messages.entries()) {
    if (role !== "assistant") continue;
    const given = await conversations.tokens(conversation(messages.slice(0, i), true));
    const ids = await conversations.tokens(conversation(messages.slice(0, i + 1), false));
    if (ids.length <= given.length || given.some((id, t) => ids[t] !== id)) {
      const why = "the chat template writes what comes before it differently once it is there";
      throw new LorakeetError("unsupported", `${name}.messages[${i}]: ${why}, expected {prompt, completion}`);
    }
    all.push(cut(`${name}.messages[${i}]`, ids, given.length, maxLength, true));
  }
  if (all.length === 0) throw new LorakeetError("argument", `${name}.messages: no answer, expected a message of role assistant`);
  return all;
}

/** The window of an example whose first tokens are given. */
function cut(name: string, ids: number[], given: number, maxLength: number, completionOnly: boolean): Window {
  if (given >= maxLength) {
    throw new LorakeetError("argument", `${name}: a prompt of ${given} tokens, expected fewer than maxLength ${maxLength}`);
  }
  return { tokens: ids.slice(0, maxLength), first: completionOnly ? Math.max(given, 1) : 1 };
}
