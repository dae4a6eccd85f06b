// Threads that compute on the CPU together with an engine's worker, or with a program: starts them, over one memory.
// What they compute is Rust's business; they end with the worker, or the program, that started them.

import init, { Engine, Loader, Sha256, threadFailure } from "../wasm/lorakeet_threads.js";
import { LorakeetError } from "../error.js";
import { hasFailed, type Beginning } from "./beginning.js";
import { program } from "../program.js";
import { moduleWorker } from "./module-worker.js";
import { replaceEngineModule } from "./wasm.js";

/**
 * In a worker or a program that holds no engine yet: the module of engines with threads, and `count` of them, this one among them.
 *
 * All is as before after an error. Errors with `network` or `unsupported` where there is no such module, no memory to share, or no more workers.
 */
export async function startThreads(count: number, wasmUrl: string | URL | undefined): Promise<void> {
  let beginning: Beginning | undefined;
  const { load, restore } = replaceEngineModule(
    { Engine, Loader, Sha256 },
    async ({ module_or_path }) => {
      const module = await WebAssembly.compile(await module_or_path.arrayBuffer());
      const { memory } = await init({ module_or_path: module });
      beginning = { module, memory, failure: threadFailure() };
    },
    () => beginning && hasFailed(beginning) ? "one of its threads has trapped" : undefined,
  );
  try {
    await load(wasmUrl ?? new URL("../wasm/lorakeet_threads_bg.wasm", import.meta.url));
    await Promise.all(Array.from({ length: count - 1 }, () => startThread(beginning!)));
  } catch (error) {
    restore();
    throw error;
  }
}

/** Settles once it can be given work. */
function startThread(beginning: Beginning): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new LorakeetError("unsupported", `a thread did not start: ${why}`));
    const hear = (data: unknown) => {
      const { error } = data as { error?: string };
      return error === undefined ? resolve() : fail(error);
    };
    const failed = ({ message }: { message: string }) => fail(message || "its script was not found, or a policy forbids it");
    const here = program();
    if (here) {
      const { Worker } = here.getBuiltinModule("worker_threads");
      const worker = new Worker(new URL("./pool-thread.js", import.meta.url));
      worker.on("error", failed);
      worker.on("message", (data) => {
        worker.unref(); // it sleeps, and is no reason for the program to go on
        hear(data);
      });
      return worker.postMessage(beginning);
    }
    const worker = moduleWorker(() => new Worker(new URL("./pool-thread.js", import.meta.url), { type: "module", name: "lorakeet thread" }), "thread/pool-thread.js");
    worker.addEventListener("error", failed);
    worker.addEventListener("message", ({ data }: MessageEvent) => hear(data));
    worker.postMessage(beginning);
  });
}
