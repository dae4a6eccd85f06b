// One batch of prompts being continued: asks Rust for step after step, and always ends the batch.
// Not yet OpenAI's shapes: completions.ts makes those.
// A request goes on in src/bindings/engine/mod.rs.

import { chosen } from "./choice.js";
import { orCancelled, throwIfCancelled } from "../error.js";
import type { Grammar } from "./grammars.js";
import type { CheckedRequest } from "./request.js";
import type { Switch } from "./text-stream.js";
import type { Constraint } from "../thread/constraint.js";
import { pause } from "../thread/pause.js";
import type { Place, Seating } from "../thread/seats.js";
import type { Turns } from "../thread/turns.js";

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
export interface Step {
  deltas: Delta[];
  finished: boolean;
  pending: number;
}

const WHAT = "the completion";

/**
 * Runs a request; nothing begins before the first `next`. As many of its prompts as there is room for run at
 * once, the others when their turn comes. `adapters` may change meanwhile.
 */
export async function* generate(turns: Turns, request: CheckedRequest, adapters?: Switch): AsyncGenerator<Event, void, undefined> {
  const { signal } = request;
  throwIfCancelled(signal, WHAT);
  const { seats } = turns;
  const all = request.prompts.length;
  const counts: Counts[] = [];
  let seating = seats.takeNow(1, all);
  let place: Place | undefined;
  try {
    let whole: Prompts = request;
    if (seating?.count !== all) {
      if (!seating) place = seats.stand(1, all, signal, WHAT);
      whole = await prepared(turns, request);
      (await compiled(request))?.free(); // what is wrong in it is told now
    }
    while (counts.length < all) {
      const at = counts.length;
      seating ??= await (place?.seated ?? seats.take(1, all - at, signal, WHAT, true));
      place = undefined;
      const end = at + seating.count;
      counts.push(...(yield* generatePart(turns, seating, part(whole, at, end), at, request, adapters)));
      seating = undefined;
    }
    yield { counts };
  } finally {
    place?.quit();
    seating?.leave();
  }
}

/** What of a request Rust takes. */
type Prompts = Pick<CheckedRequest, "prompts" | "sampling">;

/** A request that is to wait, checked now, with its prompts as tokens and the adapters it was made under. */
async function prepared(turns: Turns, { prompts, sampling }: Prompts): Promise<Prompts> {
  return turns.take((engine) => {
    const ids = engine.prepare(prompts, sampling).map((each) => Array.from(each));
    const isNamed = sampling.adapter !== undefined || sampling.adapters !== undefined;
    return { prompts: ids, sampling: isNamed ? sampling : { ...sampling, adapter: chosen(engine) } };
  });
}

/** What the texts of a request are to be like, if anything. */
async function compiled({ grammar, signal }: CheckedRequest): Promise<Grammar | undefined> {
  const made = grammar?.();
  try {
    return made && (await orCancelled(made, signal, WHAT));
  } catch (error) {
    made?.then((late) => late.free(), () => {});
    throw error;
  }
}

/** By the index of a prompt, what its text may be. */
function constraintsOf(grammar: Grammar | undefined, count: number): Map<number, Constraint> {
  return new Map(grammar && Array.from({ length: count }, (_, index) => [index, grammar.constraint()]));
}

/** Prompts `at` to `end`, which draw what they would among the others. */
function part({ prompts, sampling }: Prompts, at: number, end: number): Prompts {
  const seed = (sampling.seed + at) >>> 0;
  const adapters = sampling.adapters?.slice(at, end);
  return { prompts: prompts.slice(at, end), sampling: { ...sampling, seed, adapters } };
}

/** Runs prompts of a request, the first of which is its `at`th, in seats that are left then; gives their counts. */
async function* generatePart(
  turns: Turns, seating: Seating, { prompts, sampling }: Prompts, at: number, request: CheckedRequest, adapters: Switch | undefined,
): AsyncGenerator<Event, Counts[], undefined> {
  const { signal, onPrompt } = request;
  let grammar: Grammar | undefined;
  try {
    grammar = await compiled(request);
    const constraints = constraintsOf(grammar, prompts.length);
    const { id, total } = await turns.take((engine) => {
      const changed = adapters?.weights && { adapter: adapters.weights, adapters: undefined };
      const id = engine.start(prompts, { ...sampling, ...changed, is_constrained: grammar !== undefined });
      adapters?.is(id);
      return { id, total: engine.pending(id) };
    });
    const counts = () => turns.take((engine) => prompts.map((_, index) => engine.usage(id, index) as Counts));
    let isEnded = false;
    const end = async () => {
      if (isEnded || turns.closed) return;
      isEnded = true;
      await turns.take((engine) => {
        adapters?.is(undefined);
        engine.end(id);
      });
    };
    try {
      const hears = at === 0 ? onPrompt : undefined;
      for (let waiting = true, loaded = 0, pending = total; ; ) {
        await pause();
        throwIfCancelled(signal, WHAT);
        // Outside the engine's turn: what goes wrong there is not the engine's.
        const allowed = pending > 0 ? [] : Array.from(constraints, ([index, each]) => ({ index, ...each.allowed() }));
        const next = () => turns.take((engine): Promise<Step> => {
          for (const { index, mask, ending } of allowed) engine.allow(id, index, mask, ending);
          return engine.next(id);
        }, signal);
        const step = await (adapters ? adapters.during(next) : next());
        throwIfCancelled(signal, WHAT);
        ({ pending } = step);
        for (const { index, tokens, finish } of step.deltas) {
          if (finish) constraints.delete(index);
          for (const token of tokens) constraints.get(index)?.accept(token);
        }
        loaded = Math.max(loaded, total - step.pending); // after the loss of a device all is computed anew
        if (waiting) hears?.({ loaded, total });
        waiting &&= step.pending > 0;
        const deltas = step.deltas.map((delta) => ({ ...delta, index: at + delta.index }));
        if (step.finished) {
          const ended = await counts();
          await end();
          seating.leave(); // whoever reads the rest keeps nobody waiting
          if (deltas.length > 0) yield { deltas };
          return ended;
        }
        if (deltas.length === 0) continue;
        const readAgain = seating.idle(end);
        yield { deltas };
        readAgain();
      }
    } finally {
      await end().catch(() => {}); // the error that led here is the one to tell
    }
  } finally {
    grammar?.free();
    seating.leave();
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
