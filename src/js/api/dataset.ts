// What an adapter is to learn, cut into windows of tokens.
// Not how a conversation becomes tokens: that is conversations.ts's.

import { checkMessages, conversation, type ChatMessage } from "./chat-request.js";
import type { Conversations } from "./conversations.js";
import { LorakeetError } from "../error.js";
import { checkBoolean, wrong } from "../options.js";
import { pause } from "../thread/pause.js";
import type { Turns } from "../thread/turns.js";

/** What a dataset notes beside its examples; nothing of it is learned. A field that is null is as one that is not there. */
export interface ItemNotes {
  id?: unknown;
  source?: unknown;
  category?: unknown;
  score?: unknown;
}

/** A text to go on from, and what is to come after it. */
export interface TrainingExample extends ItemNotes {
  /** Given. */
  prompt: string;
  /** To be learned, with an end token after it where the model has one. */
  completion: string;
}

/** A conversation in the model's chat template, whose answers are to be learned, each after what came before it. */
export interface TrainingConversation extends ItemNotes {
  messages: readonly ChatMessage[];
}

/** An example in Alpaca's form. Its prompt has the headings `### Instruction:`, `### Input:` (where there is one) and `### Response:`. */
export interface InstructionExample extends ItemNotes {
  instruction: string;
  input?: string | null;
  /** To be learned, with an end token after it where the model has one. */
  output: string;
  /** All of it once more, as Alpaca's own file has it; not read. */
  text?: unknown;
}

/** A turn in ShareGPT's form. */
export interface ShareGptTurn {
  /** `human` or `user`, `gpt` or `assistant`, `system`. */
  from: string;
  value: string;
}

/** A conversation in ShareGPT's form, or with messages in the place of its turns. It is learned as {@link TrainingConversation} is. */
export interface ShareGptConversation extends ItemNotes {
  conversations: readonly (ShareGptTurn | ChatMessage)[];
}

/** A part of a dataset. */
export type TrainingItem = string | TrainingExample | TrainingConversation | InstructionExample | ShareGptConversation;

/** One text, or several of texts, examples and conversations. */
export type TrainingDataset = string | readonly TrainingItem[];

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
  if (items.length === 0) throw wrong("dataset", dataset, `a text, or a list of texts, ${FORMS}`);
  const all: Window[] = [];
  for (const [i, item] of items.entries()) {
    await pause();
    const at = `dataset[${i}]`;
    if (typeof item !== "string") {
      const { form, fields } = formOf(at, item);
      all.push(...(await form.windows({ turns, conversations, at, fields, maxLength, completionOnly: completionOnly ?? true })));
    } else if (completionOnly) {
      throw new LorakeetError("argument", `completionOnly true, expected examples of ${FORMS}: a text has no completion`);
    } else if (item !== "") {
      const ids = Array.from(await turns.take((engine) => engine.encode(item)));
      for (let at = 0; at + 1 < ids.length; at += maxLength - 1) all.push({ tokens: ids.slice(at, at + maxLength), first: 1 });
    }
  }
  if (all.length === 0) throw new LorakeetError("argument", "dataset: no text of at least two tokens");
  return all;
}

/** One item of a dataset and how it is to be cut. */
interface Item {
  turns: Turns;
  conversations: Conversations;
  /** Where it is: `dataset[3]`. */
  at: string;
  fields: Record<string, unknown>;
  maxLength: number;
  completionOnly: boolean;
}

/** A form that an item may have: the fields it must have, those it may have, one that is not read, and its windows. */
interface Form {
  needs: readonly string[];
  may: readonly string[];
  unread?: string;
  windows(item: Item): Promise<Window[]>;
}

const ITEM_FORMS: readonly Form[] = [
  { needs: ["prompt", "completion"], may: [], windows: (item) => example(item, texts(item, "prompt"), "completion") },
  { needs: ["messages"], may: [], windows: (item) => answers(item, "messages", item.fields.messages) },
  { needs: ["instruction", "output"], may: ["input"], unread: "text", windows: (item) => example(item, instruction(item), "output") },
  { needs: ["conversations"], may: [], windows: (item) => answers(item, "conversations", shareGpt(item)) },
];

const FORMS = ITEM_FORMS.map(({ needs, may }) => `{${[...needs, ...may.map((name) => `${name}?`)].join(", ")}}`).join(", ");

