// One request for a file or a part of it: tried again where that can help, and its failure in words.
// Not what to ask for next: that is download.ts's and remote.ts's.

import { LorakeetError, cancelled } from "../error.js";
import { page } from "../page.js";

/** A file on a server. */
export interface Target {
  readonly name: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
  /** What the signal interrupts: "loading the model". */
  readonly what: string;
  /** Whether this URL means the same bytes for ever. */
  readonly isImmutable: boolean;
  /** Whether an ETag of 64 hexadecimal digits is the file's SHA-256. */
  readonly hasDigest: boolean;
  /** What else a caller may have meant, for the end of an error. */
  readonly hint?: string;
  /** What a refusal means; undefined where only this file is missing, or nothing more is known. */
  refusal(response: Response): LorakeetError | undefined;
}

/** What a server says of a file, to tell whether it is another one by now. */
export interface Version {
  /** Bytes. */
  readonly size: number;
  /** Its ETag, or when it was last modified; undefined where neither is told. */
  readonly tag: string | undefined;
}

/** The file is not the one it was when its reading began. Reading it anew can help. */
export class Changed extends LorakeetError {
  constructor(message: string) {
    super("network", message);
  }
}

/** Answers that may be others in a moment. */
const BUSY = new Set([408, 429, 500, 502, 503, 504]);
const MOST_TRIES = 4;
/** Longer is for the caller to decide. */
const MOST_WAIT_MS = 30_000;

/** Sends a request; `range` is the first byte and the one after the last. Errors with `network` or `cancelled`. */
export async function ask(target: Target, method: "GET" | "HEAD", options: { range?: readonly [number, number]; isKept: boolean }): Promise<Response> {
  const { name, url, signal, what } = target;
  const headers: Record<string, string> = { ...target.headers };
  // No If-Range: browsers would ask another origin for leave first. The answer's version is compared instead.
  if (options.range) headers.range = `bytes=${options.range[0]}-${options.range[1] - 1}`;
  // What is kept here need not be in the browser's own cache too.
  const cache = options.isKept || options.range ? "no-store" : "default";
  for (let tries = 1, waited = 0; ; tries++) {
    let response;
    try {
      response = await fetch(url, { method, headers, cache, signal: signal ?? null });
    } catch (error) {
      if (signal?.aborted) throw cancelled(signal, what);
      throw new LorakeetError("network", `${name}: ${noAnswer(url, error)}, ${url}${throughWorker()}${target.hint ?? ""}`, { cause: error });
    }
    const wait = retryAfter(response) ?? backoff(tries);
    if (!BUSY.has(response.status) || tries === MOST_TRIES || waited + wait > MOST_WAIT_MS) return response;
    drop(response);
    await sleep(wait, target);
    waited += wait;
  }
}

/** Why there is no answer: a browser tells a page of no other server whether that is for want of leave. */
function noAnswer(url: URL, error: unknown): string {
  const { base } = page();
  const isOthers = base !== undefined && /^https?:/.test(base) && new URL(base).origin !== url.origin;
  const { message } = error as Error;
  return isOthers ? `no answer from ${url.host}, or its CORS headers do not allow this page (${message})` : message;
}

/** Milliseconds to wait after the n-th failure. */
export function backoff(n: number): number {
  return 125 * 2 ** n;
}

/** Waits. Errors with `cancelled`. */
export function sleep(milliseconds: number, { signal, what }: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted) reject(cancelled(signal, what));
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end);
  });
}

/** In milliseconds; a server may name seconds or a date. */
function retryAfter({ headers }: Response): number | undefined {
  const after = headers.get("retry-after");
  if (after === null) return undefined;
  const wait = /^\d+$/.test(after) ? 1000 * Number(after) : Date.parse(after) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(wait, 0);
}

/** Lets go of a body that nobody reads. */
export function drop(response: Response): void {
  response.body?.cancel().catch(() => {});
}

/** The error of an answer that is no file. */
export function refused(target: Target, response: Response): LorakeetError {
  drop(response);
  return target.refusal(response) ?? new LorakeetError("network", `${target.name}: HTTP ${response.status}, ${target.url}${throughWorker()}`);
}

/** The end of a message: a service worker may be what has failed. */
export function throughWorker(): string {
  const { serviceWorker } = page();
  return serviceWorker === undefined ? "" : `, through the service worker ${serviceWorker}`;
}

export function tag({ headers }: Response): string | undefined {
  return headers.get("etag") ?? headers.get("last-modified") ?? undefined;
}

/** Content-Length, unless it counts compressed bytes. */
export function trustedLength({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  return length === null || headers.has("content-encoding") ? undefined : Number(length);
}
