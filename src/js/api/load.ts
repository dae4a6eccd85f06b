// From a model's files to a WebAssembly engine: small files first, then the weights piece by piece.
// Not the caller of devices: `open` here tries them, Rust opens them.

import { LorakeetError, throwIfCancelled } from "../error.js";
import { partNames } from "../files/bytes.js";
import type { ByteFile } from "../files/file.js";
import { gpuName, hasGpu, isSoftware } from "../thread/gpu.js";
import { roomFor } from "../files/quantised.js";
import { pause } from "../thread/pause.js";
import { optional, small, type Folder, type ModelFolder } from "../files/folder.js";
import { checkKernels } from "../thread/verdicts.js";
import { WasmLoader, enter, type WasmEngine } from "../thread/wasm.js";

/** Progress of loading a model. */
export interface Progress {
  /** Bytes of the weight files that are loaded. It never decreases. */
  loaded: number;
  /** Bytes of all weight files. */
  total: number;
  /**
   * The current phase. `download`: a weight file comes from a server. `upload`: it is on this machine already, and
   * is copied to the device. `verify`: a download is compared with its digest and stored for later loads.
   * `compile`: the model's kernels are made ready. `ready` comes once, at the end, with `loaded` equal to `total`.
   */
  phase: "download" | "upload" | "verify" | "compile" | "ready";
}

/** The same hearer, spared that a file which is read anew is counted from its beginning. */
export function growing(onProgress: (progress: Progress) => void): (progress: Progress) => void {
  let most = 0;
  return ({ loaded, total, phase }) => {
    most = Math.max(most, loaded);
    onProgress({ loaded: most, total: Math.max(most, total), phase });
  };
}

/** The part of `createEngine`'s options that loading needs, checked. */
export interface LoadRequest {
  device: "auto" | "webgpu" | "cpu";
  contextLength: number | undefined;
  batch: number | undefined;
  dtype: string | undefined;
  kvDtype: string | undefined;
  exact: boolean | undefined;
  threads: number | undefined;
  signal: AbortSignal | undefined;
  onProgress: ((progress: Progress) => void) | undefined;
}

/** What has become of the loader, and why that is not on WebGPU if it was to choose. */
export interface Loaded<T> {
  made: T;
  /** The bytes of `generation_config.json`, if the model has one. */
  generationConfig: Uint8Array | undefined;
  fallbackReason: string | undefined;
}

/** Makes an engine of a loader that has all weights, or gives it to one. */
type Use<T> = (loader: WasmLoader) => T | Promise<T>;

/** Safetensors begin with eight bytes that tell the length of the header after them. */
const PREFIX_BYTES = 8;
/** How much of a file tells what it is. */
const FIRST_BYTES = 64;
const WHAT = "loading the model";

/** How much of a GGUF file is looked at first; a header that goes on makes it twice as much. */
const GGUF_HEADER_BYTES = 1 << 16;

/** Loads a model. Whatever goes wrong, nothing of it stays in memory. */
export async function load<T extends WasmEngine | void>(folder: ModelFolder, request: LoadRequest, use: Use<T>): Promise<Loaded<T>> {
  await folder.chooseGguf?.(roomFor(request.device), request.signal);
  return folder.gguf === undefined ? loadFolder(folder, request, use) : loadGguf(folder, folder.gguf, request, use);
}

async function loadFolder<T extends WasmEngine | void>(folder: ModelFolder, request: LoadRequest, use: Use<T>): Promise<Loaded<T>> {
  const { signal } = request;
  const [config, tokenizer, generationConfig] = await Promise.all([
    small(folder, "config.json", signal),
    small(folder, "tokenizer.json", signal),
    optional(folder, "generation_config.json", signal),
  ]);
  const opened = await open((options) => WasmLoader.open(config, generationConfig, tokenizer, options), request);
  const loaded = await finish(opened, request, use, async () => {
    const { loader } = opened;
    const pooling = (await enter(() => loader.isEncoder)) ? await optional(folder, "1_Pooling/config.json", signal) : undefined;
    if (pooling) await enter(() => loader.readPooling(pooling));
    return loadWeights(loader, folder, request);
  });
  return { ...loaded, generationConfig };
}

