// The pieces that a file is downloaded and kept in, and what takes them.
// Not how they come: that is download.ts's.

/** Bytes kept at a time: what each connection loses at most when the page closes. */
export const PIECE_BYTES = 1 << 20;
/** Pieces asked for at a time. */
export const SPAN = 4;

/** What takes the pieces, and gives them back. */
export interface Sink {
  /** Pieces that need not be fetched. */
  readonly held: ReadonlySet<number>;
  /** How many pieces it takes beyond the one that is read. */
  readonly ahead: number;
  /** Whether they outlast the reading. */
  readonly isKept: boolean;
  put(piece: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  get(piece: number): Promise<Uint8Array>;
  /** Those before `piece` are not asked for again. */
  forget(piece: number): void;
  /** All pieces are there and right. */
  complete(): Promise<void>;
}

/** How many pieces a file of so many bytes has. */
export function pieceCount(size: number): number {
  return Math.ceil(size / PIECE_BYTES);
}

/** How long one piece is. */
export function pieceBytes(size: number, piece: number): number {
  return Math.min(PIECE_BYTES, size - piece * PIECE_BYTES);
}

/** Keeps the few pieces that came before they are read, and nothing longer. */
export class Window implements Sink {
  readonly held = new Set<number>();
  readonly ahead = 4 * SPAN;
  readonly isKept = false;
  readonly #pieces = new Map<number, Uint8Array>();

  async put(piece: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.held.add(piece);
    this.#pieces.set(piece, bytes);
  }

  async get(piece: number): Promise<Uint8Array> {
    return this.#pieces.get(piece)!;
  }

  forget(before: number): void {
    for (const piece of this.#pieces.keys()) if (piece < before) this.#pieces.delete(piece);
  }

  async complete(): Promise<void> {}
}
