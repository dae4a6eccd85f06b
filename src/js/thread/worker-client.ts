// The page's side of an engine in a worker: starts it, and ends it with the engine.
// What is said to it is connection.ts's.

import { Connection } from "./connection.js";
import { LorakeetError, cancelled } from "../error.js";
import { ROOT } from "./message.js";

/** What is opened there. */
interface Opened {
  dispose(): Promise<void>;
  lost(): Promise<unknown>;
}

/** Opens an engine in a worker of its own, or in the one given; that ends with it. */
export async function openInWorker<T extends Opened>(source: unknown, options: { signal?: AbortSignal }, worker: Worker = startWorker()): Promise<T> {
  const { connection, call } = inWorker(worker);
  const { signal } = options;
  const stopWaiting = () => {
    if (!connection.isReady) connection.end(cancelled(signal!, "loading the model"));
  };
  try {
    signal?.addEventListener("abort", stopWaiting);
    if (signal?.aborted) stopWaiting();
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

/** A worker whose methods can be called; `end` ends it, and what is under way with an error. */
export function inWorker(worker: Worker = startWorker()) {
  const connection = new Connection(worker, () => worker.terminate());
  // Once it runs, an uncaught error in it is heard of by the call that it stops.
  worker.addEventListener("error", ({ message }) => {
    if (!connection.isReady) connection.end(notStarted(message));
  });
  return {
    connection,
    call: (method: string, args: readonly unknown[]) => connection.call(ROOT, [method], args),
    end: (error: LorakeetError) => connection.end(error),
  };
}

function startWorker(): Worker {
  if (typeof Worker === "undefined") throw new LorakeetError("unsupported", "worker true, but there is no `Worker` here: pass `worker: false`");
  try {
    return new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
  } catch {
    // The package is on another server than the page: a script of the page's own may import it.
    const script = `import ${JSON.stringify(import.meta.url.replace(/[^/]*\/[^/]*$/, "worker.js"))};`;
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  }
}

function notStarted(why: string): LorakeetError {
  const what = why || "its script was not found, or a policy (CSP `worker-src`) forbids it";
  return new LorakeetError("unsupported", `the engine's worker did not start: ${what}; pass \`worker: false\`, or a \`Worker\` of \`lorakeet/worker\``);
}
