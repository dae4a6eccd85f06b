// How much of a long work one call does: as many slices as a budget of milliseconds holds.
// Not a scheduler: calls come in the order of turns.ts.

import { checkNames, checkNumber, wrong } from "../options.js";
import { page } from "../page.js";
import { pause } from "./pause.js";
import type { Turns } from "./turns.js";
import type { WasmEngine } from "./wasm.js";

/** Milliseconds that training may block the page at a time. It always does at least one slice. */
export interface SliceBudget {
  /** While the page is visible. Default 20. */
  visible?: number;
  /** While the page is hidden. Default 100. */
  hidden?: number;
}

export class Slices {
  readonly #budget: Required<SliceBudget>;
  /** The work of a call, in rows of a layer. */
  #rows = 1;
  /** Of the step under way, done so far. */
  #at = 0;
  /** Milliseconds of a row: of the slow ones, which are forgotten slowly. */
  #slow = 0;

  /** Errors with `argument` for a budget that is none. */
  constructor(budget: SliceBudget = {}) {
    checkNames(budget, ["visible", "hidden"]);
    this.#budget = { visible: budget.visible ?? 20, hidden: budget.hidden ?? 100 };
    for (const [name, ms] of Object.entries(this.#budget)) {
      checkNumber(`budget.${name}`, ms);
      if (!(ms > 0)) throw wrong(`budget.${name}`, ms, "above 0");
    }
  }

  /**
   * Lets the page live, then calls `work` with an amount that fits the budget. `done` tells from what
   * it gave how many have been done of a step so far, if it did any: that is how long they take.
   */
  async run<T>(
    turns: Turns, work: (engine: WasmEngine, rows: number) => Promise<T>, done: (result: T) => number | undefined, signal: AbortSignal | undefined,
  ): Promise<T> {
    await pause();
    return turns.take(async (engine) => {
      const began = performance.now();
      const result = await work(engine, this.#rows);
      const at = done(result);
      if (at === undefined) return result;
      if (at > this.#at) this.#adapt((performance.now() - began) / (at - this.#at));
      this.#at = at;
      return result;
    }, signal);
  }

  /** At most twice as many as before: slices are not alike. */
  #adapt(ms: number): void {
    this.#slow = Math.max(ms, 0.9 * this.#slow, 0.0001);
    const fitting = Math.floor(this.#budget[page().isHidden ? "hidden" : "visible"] / this.#slow);
    this.#rows = Math.min(Math.max(fitting, 1), 2 * this.#rows);
  }
}
