// Engine: a loaded model, from the caller's side.
// Not the work itself: files are load.ts's, requests are completions.ts's.

import {
  adapterWeights, exportAdapter, getAdapter, loadAdapter,
  type AdapterChoice, type AdapterDetails, type AdapterInfo, type AdapterOptions,
} from "./adapters.js";
import { ModelCache } from "../files/cache.js";
import { Chat } from "./chat.js";
import { Completions } from "./completions.js";
import { Conversations } from "./conversations.js";
import { Embeddings } from "./embeddings.js";
import type { DeviceLost } from "../thread/device-loss.js";
import { orCancelled, throwIfCancelled } from "../error.js";
import { gpuName } from "../thread/gpu.js";
import { HUB_NAMES, Hub, type HubOptions } from "../files/hub.js";
import { growing, load, type Progress } from "./load.js";
import { checkFunction, checkNames, checkOneOf, checkUrl, checkWhole, isWhole, wrong } from "../options.js";
import { recover, type Origin, type RecoverOptions } from "./recover.js";
import { Remote } from "../files/remote.js";
import { Seats } from "../thread/seats.js";
import { modelFolder, settled, settledTemplate, templateFiles, type AdapterSource, type ModelSource, type TemplateSource } from "../files/source.js";
import type { CacheKind } from "../files/store.js";
import { createTempLora, type TempLora } from "./temp-lora.js";
import type { TempLoraOptions } from "./temp-lora-options.js";
import { trainAdapter, type TrainOptions, type TrainingStep } from "./train.js";
import { Turns } from "../thread/turns.js";
import { loadWasm } from "../thread/wasm.js";
import { addWeightedAdapter, type CombinationOptions } from "./weighted.js";

/** A type of weights. */
export type Dtype = "f32" | "f16" | "q8" | "q4";

/** How to load a model. */
export interface EngineOptions extends HubOptions {
  /** `auto` takes WebGPU where it is to be had, else the CPU. Default `auto`. */
  device?: "auto" | "webgpu" | "cpu";
  /** Most tokens of prompt and text together. Default: what the model was made for, at most 2048. */
  contextLength?: number;
  /** Prompts generated or remembered at once. Default: up to 8, as 128 MiB allow. */
  batch?: number;
  /**
   * Type of the linear maps, the embedding and the head in memory: `q8` takes 8.5 bits a weight, `q4`
   * 4.5, in blocks of 32. A matrix whose inputs are no multiple of 64 stays f32, norms and biases do.
   * Default `f32`; of a GGUF file, for each matrix the narrowest type that keeps its numbers.
   */
  dtype?: Dtype;
  /**
   * Where files of URLs and of the hub are kept, so that the next load needs no download, nor a network:
   * the origin's private file system, the Cache API, or the memory of the thread that loads, which for an
   * engine in a worker ends with it; false keeps none. Default: the first of these that the browser has,
   * memory apart, and none where there is no room.
   */
  cache?: CacheKind | false;
  /**
   * Requests that may wait while all sequences of the `batch` are taken: who came first is served first. One more
   * fails at once; with 0 nobody waits. Default 256.
   */
  maxQueue?: number;
  /**
   * Milliseconds after which a stream that nobody reads is ended, where others wait: a later read of it fails
   * with kind `argument`. Default 60,000; `Infinity` is never.
   */
  streamIdleTimeout?: number;
  /** The chat template, in place of the one that comes with the model. */
  chatTemplate?: TemplateSource;
  /** Interrupts the loading, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Hears how far the loading is. */
  onProgress?: (progress: Progress) => void;
  /** Where `lorakeet_bg.wasm` is, if not beside this package. The first engine of a page decides. */
  wasmUrl?: string | URL;
  /** Where `lorakeet_chat_bg.wasm` is, which the first chat fetches, if not beside this package. */
  chatWasmUrl?: string | URL;
  /**
   * `true` does all work in a worker of the engine's own, and the page stays free; `false` on the thread
   * that calls. A `Worker` of the module `lorakeet/worker`, where a bundler does not find it. It ends
   * with the engine. Default: `true` in a page, `false` in a worker and outside of browsers.
   */
  worker?: boolean | Worker;
}

/** What an engine is made of. */
export interface EngineInfo {
  /** The model's name, from its folder; `model` where that has none. */
  model: string;
  /** Where it runs. */
  device: "webgpu" | "cpu";
  /** What the GPU calls itself; empty on the CPU, and where the browser does not tell. */
  adapter: string;
  /** Most tokens of prompt and text together. */
  contextLength: number;
  /** Prompts generated or remembered at once. */
  batch: number;
  /** Tokens the model can choose from. */
  vocabSize: number;
  /** Bytes of weights, caches and work space on the device. */
  memoryBytes: number;
  /** How most weights are held: a {@link Dtype}, or a type that GGUF files alone have, as `q4_1`. */
  dtype: string;
  /** What there is to know of the model's files, as that a GGUF file's tensors take more memory than they do there. */
  warnings: string[];
}

