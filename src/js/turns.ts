// One engine's calls into WebAssembly, one at a time, in the order they were asked for.
// Not a scheduler: requests that run side by side take turns because each asks step by step.

import { LorakeetError } from "./error.js";
import { enter, type WasmEngine } from "./wasm.js";

export class Turns {
  readonly #engine: WasmEngine;
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(engine: WasmEngine) {
    this.#engine = engine;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Runs `call` once all earlier calls are done. Rejects with `argument` after `close`. */
  take<T>(call: (engine: WasmEngine) => T | Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(new LorakeetError("argument", "the engine is disposed"));
    return this.#append(call);
  }

  /** Frees the engine once all earlier calls are done. */
  close(): Promise<void> {
    // If the module has stopped, its memory goes with the page: nothing is left to free.
    this.#closed ??= this.#append((engine) => engine.free()).catch(() => {});
    return this.#closed;
  }

  #append<T>(call: (engine: WasmEngine) => T | Promise<T>): Promise<T> {
    const turn = this.#last.then(() => enter(() => call(this.#engine)));
    this.#last = turn.catch(() => {}); // whoever asked hears of it
    return turn;
  }
}

/**
 * Lets the page handle input, timers and drawing. Not by `scheduler.yield`, whose continuations go
 * before timers: one that is to cancel would not run before the end.
 */
export function pause(): Promise<void> {
  return new Promise((resume) => {
    const { port1, port2 } = new MessageChannel(); // setTimeout would wait 4 ms
    port1.onmessage = () => {
      port1.close();
      resume();
    };
    port2.postMessage(null);
  });
}
