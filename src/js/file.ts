// One file of a model or an adapter, read front to back: a URL's body as it streams in, or a Blob in slices.
// Nothing is kept that was handed out, and no Range request is needed.

import { LorakeetError, cancelled } from "./error.js";

/** An open file. Each `read` begins at or after the end of the one before. */
export interface ByteFile {
  readonly name: string;
  /** Bytes. */
  size(): Promise<number>;
  /** The first `end` bytes, which stay to be read. Before any `read`, after `size`. */
  peek(end: number): Promise<Uint8Array>;
  /** The bytes from `start` up to `end`. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** All bytes; instead of `read`. */
  whole(): Promise<Uint8Array>;
  /** Stops a download that is not at its end. */
  close(): void;
}

/** A Blob, of the user's disk or of memory. */
export class BlobFile implements ByteFile {
  constructor(readonly name: string, readonly blob: Blob) {}

  async size(): Promise<number> {
    return this.blob.size;
  }

  peek(end: number): Promise<Uint8Array> {
    return this.read(0, end);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this.blob.slice(start, end).arrayBuffer());
    } catch (error) {
      // The file was changed, moved or locked since it was chosen.
      throw new LorakeetError("network", `${this.name}: cannot be read: ${(error as Error).message}`, { cause: error });
    }
  }

  whole(): Promise<Uint8Array> {
    return this.read(0, this.blob.size);
  }

  close(): void {}
}

/** The body of a response, taken from the network only as fast as it is read. */
export class UrlFile implements ByteFile {
  readonly name: string;
  readonly #url: URL;
  readonly #signal: AbortSignal | undefined;
  readonly #what: string;
  readonly #response: Response;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #chunk = new Uint8Array();
  #pos = 0;
  #copy: BlobFile | undefined;

  /** `what` the signal interrupts: "loading the model". */
  constructor(name: string, url: URL, response: Response, signal: AbortSignal | undefined, what: string) {
    this.name = name;
    this.#url = url;
    this.#response = response;
    this.#signal = signal;
    this.#what = what;
  }

  /** Where the length is not told, or is that of a compressed body, the body is set aside first. */
  async size(): Promise<number> {
    const told = trustedLength(this.#response);
    if (told !== undefined) return told;
    this.#copy ??= new BlobFile(this.name, await this.#settle(this.#response.blob()));
    return this.#copy.size();
  }

  async peek(end: number): Promise<Uint8Array> {
    if (this.#copy) return this.#copy.peek(end);
    if (this.#chunk.length < end) {
      const bytes = await this.read(0, end);
      const rest = this.#chunk;
      this.#chunk = new Uint8Array(end + rest.length);
      this.#chunk.set(bytes);
      this.#chunk.set(rest, end);
      this.#pos = 0;
    }
    return this.#chunk.subarray(0, end);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    if (this.#copy) return this.#copy.read(start, end);
    while (this.#pos + this.#chunk.length < start) await this.#advance();
    this.#take(start - this.#pos);
    const bytes = new Uint8Array(end - start);
    for (let filled = 0; filled < bytes.length; ) {
      if (this.#chunk.length === 0) await this.#advance();
      const part = this.#take(Math.min(this.#chunk.length, bytes.length - filled));
      bytes.set(part, filled);
      filled += part.length;
    }
    return bytes;
  }

  async whole(): Promise<Uint8Array> {
    return new Uint8Array(await this.#settle(this.#response.arrayBuffer()));
  }

  close(): void {
    const ending = this.#reader ? this.#reader.cancel() : this.#response.body?.cancel();
    ending?.catch(() => {}); // it has failed already, and was reported
  }

  /** Drops what is left of the chunk and waits for the next. */
  async #advance(): Promise<void> {
    this.#take(this.#chunk.length);
    this.#reader ??= this.#response.body!.getReader();
    const { done, value } = await this.#settle(this.#reader.read());
    if (done) throw this.#lost("the connection ended", undefined);
    this.#chunk = value as Uint8Array<ArrayBuffer>;
  }

  #take(n: number): Uint8Array {
    const part = this.#chunk.subarray(0, n);
    this.#chunk = this.#chunk.subarray(n);
    this.#pos += n;
    return part;
  }

  async #settle<T>(arriving: Promise<T>): Promise<T> {
    try {
      return await arriving;
    } catch (error) {
      if (this.#signal?.aborted) throw cancelled(this.#signal, this.#what);
      throw this.#lost((error as Error).message, error);
    }
  }

  /** How far it came is known of what was read in parts. */
  #lost(why: string, cause: unknown): LorakeetError {
    const read = this.#reader ? ` after ${this.#pos} of ${trustedLength(this.#response)} bytes` : "";
    return new LorakeetError("network", `${this.name}: ${why}${read}, ${this.#url}`, { cause });
  }
}

/** Content-Length, unless it counts compressed bytes. */
export function trustedLength({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  return length === null || headers.has("content-encoding") ? undefined : Number(length);
}
