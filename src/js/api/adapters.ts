// LoRA and its kin, from the caller's side: reading an adapter's files, and what a choice of adapters means.
// Not what is in the files, nor how adapters act: that is Rust's.

import type { ModelCache } from "../files/cache.js";
import type { Conversations } from "./conversations.js";
import { LorakeetError, orCancelled, throwIfCancelled } from "../error.js";
import { HUB_NAMES, Hub, type HubOptions } from "../files/hub.js";
import { checkNames, checkSignal, wrong } from "../options.js";
import { Remote } from "../files/remote.js";
import { adapterFolder, optional, settled, settledTemplate, small, templateFiles, type AdapterSource, type Folder, type TemplateSource } from "../files/source.js";
import type { Turns } from "../thread/turns.js";
import { keeping } from "../thread/verdicts.js";
import { WasmEngine, enter } from "../thread/wasm.js";

/** A loaded adapter. */
export interface AdapterInfo {
  /** As given when it was loaded. */
  name: string;
  /** Largest rank of its modules; 0 where it only scales or shifts. */
  rank: number;
  /** Names of the modules it acts on. */
  modules: string[];
  /** Tokens it puts in front of every text (prompt and prefix tuning); 0 for others. */
  virtualTokens: number;
  /** Bytes of main memory that its numbers take: its folder's, and what was computed from that. */
  bytes: number;
  /** Its weight in the engine's choice; 0 where it is off. */
  weight: number;
  /** Its weight in what is merged into the model's weights; 0 where it is not. */
  merged: number;
  /**
   * What its files cannot say, as the scale of a GGUF LoRA, or say and do not have, as modules without
   * tensors, and you should know; mostly empty.
   */
  warnings: string[];
}

/** A loaded adapter with what its folder says. */
export interface AdapterDetails extends AdapterInfo {
  /** PEFT's name for its kind: `LORA`, `IA3`, `VERA`. */
  peftType: string;
  /** What `adapter_config.json` holds. */
  config: Record<string, unknown>;
}

/**
 * Adapters by name, each with its weight, which may be negative or above 1; or one name, for weight 1.
 * Null, `{}` and PEFT's `"__base__"` are the base model.
 */
export type AdapterChoice = string | Readonly<Record<string, number>> | null;

/** How to load an adapter. */
export interface AdapterOptions extends HubOptions {
  /** What to call it. Default: its folder's name, or a GGUF file's without `.gguf`. An adapter of that name is replaced. */
  name?: string;
  /**
   * The chat template of conversations under it. Default: the one in its folder, if there is one
   * (`chat_template.jinja`, or `chat_template` in `tokenizer_config.json` or `chat_template.json`).
   */
  chatTemplate?: TemplateSource;
  /** Interrupts the reading, with an error of kind `cancelled`; what has been read is loaded in one step. */
  signal?: AbortSignal;
}

/** PEFT's name for no adapter. */
const BASE = "__base__";
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const PICKLE = "adapter_model.bin";
const MLX_WEIGHTS = "adapters.safetensors";
const MISTRAL_WEIGHTS = "lora.safetensors";
const MISTRAL_CONFIG = "params.json";

/** Reads an adapter's folder or a GGUF LoRA and loads it when the engine comes to it. */
export async function loadAdapter(
  turns: Turns, conversations: Conversations, cache: ModelCache, source: AdapterSource, options: AdapterOptions,
): Promise<AdapterInfo> {
  checkNames(options, ["name", "chatTemplate", "signal", ...HUB_NAMES]);
  const { signal } = options;
  checkSignal(signal);
  const remote = new Remote(cache);
  const folder = adapterFolder(await orCancelled(settled("adapter", source), signal, "loading the adapter"), new Hub(options), remote);
  const name = adapterName(options.name ?? folder.name);
  const template = await orCancelled(settledTemplate(options.chatTemplate), signal, folder.what);
  const info = await remote.load(() => readAdapter(turns, name, folder, signal));
  // Beside a GGUF LoRA there may be anything.
  conversations.bring(name, templateFiles(folder.gguf === undefined ? folder : undefined, template, remote));
  return info;
}

async function readAdapter(turns: Turns, name: string, folder: Folder, signal: AbortSignal | undefined): Promise<AdapterInfo> {
  if (folder.gguf !== undefined) {
    const file = await small(folder, folder.gguf, signal);
    return turns.take((engine) => {
      throwIfCancelled(signal, folder.what);
      return keeping(engine, () => engine.loadGgufAdapter(name, file) as Promise<AdapterInfo>);
    }, signal);
  }
  const { config, weights } = await readFiles(folder, signal);
  return turns.take((engine) => {
    throwIfCancelled(signal, folder.what);
    return keeping(engine, () => engine.loadAdapter(name, config, weights) as Promise<AdapterInfo>);
  }, signal);
}

/** One adapter, with what its folder says. */
export async function getAdapter(turns: Turns, name: string): Promise<AdapterDetails> {
  if (typeof name !== "string") throw wrong("name", name, "a text");
  return turns.take((engine) => {
    const config = JSON.parse(engine.adapterConfig(name)) as Record<string, unknown>;
    return { ...(engine.adapter(name) as AdapterInfo), peftType: config.peft_type as string, config };
  });
}

/** The files of a PEFT folder. */
export async function exportAdapter(turns: Turns, name: string): Promise<File[]> {
  if (typeof name !== "string") throw wrong("name", name, "a text");
  const [config, weights] = await turns.take((engine) => engine.exportAdapter(name) as Promise<Uint8Array<ArrayBuffer>[]>);
  return [
    new File([config!], CONFIG, { type: "application/json" }),
    new File([weights!], WEIGHTS, { type: "application/octet-stream" }),
  ];
}

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
  if (typeof name !== "string" || name === BASE) throw wrong("name", name, "a text other than that of the base");
  return name;
}

/** The same of one that has no folder. */
export function givenName(name: unknown): string {
  if (name === "") throw wrong("name", name, "a text that is not empty");
  return adapterName(name);
}

/** PEFT's and mlx-lm's folders have a config; mistral-finetune's may have weights alone. */
async function readFiles(folder: Folder, signal: AbortSignal | undefined): Promise<{ config: Uint8Array; weights: Uint8Array }> {
  const config = await optional(folder, CONFIG, signal);
  if (config !== undefined) return { config, weights: await readWeights(folder, signal) };
  const weights = await optional(folder, MISTRAL_WEIGHTS, signal);
  if (weights === undefined) throw folder.missing(CONFIG);
  return { config: (await optional(folder, MISTRAL_CONFIG, signal)) ?? new Uint8Array(), weights };
}

async function readWeights(folder: Folder, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const file = (await folder.find(WEIGHTS, signal)) ?? (await folder.find(MLX_WEIGHTS, signal));
  if (file) return file.whole();
  const pickle = await folder.find(PICKLE, signal);
  if (!pickle) throw folder.missing(WEIGHTS);
  pickle.close();
  await enter(() => WasmEngine.refusePickle(PICKLE));
  throw folder.missing(WEIGHTS);
}
