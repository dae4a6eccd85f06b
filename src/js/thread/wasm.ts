// The package's two WebAssembly modules: the engine's, and the one that renders chat templates, which
// is fetched for the first chat.

import initEngine, { Engine, Loader, Sha256 } from "../wasm/lorakeet.js";
import initChat, { ChatTemplate } from "../wasm/lorakeet_chat.js";
import { Module } from "./module.js";

export { Engine as WasmEngine, Loader as WasmLoader, Sha256 as WasmSha256, ChatTemplate as WasmChatTemplate };

const engine = new Module("the WebAssembly module", initEngine);
const chat = new Module("the WebAssembly module of chats", initChat);

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
