// Whether an engine's device is lost, and who waits for what comes of that.
// Not the opening of another one: that is recover.ts's.

import { LorakeetError, cancelled, fromWasm, throwIfCancelled } from "../error.js";
import { pause } from "./pause.js";

/** Why a device was lost. */
export interface DeviceLost {
  /** `memory` if the device ran out of memory. */
  kind: "device" | "memory";
  message: string;
}

/** A call that waits for another device: goes on, or fails. */
type Waiting = (error?: LorakeetError) => void;

const WHAT = "waiting for another device";

export class DeviceLoss {
  /** Which device it is, counted. */
  device = 0;
  #error: LorakeetError | undefined;
  #lost!: Promise<DeviceLost>;
  /** Whether somebody hears of the loss, who is to recover the engine. */
  #isHeard = false;
  /** Recoveries asked for and not done. */
  #recoveries = 0;
  #closed: LorakeetError | undefined;
  readonly #waiting = new Set<Waiting>();

  get isLost(): boolean {
    return this.#error !== undefined;
  }

  /** Watches a device, of which `lost` gives the error that ends it, or undefined once it is closed. */
  watch(lost: Promise<unknown>): void {
    this.device++;
    this.#error = undefined;
    this.#isHeard = false;
    this.#lost = new Promise((resolve) => {
      void lost.then((thrown) => {
        if (thrown === undefined) return;
        const { kind, message } = (this.#error = fromWasm(thrown));
        resolve({ kind: kind === "memory" ? kind : "device", message });
      });
    });
  }

  /** Settles when the device is lost; calls that meet the loss wait from now on. */
  heard(): Promise<DeviceLost> {
    this.#isHeard = true;
    return this.#lost;
  }

  /** What waits goes on after `work`; if that fails, it fails with the loss. */
  async recovery(work: Promise<void>): Promise<void> {
    this.#recoveries++;
    try {
      await work;
    } catch (error) {
      this.#isHeard = false;
      throw error;
    } finally {
      this.#recoveries--;
      this.#release(this.#error);
    }
  }

  /**
   * After a call that began on `device` has failed: waits for another one, if that is why and somebody
   * sees to it; throws the error otherwise.
   */
  async outlast(error: unknown, device: number, signal: AbortSignal | undefined): Promise<void> {
    const { kind } = error as LorakeetError;
    if (kind !== "device" && kind !== "memory") throw error;
    await pause(); // a loss is told after the calls that it ends
    if (device !== this.device) return;
    if (this.#closed || !this.isLost || !(this.#isHeard || this.#recoveries > 0)) throw error;
    throwIfCancelled(signal, WHAT);
    await new Promise<void>((resolve, reject) => {
      const waiting: Waiting = (error) => {
        signal?.removeEventListener("abort", onAbort);
        this.#waiting.delete(waiting);
        if (error) reject(error);
        else resolve();
      };
      const onAbort = () => waiting(cancelled(signal!, WHAT));
      signal?.addEventListener("abort", onAbort);
      this.#waiting.add(waiting);
    });
  }

  /** What waits fails with `error`. */
  close(error: LorakeetError): void {
    this.#closed = error;
    this.#release(error);
  }

  #release(error: LorakeetError | undefined): void {
    for (const waiting of [...this.#waiting]) waiting(error);
  }
}
