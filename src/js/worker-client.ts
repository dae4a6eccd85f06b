// The page's side of an engine in a worker: an object whose methods are carried out there.
// It knows no method but `dispose`.

import { baseUrl } from "./base-url.js";
import type { Engine, EngineOptions } from "./engine.js";
import { LorakeetError, cancelled } from "./error.js";
import { ROOT, isStream, pack, type Description, type FromWorker, type Packed, type ToWorker } from "./message.js";
import type { ModelSource } from "./source.js";

/** Opens an engine in a worker of its own, or in the one given; that ends with it. */
export async function openInWorker(source: ModelSource, options: EngineOptions, worker: Worker = startWorker()): Promise<Engine> {
  const connection = new Connection(worker);
  const { signal } = options;
  const stopWaiting = () => {
    if (!connection.isReady) connection.end(cancelled(signal!, "loading the model"));
  };
  try {
    signal?.addEventListener("abort", stopWaiting);
    const engine = (await connection.call(ROOT, ["openEngine"], [source, options])) as Engine;
    const dispose = engine.dispose.bind(engine);
    return Object.defineProperty(engine, "dispose", { value: () => connection.close(dispose) });
  } catch (error) {
    connection.end(new LorakeetError("argument", "the engine was not opened"));
    throw error;
  } finally {
    signal?.removeEventListener("abort", stopWaiting);
  }
}

function startWorker(): Worker {
  if (typeof Worker === "undefined") throw new LorakeetError("unsupported", "worker true, but there is no `Worker` here: pass `worker: false`");
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  } catch {
    // The package is on another server than the page: a script of the page's own may import it.
    const script = `import ${JSON.stringify(import.meta.url.replace(/[^/]*$/, "worker.js"))};`;
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  }
}

/** Who waits for an answer. */
interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** What of a call's arguments stayed here, while it or what it returned needs them. */
interface Life extends Packed {
  /** The first error a function of the call has thrown. */
  failure?: { error: unknown };
  /** Aborted when the page's signals need no longer be heard. */
  listening: AbortController;
}

class Connection {
  /** Whether the worker has said anything. */
  isReady = false;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lives = new Map<number, Life>();
  #lastId = ROOT;
  #ended: LorakeetError | undefined;
  #closing: Promise<void> | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => this.#hear(data));
    // Once it runs, an uncaught error in it is heard of by the call that it stops.
    worker.addEventListener("error", ({ message }) => {
      if (!this.isReady) this.end(notStarted(message));
    });
    worker.addEventListener("messageerror", () => this.end(new LorakeetError("device", "a message of the engine's worker could not be read")));
  }

  /** Calls a method, which answers once. */
  async call(object: number, path: string[], args: readonly unknown[]): Promise<unknown> {
    if (this.#ended && path.at(-1) === "dispose") return;
    const id = ++this.#lastId;
    const life = this.#begin(id, args);
    try {
      return await this.#ask(id, object, path, life, life.args);
    } finally {
      this.#stop(id, life);
    }
  }

  /** Calls a method that gives a stream; it begins, and each step does, when it is asked for. */
  async *stream(object: number, path: string[], args: readonly unknown[]): AsyncGenerator {
    const id = ++this.#lastId;
    const life = this.#begin(id, args);
    const ask = (method: string) => this.#ask(++this.#lastId, id, [method], life, []);
    try {
      await this.#ask(id, object, path, life, life.args);
      try {
        for (;;) {
          const { done, value } = (await ask("next")) as IteratorResult<unknown>;
          if (done) return;
          yield value;
        }
      } finally {
        await ask("return").catch(() => {}); // the error that led here is the one to tell
        this.#post({ type: "end", id });
      }
    } finally {
      this.#stop(id, life);
    }
  }

  /** Ends the worker once `dispose` has; everything asked for later fails at once. */
  close(dispose: () => Promise<void>): Promise<void> {
    const disposed = new LorakeetError("argument", "the engine is disposed");
    this.#closing ??= dispose().catch(() => {}).then(() => this.end(disposed));
    return this.#closing;
  }

  /** Ends the worker now; what is under way fails with `error`, and everything later. */
  end(error: LorakeetError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #begin(id: number, args: readonly unknown[]): Life {
    let packed;
    try {
      packed = pack(args);
    } catch (error) {
      throw notSent(error); // a circle
    }
    const listening = new AbortController();
    for (const [signal, each] of packed.signals.entries()) {
      each.addEventListener("abort", () => this.#post({ type: "abort", id, signal }), { signal: listening.signal });
    }
    const life: Life = { ...packed, listening };
    this.#lives.set(id, life);
    return life;
  }

  #stop(id: number, life: Life): void {
    this.#lives.delete(id);
    life.listening.abort();
  }

  #ask(id: number, object: number, path: string[], life: Life, args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      try {
        this.#post({ type: "call", id, object, path, args, base: baseUrl() });
      } catch (error) {
        return reject(notSent(error)); // a symbol, an object of a class
      }
      this.#waiting.set(id, {
        resolve: (value) => (life.failure ? reject(life.failure.error) : resolve(value)),
        reject: (error) => reject(life.failure ? life.failure.error : withReason(error, life.signals)),
      });
    });
  }

  #post(message: ToWorker): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  #hear(message: FromWorker): void {
    this.isReady = true;
    if (message.type === "ready") return;
    if (message.type === "callback") return this.#callBack(message.id, message.index, message.args);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "value") waiting?.resolve(message.value);
    else if (message.type === "object") waiting?.resolve(remote(this, message.id, message.description, []));
    else waiting?.reject(remade(message));
  }

  #callBack(id: number, index: number, args: unknown[]): void {
    const life = this.#lives.get(id);
    if (!life || life.failure) return;
    try {
      life.functions[index]!(...args);
    } catch (error) {
      life.failure = { error };
      this.#post({ type: "fail", id });
    }
  }
}

/** An object in the worker, or a part of one at `path`. */
function remote(connection: Connection, object: number, { values, methods, parts }: Description, path: string[]): object {
  const prototype: Record<string, unknown> = {};
  for (const name of methods) {
    const at = [...path, name];
    prototype[name] = (...args: unknown[]) => isStream(name, args) ? connection.stream(object, at, args) : connection.call(object, at, args);
  }
  const own = Object.assign(Object.create(prototype), values);
  for (const [name, part] of Object.entries(parts)) own[name] = remote(connection, object, part, [...path, name]);
  return own;
}

function remade({ kind, name, message, cause }: FromWorker & { type: "error" }): Error {
  if (kind !== undefined) return new LorakeetError(kind, message, { cause });
  return Object.assign(new Error(message, { cause }), { name });
}

/** A signal's reason is its own object here, and not a copy of it. */
function withReason(error: unknown, signals: readonly AbortSignal[]): unknown {
  const fired = signals.find((signal) => signal.aborted);
  if (!(error instanceof LorakeetError) || error.kind !== "cancelled" || !fired) return error;
  return new LorakeetError("cancelled", error.message, { cause: fired.reason });
}

function notSent(error: unknown): LorakeetError {
  return new LorakeetError("argument", `an argument cannot be sent to the engine's worker: ${(error as Error).message}`, { cause: error });
}

function notStarted(why: string): LorakeetError {
  const what = why || "its script was not found, or a policy (CSP `worker-src`) forbids it";
  return new LorakeetError("unsupported", `the engine's worker did not start: ${what}; pass \`worker: false\`, or a \`Worker\` of \`lorakeet/worker\``);
}
