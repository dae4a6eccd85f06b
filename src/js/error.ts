// LorakeetError: what every failing call of this package throws or rejects with.
// Not a catalogue of messages: those are written where the failure is understood.

/**
 * What the caller can do about an error:
 *
 * | kind | means | the caller can |
 * | --- | --- | --- |
 * | `unsupported` | no WebGPU, a missing feature, an architecture not implemented | use another device or model |
 * | `format` | the bytes are not what they claim to be | get another file |
 * | `mismatch` | valid files that do not fit each other | choose another file |
 * | `argument` | an option out of range, a prompt too long, an unknown name | fix the call |
 * | `network` | a fetch or a file read failed | retry |
 * | `device` | the device was lost, or the module stopped | `recover` the engine, or open it again |
 * | `memory` | out of memory | use something smaller |
 * | `cancelled` | the `AbortSignal` fired; its `name` is `AbortError` | nothing |
 */
export type ErrorKind = (typeof KINDS)[number];

const KINDS = [
  "unsupported", "format", "mismatch", "argument", "network", "device", "memory", "cancelled",
] as const;

/**
 * An error with a {@link ErrorKind | kind} a program can act on. The message names the thing, then what it
 * is and what was expected; URLs and file names come last.
 *
 * ```ts
 * try {
 *   await createEngine("./models/demo/");
 * } catch (error) {
 *   if (error instanceof LorakeetError && error.kind === "network") retry();
 *   else throw error;
 * }
 * ```
 */
export class LorakeetError extends Error {
  /** `AbortError` for what was cancelled, as the web's own interfaces call it. */
  override readonly name: "LorakeetError" | "AbortError";
  /** What the caller can do about it. */
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.name = kind === "cancelled" ? "AbortError" : "LorakeetError";
  }
}

/** The same error with its kind as a type. What carries no kind is a bug here: kind `device`. */
export function fromWasm(thrown: unknown): LorakeetError {
  if (thrown instanceof LorakeetError) return thrown;
  const { kind, message } = thrown instanceof Error ? (thrown as Error & { kind?: unknown }) : { kind: null, message: String(thrown) };
  const known = KINDS.find((name) => name === kind);
  return new LorakeetError(known ?? "device", message, { cause: thrown });
}

/** Throws `cancelled` if the signal has fired. `what` was interrupted: "loading the model". */
export function throwIfCancelled(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw cancelled(signal, what);
}

/** The error of an interrupted `what`; the signal's reason is its cause. */
export function cancelled(signal: AbortSignal, what: string): LorakeetError {
  return withReason(`${what} was cancelled`, signal);
}

/** The error of an interruption, which `message` names, by the signal that fired. */
export function withReason(message: string, { reason }: AbortSignal): LorakeetError {
  const why = reason?.name === "TimeoutError" ? ": its time was up" : "";
  return new LorakeetError("cancelled", message + why, { cause: reason });
}

/** Waits for what others may wait for too: one caller's signal ends that caller's waiting, and nothing else. */
export function orCancelled<T>(shared: Promise<T>, signal: AbortSignal | undefined, what: string): Promise<T> {
  if (!signal) return shared;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(cancelled(signal, what));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
