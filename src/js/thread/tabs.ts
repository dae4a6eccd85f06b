// One engine for all tabs of an origin: one tab has it, the others use it there.
// Not a worker of its own: the engine's tab decides where it works.

import { Connection } from "./connection.js";
import { LorakeetError } from "../error.js";
import { host, isOwn } from "./host.js";
import { ROOT, isStream, withMethods, type Habits } from "./message.js";

/** Said to all tabs: one has the engine now; one wants to use it. */
type Announcement = { type: "leader" } | { type: "hello"; id: string };

/** What is shared. */
export interface Shared {
  dispose(): Promise<void>;
}

/**
 * What all tabs of the origin share which give the same name: the first opens it, with `open`; when that tab is
 * closed, or disposes, another opens it anew, and what was under way elsewhere fails with kind `device`.
 *
 * Errors: those of `open`; `unsupported` without Web Locks or BroadcastChannel.
 */
export async function share<T extends Shared>(name: string, open: () => Promise<T>, habits: Habits): Promise<T> {
  if (!globalThis.navigator?.locks || typeof BroadcastChannel === "undefined") throw lacking();
  return new Tab(`lorakeet:${name}`, open, habits).join();
}

function lacking(cause?: unknown): LorakeetError {
  return new LorakeetError("unsupported", "tabs share by Web Locks and BroadcastChannel, which this browser or page lacks", { cause });
}

class Tab<T extends Shared> {
  readonly #name: string;
  readonly #open: () => Promise<T>;
  readonly #habits: Habits;
  readonly #id = crypto.randomUUID();
  readonly #hall: BroadcastChannel;
  readonly #left = new AbortController();
  /** In the tab that has the engine: what ends the service of each other tab. */
  readonly #guests = new Map<string, () => void>();
  /** The engine, in the tab that has it. */
  #engine: T | undefined;
  #connection: Connection | undefined;
  #target = new Target<T>();
  /** Whether this tab was to have the engine, and could not open it. */
  #hasFailed = false;

  constructor(name: string, open: () => Promise<T>, habits: Habits) {
    this.#name = name;
    this.#open = open;
    this.#habits = habits;
    try {
      this.#hall = new BroadcastChannel(name);
    } catch (error) {
      throw lacking(error); // in a frame without an origin
    }
  }

  async join(): Promise<T> {
    // Its end is how the engine's tab hears that this one is gone.
    await new Promise<void>((granted, refused) => {
      // It is let go of before the tab leaves only where locks are not to be had.
      void this.#hold(this.#ownName(this.#id), async () => granted()).then(() => refused(lacking()));
    }).catch((error: unknown) => {
      this.#hall.close();
      throw error;
    });
    this.#hall.addEventListener("message", ({ data }: MessageEvent<Announcement>) => {
      if (data.type === "leader") this.#connect();
      else if (this.#engine) this.#serve(data.id);
    });
    this.#seek();
    try {
      const first = await this.#target.engine;
      const own = { dispose: () => this.#leave() } as Partial<T>;
      return standIn(first, () => this.#current(), this.#habits, own);
    } catch (error) {
      await this.#leave();
      throw error;
    }
  }

  /** Has the engine once nobody else has it, and until then uses that of who has. */
  #seek(): void {
    this.#hasFailed = false;
    this.#hold(this.#name, () => this.#lead());
    this.#connect();
  }

  #current(): Promise<T> {
    if (this.#hasFailed && !this.#left.signal.aborted) this.#seek();
    return this.#target.engine;
  }

