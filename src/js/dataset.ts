// What an adapter is to learn, cut into windows of tokens.
// Not chat templates: those are another prompt.

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

/** One text, several, or examples. */
export type TrainingDataset = string | readonly string[] | readonly TrainingExample[];

/** Tokens, learned from the `first` on; those before are given. */
export interface Window {
  tokens: number[];
  first: number;
}

/**
 * The windows of a dataset: texts in pieces of `maxLength` tokens that overlap by one, so that every
 * token but a text's first is learned once; examples one by one, cut at `maxLength`.
 */
export async function windows(
  turns: Turns, dataset: unknown, maxLength: number, completionOnly: boolean | undefined,
): Promise<Window[]> {
  checkBoolean("completionOnly", completionOnly);
  const items: unknown[] = typeof dataset === "string" ? [dataset] : Array.isArray(dataset) ? dataset : [];
  if (items.length === 0) throw wrong("dataset", dataset, "a text, texts, or examples of {prompt, completion}");
  const all: Window[] = [];
  for (const [i, item] of items.entries()) {
    await pause();
    if (typeof item !== "string") {
      all.push(await example(turns, `dataset[${i}]`, item, maxLength, completionOnly ?? true));
    } else if (completionOnly) {
      throw new LorakeetError("argument", "completionOnly true, expected examples of {prompt, completion}: a text has no completion");
    } else {
      const ids = Array.from(await turns.take((engine) => engine.encode(item)));
      for (let at = 0; at + 1 < ids.length; at += maxLength - 1) all.push({ tokens: ids.slice(at, at + maxLength), first: 1 });
    }
  }
  if (all.length === 0) throw new LorakeetError("argument", "dataset: no text of at least two tokens");
  return all;
}

async function example(turns: Turns, name: string, item: unknown, maxLength: number, completionOnly: boolean): Promise<Window> {
  if (typeof item !== "object" || item === null) throw wrong(name, item, "a text or {prompt, completion}");
  if ("messages" in item) {
    throw new LorakeetError("unsupported", `${name}: \`messages\` need a chat template, expected {prompt, completion}`);
  }
  checkNames(item, ["prompt", "completion"]);
  const { prompt, completion } = item as Partial<TrainingExample>;
  if (typeof prompt !== "string") throw wrong(`${name}.prompt`, prompt, "a text");
  if (typeof completion !== "string" || completion === "") throw wrong(`${name}.completion`, completion, "a text");
  const [ids, given] = await turns.take((engine) => engine.encodeExample(prompt, completion) as [number[], number]);
  if (given >= maxLength) {
    throw new LorakeetError("argument", `${name}: a prompt of ${given} tokens, expected fewer than maxLength ${maxLength}`);
  }
  return { tokens: ids.slice(0, maxLength), first: completionOnly ? given : 1 };
}
