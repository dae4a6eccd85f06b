// Who may generate now: an engine's seats, and the line of those who wait for one.
// Not what is done there, nor in which order calls reach the engine: that is turns.ts's.

import { LorakeetError, cancelled, throwIfCancelled } from "../error.js";

/** How requests wait. */
export interface SeatOptions {
  /** How many may wait. */
  maxQueue: number;
  /** Milliseconds after which what nobody reads gives its seats to who waits. */
  streamIdleTimeout: number;
}

/** Seats that are taken. */
export interface Seating {
  readonly count: number;
  /** Gives them back; again is no error. */
  leave(): void;
  /**
   * From now on a reader is awaited. Where that takes too long and others wait, `end` is called and the seats are
   * given back. The function it gives is for when the reader comes: it throws `argument` if that is too late.
   */
  idle(end: () => Promise<void>): () => void;
}

/** Somebody's place in the line. */
export interface Place {
  /** Once it is their turn. Rejects with `cancelled` when their signal fires. */
  readonly seated: Promise<Seating>;
  /** They go, seated or not. */
  quit(): void;
}

/** Somebody in the line. */
interface Waiting {
  least: number;
  most: number;
  resolve: (seating: Seating) => void;
  reject: (error: LorakeetError) => void;
}

/** A seat whose reader is awaited. */
interface Unread {
  since: number;
  evict: () => void;
}

export class Seats {
  /** In all. */
  readonly size: number;
  readonly #options: SeatOptions;
  #free: number;
  readonly #line: Waiting[] = [];
  readonly #unread = new Set<Unread>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed: LorakeetError | undefined;

  constructor(size: number, options: SeatOptions) {
    this.size = size;
    this.#free = size;
    this.#options = options;
  }

  /** Takes from `least` to `most` seats, as many as are free, if nobody has to wait for that. */
  takeNow(least: number, most: number): Seating | undefined {
    if (this.#closed || this.#line.length > 0 || this.#free < least) return undefined;
    return this.#seat(Math.min(most, this.#free));
  }

  /**
   * The same once it is the caller's turn: who came first is served first. `isAdmitted` is somebody who has been
   * served before. Errors with `argument` if too many wait, or for more seats than there are; `cancelled`
   * if `signal` has fired.
   */
  stand(least: number, most: number, signal: AbortSignal | undefined, what: string, isAdmitted = false): Place {
    const { size } = this;
    const { maxQueue } = this.#options;
    if (this.#closed) throw this.#closed;
    throwIfCancelled(signal, what);
    if (least > size) throw new LorakeetError("argument", `${what} takes ${least} sequences at once, expected at most ${size}: the engine's \`batch\``);
    const queue = this.#line.length;
    const now = this.takeNow(least, most);
    if (!now && !isAdmitted && queue >= maxQueue) {
      const wait = queue === 1 ? "1 request waits" : `${queue} requests wait`;
      throw new LorakeetError("argument", `all ${size} sequences of this engine are taken and ${wait}, expected at most ${maxQueue}: the engine's \`maxQueue\``);
    }
    let waiting!: Waiting;
    const seated = now ? Promise.resolve(now) : new Promise<Seating>((resolve, reject) => (waiting = { least, most, resolve, reject }));
    seated.catch(() => {}); // nobody may look yet
    const quit = (error?: LorakeetError) => {
      const at = this.#line.indexOf(waiting);
      if (at < 0) return;
      this.#line.splice(at, 1);
      waiting.reject(error ?? new LorakeetError("cancelled", `${what} was given up`));
      this.#serve();
    };
    if (!now) {
      this.#line.push(waiting);
      const onAbort = () => quit(cancelled(signal!, what));
      signal?.addEventListener("abort", onAbort);
      const stopListening = () => signal?.removeEventListener("abort", onAbort);
      seated.then(stopListening, stopListening);
      this.#watch();
    }
    return { seated, quit: () => (quit(), void seated.then((seating) => seating.leave(), () => {})) };
  }

  /** Seats once it is the caller's turn. Errors as `stand` does. */
  async take(least: number, most: number, signal: AbortSignal | undefined, what: string, isAdmitted = false): Promise<Seating> {
    return this.stand(least, most, signal, what, isAdmitted).seated;
  }

  /** Who waits fails with `error`. */
  close(error: LorakeetError): void {
    this.#closed = error;
    clearTimeout(this.#timer);
    for (const { reject } of this.#line.splice(0)) reject(error);
  }

  #seat(count: number): Seating {
    this.#free -= count;
    let isTaken = true;
    let unread: Unread | undefined;
    const leave = () => {
      if (unread) this.#unread.delete(unread);
      if (!isTaken) return;
      isTaken = false;
      this.#free += count;
      this.#serve();
    };
    const idle = (end: () => Promise<void>) => {
      let isLate = false;
      const mine: Unread = (unread = {
        since: performance.now(),
        evict: () => {
          isLate = true;
          void end().catch(() => {}).then(leave); // whoever comes next hears of what is wrong with the engine
        },
      });
      this.#unread.add(mine);
      this.#watch();
      return () => {
        this.#unread.delete(mine);
        if (isLate) throw this.#unreadError();
      };
    };
    return { count, leave, idle };
  }

  #unreadError(): LorakeetError {
    const { streamIdleTimeout } = this.#options;
    return new LorakeetError("argument", `nobody read this stream for ${streamIdleTimeout} ms while others waited, so it was ended: read it to its end, or leave its loop or call its \`return()\`, or raise the engine's \`streamIdleTimeout\``);
  }

  /** Lets in who is first, as long as there is room. */
  #serve(): void {
    while (this.#line[0] && this.#free >= this.#line[0].least) {
      const { most, resolve } = this.#line.shift()!;
      resolve(this.#seat(Math.min(most, this.#free)));
    }
    this.#watch();
  }

  /** Looks again when the next of the unread is due, if anybody waits. */
  #watch(): void {
    clearTimeout(this.#timer);
    const { streamIdleTimeout } = this.#options;
    if (this.#line.length === 0 || this.#unread.size === 0 || streamIdleTimeout === Infinity) return;
    const due = Math.min(...Array.from(this.#unread, ({ since }) => since)) + streamIdleTimeout;
    // Longer than timers can wait is waited for in parts.
    this.#timer = setTimeout(() => this.#evict(), Math.min(Math.max(due - performance.now(), 0), 2 ** 31 - 1));
  }

  /** One is enough, if that lets somebody in; the next is looked at then. */
  #evict(): void {
    const late = performance.now() - this.#options.streamIdleTimeout;
    const first = Array.from(this.#unread).find(({ since }) => since <= late);
    if (first) this.#unread.delete(first);
    first?.evict();
    this.#watch();
  }
}
