// Checks of what a caller passed, each error naming the option, then expected and got.
// Not of ranges, nor of words such as `mean` and `last`: the engine knows those.

import { LorakeetError } from "./error.js";
import { page } from "./page.js";

/** The largest whole number of 32 bits. */
const MOST = 0xffff_ffff;

/** Refuses names that are not `known`, nor `tolerated`: a misspelt option must not be ignored. */
export function checkNames(options: object, known: readonly string[], tolerated: readonly string[] = []): void {
  if (typeof options !== "object" || options === null) throw wrong("options", options, "an object");
  const unknown = Object.keys(options).find((name) => !known.includes(name) && !tolerated.includes(name));
  if (unknown === undefined) return;
  const near = nearest(unknown, known);
  const hint = near === undefined ? ", expected" : `, did you mean \`${near}\`? Expected`;
  throw new LorakeetError("argument", `option \`${unknown}\`: unknown${hint} one of ${known.join(", ")}`);
}

/** The one of some names that another is a slip or another spelling of, if one is: `maxTokens` of `max_tokens`. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (each: string) => each.replaceAll(/[_-]/g, "").toLowerCase();
  const near = known.map((each) => ({ each, by: distance(plain(each), plain(name)) })).sort((a, b) => a.by - b.by)[0];
  return near && near.by <= Math.min(2, near.each.length / 3) ? near.each : undefined;
}

/** How many letters must be put in, left out or changed to make one word another (Levenshtein's distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) next.push(Math.min(row[j]! + Number(a[i] !== b[j]), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row[b.length]!;
}

/** An error about one option. */
export function wrong(name: string, value: unknown, expected: string): LorakeetError {
  return new LorakeetError("argument", `${name} ${show(value)}, expected ${expected}`);
}

export function checkNumber(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "number") throw wrong(name, value, "a number");
}

/** A whole number that fits 32 bits. */
export function checkWhole(name: string, value: unknown): void {
  if (value !== undefined && !isWhole(value)) throw wrong(name, value, whole(value, 0));
}

export function checkPositive(name: string, value: unknown): void {
  if (value !== undefined && !(isWhole(value) && value > 0)) throw wrong(name, value, whole(value, 1));
}

/** What was expected in the place of `value`. Where an option ends earlier, the engine says so. */
function whole(value: unknown, least: number): string {
  return typeof value === "number" && value > MOST ? `at most ${MOST}` : `a whole number, at least ${least}`;
}

export function checkBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw wrong(name, value, "true or false");
}

export function checkTexts(name: string, value: unknown): void {
  const isTexts = Array.isArray(value) && value.every((each) => typeof each === "string");
  if (value !== undefined && !isTexts) throw wrong(name, value, "an array of strings");
}

/** Which strings there are is the engine's to know. */
export function checkString(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "string") throw wrong(name, value, "a string");
}

export function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw wrong(name, value, "a function");
}

/** The URL that the value is on this page. */
export function checkUrl(name: string, value: string | URL | undefined): URL | undefined {
  if (value === undefined) return undefined;
  try {
    return new URL(value, page().base);
  } catch {
    throw wrong(name, value, "a URL");
  }
}

export function checkSignal(value: unknown): void {
  if (value !== undefined && !isSignal(value)) throw wrong("signal", value, "an AbortSignal");
}

/** Not by `instanceof`: a frame's signals are of another class. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

export function isWhole(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST;
}

/** A value as it would be written, cut to a readable length. */
function show(value: unknown): string {
  let text;
  try {
    text = typeof value === "number" ? String(value) : JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value); // a circle, a bigint
  }
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
