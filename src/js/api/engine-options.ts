// How to load a model, what an engine then is, and the check of what a caller passed.
// Not the loading.

import { HUB_NAMES, type HubOptions } from "../files/hub.js";
import type { TemplateSource } from "../files/source.js";
import type { CacheKind } from "../files/store.js";
import { checkBoolean, checkFunction, checkNames, checkString, checkUrl, checkWhole, wrong } from "../options.js";
import type { SeatOptions } from "../thread/seats.js";
import type { GenerationConfig } from "./generation-config.js";
import type { Progress } from "./load.js";

/** How weights are stored in memory. */
export type Dtype = "f32" | "f16" | "q8" | "q4";

/** How keys and values are stored in the cache. */
export type KvDtype = "f32" | "f16" | "q8";

/** How to load a model. */
export interface EngineOptions extends HubOptions {
  /** `auto` uses WebGPU if the browser has it, otherwise the CPU. Default `auto`. */
  device?: "auto" | "webgpu" | "cpu";
  /**
   * Maximum number of tokens of prompt and generated text together. Default: the model's own context length,
   * at most 2048.
   */
  contextLength?: number;
  /**
   * How many sequences can be generated, or kept in the cache, at the same time. Default: up to 8, as many
   * as fit in 128 MiB at the default `contextLength`; a smaller one takes less memory.
   */
  batch?: number;
  /**
   * How the weights of the linear layers, the embedding and the head are stored: `q8` takes 8.5 bits per
   * weight, `q4` 4.5, in blocks of 32. Norms and biases stay f32, and so does a matrix whose number of
   * inputs is not a multiple of 64. Default: `f32`; for a GGUF file, for each matrix the smallest
   * type that changes no number.
   */
  dtype?: Dtype;
  /**
   * How the keys and values of the cache are stored: `f16` takes half the memory of `f32`, `q8` about a
   * quarter, in blocks of 32. Heads that it does not fit have the next wider type; `info.kvDtype` says
   * which. Default: `f32`.
   */
  kvDtype?: KvDtype;
  /**
   * On the CPU, multiply weights that are not f32 or f16 by activations as they are. Otherwise activations are
   * rounded to 16 bits for it, which is several times as fast: logits move by a few thousandths. Default: false.
   */
  exact?: boolean;
  /**
   * How many threads compute on the CPU, 1 to 8. In a page more than one needs cross-origin isolation
   * (`crossOriginIsolated`) and a worker that `createEngine` starts; in Node, Deno and Bun they start with the program's
   * first engine, and serve one engine at a time. Otherwise, or where they do not start, one computes: `info.threads`
   * says how many do. Every number is the same with any number of them. Default: half the processor's; 1 where WebGPU
   * is used.
   */
  threads?: number;
  /**
   * Where files from URLs and from the hub are kept, so that the next load needs no download and no network:
   * `opfs` is the origin private file system, `cache-api` the Cache API, `memory` the memory of the thread
   * that loads (for an engine in a worker, it ends with the worker), `disk` a folder of the user's caches in Node, Deno
   * and Bun. `false` keeps no files. Default: `opfs` or else `cache-api`, whichever the browser has, so none outside of
   * browsers; files that do not fit are not kept.
   */
  cache?: CacheKind | false;
  /**
   * How many requests may wait while all sequences of the `batch` are in use. The first to come is the first
   * to be served. One request more fails at once; with 0 none waits. Default 256.
   */
  maxQueue?: number;
  /**
   * After so many milliseconds a stream that nobody reads is ended, if other requests wait. Reading it later
   * fails with kind `argument`. Default 60,000; `Infinity` means never.
   */
  streamIdleTimeout?: number;
  /** The chat template to use instead of the model's own. */
  chatTemplate?: TemplateSource;
  /** Cancels loading, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Called while the model loads. */
  onProgress?: (progress: Progress) => void;
  /** URL of `lorakeet_bg.wasm`, if it is not beside this package. The first engine of a page decides. */
  wasmUrl?: string | URL;
  /** URL of `lorakeet_threads_bg.wasm`, which engines with threads have instead, if it is not beside this package. */
  threadsWasmUrl?: string | URL;
  /** URL of `lorakeet_chat_bg.wasm`, which the first chat fetches, if it is not beside this package. */
  chatWasmUrl?: string | URL;
  /** URL of `lorakeet_grammar.wasm`, which the first text with a format fetches, if it is not beside this package. */
  grammarWasmUrl?: string | URL;
  /**
   * `true` runs the engine in a worker of its own, so that the page stays responsive; `false` runs it on the
   * calling thread. If your bundler does not find the worker, pass a `Worker` of the module
   * `lorakeet/worker`. The worker is terminated with the engine. Default: `true` in a page, `false` in a
   * worker and outside browsers.
   */
  worker?: boolean | Worker;
}

