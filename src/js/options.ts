// Checks of what a caller passed, each error naming the option, then expected and got.
// Not of ranges, nor of words such as `mean` and `last`: the engine knows those.

import { LorakeetError } from "./error.js";
import { page } from "./page.js";

/** Refuses names that are not `known`: a misspelt option must not be ignored. */
export function checkNames(options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) throw wrong("options", options, "an object");
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const near = known.find((name) => distance(name, unknown) <= Math.min(2, name.length / 3));
  const hint = near === undefined ? "" : `; did you mean \`${near}\`?`;
  throw new LorakeetError("argument", `option \`${unknown}\`: unknown, expected one of ${known.join(", ")}${hint}`);
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
  if (value !== undefined && !isWhole(value)) throw wrong(name, value, "a whole number from 0 to 4294967295");
}

export function checkPositive(name: string, value: unknown): void {
  if (value !== undefined && !(isWhole(value) && value > 0)) throw wrong(name, value, "a whole number from 1 to 4294967295");
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
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff;
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
