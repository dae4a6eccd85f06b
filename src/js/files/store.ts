// Where kept files lie: small named pieces of bytes, in the private file system, the Cache API, memory or, outside of pages, on disk.
// Not what a file is: that pieces make one, and that it is whole, is cache.ts's to know.

import { openDisk } from "./disk-store.js";
import { LorakeetError, type ErrorKind } from "../error.js";

/** Where files are cached. */
export type CacheKind = "opfs" | "cache-api" | "memory" | "disk";

/** Pieces by file and name. A piece is there as a whole or not at all, also if the page closes meanwhile. */
export interface Store {
  readonly kind: CacheKind;
  /** How many of so many bytes there is room for, as far as that can be known before they are written. */
  room(bytes: number): Promise<number>;
  /** Names of the files that have pieces. */
  files(): Promise<string[]>;
  /** Bytes of each piece of a file. */
  sizes(file: string): Promise<Map<string, number>>;
  get(file: string, piece: string): Promise<Blob | undefined>;
  put(file: string, piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Takes out a file with all its pieces. No error if there is none. */
  delete(file: string): Promise<void>;
}

const NAME = "lorakeet-models";
/** An empty file, on which room is tried. */
const PROBE = "room";
/** How exactly the room is found. */
const PRECISION_BYTES = 1 << 16;

/** In the order in which they are tried where the caller names none. */
const OPENERS: Record<CacheKind, () => Promise<Store | undefined>> = {
  opfs: openOpfs,
  "cache-api": openCacheApi,
  memory: async () => MEMORY,
  disk: openDisk,
};

/** The store of one kind; undefined where the browser, or a private window, has none. All its errors are as `storageError` has them. */
export async function openStore(kind: CacheKind): Promise<Store | undefined> {
  const store = await OPENERS[kind]();
  const told = <A extends unknown[], T>(work: (...args: A) => Promise<T>) => async (...args: A): Promise<T> => {
    try {
      return await work.apply(store, args);
    } catch (error) {
      throw storageError(`cache "${kind}"`, error);
    }
  };
  return store && {
    kind,
    room: told(store.room), files: told(store.files), sizes: told(store.sizes),
    get: told(store.get), put: told(store.put), delete: told(store.delete),
  };
}

/**
 * The error of a storage that refuses `what`: `unsupported` where the browser forbids or lacks it, as in
 * private windows, `memory` for want of room, else `network`, as for any file that cannot be read or written.
 */
export function storageError(what: string, cause: unknown): LorakeetError {
  const { name, message } = cause as Error;
  const kind = cause instanceof LorakeetError ? cause.kind : (KINDS[name] ?? "network");
  return new LorakeetError(kind, `${what}: ${message}`, { cause });
}

const KINDS: Record<string, ErrorKind> = { QuotaExceededError: "memory", SecurityError: "unsupported", NotAllowedError: "unsupported", TypeError: "unsupported" };

async function openOpfs(): Promise<Store | undefined> {
  // Older Safari writes from workers alone, and in place: half a piece could stay.
  if (globalThis.FileSystemFileHandle?.prototype.createWritable === undefined) return undefined;
  try {
    return new Opfs(await (await navigator.storage.getDirectory()).getDirectoryHandle(NAME, { create: true }));
  } catch {
    return undefined;
  }
}

/** One folder for each file, and in it a file for each piece. */
class Opfs implements Store {
  readonly kind = "opfs";

  constructor(readonly root: FileSystemDirectoryHandle) {}

  /** By trying: browsers that hide how full the disk is estimate too much. */
  async room(bytes: number): Promise<number> {
    if (await this.#fits(bytes)) return bytes;
    let [most, least] = [bytes, 0];
    while (most - least > PRECISION_BYTES) {
      const middle = Math.floor((most + least) / 2);
      if (await this.#fits(middle)) least = middle;
      else most = middle;
    }
    return least;
  }

  /** Makes a file of so many bytes, without writing them, and lets it go. */
  async #fits(bytes: number): Promise<boolean> {
    const writable = await (await this.root.getFileHandle(PROBE, { create: true })).createWritable();
    try {
      await writable.truncate(bytes);
      return true;
    } catch {
      return false;
    } finally {
      await writable.abort().catch(() => {});
    }
  }

  async files(): Promise<string[]> {
    const names = [];
    for await (const [name, { kind }] of this.root.entries()) if (kind === "directory") names.push(name);
    return names;
  }

  async sizes(file: string): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    const folder = await orUndefined(this.root.getDirectoryHandle(file));
    if (!folder) return sizes;
    for await (const [piece, handle] of folder.entries()) {
      if (handle.kind === "file") sizes.set(piece, (await (handle as FileSystemFileHandle).getFile()).size);
    }
    return sizes;
  }

