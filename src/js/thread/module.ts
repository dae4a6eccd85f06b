// A WebAssembly module: fetched once, shared by every engine of the page, and stopped for good by a trap.
// Not a wrapper of its classes: callers use those, inside `enter`.

import { LorakeetError, fromWasm } from "../error.js";
import { page } from "../page.js";
import { program } from "../program.js";

/** What wasm-bindgen makes for a module: starts it. */
export type Init = (input: { module_or_path: Response }) => Promise<unknown>;

export class Module {
  readonly #name: string;
  readonly #init: Init;
  readonly #why: () => string | undefined;
  #loading: Promise<void> | undefined;
  /** Set once the module has trapped: its memory can no longer be trusted. */
  #stopped: LorakeetError | undefined;

  /** `why` may know more of what has stopped it than the trap says. */
  constructor(name: string, init: Init, why: () => string | undefined = () => undefined) {
    this.#name = name;
    this.#init = init;
    this.#why = why;
  }

  /** Fetches and starts the module; later calls, whatever their URL, wait for the first one. */
  load(url: string | URL): Promise<void> {
    this.#loading ??= this.#instantiate(url).catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #instantiate(url: string | URL): Promise<void> {
    let response;
    try {
      response = await opened(new URL(url, page().base));
    } catch (error) {
      throw new LorakeetError("network", `${this.#name}: ${reason(error)}, ${url}`, { cause: error });
    }
    if (!response.ok) throw new LorakeetError("network", `${this.#name}: HTTP ${response.status}, ${url}`);
    try {
      await this.#init({ module_or_path: response });
    } catch (error) {
      // TypeError: the connection was cut. Otherwise no SIMD, or a policy without 'wasm-unsafe-eval'.
      const kind = error instanceof TypeError ? "network" : "unsupported";
      throw new LorakeetError(kind, `${this.#name}: ${reason(error)}, ${url}`, { cause: error });
    }
  }

  /**
   * Calls into the module; its errors become `LorakeetError`s. A trap stops the module for good,
   * and everything after it fails with kind `device`.
   */
  async enter<T>(call: () => T | Promise<T>): Promise<T> {
    if (this.#stopped) throw this.#stopped;
    const trap = new Trap();
    try {
      return await Promise.race([call(), trap.sprung]);
    } catch (error) {
      throw isTrap(error) ? this.#stop(error) : fromWasm(error);
    } finally {
      trap.remove();
    }
  }

  #stop(error: Error): LorakeetError {
    this.#stopped ??= new LorakeetError("device", `${this.#name} stopped: ${this.#why() ?? error.message}; reload the page`, { cause: error });
    return this.#stopped;
  }
}

/** Node's `fetch` reads no files. */
async function opened(url: URL): Promise<Response> {
  const files = url.protocol === "file:" ? program()?.getBuiltinModule("fs/promises") : undefined;
  if (!files) return fetch(url);
  return new Response(await files.readFile(url), { headers: { "content-type": "application/wasm" } });
}

/** A trap in the middle of a promise never settles it: the page hears of it, so we listen there. */
class Trap {
  readonly sprung: Promise<never>;
  #spring!: (error: unknown) => void;

  constructor() {
    this.sprung = new Promise((_, reject) => (this.#spring = reject));
    this.sprung.catch(() => {}); // the race may be over
    globalThis.addEventListener?.("error", this.#onError);
    globalThis.addEventListener?.("unhandledrejection", this.#onRejection);
  }

  remove(): void {
    globalThis.removeEventListener?.("error", this.#onError);
    globalThis.removeEventListener?.("unhandledrejection", this.#onRejection);
  }

  #onError = (event: ErrorEvent): void => this.#see(event.error);
  #onRejection = (event: PromiseRejectionEvent): void => this.#see(event.reason);

  #see(error: unknown): void {
    if (isTrap(error)) this.#spring(error);
  }
}

/** Nor is anything unwound where the stack is too small: V8 and JavaScriptCore, then SpiderMonkey. */
function isTrap(error: unknown): error is Error {
  return error instanceof WebAssembly.RuntimeError || (error instanceof Error && /^(Maximum call stack|too much recursion)/.test(error.message));
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
