// `lorakeet/tabs`: one engine for all tabs of an origin.
// Not how tabs find each other: that is thread/tabs.ts's.

import type { Engine } from "./api/engine.js";
import { HABITS } from "./api/habits.js";
import { checkFunction, wrong } from "./options.js";
import { share } from "./thread/tabs.js";

/**
 * An engine that is shared by all tabs of the origin that call this with the same name. The first tab opens it with
 * `open`. When that tab is closed or disposes it, another tab opens it again; requests that were running in other
 * tabs then fail with kind `device`. Do in `open` whatever every engine needs, such as loading adapters or watching
 * for a lost GPU.
 *
 * ```ts
 * const engine = await shareEngine("demo", async () => {
 *   const engine = await createEngine("/models/demo/");
 *   await engine.loadAdapter("/adapters/poet/");
 *   return engine;
 * });
 * ```
 *
 * The adapters and the engine's choice of them are shared; `adapter` in a request is that request's own. Relative
 * URLs are relative to the tab that has the engine. `dispose` ends the use in this tab; the other tabs go on.
 *
 * Errors: those of `open`; `argument`; `unsupported` without Web Locks or BroadcastChannel.
 */
export async function shareEngine(name: string, open: () => Promise<Engine>): Promise<Engine> {
  if (typeof name !== "string" || name === "") throw wrong("name", name, "a non-empty string");
  if (open === undefined) throw wrong("open", open, "a function");
  checkFunction("open", open);
  return share(name, open, HABITS);
}