async function loadGguf<T extends WasmEngine | void>(folder: ModelFolder, name: string, request: LoadRequest, use: Use<T>): Promise<Loaded<T>> {
  const { signal, onProgress } = request;
  const files: ByteFile[] = [];
  const headers: Uint8Array[] = [];
  try {
    let isSpelled = false;
    for (const part of partNames(name)) {
      const file = await folder.find(part, signal);
      if (!file) throw folder.missing(part);
      files.push(file);
      const { header, hasTokenizer } = await named(file, () => ggufHeader(file, file.size, signal));
      headers.push(header);
      isSpelled ||= hasTokenizer;
    }
    const tokenizer = isSpelled ? undefined : await optional(folder, "tokenizer.json", signal);
    const sizes = Float64Array.from(files, ({ size }) => size);
    const opened = await open((options) => WasmLoader.openGguf(headers, sizes, tokenizer, options), request);
    return await finish(opened, request, use, async () => {
      const total = sizes.reduce((sum, size) => sum + size, 0);
      let base = 0;
      for (const file of files) {
        const before = base;
        await loadFile(opened.loader, file, signal, (pos, phase) => onProgress?.({ loaded: before + pos, total, phase }), before);
        base += file.size;
      }
      return total;
    });
  } finally {
    for (const file of files) file.close();
  }
}

/** Bytes that begin with the whole header of a GGUF file. */
async function ggufHeader(file: ByteFile, size: number, signal: AbortSignal | undefined): Promise<{ header: Uint8Array; hasTokenizer: boolean }> {
  for (let end = GGUF_HEADER_BYTES; ; end *= 2) {
    throwIfCancelled(signal, WHAT);
    const header = await file.peek(Math.min(end, size));
    const hasTokenizer = await enter(() => WasmLoader.ggufHasTokenizer(header, size));
    if (hasTokenizer !== undefined) return { header, hasTokenizer };
  }
}

/** What `use` makes of the loader, once `loadAll` has loaded all weights and told their bytes. */
async function finish<T extends WasmEngine | void>(
  { loader, fallbackReason }: Opened, request: LoadRequest, use: Use<T>, loadAll: () => Promise<number>,
): Promise<Loaded<T>> {
  let finished = false;
  try {
    const total = await loadAll();
    request.onProgress?.({ loaded: total, total, phase: "compile" });
    throwIfCancelled(request.signal, WHAT);
    finished = true; // `use` takes the loader, whether it succeeds or not
    const made = await enter(() => use(loader));
    try {
      request.onProgress?.({ loaded: total, total, phase: "ready" });
      throwIfCancelled(request.signal, WHAT);
    } catch (error) {
      if (made) await release(made);
      throw error;
    }
    return { made, fallbackReason, generationConfig: undefined };
  } finally {
    if (!finished) await release(loader);
  }
}

/** Frees, unless the module has stopped: its memory then goes with the page. */
function release(owner: WasmLoader | WasmEngine): Promise<void> {
  return enter(() => owner.free()).catch(() => {});
}

/** A loader on a device, and why that is not WebGPU if it was to choose. */
interface Opened {
  loader: WasmLoader;
  fallbackReason: string | undefined;
}

/** Makes the loader on the device that the options name. */
type Opener = (options: object) => Promise<WasmLoader>;

/** Opens the device asked for; `auto` goes on with the CPU where there is no WebGPU. */
async function open(opener: Opener, request: LoadRequest): Promise<Opened> {
  if (request.device !== "auto") return { loader: await openOn(request.device, opener, request), fallbackReason: undefined };
  try {
    return { loader: await openOn("webgpu", opener, request), fallbackReason: undefined };
  } catch (error) {
    const { kind, message } = error as LorakeetError;
    if (kind !== "unsupported" && kind !== "device") throw error;
    return { loader: await openOn("cpu", opener, request), fallbackReason: message };
  }
}

