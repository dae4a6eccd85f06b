// The engine's side of calls by messages: carries them out, in a worker or for another tab.
// It knows no method of any object.

import { LorakeetError } from "../error.js";
import { ROOT, isPlain, unpack, type Description, type FromHost, type Habits, type ToHost } from "./message.js";
import type { Page } from "../page.js";

/** A worker's own scope, or one end of a channel. */
interface Port {
  postMessage(message: FromHost, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToHost>) => void, options?: { signal: AbortSignal }): void;
}

/** A call while it or what it returned lives. */
interface Life {
  controllers: AbortController[];
  failed: boolean;
  object?: object;
}

/**
 * Answers calls of the methods of `root`, and of the objects that they return, whose `habits` the caller is told;
 * `setPage` hears of the caller's page before each. The function it gives ends that: streams and objects that it
 * has given out are ended, but for `spared`.
 */
export function host(root: object, port: Port, habits: Habits, setPage: (page: Page) => void = () => {}): (spared?: object) => void {
  const listening = new AbortController();
  /** Answers that come after the end have nobody to hear them. */
  const post = (message: FromHost, transfer: Transferable[]) => {
    if (!listening.signal.aborted) port.postMessage(message, transfer);
  };
  const lives = new Map<number, Life>([[ROOT, { controllers: [], failed: false, object: root }]]);

  async function answer({ id, object, path, args, page }: ToHost & { type: "call" }): Promise<void> {
    const life: Life = { controllers: [], failed: false };
    lives.set(id, life);
    setPage(page);
    try {
      const value = await call(lives.get(object)?.object, path, unpackFor(id, life, args));
      if (isOwn(value)) {
        life.object = value;
        post({ type: "object", id, description: describe(value), habits }, []);
      } else {
        lives.delete(id);
        post({ type: "value", id, value }, buffers(value));
      }
    } catch (error) {
      lives.delete(id);
      refuse(id, error);
    }
  }

  function unpackFor(id: number, life: Life, args: unknown[]): unknown[] {
    const callback = (index: number, given: unknown[]) => {
      if (life.failed) throw new Error("the caller's function has thrown");
      post({ type: "callback", id, index, args: given }, []);
    };
    return unpack(args, callback, (index, aborted) => {
      const controller = (life.controllers[index] = new AbortController());
      if (aborted) controller.abort();
      return controller.signal;
    });
  }

  function refuse(id: number, thrown: unknown): void {
    const { name, message, cause } = thrown instanceof Error ? thrown : new Error(String(thrown));
    const error = { type: "error", id, kind: thrown instanceof LorakeetError ? thrown.kind : undefined, name, message } as const;
    try {
      post({ ...error, cause }, []);
    } catch {
      post({ ...error, cause: String(cause) }, []); // it cannot be cloned
    }
  }

  port.addEventListener("message", ({ data }) => {
    if (data.type === "call") return void answer(data);
    const life = lives.get(data.id);
    if (data.type === "abort") life?.controllers[data.signal]?.abort();
    else if (data.type === "fail" && life) life.failed = true;
    else if (data.type === "end") lives.delete(data.id);
  }, { signal: listening.signal });
  post({ type: "ready" }, []);

  return (spared) => {
    listening.abort();
    lives.delete(ROOT);
    for (const { controllers, object } of lives.values()) {
      for (const controller of controllers) controller?.abort();
      if (object !== undefined && object !== spared) end(object);
    }
    lives.clear();
  };
}

/** Nobody is there to hear how it goes. */
function end(object: Partial<AsyncGenerator & { dispose(): Promise<void> }>): void {
  (object.return?.(undefined) ?? object.dispose?.())?.catch(() => {});
}

function call(object: object | undefined, path: readonly string[], args: unknown[]): unknown {
  let owner: unknown = object;
  for (const name of path.slice(0, -1)) owner = (owner as Record<string, unknown>)[name];
  return (owner as Record<string, (...args: unknown[]) => unknown>)[path.at(-1)!]!(...args);
}

const CLONED = [Array, ArrayBuffer, Blob, Date, Error, Map, Set];

/** Whether a value is an object with methods of its own, and no data. */
export function isOwn(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  return !isPlain(value) && !ArrayBuffer.isView(value) && !CLONED.some((type) => value instanceof type);
}

function describe(object: object): Description {
  const description: Description = { values: {}, methods: [], parts: {} };
  for (let at = object; Object.getPrototypeOf(at) !== null; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at).filter((each) => each !== "constructor")) {
      const value = (object as Record<string, unknown>)[name];
      if (typeof value === "function") description.methods.push(name);
      else if (isOwn(value)) description.parts[name] = describe(value);
      else description.values[name] = value;
    }
  }
  return description;
}

/** The buffers in a value, to be handed over instead of copied: what a call returned is the caller's. */
function buffers(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const look = (each: unknown): void => {
    if (ArrayBuffer.isView(each)) found.add(each.buffer as ArrayBuffer);
    else if (Array.isArray(each) ? typeof each[0] === "object" : isPlain(each)) Object.values(each as object).forEach(look);
  };
  look(value);
  return [...found];
}
