// openEngine: from what a caller passed to an engine, on the thread that calls.
// Not the reading of a model's files, which is load.ts's.

import { orCancelled, throwIfCancelled } from "../error.js";
import { ModelCache } from "../files/cache.js";
import { Hub } from "../files/hub.js";
import { Remote } from "../files/remote.js";
import { modelFolder, settled, settledTemplate, templateFiles, type ModelSource } from "../files/source.js";
import { gpuName } from "../thread/gpu.js";
import { Seats } from "../thread/seats.js";
import { Turns } from "../thread/turns.js";
import { WasmLoader, enter, loadWasm } from "../thread/wasm.js";
import { Conversations } from "./conversations.js";
import { checkEngineOptions, type EngineInfo, type EngineOptions } from "./engine-options.js";
import { Engine } from "./engine.js";
import { generationConfig } from "./generation-config.js";
import { Grammars } from "./grammars.js";
import { growing, load, type LoadRequest } from "./load.js";

const WHAT = "loading the model";

/** `createEngine` on the thread that calls. */
export async function openEngine(source: ModelSource, options: EngineOptions): Promise<Engine> {
  const { seats, chatWasm, grammarWasm } = checkEngineOptions(options);
  const { contextLength, batch, dtype, kvDtype, exact, threads, signal, onProgress } = options;
  const cache = new ModelCache(options.cache);
  const remote = new Remote(cache);
  const folder = modelFolder(await orCancelled(settled("model", source), signal, WHAT), new Hub(options), remote);
  const template = await orCancelled(settledTemplate(options.chatTemplate), signal, WHAT);
  throwIfCancelled(signal, WHAT);
  await orCancelled(loadWasm(options.wasmUrl), signal, WHAT);
  const device = await enter(() => WasmLoader.deviceOf({ device: options.device, dtype, kvDtype }) as LoadRequest["device"]);
  const request = { device, contextLength, batch, dtype, kvDtype, exact, threads, signal, onProgress: onProgress && growing(onProgress) };
  const { made, fallbackReason, generationConfig: config } = await remote.load(() => load(folder, request, (loader) => loader.finish()));
  const info: EngineInfo = {
    model: folder.name || "model", file: folder.gguf, generationConfig: Object.freeze(generationConfig(config)),
    ...(made.info() as Omit<EngineInfo, "model" | "file" | "generationConfig">),
  };
  if (info.device === "webgpu") info.adapter ||= await gpuName();
  made.setBaseName(folder.id);
  const turns = new Turns(made, new Seats(info.batch, seats));
  const origin = { folder, remote, request: { contextLength, batch, dtype, kvDtype, exact, threads } };
  const conversations = new Conversations(turns, templateFiles(folder, template, remote)!, chatWasm);
  return new Engine(turns, info, origin, fallbackReason, cache, conversations, new Grammars(turns, grammarWasm));
}
