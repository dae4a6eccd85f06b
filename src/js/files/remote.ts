// Files of servers, opened: those that are kept if they are still what the server has, the others as they come.
// Not the kept files' own care: that is kept.ts's.

import { ModelCache } from "./cache.js";
import { openOnDisk } from "./disk.js";
import { Download } from "./download.js";
import { PIECE_BYTES, SPAN, Window } from "./pieces.js";
import { LorakeetError, cancelled } from "../error.js";
import { PiecedFile, type ByteFile, type Pieces } from "./file.js";
import { Changed, ask, drop, refused, tag, trustedLength, type Target, type Version } from "./http.js";
import { Unreadable, type KeptFile } from "./kept.js";

/** Files too small to be asked for in parts. */
const TEXT = /\.(json|jinja)$/;

/** Opens the files of one load. */
export class Remote {
  #cache: ModelCache;
  /** What this load has been given. */
  #used: KeptFile[] = [];
  /** What servers said of files that are not open yet. */
  readonly #heads = new Map<string, Response>();

  constructor(cache: ModelCache) {
    this.#cache = cache;
  }

  /** Runs the load. What it finds wrong is not kept; what changed while it was read is read anew, once. */
  async load<T>(work: () => Promise<T>): Promise<T> {
    for (let isAgain = false; ; isAgain = true) {
      this.#used = [];
      this.#heads.clear();
      try {
        return await work();
      } catch (error) {
        const isWrong = error instanceof LorakeetError && (error.kind === "format" || error.kind === "mismatch");
        const isChanged = error instanceof Changed;
        if (isWrong || isChanged) await Promise.all(this.#used.map((file) => file.drop().catch(() => {})));
        if (!isChanged || isAgain) throw error;
        if (error instanceof Unreadable && !this.#cache.isInsisted) this.#cache = new ModelCache(false);
      }
    }
  }

  /** A file; undefined where the server has none. Errors with `network`, `memory` or `cancelled`. */
  async open(target: Target): Promise<ByteFile | undefined> {
    if (isOnDisk(target)) return openOnDisk(target);
    const store = await this.#cache.store();
    if (!store) return this.#fetch(target, () => {});
    // Two pages, or two engines of one, do not fetch the same file twice, nor write to it at once.
    const unlock = await lock(target);
    let file;
    try {
      file = await this.#openKept(target, await this.#cache.find(key(target)), unlock);
    } finally {
      if (!file?.isArriving) unlock();
    }
    return file;
  }

  /** Whether a server has a file. What it refuses it may have; without a network what is known of it is told. */
  async has(target: Target): Promise<boolean> {
    if (isOnDisk(target)) return (await this.size(target)) !== undefined;
    const kept = await this.#cache.find(key(target));
    if (kept?.isWhole) return true;
    if (target.isImmutable && kept?.record.state === "absent") return false;
    let head;
    try {
      head = await this.#head(target);
    } catch (error) {
      unlessNetwork(error);
      return kept?.record.state !== "absent";
    }
    if (head.status !== 404 || target.refusal(head)) {
      this.#heads.set(key(target), head);
      return true;
    }
    await this.#cache.begin(target.name, { url: key(target), size: 0, tag: undefined, state: "absent" });
    return false;
  }

  /** Bytes of a file; undefined if that cannot be told. */
  async size(target: Target): Promise<number | undefined> {
    if (isOnDisk(target)) {
      const file = await openOnDisk(target);
      file?.close();
      return file?.size;
    }
    const kept = await this.#cache.find(key(target));
    if (kept?.isWhole) return kept.record.size;
    const head = await this.#head(target);
    this.#heads.set(key(target), head);
    return head.ok ? trustedLength(head) : undefined;
  }

  /** What the server says of a file. */
  async #head(target: Target): Promise<Response> {
    const known = this.#heads.get(key(target));
    this.#heads.delete(key(target));
    return known ?? ask(target, "HEAD", { isKept: true });
  }

  async #openKept(target: Target, kept: KeptFile | undefined, unlock: () => void): Promise<ByteFile | undefined> {
    if (!kept) return this.#fetch(target, unlock);
    const { state, size, tag: keptTag } = kept.record;
    if (target.isImmutable && (kept.isWhole || state === "absent")) return this.#open(target, kept);
    let now;
    try {
      now = await this.#head(target);
    } catch (error) {
      unlessNetwork(error);
      if (kept.isWhole || state === "absent") return this.#open(target, kept);
      return this.#fetch(target, unlock); // some servers know no HEAD
    }
    if ((now.status >= 500 || now.status === 429) && kept.isWhole) return this.#open(target, kept);
    if (now.status === 404 && state === "absent") return undefined;
    const isSame = now.ok && state !== "absent" && keptTag !== undefined && tag(now) === keptTag && (trustedLength(now) ?? size) === size;
    if (!isSame) return this.#fetch(target, unlock, now);
    return kept.isWhole ? this.#open(target, kept) : this.#download(target, kept, kept.record, unlock);
  }

