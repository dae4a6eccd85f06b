// benchGpu: what this machine's GPU does with the kernels. The measuring is Rust's, src/bench.

import { LorakeetError, cancelled } from "../error.js";
import { checkFunction, checkNames, checkPositive, checkSignal, checkString } from "../options.js";
import { inWorker, startBenchWorker } from "../thread/worker-client.js";

/** Options of `benchGpu`. */
export interface GpuBenchOptions {
  /** Layers of the model of random numbers that is measured; SmolLM2-135M's 30. */
  layers?: number | undefined;
  /** Tokens of its vocabulary; 49152. */
  vocab?: number | undefined;
  /** Type of its weights, as `createEngine` has them; `q8`. */
  dtype?: string | undefined;
  /** How often each prompt, text and step is measured, after one to warm up; 3. The fastest counts. */
  runs?: number | undefined;
  /** Hears what is measured next, and the share that is done, 0 to 1. */
  onProgress?: ((next: string, share: number) => void) | undefined;
  /** Stops it. */
  signal?: AbortSignal | undefined;
  /** URL of `lorakeet_bench_bg.wasm`, if it is not beside this package. */
  wasmUrl?: string | URL | undefined;
}

/** What a GPU does with the kernels. */
export interface GpuReport {
  /** This package's version. */
  version: string;
  /** What the GPU calls itself, as far as the browser tells. */
  adapter: string;
  /** `navigator.userAgent`. */
  browser: string;
  /** Invocations that share a dot product; 1 for a GPU that is none. */
  lanes: number;
  layers: number;
  vocab: number;
  dtype: string;
  /** Whether the GPU's own clock could be read. */
  timestamps: boolean;
  /** `right`, or what is wrong. */
  known_answer: string;
  measures: { name: string; value: number; unit: string }[];
}

const NAMES: readonly (keyof GpuBenchOptions)[] = ["layers", "vocab", "dtype", "runs", "onProgress", "signal", "wasmUrl"];

/**
 * Measures this machine's GPU in a worker of its own, on a model of random numbers in SmolLM2-135M's shape: launches and
 * memory, each kernel where it stands, prompts, texts, adapters, a step of training, and whether the numbers are right.
 * It takes about a minute on a GPU, and some 800 MB of its memory; less with fewer `layers`.
 *
 * Errors: `argument`; `unsupported` without WebGPU; `memory`; `device`; `cancelled` when `signal` fires.
 */
export async function benchGpu(options: GpuBenchOptions = {}): Promise<GpuReport> {
  checkNames(options, NAMES);
  for (const name of ["layers", "vocab", "runs"] as const) checkPositive(name, options[name]);
  checkString("dtype", options.dtype);
  checkFunction("onProgress", options.onProgress);
  checkSignal(options.signal);
  const { signal, ...others } = options;
  const { connection, call } = inWorker(startBenchWorker());
  const stop = () => connection.end(cancelled(signal!, "measuring the GPU"));
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  try {
    return (await call("measureGpu", [others])) as GpuReport;
  } finally {
    signal?.removeEventListener("abort", stop);
    connection.end(new LorakeetError("argument", "the GPU is measured"));
  }
}
