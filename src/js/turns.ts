// One engine's calls into WebAssembly, one at a time, in the order they were asked for.
// Not a scheduler: requests that run side by side take turns because each asks step by step.

import { DeviceLoss, type DeviceLost } from "./device-loss.js";
import { LorakeetError } from "./error.js";
import { enter, type WasmEngine } from "./wasm.js";

export class Turns {
  readonly #engine: WasmEngine;
  readonly #loss = new DeviceLoss();
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(engine: WasmEngine) {
    this.#engine = engine;
    this.#loss.watch(engine.lost());
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Runs `call` once all earlier calls are done; once more on another device, if its own was lost
   * meanwhile and is recovered: `signal` ends the waiting for that. Rejects with `argument` after `close`.
   */
  async take<T>(call: (engine: WasmEngine) => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      if (this.closed) throw disposed();
      const { device } = this.#loss;
      try {
        return await this.#append(() => enter(() => call(this.#engine)));
      } catch (error) {
        await this.#loss.outlast(error, device, signal);
      }
    }
  }

  /** Settles when the device is lost. Never once the engine is closed. */
  lost(): Promise<DeviceLost> {
    return this.#loss.heard();
  }

  /** Gives the engine another device by `open`, unless it has one, once all earlier calls are done. */
  async recover(open: (engine: WasmEngine) => Promise<void>): Promise<void> {
    if (this.closed) throw disposed();
    return this.#loss.recovery(this.#append(async () => {
      if (!this.#loss.isLost) return;
      await open(this.#engine);
      this.#loss.watch(this.#engine.lost());
    }));
  }

  /** Frees the engine once all earlier calls are done. */
  close(): Promise<void> {
    // If the module has stopped, its memory goes with the page: nothing is left to free.
    this.#closed ??= this.#append(() => enter(() => this.#engine.free())).catch(() => {});
    this.#loss.close(disposed());
    return this.#closed;
  }

  #append<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {}); // whoever asked hears of it
    return turn;
  }
}

function disposed(): LorakeetError {
  return new LorakeetError("argument", "the engine is disposed");
}
