// Lorakeet: compact language models in the browser.
// The public surface and nothing else; importing it does nothing.

export { createEngine } from "./create.js";
export { LorakeetError } from "./error.js";

export type { AdapterChoice, AdapterDetails, AdapterInfo, AdapterOptions } from "./adapters.js";
export type { Completion, CompletionChoice, CompletionChunk, CompletionUsage, Completions } from "./completions.js";
export type { TrainingDataset, TrainingExample } from "./dataset.js";
export type { Dtype, Engine, EngineInfo, EngineOptions } from "./engine.js";
export type { ErrorKind } from "./error.js";
export type { FinishReason } from "./generation.js";
export type { HubOptions } from "./hub.js";
export type { Progress } from "./load.js";
export type { CompletionRequest, PromptProgress, SamplingOptions } from "./request.js";
export type { SliceBudget } from "./slices.js";
export type { AdapterParts, AdapterSource, FileSource, ModelParts, ModelSource } from "./source.js";
export type {
  ChunkReport, Evaluation, Learned, TempGenerateRequest, TempLora, TempPart, TempProgress, TempTextOptions,
} from "./temp-lora.js";
export type { TempLoraOptions } from "./temp-lora-options.js";
export type { TrainOptions, TrainingStep } from "./train.js";
export type { CombinationOptions, CombinationType } from "./weighted.js";
