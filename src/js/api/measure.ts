// The measuring of a GPU, on the thread that calls: a WebAssembly module of its own, which nothing else fetches.

import initBench, { benchGpu } from "../wasm/lorakeet_bench.js";
import type { GpuBenchOptions, GpuReport } from "./bench.js";
import { gpuName, isSoftware } from "../thread/gpu.js";
import { Module } from "../thread/module.js";

const bench = new Module("the WebAssembly module that measures", initBench);

/** What `benchGpu` tells, of checked options. */
export async function measureGpu({ wasmUrl, onProgress, ...options }: GpuBenchOptions): Promise<GpuReport> {
  const name = await gpuName();
  await bench.load(wasmUrl ?? new URL("../wasm/lorakeet_bench_bg.wasm", import.meta.url));
  const told = (next: string, share: number) => onProgress?.(next, share);
  const report = (await bench.enter(() => benchGpu({ ...options, software: isSoftware(name) }, () => performance.now(), told))) as GpuReport;
  return { ...report, adapter: report.adapter || name, browser: globalThis.navigator?.userAgent ?? "" };
}