  /** What is kept, as it is. */
  #open(target: Target, kept: KeptFile): ByteFile | undefined {
    if (kept.record.state === "absent") return undefined;
    this.#used.push(kept);
    const pieces: Pieces = {
      piece: async (index) => {
        if (target.signal?.aborted) throw cancelled(target.signal, target.what);
        return kept.get(index);
      },
      forget() {},
      async complete() {},
      close() {},
    };
    return new PiecedFile(target.name, kept.record.size, false, pieces, undefined);
  }

  /** Asks for a file: the large ones in parts, if the server tells enough beforehand. */
  async #fetch(target: Target, unlock: () => void, head?: Response): Promise<ByteFile | undefined> {
    if (!TEXT.test(target.name)) {
      head ??= await this.#head(target).catch(unlessNetwork); // some servers know no HEAD
      if (head?.ok && !isPage(head) && (trustedLength(head) ?? 0) > SPAN * PIECE_BYTES && head.headers.get("accept-ranges") !== "none") {
        return this.#arriving(target, head, trustedLength(head)!, unlock);
      }
    }
    const isKept = (await this.#cache.store()) !== undefined;
    const response = await ask(target, "GET", { isKept });
    // Servers of single-page applications answer every unknown path with their page.
    if ((response.ok && isPage(response)) || (response.status === 404 && !target.refusal(response))) {
      drop(response);
      await this.#cache.begin(target.name, { url: key(target), size: 0, tag: undefined, state: "absent" });
      return undefined;
    }
    if (!response.ok) throw refused(target, response);
    // To a page of another origin, a length is told, and not that it counts compressed bytes.
    const size = TEXT.test(target.name) ? undefined : trustedLength(response);
    if (size !== undefined) return this.#arriving(target, response, size, unlock, response);
    // A body whose length is not told, or is that of compressed bytes, is set aside first.
    const body = await bytesOf(target, response);
    return this.#arriving(target, response, body.length, unlock, new Response(body));
  }

  /** Begins a download. What the answer's `head` says is what all its parts have to agree with. */
  async #arriving(target: Target, head: Response, size: number, unlock: () => void, first?: Response): Promise<ByteFile> {
    const version = { size, tag: tag(head) };
    const mayKeep = !/\bno-store\b/i.test(head.headers.get("cache-control") ?? "");
    try {
      const kept = mayKeep ? await this.#cache.begin(target.name, { ...version, url: key(target), state: "partial" }) : undefined;
      return this.#download(target, kept, version, unlock, first);
    } catch (error) {
      if (first) drop(first);
      throw error;
    }
  }

  #download(target: Target, kept: KeptFile | undefined, version: Version, unlock: () => void, first?: Response): ByteFile {
    if (kept) this.#used.push(kept);
    const sink = kept ? this.#cache.sink(kept) : new Window();
    const download = new Download(target, version, sink, first);
    const pieces: Pieces = {
      piece: (index, bytes) => download.piece(index, bytes),
      forget: (index) => sink.forget(index),
      async complete() {
        await download.all();
        await sink.complete();
      },
      close() {
        void download.stop().then(unlock);
      },
    };
    const digest = target.hasDigest ? /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(version.tag ?? "")?.[1] : undefined;
    return new PiecedFile(target.name, version.size, true, pieces, digest);
  }
}

function isOnDisk({ url }: Target): boolean {
  return url.protocol === "file:";
}

/** Throws errors of other kinds. */
function unlessNetwork(error: unknown): undefined {
  if (!(error instanceof LorakeetError && error.kind === "network")) throw error;
}

function isPage({ headers }: Response): boolean {
  return headers.get("content-type")?.startsWith("text/html") ?? false;
}

async function bytesOf({ name, url, signal, what }: Target, response: Response): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal, what);
    throw new LorakeetError("network", `${name}: ${(error as Error).message}, ${url}`, { cause: error });
  }
}

/** A file's URL without what is for the page alone. */
function key({ url }: Target): string {
  const plain = new URL(url);
  plain.hash = "";
  return plain.href;
}

/** Waits until no other page or engine fetches this file, where the browser lets it know. Errors with `cancelled`. */
async function lock(target: Target): Promise<() => void> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!locks) return () => {};
  return new Promise((locked, failed) => {
    const hold = () => new Promise<void>((unlock) => locked(unlock));
    locks.request(`lorakeet ${key(target)}`, target.signal ? { signal: target.signal } : {}, hold).catch(() => {
      if (target.signal?.aborted) failed(cancelled(target.signal, target.what));
      else locked(() => {});
    });
  });
}
