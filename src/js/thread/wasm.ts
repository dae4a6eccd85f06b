// The package's WebAssembly modules: the engine's; the one that renders chat templates, which is fetched for the
// first chat; and the one that knows grammars, fetched for the first text that has one.

import initEngine, { Engine, Loader, Sha256, benchGpu } from "../wasm/lorakeet.js";
import initChat, { ChatTemplate } from "../wasm/lorakeet_chat.js";
import { Module } from "./module.js";

export { Engine as WasmEngine, Loader as WasmLoader, Sha256 as WasmSha256, ChatTemplate as WasmChatTemplate, benchGpu as WasmBenchGpu };

const engine = new Module("the WebAssembly module", initEngine);
const chat = new Module("the WebAssembly module of chats", initChat);
/** Once it is fetched. Not instantiated: each request has an instance of its own. */
let grammars: WebAssembly.Module | undefined;
const grammar = new Module("the WebAssembly module of grammars", async ({ module_or_path }) => {
  grammars = await WebAssembly.compile(await module_or_path.arrayBuffer());
});

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