/** Of {@link EngineOptions}. */
export const ENGINE_NAMES = ["device", "contextLength", "batch", "dtype", "maxQueue", "streamIdleTimeout", "chatTemplate", "cache", "signal", "onProgress", "wasmUrl", "chatWasmUrl", "worker", ...HUB_NAMES] as const;

const WHAT = "loading the model";

/** `createEngine` on the thread that calls. */
export async function openEngine(source: ModelSource, options: EngineOptions): Promise<Engine> {
  checkNames(options, ENGINE_NAMES);
  const { device = "auto", contextLength, batch, dtype, signal, onProgress, wasmUrl, chatWasmUrl } = options;
  checkOneOf("device", device, ["auto", "webgpu", "cpu"]);
  checkWhole("contextLength", contextLength);
  checkWhole("batch", batch);
  if (dtype !== undefined) checkOneOf("dtype", dtype, ["f32", "f16", "q8", "q4"]);
  checkFunction("onProgress", onProgress);
  const { maxQueue = 256, streamIdleTimeout = 60_000 } = options;
  checkWhole("maxQueue", maxQueue);
  if (typeof streamIdleTimeout !== "number" || !(streamIdleTimeout >= 0)) throw wrong("streamIdleTimeout", streamIdleTimeout, "milliseconds, 0 or more");
  // Now: whoever chats first may be on another page.
  const chatWasm = checkUrl("chatWasmUrl", chatWasmUrl);
  const cache = new ModelCache(options.cache);
  const remote = new Remote(cache);
  const folder = modelFolder(await orCancelled(settled("model", source), signal, WHAT), new Hub(options), remote);
  const template = await orCancelled(settledTemplate(options.chatTemplate), signal, WHAT);
  throwIfCancelled(signal, WHAT);
  await orCancelled(loadWasm(wasmUrl), signal, WHAT);
  const request = { device, contextLength, batch, dtype, signal, onProgress: onProgress && growing(onProgress) };
  const { made, fallbackReason } = await remote.load(() => load(folder, request, (loader) => loader.finish()));
  const info = { model: folder.name || "model", ...(made.info() as Omit<EngineInfo, "model">) };
  if (info.device === "webgpu") info.adapter ||= await gpuName();
  made.setBaseName(folder.id);
  const turns = new Turns(made, new Seats(info.batch, { maxQueue, streamIdleTimeout }));
  const origin = { folder, remote, request: { contextLength, batch, dtype } };
  return new Engine(turns, info, origin, fallbackReason, cache, new Conversations(turns, templateFiles(folder, template, remote)!, chatWasm));
}

/** A loaded model. `createEngine` makes one. */
export class Engine {
  /** Continues texts, in OpenAI's shapes. */
  readonly completions: Completions;
  /** Answers in conversations, in OpenAI's shapes. */
  readonly chat: Chat;
  /** Turns texts into vectors, in OpenAI's shapes. */
  readonly embeddings: Embeddings;
  /** What the engine is made of. */
  readonly info: Readonly<EngineInfo>;
  /** Why `device: "auto"` took the CPU; undefined if it did not. */
  readonly fallbackReason: string | undefined;
  /** The files kept for later loads. */
  readonly cache: ModelCache;
  readonly #turns: Turns;
  readonly #origin: Origin;
  readonly #conversations: Conversations;

  /** @internal */
  constructor(
    turns: Turns, info: EngineInfo, origin: Origin, fallbackReason: string | undefined, cache: ModelCache, conversations: Conversations,
  ) {
    this.#turns = turns;
    this.#origin = origin;
    this.info = Object.freeze(info);
    this.fallbackReason = fallbackReason;
    this.cache = cache;
    this.completions = new Completions(turns, info.model);
    this.chat = new Chat(turns, info.model, conversations);
    this.#conversations = conversations;
    this.embeddings = new Embeddings(turns, info.model);
  }

  /** Where the model runs. */
  get device(): "webgpu" | "cpu" {
    return this.info.device;
  }

