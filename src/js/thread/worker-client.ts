// The page's side of an engine in a worker: starts it, with threads where that can be, and ends it with the engine.
// What is said to it is connection.ts's.

import { Connection } from "./connection.js";
import { moduleWorker } from "./module-worker.js";
import { LorakeetError, cancelled } from "../error.js";
import { ROOT } from "./message.js";

/** What is opened there. */
interface Opened {
  dispose(): Promise<void>;
  lost(): Promise<unknown>;
}

interface Options {
  signal?: AbortSignal;
  threadsWasmUrl?: string | URL;
}

/**
 * Opens an engine in a worker of its own, with so many threads or, where they cannot be had, with one; or in the worker
 * given, with one. The worker ends with the engine.
 */
export async function openInWorker<T extends Opened>(source: unknown, options: Options, threads: number, worker?: Worker): Promise<T> {
  if (worker || threads === 1) return openIn(source, { ...options, threads: 1 }, worker ?? startWorker());
  try {
    return await openIn(source, { ...options, threads }, startThreadedWorker());
  } catch (error) {
    if (!(error instanceof NoThreads)) throw error;
    return openIn(source, { ...options, threads: 1 }, startWorker());
  }
}

/** Calls a method of what a worker hosts. */
type Call = (method: string, args: readonly unknown[]) => Promise<unknown>;

/** The error of an engine that is to be opened with one thread. */
class NoThreads extends LorakeetError {}

async function openIn<T extends Opened>(source: unknown, options: Options & { threads: number }, worker: Worker): Promise<T> {
  const { connection, call } = inWorker(worker);
  const { signal } = options;
  const stopWaiting = () => {
    if (!connection.isReady) connection.end(cancelled(signal!, "loading the model"));
  };
  try {
    signal?.addEventListener("abort", stopWaiting);
    if (signal?.aborted) stopWaiting();
    if (options.threads > 1) await startThreads(call, options);
    const engine = (await call("openEngine", [source, options])) as T;
    const [dispose, lost] = [engine.dispose.bind(engine), engine.lost.bind(engine)];
    return Object.defineProperties(engine, {
      dispose: { value: () => connection.close(dispose) },
      lost: { value: () => connection.unlessClosed(lost()) },
    });
  } catch (error) {
    connection.end(new LorakeetError("argument", "the engine was not opened"));
    throw error;
  } finally {
    signal?.removeEventListener("abort", stopWaiting);
  }
}

/** A worker whose methods can be called; its connection's end ends it, and what is under way with an error. */
export function inWorker(worker: Worker) {
  const connection = new Connection(worker, () => worker.terminate());
  // Once it runs, an uncaught error in it is heard of by the call that it stops.
  worker.addEventListener("error", ({ message }) => {
    if (!connection.isReady) connection.end(notStarted(message));
  });
  return { connection, call: (method: string, args: readonly unknown[]) => connection.call(ROOT, [method], args) };
}

/** Whatever is wrong with them, one thread does. */
async function startThreads(call: Call, { signal, threads, threadsWasmUrl }: Options & { threads: number }): Promise<void> {
  try {
    await call("startThreads", [threads, threadsWasmUrl]);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NoThreads("unsupported", `no threads: ${(error as Error).message}`, { cause: error });
  }
}

// A bundler sees what is a worker's script where its address is written in full.
function startWorker(): Worker {
  if (typeof Worker === "undefined") throw new LorakeetError("unsupported", "worker true, but there is no `Worker` here: pass `worker: false`");
  return moduleWorker(() => new Worker(new URL("../worker.js", import.meta.url), { type: "module" }), "worker.js");
}

function startThreadedWorker(): Worker {
  return moduleWorker(() => new Worker(new URL("../worker-threads.js", import.meta.url), { type: "module" }), "worker-threads.js");
}

/** A worker that measures the GPU. */
export function startBenchWorker(): Worker {
  if (typeof Worker === "undefined") throw new LorakeetError("unsupported", "there is no `Worker` here to measure in");
  return moduleWorker(() => new Worker(new URL("../worker-bench.js", import.meta.url), { type: "module" }), "worker-bench.js");
}

function notStarted(why: string): LorakeetError {
  const what = why || "its script was not found, or a policy (CSP `worker-src`) forbids it";
  return new LorakeetError("unsupported", `the engine's worker did not start: ${what}; pass \`worker: false\`, or a \`Worker\` of \`lorakeet/worker\``);
}