  async get(file: string, piece: string): Promise<Blob | undefined> {
    return orUndefined(this.root.getDirectoryHandle(file).then((folder) => folder.getFileHandle(piece)).then((handle) => handle.getFile()));
  }

  async put(file: string, piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const folder = await this.root.getDirectoryHandle(file, { create: true });
    const writable = await (await folder.getFileHandle(piece, { create: true })).createWritable();
    try {
      await writable.write(bytes);
      await writable.close(); // only now the piece has its bytes
    } catch (error) {
      await writable.abort().catch(() => {});
      throw error;
    }
  }

  async delete(file: string): Promise<void> {
    await orUndefined(this.root.removeEntry(file, { recursive: true }));
  }
}

/** The value; undefined for what is not there. */
async function orUndefined<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if ((error as Error).name === "NotFoundError") return undefined;
    throw error;
  }
}

async function openCacheApi(): Promise<Store | undefined> {
  try {
    await globalThis.caches.has(NAME);
    return new CacheApi();
  } catch {
    return undefined;
  }
}

/** One cache for each file, and in it a response for each piece. */
class CacheApi implements Store {
  readonly kind = "cache-api";

  async room(bytes: number): Promise<number> {
    return Math.min(bytes, Math.max((await freeBytes()) ?? bytes, 0));
  }

  async files(): Promise<string[]> {
    return (await caches.keys()).filter((name) => name.startsWith(`${NAME}/`)).map((name) => name.slice(NAME.length + 1));
  }

  async sizes(file: string): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    if (!(await caches.has(`${NAME}/${file}`))) return sizes;
    const cache = await caches.open(`${NAME}/${file}`);
    for (const { url } of await cache.keys()) {
      const length = (await cache.match(url))?.headers.get("content-length");
      if (length) sizes.set(url.slice(url.lastIndexOf("/") + 1), Number(length));
    }
    return sizes;
  }

  async get(file: string, piece: string): Promise<Blob | undefined> {
    return (await caches.match(at(piece), { cacheName: `${NAME}/${file}` }))?.blob();
  }

  async put(file: string, piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const cache = await caches.open(`${NAME}/${file}`);
    await cache.put(at(piece), new Response(bytes, { headers: { "content-length": String(bytes.length) } }));
  }

  async delete(file: string): Promise<void> {
    await caches.delete(`${NAME}/${file}`);
  }
}

/** A cache's keys are URLs; nothing is ever asked of this one. */
function at(piece: string): string {
  return `https://lorakeet.invalid/${piece}`;
}

/** Gone with the page. */
class Memory implements Store {
  readonly kind = "memory";
  readonly #files = new Map<string, Map<string, Blob>>();

  async room(bytes: number): Promise<number> {
    return bytes;
  }

  async files(): Promise<string[]> {
    return [...this.#files.keys()];
  }

  async sizes(file: string): Promise<Map<string, number>> {
    return new Map([...(this.#files.get(file) ?? [])].map(([piece, { size }]) => [piece, size]));
  }

  async get(file: string, piece: string): Promise<Blob | undefined> {
    return this.#files.get(file)?.get(piece);
  }

  async put(file: string, piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const pieces = this.#files.get(file) ?? new Map<string, Blob>();
    this.#files.set(file, pieces.set(piece, new Blob([bytes])));
  }

  async delete(file: string): Promise<void> {
    this.#files.delete(file);
  }
}

const MEMORY = new Memory(); // one for all engines of a page

/** Bytes that the origin may still store; undefined where the browser does not tell. */
export async function freeBytes(): Promise<number | undefined> {
  try {
    const { quota, usage } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
    return quota === undefined || usage === undefined ? undefined : quota - usage;
  } catch {
    return undefined;
  }
}
