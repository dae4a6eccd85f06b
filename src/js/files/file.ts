// One file of a model or an adapter, read front to back: of a URL in pieces, or a Blob in slices.
// Not how the pieces come: that is download.ts's.

import { LorakeetError } from "../error.js";
import { PIECE_BYTES, pieceBytes, pieceCount } from "./pieces.js";
import { Changed } from "./http.js";
import { WasmSha256, enter } from "../thread/wasm.js";

/** An open file. Each `read` begins at or after the end of the one before. */
export interface ByteFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Whether it is on its way from a server. */
  readonly isArriving: boolean;
  /** The first `end` bytes, which stay to be read. Before any `read`. */
  peek(end: number): Promise<Uint8Array>;
  /** The bytes from `start` up to `end`. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** All bytes; instead of `read`, and with `settle` and `close`. */
  whole(): Promise<Uint8Array>;
  /** Waits for what was not read, and keeps the file if it is what it should be. */
  settle(): Promise<void>;
  /** Stops a download that is not at its end. */
  close(): void;
}

/** A Blob, of the user's disk or of memory. */
export class BlobFile implements ByteFile {
  readonly isArriving = false;

  constructor(readonly name: string, readonly blob: Blob) {}

  get size(): number {
    return this.blob.size;
  }

  peek(end: number): Promise<Uint8Array> {
    return this.read(0, end);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this.blob.slice(start, end).arrayBuffer());
    } catch (error) {
      // The file was changed, moved or locked since it was chosen; only where it is still there another try may help.
      const kind = (error as Error).name === "NotFoundError" ? "argument" : "network";
      throw new LorakeetError(kind, `${this.name}: cannot be read: ${(error as Error).message}`, { cause: error });
    }
  }

  whole(): Promise<Uint8Array> {
    return this.read(0, this.size);
  }

  async settle(): Promise<void> {}

  close(): void {}
}

/** Where the pieces of a file come from. */
export interface Pieces {
  /** A piece of which the first `bytes` bytes are here. */
  piece(index: number, bytes: number): Promise<Uint8Array>;
  /** Those before `index` are not asked for again. */
  forget(index: number): void;
  /** Waits for all, and keeps them: those that were read are right. */
  complete(): Promise<void>;
  /** None is asked for again. */
  close(): void;
}

/** A file in pieces. */
export class PiecedFile implements ByteFile {
  readonly #pieces: Pieces;
  /** Its SHA-256 should be this. */
  readonly #digest: string | undefined;
  #hash: WasmSha256 | undefined;
  #hashed = 0;
  #last: { index: number; bytes: number; piece: Uint8Array } | undefined;

  constructor(
    readonly name: string, readonly size: number, readonly isArriving: boolean, pieces: Pieces, digest: string | undefined,
  ) {
    this.#pieces = pieces;
    this.#digest = digest;
  }

  peek(end: number): Promise<Uint8Array> {
    return this.#copy(0, end);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const bytes = await this.#copy(start, end);
    this.#pieces.forget(Math.floor(end / PIECE_BYTES));
    return bytes;
  }

  async whole(): Promise<Uint8Array> {
    try {
      const bytes = await this.read(0, this.size);
      await this.settle();
      return bytes;
    } finally {
      this.close();
    }
  }

  async settle(): Promise<void> {
    if (!this.isArriving) return;
    if (this.#digest !== undefined) {
      await this.#hashUpTo(pieceCount(this.size));
      const digest = await enter(() => (this.#hash ??= new WasmSha256()).finish());
      if (digest !== this.#digest) throw new Changed(`${this.name}: SHA-256 ${digest}, expected ${this.#digest}`);
    }
    await this.#pieces.complete();
  }

  close(): void {
    this.#pieces.close();
    this.#last = undefined;
    this.#hash?.free();
    this.#hash = undefined;
  }

  async #copy(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start);
    for (let at = start; at < end; ) {
      const index = Math.floor(at / PIECE_BYTES);
      const offset = at - index * PIECE_BYTES;
      const stop = Math.min(offset + end - at, PIECE_BYTES);
      await this.#hashUpTo(index);
      const part = (await this.#piece(index, stop)).subarray(offset, stop);
      bytes.set(part, at - start);
      at += part.length;
    }
    return bytes;
  }

  /** Takes the pieces before `end` into the digest, if there is one to compare. */
  async #hashUpTo(end: number): Promise<void> {
    if (this.#digest === undefined || !this.isArriving) return;
    for (; this.#hashed < end; this.#hashed++) {
      const bytes = await this.#piece(this.#hashed, pieceBytes(this.size, this.#hashed));
      await enter(() => (this.#hash ??= new WasmSha256()).update(bytes));
    }
  }

  /** Neighbouring tensors are in one piece, which is not fetched again. */
  async #piece(index: number, bytes: number): Promise<Uint8Array> {
    if (this.#last?.index === index && this.#last.bytes >= bytes) return this.#last.piece;
    const piece = await this.#pieces.piece(index, bytes);
    this.#last = { index, bytes, piece };
    return piece;
  }
}
