// The package's WebAssembly modules: the engine's; the one that renders chat templates, which is fetched for the
// first chat; and the one that knows grammars, fetched for the first text that has one.
// Not the module of engines with threads, which pool.ts puts in the place of the first.

import initEngine, { Engine, Loader, Sha256 } from "../wasm/lorakeet.js";
import initChat, { ChatTemplate } from "../wasm/lorakeet_chat.js";
import { Module, type Init } from "./module.js";

export { ChatTemplate as WasmChatTemplate };
export type WasmEngine = Engine;
export type WasmLoader = Loader;
export type WasmSha256 = Sha256;
export let WasmEngine = Engine;
export let WasmLoader = Loader;
export let WasmSha256 = Sha256;

const ENGINE = "the WebAssembly module";
let engine = new Module(ENGINE, initEngine);
const chat = new Module("the WebAssembly module of chats", initChat);
/** Once it is fetched. Not instantiated: each request has an instance of its own. */
let grammars: WebAssembly.Module | undefined;
const grammar = new Module("the WebAssembly module of grammars", async ({ module_or_path }) => {
  grammars = await WebAssembly.compile(await module_or_path.arrayBuffer());
});

/**
 * Has other classes of an engine's module from now on, of the same shape; `init` starts it, and `why` may say what
 * has stopped it. Gives what fetches it, and what brings the first ones back. Only where no engine has been opened yet.
 */
export function replaceEngineModule(
  classes: Record<"Engine" | "Loader" | "Sha256", unknown>, init: Init, why: () => string | undefined,
): { load: (url: string | URL) => Promise<void>; restore: () => void } {
  const use = (classes: Record<string, unknown>, module: Module) => {
    WasmEngine = classes["Engine"] as typeof Engine;
    WasmLoader = classes["Loader"] as typeof Loader;
    WasmSha256 = classes["Sha256"] as typeof Sha256;
    engine = module;
  };
  const before = engine;
  use(classes, new Module(ENGINE, init, why));
  return { load: (url) => engine.load(url), restore: () => use({ Engine, Loader, Sha256 }, before) };
}

/** Fetches the engine's module, if no engine of the page did. */
export function loadWasm(url: string | URL | undefined): Promise<void> {
  return engine.load(url ?? new URL("../wasm/lorakeet_bg.wasm", import.meta.url));
}

/** Calls into the engine's module; see `Module`. */
export function enter<T>(call: () => T | Promise<T>): Promise<T> {
  return engine.enter(call);
}

/** Fetches the module of chats, if no engine of the page did. */
export function loadChatWasm(url: string | URL | undefined): Promise<void> {
  return chat.load(url ?? new URL("../wasm/lorakeet_chat_bg.wasm", import.meta.url));
}

/** Calls into the module of chats; see `Module`. */
export function enterChat<T>(call: () => T | Promise<T>): Promise<T> {
  return chat.enter(call);
}

/** Fetches the module of grammars, if no engine of the page did. */
export async function loadGrammarWasm(url: string | URL | undefined): Promise<WebAssembly.Module> {
  await grammar.load(url ?? new URL("../wasm/lorakeet_grammar.wasm", import.meta.url));
  return grammars!;
}
