// One file on its way from a server: in pieces, over a few connections, each of which may be lost.
// Not where the pieces go: into what keeps them, which may hold some already.

import { LorakeetError, cancelled } from "../error.js";
import { Body, Lost, Piece } from "./body.js";
import { Changed, ask, backoff, drop, refused, sleep, tag, throughWorker, trustedLength, type Target, type Version } from "./http.js";
import { PIECE_BYTES, SPAN, pieceBytes, pieceCount, type Sink } from "./pieces.js";
import { page } from "../page.js";

const CONNECTIONS = 3;
/** Failures in a row, with not one byte between them, until it is given up. */
const MOST_FAILURES = 4;
export class Download {
  readonly #caller: AbortSignal | undefined;
  /** With a signal that ends all connections. */
  readonly #target: Target;
  readonly #version: Version;
  readonly #sink: Sink;
  readonly #abort = new AbortController();
  /** Pieces that a connection brings. */
  readonly #claimed = new Set<number>();
  readonly #filling = new Map<number, Piece>();
  /** Whether the server sends parts; undefined until one was asked for. */
  #ranges: boolean | undefined;
  readonly #running: Promise<void>[] = [];
  #wanted = 0;
  #failure: unknown;
  #wake!: () => void;
  #change!: Promise<void>;

  /** `first` is an answer with the whole file, if there is one already; parts are not asked for then. */
  constructor(target: Target, version: Version, sink: Sink, first?: Response) {
    this.#caller = target.signal;
    this.#target = { ...target, signal: this.#abort.signal };
    this.#version = version;
    this.#sink = sink;
    this.#renew();
    this.#caller?.addEventListener("abort", this.#onAbort);
    if (first) this.#ranges = false;
    this.#connect(first);
    if (this.#caller?.aborted) this.#onAbort();
  }

  /** A piece, once its first `bytes` bytes are here. Errors with `network`, `memory` or `cancelled`. */
  async piece(index: number, bytes: number): Promise<Uint8Array> {
    if (index > this.#wanted) {
      this.#wanted = index;
      this.#notify();
    }
    for (;;) {
      const piece = this.#filling.get(index);
      if (piece && piece.filled >= bytes) return piece.bytes;
      if (this.#sink.held.has(index)) return this.#sink.get(index);
      this.#throwIfFailed();
      await this.#change;
    }
  }

  /** Waits until all pieces are here. Errors as `piece`. */
  async all(): Promise<void> {
    const count = pieceCount(this.#version.size);
    this.#wanted = count;
    this.#notify();
    while (this.#sink.held.size < count) {
      this.#throwIfFailed();
      await this.#change;
    }
  }

  /** Ends all connections; settles when nothing is written any more. */
  async stop(): Promise<void> {
    this.#caller?.removeEventListener("abort", this.#onAbort);
    this.#fail(new LorakeetError("cancelled", `${this.#target.what} has ended`));
    await Promise.all(this.#running);
  }

  #onAbort = (): void => this.#fail(cancelled(this.#caller!, this.#target.what));

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#abort.abort();
    this.#notify();
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets all who wait look again. */
  #notify(): void {
    const wake = this.#wake;
    this.#renew();
    wake();
  }

  #renew(): void {
    this.#change = new Promise((wake) => (this.#wake = wake));
  }

  #connect(first?: Response): void {
    this.#running.push(this.#run(this.#running.length === 0, first).catch((error: unknown) => this.#fail(error)));
  }

  /** One connection after the other, until no piece is left. Only the main one goes on where there are no ranges. */
  async #run(isMain: boolean, first?: Response): Promise<void> {
    let body = first && new Body(this.#target, first, 0, this.#version.size);
    let span: number[] = [];
    let failures = 0;
    try {
      for (;;) {
        if (span.length === 0) span = await this.#claim(isMain);
        const index = span[0];
        if (index === undefined) return;
        const piece = new Piece(index, pieceBytes(this.#version.size, index));
        this.#filling.set(index, piece);
        while (piece.filled < piece.bytes.length) {
          try {
            if (body && !this.#brings(body, piece)) body = void body.cancel();
            body ??= await this.#open(piece, index + span.length);
            if (!isMain && !this.#ranges) return this.#release(span);
            if (await body.bring(piece)) failures = 0;
            this.#notify();
          } catch (error) {
            body = void body?.cancel();
            if (!(error instanceof Lost)) throw error;
            if (++failures === MOST_FAILURES) {
              if (this.#ranges !== undefined) throw this.#lost(error, piece.at);
              // Not one part has come: a service worker may be unable to pass them on. The whole is asked for, once.
              this.#ranges = false;
              failures--;
              continue;
            }
            await sleep(backoff(failures), this.#target);
          }
        }
        this.#throwIfFailed();
        await this.#sink.put(index, piece.bytes);
        this.#release([span.shift()!]);
      }
    } finally {
      body?.cancel();
    }
  }

  /** The next pieces that nobody brings; none when all are held, or claimed: the main one may yet have to bring those. */
  async #claim(isMain: boolean): Promise<number[]> {
    for (;;) {
      this.#throwIfFailed();
      const count = pieceCount(this.#version.size);
      let piece = 0;
      while (piece < count && !this.#isFree(piece)) piece++;
      if (piece === count && (!isMain || this.#sink.held.size === count)) return [];
      if (piece < count && piece <= this.#wanted + this.#sink.ahead) {
        const span = [];
        for (; piece < count && span.length < SPAN && this.#isFree(piece); piece++) span.push(piece);
        for (const each of span) this.#claimed.add(each);
        return span;
      }
      await this.#change;
    }
  }

  #isFree(piece: number): boolean {
    return !this.#sink.held.has(piece) && !this.#claimed.has(piece);
  }

  #release(span: number[]): void {
    for (const piece of span) {
      this.#claimed.delete(piece);
      this.#filling.delete(piece);
    }
    this.#notify();
  }

  /** Whether a body is worth reading on for a piece. */
  #brings(body: Body, piece: Piece): boolean {
    return this.#ranges === false ? body.at <= piece.at : body.at === piece.at && body.at < body.end;
  }

  /** Asks for the rest of a piece and those after it, up to `end`; for the whole file where a service worker refuses the first part. */
  async #open(piece: Piece, end: number): Promise<Body> {
    const isFirst = this.#ranges === undefined;
    try {
      return await this.#request(piece, end);
    } catch (error) {
      const { kind } = error as LorakeetError;
      if (!isFirst || kind !== "network" || page().serviceWorker === undefined) throw error;
      this.#ranges = false;
      return this.#request(piece, end);
    }
  }

  async #request(piece: Piece, end: number): Promise<Body> {
    const { size } = this.#version;
    const range = [piece.at, Math.min(end * PIECE_BYTES, size)] as const;
    const asked = this.#ranges === false ? {} : { range };
    const response = await this.#ask(asked);
    if (response.status === 416) throw this.#changed(response, "HTTP 416", `the bytes ${range[0]} to ${range[1] - 1}`);
    if (!response.ok) throw refused(this.#target, response);
    const now = tag(response);
    if (now !== undefined && this.#version.tag !== undefined && now !== this.#version.tag) {
      throw this.#changed(response, `version ${now}`, this.#version.tag);
    }
    const length = trustedLength(response);
    if (response.status !== 206) {
      if (length !== undefined && length !== size) throw this.#changed(response, `${length} bytes`, `${size}`);
      this.#setRanges(false);
      return new Body(this.#target, response, 0, size);
    }
    const sent = response.headers.get("content-range"); // hidden by some servers of other origins
    const [, first = range[0], last = range[1] - 1, total = size] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(sent ?? "") ?? [];
    const stop = Number(last) + 1;
    const isMeant = Number(first) === range[0] && stop <= range[1] && (total === "*" || Number(total) === size);
    if (!isMeant || (length !== undefined && length !== stop - range[0])) {
      throw this.#changed(response, `${sent ?? "a part"} of ${length ?? "some"} bytes`, `bytes ${range[0]}-${range[1] - 1}/${size}`);
    }
    this.#setRanges(true);
    return new Body(this.#target, response, range[0], stop);
  }

  /** A network that is gone may come back. */
  async #ask(asked: { range?: readonly [number, number] }): Promise<Response> {
    try {
      return await ask(this.#target, "GET", { ...asked, isKept: this.#sink.isKept });
    } catch (error) {
      const { kind, cause } = error as LorakeetError;
      throw kind === "network" ? new Lost((cause as Error).message, { cause }) : error;
    }
  }

  #setRanges(ranges: boolean): void {
    if (this.#ranges === ranges) return;
    this.#ranges = ranges;
    this.#notify();
    while (ranges && this.#running.length < CONNECTIONS) this.#connect();
  }

  #changed(response: Response, got: string, expected: string): Changed {
    drop(response);
    return new Changed(`${this.#target.name}: ${got}, expected ${expected}: it changed while it was read, ${this.#target.url}`);
  }

  #lost({ message, cause }: Lost, at: number): LorakeetError {
    return new LorakeetError("network", `${this.#target.name}: ${message} after ${at} of ${this.#version.size} bytes, ${this.#target.url}${throughWorker()}`, { cause });
  }
}