  /** Token ids of a text, with the special tokens the model expects around it. */
  async tokenize(text: string): Promise<number[]> {
    if (typeof text !== "string") throw wrong("text", text, "a string");
    return Array.from(await this.#turns.take((engine) => engine.encode(text)));
  }

  /** The text of token ids, special tokens apart. */
  async detokenize(ids: readonly number[]): Promise<string> {
    if (!Array.isArray(ids) || !ids.every(isWhole)) throw wrong("ids", ids, "an array of token ids");
    return this.#turns.take((engine) => engine.decode(Uint32Array.from(ids)));
  }

  /**
   * The logits at every position of `ids`, computed anew: for each, what the model expects to come next.
   *
   * ```ts
   * const ids = await engine.tokenize("The fox");
   * const last = (await engine.logits(ids, { adapter: "poet" })).at(-1)!; // Float32Array of info.vocabSize
   * ```
   *
   * `adapter` is used instead of the engine's choice; null is the base. Errors with `argument` for ids
   * that are none, outside the vocabulary or more than the context, or an adapter that is not loaded.
   */
  async logits(ids: readonly number[], options: { adapter?: AdapterChoice } = {}): Promise<Float32Array[]> {
    if (!Array.isArray(ids) || !ids.every(isWhole)) throw wrong("ids", ids, "an array of token ids");
    checkNames(options, ["adapter"]);
    const weights = options.adapter === undefined ? undefined : adapterWeights("adapter", options.adapter);
    const all = await this.#turns.seated("the logits", (engine) => engine.logits(Uint32Array.from(ids), weights));
    const v = this.info.vocabSize;
    return ids.map((_, t) => all.subarray(t * v, (t + 1) * v));
  }

  /**
   * Loads a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`, as `save_pretrained`
   * writes them; one of mlx-lm or of mistral-finetune; or a GGUF LoRA, as llama.cpp's converter does. It is
   * not switched on by that.
   *
   * ```ts
   * await engine.loadAdapter("./adapters/sql/"); // as "sql"
   * await engine.loadAdapter("org/sql-lora"); //    from the Hugging Face Hub
   * await engine.loadAdapter("./poet.gguf");
   * await engine.loadAdapter(input.files, { name: "poet" });
   * await engine.setAdapter({ sql: 0.7, poet: 0.3 });
   * ```
   *
   * Errors: `argument` for an option, a missing file, or a name that a running completion uses;
   * `network`, `format`, `unsupported`, `mismatch` for an adapter of another base, `memory`, and
   * `cancelled`. What was loaded stays loaded, the adapter that had the name included.
   */
  loadAdapter(source: AdapterSource, options: AdapterOptions = {}): Promise<AdapterInfo> {
    return loadAdapter(this.#turns, this.#conversations, this.cache, source, options);
  }

  /**
   * Chooses the adapters of completions that name none: one, a blend, or the base. It takes its turn
   * like every call: completions asked for later have it, those begun before keep theirs.
   *
   * Errors with `argument` for an adapter that is not loaded, or more of them than a blend holds.
   */
  async setAdapter(choice: AdapterChoice): Promise<void> {
    const weights = adapterWeights("adapter", choice);
    await this.#turns.take((engine) => engine.setAdapter(weights));
  }

  /** Chooses the base: `setAdapter(null)`. */
  disableAdapters(): Promise<void> {
    return this.setAdapter(null);
  }

  /** The loaded adapters, in the order of loading. */
  listAdapters(): Promise<AdapterInfo[]> {
    return this.#turns.take((engine) => engine.adapters() as AdapterInfo[]);
  }

  /** One loaded adapter, with its config. Errors with `argument` if it is not loaded. */
  getAdapter(name: string): Promise<AdapterDetails> {
    return getAdapter(this.#turns, name);
  }

  /**
   * Makes a new adapter of loaded LoRAs, as PEFT's `add_weighted_adapter` does; one that has the name
   * is replaced. The first adapter's config is copied, and its chat template goes with it. A blend needs none of this: `setAdapter` is
   * exact and free; this is for methods that are no sum, and for exporting.
   *
   * ```ts
   * await engine.addWeightedAdapter("both", { sql: 0.7, poet: 0.3 }, { combinationType: "ties", density: 0.4 });
   * ```
   *
   * Errors: `argument` for an option, an adapter that is not loaded, or ranks that differ where they
   * must not; `unsupported` for adapters that are no plain LoRA; `memory`.
   */
  async addWeightedAdapter(
    name: string, adapters: Readonly<Record<string, number>>, options: CombinationOptions = {},
  ): Promise<AdapterInfo> {
    const info = await addWeightedAdapter(this.#turns, name, adapters, options);
    this.#conversations.inherit(name, Object.keys(adapters)[0]);
    return info;
  }

  /**
   * A loaded adapter as a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`, those it
   * was loaded from or, where it was made here, those of a LoRA. The config names its base, as PEFT and
   * llama.cpp's converter want it: by the hub id, or the name of its folder, where it names none.
   *
   * Errors with `argument` if it is not loaded, `unsupported` if no LoRA can express it.
   */
  exportAdapter(name: string): Promise<File[]> {
    return exportAdapter(this.#turns, name);
  }

  /**
   * Folds adapters into the model's weights and out of the engine's choice; others can be chosen on
   * top. It saves their cost per token, rounds as f32 does, and keeps a copy of what it changes.
   *
   * Errors with `argument` if adapters are merged already, one is not loaded or is being trained, or a
   * completion is running; `unsupported` for what no weight can take; `device`.
   */
  async mergeAdapter(choice: AdapterChoice): Promise<void> {
    const weights = adapterWeights("adapter", choice);
    await this.#turns.take((engine) => engine.mergeAdapter(weights));
  }

  /**
   * Gives the weights the base's bits again. Errors with `argument` if nothing is merged, or a
   * completion is running.
   */
  async unmergeAdapter(): Promise<void> {
    await this.#turns.take((engine) => engine.unmergeAdapter());
  }

  /**
   * Takes an adapter out, and out of the engine's choice. Errors with `argument` if it is not loaded,
   * is merged, or a running completion uses it.
   */
  async deleteAdapter(name: string): Promise<void> {
    if (typeof name !== "string") throw wrong("name", name, "a text");
    await this.#turns.take((engine) => engine.deleteAdapter(name));
    this.#conversations.inherit(name, undefined);
  }

  /**
   * Teaches a new adapter, or with `resume` a loaded one, on texts or examples. It takes a slice of
   * work at a time, so the page and other requests live on; the adapter can be used meanwhile. It takes
   * the room of one prompt.
   *
   * ```ts
   * for await (const { step, steps, loss, eta } of engine.trainAdapter({ name: "me", dataset: text })) {
   *   show(`${step} of ${steps}: loss ${loss.toFixed(2)}, ${eta.toFixed(0)} s left`);
   * }
   * await engine.setAdapter("me");
   * ```
   *
   * It begins when it is first read. Leaving the loop, or `signal`, ends it: the adapter stays as the
   * last finished step left it.
   *
   * Errors: `argument` for an option, a name that is taken, or while another adapter is trained or a
   * temporary one is there; `unsupported` for an adapter that is no plain LoRA, or conversations without a template
   * that fits; `memory`, saying what would fit; `device` if the loss is no number any more; `cancelled`.
   */
  trainAdapter(options: TrainOptions): AsyncGenerator<TrainingStep, void, undefined> {
    return trainAdapter(this.#turns, this.#conversations, options);
  }

  /**
   * A temporary adapter that learns a long text chunk by chunk (Temp-LoRA, arXiv:2401.11504), is used
   * for what comes next, and then kept, exported or discarded. There is one at a time.
   *
   * ```ts
   * const temp = await engine.createTempLora();
   * await temp.train(story);
   * for await (const { text, chunk } of temp.generate({ max_tokens: 20_000, temperature: 0.8 })) {
   *   page.append(text);
   *   if (chunk) plot(chunk.trainLosses[0]);
   * }
   * await temp.dispose(); // the base is bit-identical again
   * ```
   *
   * Errors: `argument` for an option, a name that is taken, or while another adapter is trained;
   * `unsupported` for adapters beside it that are no plain LoRA; `memory`, saying what would fit.
   */
  createTempLora(options: TempLoraOptions = {}): Promise<TempLora> {
    return createTempLora(this.#turns, options);
  }

  /**
   * Settles when the GPU is lost: it crashed, was reset by the system, or had no memory for what was
   * under way; an adapter or a training that does not fit is refused and loses nothing. A call that
   * meets the loss fails with kind `device`, or `memory`; but where this has been called it waits for
   * {@link recover} and goes on after it.
   *
   * ```ts
   * async function watch() {
   *   for (;;) {
   *     const { message } = await engine.lost();
   *     show(message);
   *     await engine.recover();
   *   }
   * }
   * ```
   *
   * Ask anew after every recovery. It never settles on the CPU, nor once the engine is disposed.
   */
  lost(): Promise<DeviceLost> {
    return this.#turns.lost();
  }

  /**
   * Opens a GPU again after a loss and goes on where the engine was: the model comes from where it came from,
   * the cache if it is kept there; adapters, merged ones included, the choice of them, a temporary
   * adapter and one in training are still in hand. Requests that wait, see {@link lost}, compute their
   * text so far anew and continue it. Later calls wait meanwhile. If nothing was lost, nothing is done.
   *
   * Training goes on from the last finished step. Keys and values that a temporary adapter was to keep
   * (`kv` other than `recompute`) are computed with what it has learned since.
   *
   * Errors: as `createEngine` with `device: "webgpu"`, `mismatch` if the model is another one by now.
   * Waiting requests then fail with the loss, and it can be asked for again; or `dispose` the engine.
   */
  recover(options: RecoverOptions = {}): Promise<void> {
    return recover(this.#turns, this.#origin, options);
  }

  /**
   * Frees the model, on the GPU too, once the step under way is done. Later calls, and requests not
   * finished by then, fail with `argument`. Disposing twice is no error.
   */
  dispose(): Promise<void> {
    return this.#turns.close();
  }
}
