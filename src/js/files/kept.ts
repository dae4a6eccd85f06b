// One file as it is kept: its pieces, and a record of which file they are and whether all are there.
// Not asked of the network: a record says what was true when it was written.

import { digest } from "./digest.js";
import { Window, pieceBytes, pieceCount, type Sink } from "./pieces.js";
import { LorakeetError } from "../error.js";
import { Changed, type Version } from "./http.js";
import { storageError, type Store } from "./store.js";

/** What stands beside the pieces. */
export interface FileRecord extends Version {
  /** Where the file is from, which is also its key. */
  readonly url: string;
  /** `partial` until all pieces are there and are what they should be; `absent` where the server has no such file. */
  readonly state: "partial" | "complete" | "absent";
}

/** The piece that is the record. */
export const RECORD = "record";

/** What is kept cannot be read any more. */
export class Unreadable extends Changed {}

/** A kept file, whole or not. */
export class KeptFile implements Sink {
  readonly ahead = Infinity;
  readonly isKept = true;
  readonly #store: Store;
  readonly #name: string;
  readonly #held: Set<number>;
  #record: FileRecord;

  private constructor(store: Store, name: string, record: FileRecord, held: Set<number>) {
    this.#store = store;
    this.#name = name;
    this.#record = record;
    this.#held = held;
  }

  /** What is kept of a URL; undefined if nothing is. */
  static async find(store: Store, url: string): Promise<KeptFile | undefined> {
    const name = await nameOf(url);
    const record = await readRecord(store, name);
    if (record?.url !== url) return undefined;
    const sizes = await store.sizes(name);
    const held = new Set<number>();
    for (let piece = 0; piece < pieceCount(record.size); piece++) {
      if (sizes.get(String(piece)) === pieceBytes(record.size, piece)) held.add(piece);
    }
    return new KeptFile(store, name, record, held);
  }

  /** Begins to keep a file, in place of what was kept of its URL. Errors with `memory`. */
  static async begin(store: Store, record: FileRecord): Promise<KeptFile> {
    const name = await nameOf(record.url);
    await store.delete(name);
    const kept = new KeptFile(store, name, record, new Set());
    await kept.#write(record);
    return kept;
  }

  get record(): FileRecord {
    return this.#record;
  }

  get held(): ReadonlySet<number> {
    return this.#held;
  }

  /** Whether it can be read without the network. */
  get isWhole(): boolean {
    return this.#record.state === "complete" && this.#held.size === pieceCount(this.#record.size);
  }

  async put(piece: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#keep(String(piece), bytes);
    this.#held.add(piece);
  }

  /** Errors with `Unreadable` if it was taken out meanwhile, or cannot be read. */
  async get(piece: number): Promise<Uint8Array> {
    const bytes = await this.#store.get(this.#name, String(piece)).then((blob) => blob?.arrayBuffer()).catch(() => undefined);
    if (bytes?.byteLength === pieceBytes(this.#record.size, piece)) return new Uint8Array(bytes);
    throw new Unreadable(`${this.#record.url.split("/").at(-1)}: was taken out of the cache while it was read, or cannot be read there`);
  }

  forget(): void {}

  /** From now on it is served. Only for one whose pieces are all there and right. */
  complete(): Promise<void> {
    return this.#write({ ...this.#record, state: "complete" });
  }

  drop(): Promise<void> {
    return this.#store.delete(this.#name);
  }

  async #write(record: FileRecord): Promise<void> {
    await this.#keep(RECORD, new TextEncoder().encode(JSON.stringify(record)));
    this.#record = record;
  }

  async #keep(piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#store.put(this.#name, piece, bytes);
    } catch (error) {
      const file = this.#record.url.split("/").at(-1);
      const refused = storageError(`${file}: cannot be kept`, error);
      if (refused.kind !== "memory") throw refused;
      let rest = 0;
      for (let i = 0; i < pieceCount(this.#record.size); i++) if (!this.#held.has(i)) rest += pieceBytes(this.#record.size, i);
      throw noRoom(file ?? "", rest - (await this.#store.room(rest)), error);
    }
  }
}

/** A file that is kept as far as it can be: from the first piece that cannot, the rest stay until they are read, and nothing for later. */
export class Spill implements Sink {
  readonly isKept = true;
  readonly held: Set<number>;
  readonly #kept: KeptFile;
  readonly #window = new Window();
  #isFull = false;

  constructor(kept: KeptFile) {
    this.#kept = kept;
    this.held = new Set(kept.held);
  }

  get ahead(): number {
    return this.#isFull ? this.#window.ahead : this.#kept.ahead;
  }

  async put(piece: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (!this.#isFull) await this.#kept.put(piece, bytes).catch(() => (this.#isFull = true));
    if (this.#isFull) await this.#window.put(piece, bytes);
    this.held.add(piece);
  }

  get(piece: number): Promise<Uint8Array> {
    return this.#window.held.has(piece) ? this.#window.get(piece) : this.#kept.get(piece);
  }

  forget(before: number): void {
    this.#window.forget(before);
  }

  /** What has not come to be kept whole makes room. */
  async complete(): Promise<void> {
    if (!this.#isFull) await this.#kept.complete().catch(() => (this.#isFull = true));
    if (this.#isFull) await this.#kept.drop().catch(() => {});
  }
}

/** The error for want of `missing` bytes. */
export function noRoom(file: string, missing: number, cause?: unknown): LorakeetError {
  const words = `${file}: cannot be kept: ${missing} bytes more than this site may store: delete files of \`engine.cache\`, or pass the option \`cache: false\``;
  return new LorakeetError("memory", words, { cause });
}

/** What a store says of one of its files; undefined if that is no record. */
export async function readRecord(store: Store, name: string): Promise<FileRecord | undefined> {
  const blob = await store.get(name, RECORD);
  try {
    return blob && (JSON.parse(await blob.text()) as FileRecord);
  } catch {
    return undefined; // the page closed before it was written
  }
}

/** A name that every file system takes. Pages without digests have no store but memory. */
async function nameOf(url: string): Promise<string> {
  return (await digest(url)) ?? url;
}
