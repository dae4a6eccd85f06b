// Which adapters are at work: what a caller may say, and what Rust takes for it.
// Not their loading.

import { LorakeetError } from "../error.js";
import { wrong } from "../options.js";
import type { WasmEngine } from "../thread/wasm.js";

/** A loaded adapter. */
export interface AdapterInfo {
  /** The name it was given when it was loaded. */
  name: string;
  /** Largest rank among its modules; 0 if it only scales or shifts. */
  rank: number;
  /** Names of the modules it acts on. */
  modules: string[];
  /** Number of virtual tokens it puts before every text (prompt and prefix tuning); 0 for other kinds. */
  virtualTokens: number;
  /** Bytes of main memory that its numbers take: its folder's, and what was computed from that. */
  bytes: number;
  /** Its weight in the engine's choice; 0 if it is not active. */
  weight: number;
  /** The weight it was merged with; 0 if it is not merged. */
  merged: number;
  /**
   * What you should know about its files; mostly empty. For example, a scale that a GGUF LoRA does not name, or
   * a module in the config that has no tensors.
   */
  warnings: string[];
}

/**
 * The name of one adapter, or several names with their weights, which may be negative or above 1. `null`, `{}`
 * and PEFT's `"__base__"` mean the base model without adapters.
 */
export type AdapterChoice = string | Readonly<Record<string, number>> | null;

/** PEFT's name for no adapter. */
const BASE = "__base__";

/** What Rust takes for a choice: {name: weight}. `option` is what the caller calls it. */
export function adapterWeights(option: string, choice: unknown): Record<string, number> {
  if (choice === null || choice === BASE) return {};
  if (typeof choice === "string") return { [choice]: 1 };
  if (typeof choice !== "object" || Array.isArray(choice)) throw wrong(option, choice, "a name, {name: weight} or null");
  for (const [name, weight] of Object.entries(choice as object)) {
    if (typeof weight !== "number") throw wrong(`${option} \`${name}\``, weight, "a number");
  }
  return choice as Record<string, number>;
}

/** The engine's own choice: what requests use that name no adapter. */
export function chosen(engine: WasmEngine): Record<string, number> {
  const on = (engine.adapters() as AdapterInfo[]).filter(({ weight }) => weight !== 0);
  return Object.fromEntries(on.map(({ name, weight }) => [name, weight]));
}

/** The same for each of `count` prompts. */
export function adapterNames(choices: unknown, count: number): Record<string, number>[] {
  if (!Array.isArray(choices)) throw wrong("adapter_names", choices, "an array, one for each prompt");
  if (choices.length !== count) {
    throw new LorakeetError("argument", `adapter_names of ${choices.length} entries, expected ${count}: one for each prompt`);
  }
  return choices.map((choice, i) => {
    if (choice === null) throw wrong(`adapter_names[${i}]`, choice, `a name, {name: weight} or "${BASE}"`);
    return adapterWeights(`adapter_names[${i}]`, choice);
  });
}

/** A name that an adapter may have. */
export function adapterName(name: unknown): string {
  if (name === "") throw new LorakeetError("argument", "this adapter comes without a folder's name, expected the option `name`");
  if (typeof name !== "string" || name === BASE) throw wrong("name", name, "a string other than \"__base__\"");
  return name;
}

/** The same of one that has no folder. */
export function givenName(name: unknown): string {
  if (name === "") throw wrong("name", name, "a non-empty string");
  return adapterName(name);
}
