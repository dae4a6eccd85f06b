// What every OpenAI-shaped response has: its head, and its token counts.

import type { Counts } from "./generation.js";

/** Token counts, summed over the prompts; a prompt with several choices counts once. */
export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** `cached_tokens`: prompt tokens that an earlier request had computed. */
  prompt_tokens_details: { cached_tokens: number };
}

/** What a response and each chunk of a stream begin with. */
export interface Head<Name extends string> {
  id: string;
  object: Name;
  /** Seconds since 1970. */
  created: number;
  model: string;
}

/** A head with an id of its own, after `prefix`. */
export function head<Name extends string>(prefix: string, object: Name, model: string): Head<Name> {
  const created = Math.floor(Date.now() / 1000);
  const number = crypto.getRandomValues(new Uint32Array(2)).reduce((hex, word) => hex + word.toString(16).padStart(8, "0"), "");
  return { id: `${prefix}-${number}`, object, created, model };
}

/** The usage of a batch in which every prompt stands `n` times, one after the other. */
export function usage(counts: readonly Counts[], n: number): CompletionUsage {
  const total = (every: number, of: (each: Counts) => number) =>
    counts.reduce((tokens, each, i) => (i % every === 0 ? tokens + of(each) : tokens), 0);
  const prompt = total(n, (each) => each.prompt_tokens);
  const completion = total(1, (each) => each.completion_tokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: total(n, (each) => each.cached_tokens) },
  };
}
