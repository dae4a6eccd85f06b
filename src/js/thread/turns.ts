// One engine's calls into WebAssembly, one at a time, in the order they were asked for.
// Not a scheduler: requests that run side by side take turns because each asks step by step.

import { DeviceLoss, type DeviceLost } from "./device-loss.js";
import { LorakeetError } from "../error.js";
import type { Seating, Seats } from "./seats.js";
import { enter, type WasmEngine } from "./wasm.js";

export class Turns {
  /** Where requests are while they are under way. */
  readonly seats: Seats;
  readonly #engine: WasmEngine;
  readonly #loss = new DeviceLoss();
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(engine: WasmEngine, seats: Seats) {
    this.#engine = engine;
    this.seats = seats;
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

  /** Runs `call` in a seat, once there is one. `what` is told where `signal` ends the waiting. */
  async seated<T>(what: string, call: (engine: WasmEngine) => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    const seating: Seating = this.seats.takeNow(1, 1) ?? (await this.seats.take(1, 1, signal, what));
    try {
      return await this.take(call, signal);
    } finally {
      seating.leave();
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
    this.seats.close(disposed());
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
