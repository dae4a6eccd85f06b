// createEngine: an engine on the thread that calls, or in a worker of its own.
// Not the opening: that is open.ts's, on whichever thread.

import { persist } from "../files/cache.js";
import { ENGINE_NAMES, type EngineOptions } from "./engine-options.js";
import type { Engine } from "./engine.js";
import { openEngine } from "./open.js";
import { checkNames, checkSignal, wrong } from "../options.js";
import { program } from "../program.js";
import type { ModelSource } from "../files/source.js";
import { hasGpu } from "../thread/gpu.js";
import { openInWorker } from "../thread/worker-client.js";

/** Rust has the same limit. */
const MAX_THREADS = 8;

/**
 * Loads a model: a GGUF file, or a Hugging Face folder with `config.json`, `tokenizer.json` and safetensors weights,
 * in one file or in several with their index. Nothing else is fetched.
 *
 * ```ts
 * await createEngine("org/name@revision", { token }); // on the Hugging Face Hub
 *
 * const engine = await createEngine("./models/demo/", {
 *   onProgress: ({ loaded, total }) => (bar.value = loaded / total),
 * });
 * ```
 *
 * Errors: `argument` for an option or a missing file; `network` if a file cannot be read; `format`, `mismatch`
 * or `unsupported` for the content of the files; `unsupported` if WebGPU was asked for and is missing, or if the
 * worker does not start; `device`; `memory`; `cancelled` when `signal` fires.
 */
export async function createEngine(source: ModelSource, options: EngineOptions = {}): Promise<Engine> {
  checkNames(options, ENGINE_NAMES);
  checkSignal(options.signal);
  const { worker = inPage(), ...others } = options;
  const isWorker = typeof Worker !== "undefined" && worker instanceof Worker;
  if (typeof worker !== "boolean" && !isWorker) throw wrong("worker", worker, "true, false or a Worker");
  checkThreads(options.threads);
  const open = async () => openInWorker<Engine>(source, others, isWorker ? 1 : await threadsFor(options), isWorker ? worker : undefined);
  const engine = worker === false ? await openEngine(source, { ...others, threads: await threadsHere(options) }) : await open();
  // Some browsers ask the user: nobody waits for that.
  void persist(engine.cache).catch(() => {});
  return engine;
}

function checkThreads(threads: unknown): void {
  const fits = Number.isInteger(threads) && (threads as number) >= 1 && (threads as number) <= MAX_THREADS;
  if (threads !== undefined && !fits) throw wrong("threads", threads, `a whole number from 1 to ${MAX_THREADS}`);
}

/** How many threads to try in a worker. */
async function threadsFor(options: EngineOptions): Promise<number> {
  return globalThis.crossOriginIsolated ? wanted(options, () => navigator.hardwareConcurrency) : 1;
}

/** How many there are in a program that has had an engine. */
let started: Promise<number> | undefined;

/** Has a program's threads started with its first engine, and gives how many to try: one where they do not start. A page's own thread may not wait for others. */
async function threadsHere(options: EngineOptions): Promise<number> {
  const here = program();
  if (!here) return 1;
  const count = wanted(options, () => here.getBuiltinModule("os").availableParallelism());
  started ??= (async () => {
    if ((await count) > 1) await (await import("../thread/pool.js")).startThreads(await count, options.threadsWasmUrl);
    return count;
  })().catch(() => 1);
  return Math.min(await count, await started);
}

async function wanted({ device, threads }: EngineOptions, cores: () => number): Promise<number> {
  if (threads === 1 || device === "webgpu") return 1;
  if (device !== "cpu" && (await hasGpu())) return 1;
  // On two cores two threads were slower than one, beside the page's own and the browser's.
  return threads ?? Math.min(Math.ceil(cores() / 2), MAX_THREADS);
}

function inPage(): boolean {
  return typeof document !== "undefined" && typeof Worker !== "undefined";
}
