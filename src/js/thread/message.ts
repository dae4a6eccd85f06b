// What an engine's caller and its host say to each other, and how arguments are written in it.
// Not who says it when: that is connection.ts's and host.ts's.

import type { ErrorKind } from "../error.js";
import { isSignal } from "../options.js";
import type { Page } from "../page.js";

/** From the caller. A call and what it returns have one number. */
export type ToHost =
  | { type: "call"; id: number; object: number; path: string[]; args: unknown[]; page: Page }
  /** A signal of a call has fired. */
  | { type: "abort"; id: number; signal: number }
  /** A function of a call has thrown: none of its functions is to be called again. */
  | { type: "fail"; id: number }
  /** What a call returned is not needed any more. */
  | { type: "end"; id: number };

/** From the host. */
export type FromHost =
  /** Once, first. */
  | { type: "ready" }
  | { type: "value"; id: number; value: unknown }
  /** The call returned an object with methods, which stays with the host. */
  | { type: "object"; id: number; description: Description; habits: Habits }
  | { type: "error"; id: number; kind: ErrorKind | undefined; name: string; message: string; cause: unknown }
  /** A function of a call is called. */
  | { type: "callback"; id: number; index: number; args: unknown[] };

/** The outside of an object. */
export interface Description {
  /** Properties, as they were when it was described. */
  values: Record<string, unknown>;
  methods: string[];
  /** Objects with methods within it. */
  parts: Record<string, Description>;
}

/** The first object of a host, which the caller knows without having been given it. */
export const ROOT = 0;

/** What a caller has to know of methods beside their names. */
export interface Habits {
  /** Methods that give a stream and no promise: always, or where the first argument has `stream: true`. */
  streams: Readonly<Record<string, "always" | "asked">>;
  /** What the streams of a method have beside those that every stream has. */
  ofStreams: Readonly<Record<string, readonly string[]>>;
  /** Methods after which an object without parts is of no use, once they have succeeded. */
  ends: readonly string[];
}

/** Whether a call gives a stream, and no promise. */
export function isStream({ streams }: Habits, method: string, args: readonly unknown[]): boolean {
  const when = Object.hasOwn(streams, method) ? streams[method] : undefined;
  return when === "always" || (when === "asked" && Boolean((args[0] as { stream?: unknown } | null | undefined)?.stream));
}

/** A stream with the methods that those of `method` have, each of which `call` calls. */
export function withMethods(
  { ofStreams }: Habits, method: string, stream: AsyncGenerator, call: (name: string, args: unknown[]) => Promise<unknown>,
): AsyncGenerator {
  const names = Object.hasOwn(ofStreams, method) ? ofStreams[method]! : [];
  return Object.assign(stream, Object.fromEntries(names.map((name) => [name, (...args: unknown[]) => call(name, args)])));
}

/** What cannot be sent is written as an object with this property. */
const KIND = "lorakeet:kind";

type Written =
  | { [KIND]: "function"; index: number }
  | { [KIND]: "signal"; index: number; aborted: boolean }
  | { [KIND]: "url"; href: string }
  | { [KIND]: "file"; file: File; path: string };

/** Arguments as they are sent, and what of them stays here. */
export interface Packed {
  args: unknown[];
  functions: ((...args: unknown[]) => unknown)[];
  signals: AbortSignal[];
  /** Streams are handed over: they cannot be copied. */
  streams: ReadableStream[];
}

/** Writes arguments for the other side. */
export function pack(args: readonly unknown[]): Packed {
  const packed: Packed = { args: [], functions: [], signals: [], streams: [] };
  const write = (value: unknown): unknown => {
    if (typeof value === "function") return written({ [KIND]: "function", index: packed.functions.push(value as () => unknown) - 1 });
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
    if (value instanceof ReadableStream) packed.streams.push(value);
    if (isSignal(value)) return written({ [KIND]: "signal", index: packed.signals.push(value) - 1, aborted: value.aborted });
    if (value instanceof URL) return written({ [KIND]: "url", href: value.href });
    // The folder a file was chosen in is not part of what is cloned.
    if (value instanceof File && value.webkitRelativePath) return written({ [KIND]: "file", file: value, path: value.webkitRelativePath });
    if (Symbol.iterator in value) return Array.from(value as Iterable<unknown>, write);
    return isPlain(value) ? mapped(value, write) : value;
  };
  packed.args = args.map(write);
  return packed;
}

/** Reads what `pack` wrote, with this side's functions and signals in the places of the other's. */
export function unpack(
  args: readonly unknown[], call: (index: number, args: unknown[]) => void, signal: (index: number, aborted: boolean) => AbortSignal,
): unknown[] {
  const read = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(read);
    if (!isPlain(value)) return value;
    if (!(KIND in value)) return mapped(value, read);
    const special = value as Written;
    if (special[KIND] === "function") return (...given: unknown[]) => call(special.index, given);
    if (special[KIND] === "signal") return signal(special.index, special.aborted);
    if (special[KIND] === "url") return new URL(special.href);
    return Object.defineProperty(special.file, "webkitRelativePath", { value: special.path });
  };
  return args.map(read);
}

function written(value: Written): Written {
  return value;
}

function mapped(value: object, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, map(each)]));
}

/** Whether a value is data by name, and no object of a class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