async function openOn(
  device: "webgpu" | "cpu",
  opener: Opener,
  { contextLength, batch, dtype, kvDtype, exact, threads, signal }: LoadRequest,
): Promise<WasmLoader> {
  if (device === "webgpu" && !(globalThis.navigator as { gpu?: unknown } | undefined)?.gpu) {
    throw new LorakeetError("unsupported", "no WebGPU: `navigator.gpu` is missing in this browser, or the page is not served over https");
  }
  throwIfCancelled(signal, WHAT);
  if (device === "webgpu" && !(await hasGpu())) throw new LorakeetError("unsupported", "no WebGPU: the browser offers no GPU on this machine");
  const software = device === "webgpu" && isSoftware(await gpuName());
  const loader = await enter(() => opener({ device, contextLength, batch, dtype, kvDtype, exact, threads, software }));
  try {
    throwIfCancelled(signal, WHAT);
    if (device === "webgpu") await checkKernels(loader);
    throwIfCancelled(signal, WHAT);
  } catch (error) {
    await release(loader);
    throw error;
  }
  return loader;
}

/** Returns the bytes of all weight files. */
async function loadWeights(loader: WasmLoader, folder: ModelFolder, { signal, onProgress }: LoadRequest): Promise<number> {
  const single = folder.weightNames ? undefined : await folder.find("model.safetensors", signal);
  const names = folder.weightNames ?? (single ? [single.name] : await shardNames(folder, signal));
  const sizes = names.length > 1 ? await Promise.all(names.map((name) => folder.size(name, signal))) : [];
  let done = 0;
  for (const [i, name] of names.entries()) {
    const file = single ?? (await folder.find(name, signal));
    if (!file) throw folder.missing(name);
    try {
      sizes[i] = file.size;
      const total = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
      await plan(loader, file);
      await loadFile(loader, file, signal, (pos, phase) => onProgress?.({ loaded: done + pos, total, phase }));
      done += file.size;
    } finally {
      file.close();
    }
  }
  return done;
}

async function shardNames(folder: Folder, signal: AbortSignal | undefined): Promise<string[]> {
  const index = await optional(folder, "model.safetensors.index.json", signal);
  if (!index) throw folder.missing("model.safetensors");
  return enter(() => WasmLoader.shardNames(index));
}

/** Reads the header of a safetensors file. */
function plan(loader: WasmLoader, file: ByteFile): Promise<void> {
  return named(file, async () => {
    const { size } = file;
    const first = await file.peek(Math.min(FIRST_BYTES, size));
    const end = PREFIX_BYTES + (await enter(() => WasmLoader.headerBytes(first, size)));
    const header = await file.read(PREFIX_BYTES, end);
    await enter(() => loader.plan(header, size));
  });
}

/**
 * Reads the pieces of one weight file, which the loader knows from byte `base` on; `at` hears of the bytes passed. What
 * is right is kept.
 */
async function loadFile(
  loader: WasmLoader,
  file: ByteFile,
  signal: AbortSignal | undefined,
  at: (pos: number, phase: Progress["phase"]) => void,
  base = 0,
): Promise<void> {
  const phase = file.isArriving ? "download" : "upload";
  at(0, phase);
  const pieces = await enter(() => loader.pieces());
  for (let i = 0; 2 * i < pieces.length; i++) {
    const [start, end] = [pieces[2 * i]! - base, pieces[2 * i + 1]! - base];
    if (start < 0 || end > file.size) continue; // another file's
    const bytes = await file.read(start, end);
    await pause();
    throwIfCancelled(signal, WHAT);
    await named(file, () => enter(() => loader.load(i, bytes)));
    at(end, phase);
  }
  at(file.size, file.isArriving ? "verify" : phase);
  await file.settle();
}

/** Puts the file's name in front of an error that does not begin with it. */
async function named<T>(file: ByteFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { kind, message } = error as LorakeetError;
    if (message.startsWith(`${file.name}:`) || kind === "cancelled") throw error;
    throw new LorakeetError(kind, `${file.name}: ${message}`, { cause: error });
  }
}
