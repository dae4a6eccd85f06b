// The body of one answer, and the piece of a file that it fills.
// Not which part is asked for, nor what follows a loss: that is download.ts's.

import { cancelled } from "../error.js";
import type { Target } from "./http.js";
import { PIECE_BYTES } from "./pieces.js";

/** A connection that brings nothing for so long is lost. */
const STALL_MS = 20_000;

/** A connection is lost; another may bring the rest. */
export class Lost extends Error {}

/** A piece that fills, from the front. */
export class Piece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  filled = 0;

  constructor(readonly index: number, length: number) {
    this.bytes = new Uint8Array(length);
  }

  /** Where in the file its next byte is. */
  get at(): number {
    return this.index * PIECE_BYTES + this.filled;
  }

  /** Takes what it has room for, and tells how many bytes. */
  add(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.bytes.length - this.filled);
    this.bytes.set(taken, this.filled);
    this.filled += taken.length;
    return taken.length;
  }
}

/** The body of an answer, which brings the bytes from `at` up to `end`. */
export class Body {
  readonly #target: Target;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #rest: Uint8Array = new Uint8Array();

  constructor(target: Target, response: Response, public at: number, readonly end: number) {
    this.#target = target;
    this.#reader = response.body?.getReader();
  }

  /** Gives a piece what comes next, if it is not before it; tells whether. Errors with `Lost` or `cancelled`. */
  async bring(piece: Piece): Promise<boolean> {
    if (this.at === this.end) throw new Lost("the answer ended");
    if (this.#rest.length === 0) this.#rest = await this.#read();
    const before = Math.min(piece.at - this.at, this.#rest.length);
    this.#pass(before > 0 ? before : piece.add(this.#rest.subarray(0, this.end - this.at)));
    return before <= 0;
  }

  cancel(): void {
    this.#reader?.cancel().catch(() => {}); // it has failed already, and was reported
  }

  #pass(n: number): void {
    this.#rest = this.#rest.subarray(n);
    this.at += n;
  }

  async #read(): Promise<Uint8Array> {
    const { signal, what } = this.#target;
    let isStalled = false;
    const timer = setTimeout(() => {
      isStalled = true;
      this.cancel();
    }, STALL_MS);
    try {
      const read = await this.#reader?.read();
      if (read && !read.done) return read.value;
    } catch (error) {
      if (signal?.aborted) throw cancelled(signal, what);
      throw new Lost((error as Error).message, { cause: error });
    } finally {
      clearTimeout(timer);
    }
    throw new Lost(isStalled ? `nothing came for ${STALL_MS / 1000} s` : "the connection ended");
  }
}