/** Tensors of a GGUF file that it stores in one type and that are held in one. */
export interface StoredType {
  /** ggml's name of the type in the file, such as `Q4_K`. */
  stored: string;
  /** How they are held: as {@link EngineInfo.dtype}. */
  held: string;
  /** How many tensors there are. */
  tensors: number;
  /** Bytes in the file. */
  storedBytes: number;
  /** Bytes in memory. */
  heldBytes: number;
}

/** A loaded model, its device and its sizes. */
export interface EngineInfo {
  /** The model's name, from its folder; `model` where that has none. */
  model: string;
  /** The GGUF file that was loaded, or its first part; undefined for a folder of safetensors. */
  file: string | undefined;
  /** Where the model runs. */
  device: "webgpu" | "cpu";
  /** How many threads of the CPU compute; 1 on WebGPU. */
  threads: number;
  /** The GPU's name. Empty on the CPU, or if the browser does not tell it. */
  adapter: string;
  /** Maximum number of tokens of prompt and generated text together. */
  contextLength: number;
  /** How many sequences can be generated, or kept in the cache, at the same time. */
  batch: number;
  /** Number of tokens in the vocabulary. */
  vocabSize: number;
  /** Bytes of weights, caches and buffers on the device, once it was loaded; `engine.memoryBytes()` tells what they are now. */
  memoryBytes: number;
  /** How most weights are stored: a {@link Dtype}, or a type that only GGUF files have, such as `q4_1`. */
  dtype: string;
  /** How the keys and values of the cache are stored. */
  kvDtype: KvDtype;
  /** Of a GGUF file: the types of its tensors and what becomes of each, that of most bytes first. Empty for other files. */
  types: StoredType[];
  /** Defaults of requests that the model's `generation_config.json` names; empty where there is none, as with GGUF files. */
  generationConfig: GenerationConfig;
  /** What a temporary adapter does where its options say nothing: the preset `default`, by the model's number of parameters. */
  tempLora: { rank: number; learningRate: number; epochs: number; chunkTokens: number; contextTokens: number };
  /**
   * Notes about the model's files. For example, that tensors of a GGUF file take more memory here than in
   * the file.
   */
  warnings: string[];
}

/** The names of {@link EngineOptions}. */
export const ENGINE_NAMES = ["device", "contextLength", "batch", "dtype", "kvDtype", "exact", "threads", "maxQueue", "streamIdleTimeout", "chatTemplate", "cache", "signal", "onProgress", "wasmUrl", "threadsWasmUrl", "chatWasmUrl", "grammarWasmUrl", "worker", ...HUB_NAMES] as const;

/** How requests wait, and where the modules of chats and of grammars are. Errors with `argument`. */
export function checkEngineOptions(options: EngineOptions): { seats: SeatOptions; chatWasm: URL | undefined; grammarWasm: URL | undefined } {
  checkNames(options, ENGINE_NAMES);
  const { device, contextLength, batch, dtype, kvDtype, exact, onProgress, maxQueue = 256, streamIdleTimeout = 60_000 } = options;
  checkString("device", device);
  checkWhole("contextLength", contextLength);
  checkWhole("batch", batch);
  checkString("dtype", dtype);
  checkString("kvDtype", kvDtype);
  checkBoolean("exact", exact);
  checkFunction("onProgress", onProgress);
  checkWhole("maxQueue", maxQueue);
  if (typeof streamIdleTimeout !== "number" || !(streamIdleTimeout >= 0)) throw wrong("streamIdleTimeout", streamIdleTimeout, "milliseconds, 0 or more");
  // Now: whoever chats first may be on another page.
  const [chatWasm, grammarWasm] = [checkUrl("chatWasmUrl", options.chatWasmUrl), checkUrl("grammarWasmUrl", options.grammarWasmUrl)];
  return { seats: { maxQueue, streamIdleTimeout }, chatWasm, grammarWasm };
}