/** Fields of {@link ItemNotes}. */
const NOTES: readonly string[] = ["id", "source", "category", "score"];

/** The form whose first field an item has. */
function formOf(at: string, item: unknown): { form: Form; fields: Record<string, unknown> } {
  const form = typeof item === "object" && item !== null ? ITEM_FORMS.find(({ needs }) => needs.some((name) => name in item)) : undefined;
  if (form === undefined) throw wrong(at, item, `a text, ${FORMS}`);
  const fields = item as Record<string, unknown>;
  const known = [...form.needs, ...form.may];
  const isRead = (name: string) => (fields[name] ?? null) !== null && name !== form.unread && !NOTES.includes(name);
  const unknown = Object.keys(fields).find((name) => isRead(name) && !known.includes(name));
  if (unknown !== undefined) throw new LorakeetError("argument", `${at}.${unknown}: unknown, expected ${known.join(", ")}`);
  return { form, fields };
}

/** A field that is a text, which may be empty. */
function texts({ at, fields }: Item, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw wrong(`${at}.${name}`, value, "a text");
  return value;
}

function instruction(item: Item): string {
  const parts = [["Instruction", texts(item, "instruction")]];
  if ((item.fields.input ?? "") !== "") parts.push(["Input", texts(item, "input")]);
  return `${parts.map(([heading, text]) => `### ${heading}:\n${text}\n\n`).join("")}### Response:\n`;
}

const ROLES: Readonly<Record<string, string>> = { human: "user", user: "user", gpt: "assistant", assistant: "assistant", system: "system" };

/** ShareGPT's turns as messages; what has a role is one. */
function shareGpt({ at, fields: { conversations: turns } }: Item): unknown {
  if (!Array.isArray(turns)) return turns;
  return turns.map((turn: unknown, i) => {
    if (typeof turn === "object" && turn !== null && "role" in turn) return turn;
    const { from, value } = (turn ?? {}) as { from?: unknown; value?: unknown };
    const role = typeof from === "string" && Object.hasOwn(ROLES, from) ? ROLES[from] : undefined;
    if (role === undefined) throw wrong(`${at}.conversations[${i}].from`, from, Object.keys(ROLES).join(", "));
    if (typeof value !== "string") throw wrong(`${at}.conversations[${i}].value`, value, "a text");
    return { role, content: value };
  });
}

async function example(item: Item, prompt: string, name: string): Promise<Window[]> {
  const completion = texts(item, name);
  if (completion === "") throw wrong(`${item.at}.${name}`, completion, "a text");
  const [ids, given] = await item.turns.take((engine) => engine.encodeExample(prompt, completion) as [number[], number]);
  return [cut(item.at, ids, given, item.maxLength, item.completionOnly)];
}

/** A window for each answer of a conversation, or one for all of it. `name` is the field it came in. */
async function answers({ conversations, at, maxLength, completionOnly }: Item, name: string, given: unknown): Promise<Window[]> {
  const messages = checkMessages(`${at}.${name}`, given);
  if (!completionOnly) return [{ tokens: (await conversations.tokens(conversation(messages, false))).slice(0, maxLength), first: 1 }];
  const all: Window[] = [];
  for (const [i, { role }] of messages.entries()) {
    if (role !== "assistant") continue;
    const before = await conversations.tokens(conversation(messages.slice(0, i), true));
    const ids = await conversations.tokens(conversation(messages.slice(0, i + 1), false));
    if (ids.length <= before.length || before.some((id, t) => ids[t] !== id)) {
      const why = "the chat template writes what comes before it differently once it is there";
      throw new LorakeetError("unsupported", `${at}.${name}[${i}]: ${why}, expected {prompt, completion}`);
    }
    all.push(cut(`${at}.${name}[${i}]`, ids, before.length, maxLength, true));
  }
  if (all.length === 0) throw new LorakeetError("argument", `${at}.${name}: no answer, expected a message of role assistant`);
  return all;
}

/** The window of an example whose first tokens are given. */
function cut(name: string, ids: number[], given: number, maxLength: number, completionOnly: boolean): Window {
  if (given >= maxLength) {
    throw new LorakeetError("argument", `${name}: a prompt of ${given} tokens, expected fewer than maxLength ${maxLength}`);
  }
  return { tokens: ids.slice(0, maxLength), first: completionOnly ? Math.max(given, 1) : 1 };
}
