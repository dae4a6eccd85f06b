// The files kept on this device, from the caller's side: what is there, how much room it takes, and out with it.
// Not how files come here: that is remote.ts's.

import type { Sink } from "./pieces.js";
import { LorakeetError } from "../error.js";
import { KeptFile, RECORD, Spill, noRoom, readRecord, type FileRecord } from "./kept.js";
import { wrong } from "../options.js";
import { freeBytes, openStore, type CacheKind, type Store } from "./store.js";

/** A cached file. */
export interface CachedFile {
  /** Its URL, which {@link ModelCache.delete} takes. */
  key: string;
  /** Bytes that have been stored so far. */
  bytes: number;
  /** Bytes of the whole file. */
  size: number;
  /** Whether it is complete, and can be used without the network. If not, the next load continues the download. */
  isComplete: boolean;
}

/** Storage use. */
export interface CacheUsage {
  /** Bytes of all cached files. */
  bytes: number;
  /** Bytes that this site may still store; undefined if the browser does not tell. */
  free: number | undefined;
}

const KINDS = ["opfs", "cache-api", "memory", "disk"] as const;

/** The cached files of URLs and of the hub. Files that the user chose are not cached. */
export class ModelCache {
  readonly #choice: CacheKind | false | undefined;
  #opened: Promise<Store | undefined> | undefined;

  /** @internal Errors with `argument`. */
  constructor(choice: CacheKind | false | undefined) {
    if (choice !== undefined && choice !== false && !KINDS.includes(choice)) throw wrong("cache", choice, `${KINDS.join(" or ")} or false`);
    this.#choice = choice;
  }

  /** Where the files are kept; undefined if none are. Errors with `unsupported` if the browser lacks the kind that was asked for. */
  async kind(): Promise<CacheKind | undefined> {
    return (await this.store())?.kind;
  }

  /** The cached files, complete ones and partial ones. */
  async list(): Promise<CachedFile[]> {
    const files = await this.#records();
    return files.map(({ record, bytes }) => ({ key: record.url, bytes, size: record.size, isComplete: record.state === "complete" }));
  }

  /**
   * Deletes the file of a URL, or, if the URL ends in `/`, all files below it. Returns how many were deleted. An
   * engine that is already loaded does not need them any more; one that is loading fetches them again.
   */
  async delete(key: string): Promise<number> {
    if (typeof key !== "string") throw wrong("key", key, "a string");
    const store = await this.store();
    let count = 0;
    for (const { name, record } of await this.#records("all")) {
      if (record.url !== key && !(key.endsWith("/") && record.url.startsWith(key))) continue;
      await store!.delete(name);
      if (record.state !== "absent") count++;
    }
    return count;
  }

  /** How much storage is used, and how much is free. */
  async usage(): Promise<CacheUsage> {
    const files = await this.#records();
    return { bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), free: await freeBytes() };
  }

  /**
   * Whether the caller has named a place, which then has to serve.
   *
   * @internal
   */
  get isInsisted(): boolean {
    return this.#choice !== undefined;
  }

  /** @internal */
  store(): Promise<Store | undefined> {
    return (this.#opened ??= this.#open());
  }

  /**
   * What is kept of a URL; undefined if nothing is, or it cannot be read and nobody has insisted.
   *
   * @internal
   */
  async find(url: string): Promise<KeptFile | undefined> {
    const store = await this.store();
    return this.#unlessInsisted(store && KeptFile.find(store, url));
  }

  /**
   * Begins to keep a file; undefined where that is not asked for, or cannot be and nobody has insisted.
   * Errors with `memory`, `unsupported` or `network`.
   *
   * @internal
   */
  async begin(file: string, record: FileRecord): Promise<KeptFile | undefined> {
    const store = await this.store();
    return this.#unlessInsisted(store && beginIn(store, file, record));
  }

  /**
   * What a download fills: the kept file, which need not take all where nobody has insisted.
   *
   * @internal
   */
  sink(kept: KeptFile): Sink {
    return this.isInsisted ? kept : new Spill(kept);
  }

  /** The caller who names no place does without one that fails. */
  async #unlessInsisted<T>(work: Promise<T> | undefined): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (this.isInsisted) throw error;
      return undefined;
    }
  }

  async #open(): Promise<Store | undefined> {
    if (this.#choice === false) return undefined;
    if (this.#choice === undefined) return (await openStore("opfs")) ?? (await openStore("cache-api"));
    const store = await openStore(this.#choice);
    if (store) return store;
    throw new LorakeetError("unsupported", `cache ${JSON.stringify(this.#choice)}: this browser or page has none`);
  }

  async #records(which: "all" | "present" = "present"): Promise<{ name: string; record: FileRecord; bytes: number }[]> {
    const store = await this.store();
    const records = [];
    for (const name of (await store?.files()) ?? []) {
      const record = await readRecord(store!, name);
      if (!record || (which === "present" && record.state === "absent")) continue;
      const sizes = await store!.sizes(name);
      let bytes = 0;
      for (const [piece, size] of sizes) if (piece !== RECORD) bytes += size;
      records.push({ name, record, bytes });
    }
    return records;
  }
}

async function beginIn(store: Store, file: string, record: FileRecord): Promise<KeptFile> {
  const kept = await KeptFile.begin(store, record);
  const missing = record.size - (await store.room(record.size));
  if (missing === 0) return kept;
  await kept.drop();
  throw noRoom(file, missing);
}

let asked = false;

/** Asks once that the browser does not clear what is kept here when the disk is full. A worker cannot ask. */
export async function persist(cache: ModelCache): Promise<void> {
  if (asked || ["memory", "disk"].includes((await cache.kind()) ?? "memory") || (await cache.list()).length === 0) return;
  asked = true;
  await globalThis.navigator?.storage?.persist?.();
}
