// Threads that compute on the CPU together with an engine's worker: starts them, over one memory.
// What they compute is Rust's business; they end with the worker that started them.

import init, { Engine, Loader, Sha256, threadFailure } from "../wasm/lorakeet_threads.js";
import { LorakeetError } from "../error.js";
import { hasFailed, type Beginning } from "./beginning.js";
import { moduleWorker } from "./module-worker.js";
import { replaceEngineModule } from "./wasm.js";

/**
 * In a worker that holds no engine yet: the module of engines with threads, and `count` of them, this one among them.
 *
 * Errors with `network` or `unsupported` where there is no such module, no memory to share, or no more workers.
 */
export async function startThreads(count: number, wasmUrl: string | URL | undefined): Promise<void> {
  let beginning: Beginning | undefined;
  const load = replaceEngineModule(
    { Engine, Loader, Sha256 },
    async ({ module_or_path }) => {
      const module = await WebAssembly.compile(await module_or_path.arrayBuffer());
      const { memory } = await init({ module_or_path: module });
      beginning = { module, memory, failure: threadFailure() };
    },
    () => beginning && hasFailed(beginning) ? "one of its threads has trapped" : undefined,
  );
  await load(wasmUrl ?? new URL("../wasm/lorakeet_threads_bg.wasm", import.meta.url));
  await Promise.all(Array.from({ length: count - 1 }, () => startThread(beginning!)));
}

/** Settles once it can be given work. */
function startThread(beginning: Beginning): Promise<void> {
  const worker = moduleWorker(() => new Worker(new URL("./pool-thread.js", import.meta.url), { type: "module", name: "lorakeet thread" }), "thread/pool-thread.js");
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new LorakeetError("unsupported", `a thread did not start: ${why}`));
    worker.addEventListener("error", ({ message }) => fail(message || "its script was not found, or a policy forbids it"));
    worker.addEventListener("message", ({ data }: MessageEvent<{ error?: string }>) => (data.error === undefined ? resolve() : fail(data.error)));
    worker.postMessage(beginning);
  });
}
