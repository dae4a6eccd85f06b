// One batch of prompts being continued: asks Rust for step after step, and always ends the batch.
// Not yet OpenAI's shapes: completions.ts makes those.

import { throwIfCancelled } from "./error.js";
import type { CheckedRequest } from "./request.js";
import { pause } from "./pause.js";
import type { Turns } from "./turns.js";

/** Why a text ended: an end token or a stop string, or its room or `max_tokens`. */
export type FinishReason = "stop" | "length";

/** A token as text, and the logarithm of its probability. */
interface LikelyToken {
  token: string;
  logprob: number;
}

/** The same of a token that was drawn, and of the likeliest at its place. */
export interface TokenLogprobs extends LikelyToken {
  top: LikelyToken[];
}

/** What one prompt gained in a step. */
export interface Delta {
  index: number;
  text: string;
  tokens: number[];
  /** One for each token, or none. */
  logprobs: TokenLogprobs[];
  finish: FinishReason | undefined;
}

/** Token counts of one prompt, as Rust gives them. */
export interface Counts {
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
}

/** Either what a step brought, or, once, last, the counts of every prompt. */
export type Event = { deltas: Delta[]; counts?: undefined } | { deltas?: undefined; counts: Counts[] };

/** `Engine.next`'s reply. */
interface Step {
  deltas: Delta[];
  finished: boolean;
  pending: number;
}

const WHAT = "the completion";

/** Runs a request; nothing begins before the first `next`. */
export async function* generate(turns: Turns, request: CheckedRequest): AsyncGenerator<Event, void, undefined> {
  const { prompts, sampling, signal, onPrompt } = request;
  throwIfCancelled(signal, WHAT);
  const id = await turns.take((engine) => engine.start(prompts, sampling));
  const counts = () => turns.take((engine) => prompts.map((_, index) => engine.usage(id, index) as Counts));
  try {
    // The last token of each prompt is computed with the first one drawn.
    const total = onPrompt ? (await counts()).reduce((sum, each) => sum + each.prompt_tokens - 1 - each.cached_tokens, 0) : 0;
    for (let finished = false, waiting = true, loaded = 0; !finished; ) {
      await pause();
      throwIfCancelled(signal, WHAT);
      const step: Step = await turns.take((engine) => engine.next(id), signal);
      throwIfCancelled(signal, WHAT);
      loaded = Math.max(loaded, total - step.pending); // after the loss of a device all is computed anew
      if (waiting) onPrompt?.({ loaded, total });
      waiting &&= step.pending > 0;
      if (step.deltas.length > 0) yield { deltas: step.deltas };
      finished = step.finished;
    }
    yield { counts: await counts() };
  } finally {
    if (!turns.closed) await turns.take((engine) => engine.end(id)).catch(() => {}); // the error that led here is the one to tell
  }
}

/** Runs a request to its end: what each prompt gained in all, and the counts of every prompt. */
export async function gather(turns: Turns, request: CheckedRequest): Promise<{ texts: Delta[]; counts: Counts[] }> {
  const texts = request.prompts.map((_, index): Delta => ({ index, text: "", tokens: [], logprobs: [], finish: undefined }));
  let ended: Counts[] = [];
  for await (const { deltas, counts } of generate(turns, request)) {
    for (const { index, text, tokens, logprobs, finish } of deltas ?? []) {
      const whole = texts[index]!;
      whole.text += text;
      whole.tokens.push(...tokens);
      whole.logprobs.push(...logprobs);
      whole.finish = finish;
    }
    ended = counts ?? ended;
  }
  return { texts, counts: ended };
}
