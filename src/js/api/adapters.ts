// LoRA and its kin, from the caller's side: an adapter's files, read and written.
// Not what is in the files, nor how adapters act: that is Rust's.

import type { ModelCache } from "../files/cache.js";
import { adapterName, type AdapterInfo } from "./choice.js";
import type { Conversations } from "./conversations.js";
import { LorakeetError, orCancelled, throwIfCancelled } from "../error.js";
import { HUB_NAMES, Hub, type HubOptions } from "../files/hub.js";
import { checkNames, checkSignal, wrong } from "../options.js";
import { Remote } from "../files/remote.js";
import { adapterFolder, settled, settledTemplate, templateFiles, type AdapterSource, type TemplateSource } from "../files/source.js";
import { optional, small, type Folder } from "../files/folder.js";
import type { Turns } from "../thread/turns.js";
import { keeping } from "../thread/verdicts.js";
import { WasmEngine, enter } from "../thread/wasm.js";

/** A loaded adapter, with its config. */
export interface AdapterDetails extends AdapterInfo {
  /** PEFT's name for its kind: `LORA`, `IA3`, `VERA`. */
  peftType: string;
  /** What `adapter_config.json` holds. */
  config: Record<string, unknown>;
}

/** How to load an adapter. */
export interface AdapterOptions extends HubOptions {
  /** The adapter's name. Default: the name of its folder, or of its GGUF file without `.gguf`. An adapter with that name is replaced. */
  name?: string;
  /**
   * The chat template to use while the adapter is active. Default: the one in its folder, if there is one
   * (`chat_template.jinja`, or `chat_template` in `tokenizer_config.json` or `chat_template.json`).
   */
  chatTemplate?: TemplateSource;
  /** Cancels the reading of files, with an error of kind `cancelled`. */
  signal?: AbortSignal;
}

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
  try {
    return await turns.take((engine) => {
      throwIfCancelled(signal, folder.what);
      return keeping(engine, () => engine.loadAdapter(name, config, weights) as Promise<AdapterInfo>);
    }, signal);
  } catch (error) {
    throw withBase(error as LorakeetError, config);
  }
}

/** What does not fit is mostly of another model, which its config names. */
function withBase(error: LorakeetError, config: Uint8Array): LorakeetError {
  const base = error.kind === "mismatch" && (JSON.parse(new TextDecoder().decode(config)) as Record<string, unknown>).base_model_name_or_path;
  if (typeof base !== "string" || base === "") return error;
  return new LorakeetError("mismatch", `this adapter was made for \`${base}\`: ${error.message}`, { cause: error });
}

/** One adapter, with what its folder says. */
export async function getAdapter(turns: Turns, name: string): Promise<AdapterDetails> {
  if (typeof name !== "string") throw wrong("name", name, "a string");
  return turns.take((engine) => {
    const config = JSON.parse(engine.adapterConfig(name)) as Record<string, unknown>;
    return { ...(engine.adapter(name) as AdapterInfo), peftType: config.peft_type as string, config };
  });
}

/** The files of a PEFT folder. */
export async function exportAdapter(turns: Turns, name: string): Promise<File[]> {
  if (typeof name !== "string") throw wrong("name", name, "a string");
  const [config, weights] = await turns.take((engine) => engine.exportAdapter(name) as Promise<Uint8Array<ArrayBuffer>[]>);
  return [
    new File([config!], CONFIG, { type: "application/json" }),
    new File([weights!], WEIGHTS, { type: "application/octet-stream" }),
  ];
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
