// The caller's side of objects that are elsewhere: their methods are called by messages.
// It knows no method of any of them but `dispose`, which is no error where all has ended, and those that end an object.

import { LorakeetError, withReason } from "../error.js";
import { ROOT, isStream, pack, withMethods, type Description, type FromHost, type Habits, type Packed, type ToHost } from "./message.js";
import { page } from "../page.js";

/** A worker, or one end of a channel. */
interface Port {
  postMessage(message: ToHost, transfer?: Transferable[]): void;
  addEventListener(type: "message" | "messageerror", listener: (event: MessageEvent<FromHost>) => void): void;
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
  /** Aborted when the caller's signals need no longer be heard. */
  listening: AbortController;
}

export class Connection {
  /** Whether the other side has said anything. */
  isReady = false;
  /** Waits for that. */
  readonly ready: Promise<void>;
  readonly #port: Port;
  readonly #close: () => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lives = new Map<number, Life>();
  #setReady!: () => void;
  #lastId = ROOT;
  #ended: LorakeetError | undefined;
  #closing: Promise<void> | undefined;

  /** `close` is called once, at the end. */
  constructor(port: Port, close: () => void) {
    this.#port = port;
    this.#close = close;
    this.ready = new Promise((resolve) => (this.#setReady = resolve));
    port.addEventListener("message", ({ data }) => this.#hear(data));
    port.addEventListener("messageerror", () => this.end(new LorakeetError("device", "a message from the engine could not be read")));
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

  /** The other side need not keep an object any more. Returns whether there still is one. */
  release(object: number): boolean {
    this.#post({ type: "end", id: object });
    return this.#ended === undefined;
  }

  /** Calls a method that gives a stream; it begins, and each step does, when it is asked for. */
  stream(object: number, path: string[], args: readonly unknown[], habits: Habits): AsyncGenerator {
    const id = ++this.#lastId;
    let life: Life | undefined;
    let opened: Promise<unknown> | undefined;
    let hasEnded = false;
    const open = async (): Promise<Life> => {
      const begun = (life ??= this.#begin(id, args));
      await (opened ??= this.#ask(id, object, path, begun, begun.args));
      return begun;
    };
    const ask = async (method: string, given: unknown[] = []) => this.#ask(++this.#lastId, id, [method], await open(), given);
    const stream = async function* (this: Connection): AsyncGenerator {
      try {
        await open();
        try {
          for (;;) {
            const { done, value } = (await ask("next")) as IteratorResult<unknown>;
            if (done) return;
            yield value;
          }
        } finally {
          hasEnded = true;
          await ask("return").catch(() => {}); // the error that led here is the one to tell
          this.#post({ type: "end", id });
        }
      } finally {
        hasEnded = true;
        if (life) this.#stop(id, life);
      }
    };
    return withMethods(habits, path.at(-1)!, stream.call(this), async (name, given) => (hasEnded ? undefined : ask(name, given)));
  }

  /** Ends once `dispose` has. */
  close(dispose: () => Promise<void>): Promise<void> {
    const disposed = new LorakeetError("argument", "the engine is disposed");
    this.#closing ??= dispose().catch(() => {}).then(() => this.end(disposed));
    return this.#closing;
  }

  /** An answer of which it is no error if all ends before it comes: then it never does. */
  async unlessClosed<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (this.#closing) return new Promise(() => {});
      throw error;
    }
  }

  /** Ends now: what is under way fails with `error`, and everything later. */
  end(error: LorakeetError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#close();
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
        this.#post({ type: "call", id, object, path, args, page: page() }, args === life.args ? life.streams : []);
      } catch (error) {
        return reject(notSent(error)); // a symbol, an object of a class
      }
      this.#waiting.set(id, {
        resolve: (value) => (life.failure ? reject(life.failure.error) : resolve(value)),
        reject: (error) => reject(life.failure ? life.failure.error : fromHere(error, life.signals)),
      });
    });
  }

  #post(message: ToHost, transfer: Transferable[] = []): void {
    if (!this.#ended) this.#port.postMessage(message, transfer);
  }

  #hear(message: FromHost): void {
    this.isReady = true;
    this.#setReady();
    if (message.type === "ready") return;
    if (message.type === "callback") return this.#callBack(message.id, message.index, message.args);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "value") waiting?.resolve(message.value);
    else if (message.type === "object") waiting?.resolve(remote(this, message.id, message.description, message.habits, []));
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

/** An object that is elsewhere, or a part of one at `path`. */
function remote(connection: Connection, object: number, { values, methods, parts }: Description, habits: Habits, path: string[]): object {
  const prototype: Record<string, unknown> = {};
  for (const name of methods) {
    const at = [...path, name];
    prototype[name] = (...args: unknown[]) => isStream(habits, name, args) ? connection.stream(object, at, args, habits) : connection.call(object, at, args);
  }
  const own = Object.assign(Object.create(prototype), values);
  for (const [name, part] of Object.entries(parts)) own[name] = remote(connection, object, part, habits, [...path, name]);
  // What has parts is the engine, which goes with all.
  if (path.length === 0 && Object.keys(parts).length === 0) endable(connection, object, prototype, habits);
  return own;
}

/** Lets a temporary adapter go once it has ended, and answers in its place from then on; after the engine's end, that is the answer. */
function endable(connection: Connection, object: number, prototype: Record<string, unknown>, habits: Habits): void {
  const gone = () => new LorakeetError("argument", "the temporary adapter is disposed");
  let ended = false;
  for (const [name, method] of Object.entries(prototype) as [string, (...args: unknown[]) => unknown][]) {
    prototype[name] = (...args: unknown[]) => {
      if (ended && name === "dispose") return Promise.resolve();
      if (ended) return isStream(habits, name, args) ? failing(gone()) : Promise.reject(gone());
      const answer = method(...args);
      if (!habits.ends.includes(name)) return answer;
      return (answer as Promise<unknown>).then((value) => {
        ended = connection.release(object);
        return value;
      });
    };
  }
}

async function* failing(error: LorakeetError): AsyncGenerator<never> {
  throw error;
}

function remade({ kind, name, message, cause }: FromHost & { type: "error" }): Error {
  if (kind !== undefined) return new LorakeetError(kind, message, { cause });
  return Object.assign(new Error(message, { cause }), { name });
}

/** A signal's reason is its own object here, and not a copy of it. */
function fromHere(error: unknown, signals: readonly AbortSignal[]): unknown {
  const fired = signals.find((signal) => signal.aborted);
  if (!(error instanceof LorakeetError) || error.kind !== "cancelled" || !fired || error.cause === fired.reason) return error;
  return withReason(error.message, fired);
}

function notSent(error: unknown): LorakeetError {
  return new LorakeetError("argument", `an argument cannot be sent to the engine: ${(error as Error).message}`, { cause: error });
}
