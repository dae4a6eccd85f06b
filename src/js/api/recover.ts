// recover: an engine whose device was lost goes on, on another one.
// What is written to that anew is Rust's business; who waits meanwhile is device-loss.ts's.

import { growing, load, type LoadRequest, type Progress } from "./load.js";
import { checkFunction, checkNames, checkSignal } from "../options.js";
import type { Remote } from "../files/remote.js";
import type { ModelFolder } from "../files/folder.js";
import type { Turns } from "../thread/turns.js";
import { enter } from "../thread/wasm.js";

/** How to recover. */
export interface RecoverOptions {
  /** Cancels the recovery, with an error of kind `cancelled`. You can call `recover` again. */
  signal?: AbortSignal;
  /** Called while the model loads. */
  onProgress?: (progress: Progress) => void;
}

/** Where an engine's model came from. */
export interface Origin {
  folder: ModelFolder;
  remote: Remote;
  request: Pick<LoadRequest, "contextLength" | "batch" | "dtype" | "kvDtype" | "exact" | "threads">;
}

/** Recovers an engine that was on a GPU; one that has lost nothing stays as it is. */
export async function recover(turns: Turns, { folder, remote, request }: Origin, options: RecoverOptions): Promise<void> {
  checkNames(options, ["signal", "onProgress"]);
  const { signal, onProgress } = options;
  checkSignal(signal);
  checkFunction("onProgress", onProgress);
  await turns.recover(async (engine) => {
    await enter(() => engine.releaseDevice());
    const again: LoadRequest = { ...request, device: "webgpu", signal, onProgress: onProgress && growing(onProgress) };
    await remote.load(() => load(folder, again, (loader) => engine.recover(loader)));
  });
}
