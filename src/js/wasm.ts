// The WebAssembly module: fetched once, shared by every engine of the page.
// Not a wrapper of its classes: callers use those, inside `enter`.

import init, { Engine, Loader, Sha256 } from "./wasm/lorakeet.js";
import { baseUrl } from "./base-url.js";
import { LorakeetError, fromWasm } from "./error.js";

export { Engine as WasmEngine, Loader as WasmLoader, Sha256 as WasmSha256 };

let loading: Promise<void> | undefined;

/** Set once the module has trapped: its memory can no longer be trusted. */
let stopped: LorakeetError | undefined;

/** Fetches and starts the module; later calls, whatever their URL, wait for the first one. */
export function loadWasm(url: string | URL | undefined): Promise<void> {
  loading ??= instantiate(url ?? new URL("./wasm/lorakeet_bg.wasm", import.meta.url)).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function instantiate(url: string | URL): Promise<void> {
  let response;
  try {
    response = await opened(new URL(url, baseUrl()));
  } catch (error) {
    throw new LorakeetError("network", `the WebAssembly module: ${reason(error)}, ${url}`, { cause: error });
  }
  if (!response.ok) throw new LorakeetError("network", `the WebAssembly module: HTTP ${response.status}, ${url}`);
  try {
    await init({ module_or_path: response });
  } catch (error) {
    // TypeError: the connection was cut. Otherwise no SIMD, or a policy without 'wasm-unsafe-eval'.
    const kind = error instanceof TypeError ? "network" : "unsupported";
    throw new LorakeetError(kind, `the WebAssembly module: ${reason(error)}, ${url}`, { cause: error });
  }
}

/** Node's `fetch` reads no files; and no `import` of Node's, which bundlers for browsers would refuse. */
async function opened(url: URL): Promise<Response> {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: "fs/promises"): { readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> } } };
  const files = url.protocol === "file:" ? process?.getBuiltinModule?.("fs/promises") : undefined;
  if (!files) return fetch(url);
  return new Response(await files.readFile(url), { headers: { "content-type": "application/wasm" } });
}

/**
 * Calls into the module; its errors become `LorakeetError`s. A trap stops the module for good,
 * and everything after it fails with kind `device`.
 */
export async function enter<T>(call: () => T | Promise<T>): Promise<T> {
  if (stopped) throw stopped;
  const trap = new Trap();
  try {
    return await Promise.race([call(), trap.sprung]);
  } catch (error) {
    throw error instanceof WebAssembly.RuntimeError ? stop(error) : fromWasm(error);
  } finally {
    trap.remove();
  }
}

function stop(error: Error): LorakeetError {
  stopped ??= new LorakeetError("device", `the WebAssembly module stopped: ${error.message}; reload the page`, {
    cause: error,
  });
  return stopped;
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
    if (error instanceof WebAssembly.RuntimeError) this.#spring(error);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