  /** Does `work` with a lock, which is then held until the tab leaves, or is closed, or `work` fails. */
  async #hold(name: string, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#left;
    await navigator.locks.request(name, { signal }, async () => {
      await work();
      if (!signal.aborted) await new Promise((left) => signal.addEventListener("abort", left, { once: true }));
    }).catch(() => {}); // it has left, or the engine's users hear of it
  }

  /** This tab has the engine from now on. */
  async #lead(): Promise<void> {
    this.#disconnect();
    try {
      const engine = await this.#open();
      if (this.#left.signal.aborted) return await engine.dispose();
      this.#engine = engine;
      this.#target.is(engine);
      this.#announce({ type: "leader" });
    } catch (error) {
      this.#target.fails(error);
      this.#hasFailed = true;
      throw error;
    }
  }

  /** Lets another tab use this one's engine. */
  #serve(id: string): void {
    this.#guests.get(id)?.();
    const channel = new BroadcastChannel(this.#ownName(id));
    const stop = host({ engine: () => this.#engine }, channel, this.#habits);
    const served = new AbortController();
    const end = () => {
      served.abort();
      stop(this.#engine);
      channel.close();
    };
    this.#guests.set(id, end);
    navigator.locks.request(this.#ownName(id), { signal: served.signal }, end).catch(() => {}); // served no more
  }

  /** Uses the engine of another tab, if one has it or as soon as it says so. */
  #connect(): void {
    this.#disconnect();
    const channel = new BroadcastChannel(this.#ownName(this.#id));
    const connection = (this.#connection = new Connection(channel, () => channel.close()));
    const stillIts = (settle: () => void) => connection === this.#connection && settle();
    connection.ready
      .then(() => connection.call(ROOT, ["engine"], []))
      .then((engine) => stillIts(() => this.#target.is(engine as T)), (error) => stillIts(() => this.#target.fails(error)));
    this.#announce({ type: "hello", id: this.#id });
  }

  #disconnect(): void {
    this.#connection?.end(new LorakeetError("device", "the tab that had the engine is gone: ask again"));
    this.#connection = undefined;
    this.#target = this.#target.next();
  }

  async #leave(): Promise<void> {
    const disposed = new LorakeetError("argument", "the engine is disposed");
    this.#connection?.end(disposed);
    this.#target = this.#target.next();
    this.#target.fails(disposed);
    for (const end of this.#guests.values()) end();
    this.#hall.close();
    await this.#engine?.dispose();
    this.#left.abort();
  }

  #announce(message: Announcement): void {
    if (!this.#left.signal.aborted) this.#hall.postMessage(message);
  }

  #ownName(id: string): string {
    return `${this.#name}:${id}`;
  }
}

/** The engine that calls go to, once it is known. */
class Target<T> {
  readonly engine: Promise<T>;
  #isSettled = false;
  #resolve!: (engine: T) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.engine = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.engine.catch(() => {}); // calls hear of it
  }

  is(engine: T): void {
    this.#isSettled = true;
    this.#resolve(engine);
  }

  fails(error: unknown): void {
    this.#isSettled = true;
    this.#reject(error);
  }

  /** The one after it: who waits for this one waits on. */
  next(): Target<T> {
    return this.#isSettled ? new Target() : this;
  }
}

/** An object like `first`, whose methods are those of the object of the moment, but for its `own`. */
function standIn<T extends object>(first: T, current: () => Promise<object>, habits: Habits, own: Partial<T> = {}): T {
  return new Proxy(own, {
    get(_, name) {
      const value: unknown = Reflect.get(Object.hasOwn(own, name) ? own : first, name);
      if (typeof name === "symbol" || Object.hasOwn(own, name)) return value;
      if (isOwn(value)) return standIn(value, async () => Reflect.get(await current(), name), habits);
      if (typeof value !== "function") return value;
      const call = async (args: unknown[]) => (await current() as Record<string, (...args: unknown[]) => unknown>)[name]!(...args);
      return (...args: unknown[]) => (isStream(habits, name, args) ? streamed(habits, name, () => call(args)) : call(args));
    },
  }) as T;
}

/** The stream that `begin` gives for `method`, begun when it is read. */
function streamed(habits: Habits, method: string, begin: () => Promise<unknown>): AsyncGenerator {
  let begun: Promise<unknown> | undefined;
  const open = () => (begun ??= begin());
  const read = async function* (): AsyncGenerator {
    yield* (await open()) as AsyncGenerator;
  };
  return withMethods(habits, method, read(), async (name, args) => ((await open()) as Record<string, (...args: unknown[]) => unknown>)[name]!(...args));
}
