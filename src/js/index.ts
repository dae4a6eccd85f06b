// Lorakeet: compact language models in the browser.
// The public surface and nothing else; importing it does nothing.

export { createEngine } from "./create.js";
export { LorakeetError } from "./error.js";

export type { AdapterChoice, AdapterDetails, AdapterInfo, AdapterOptions } from "./adapters.js";
export type { CacheUsage, CachedFile, ModelCache } from "./cache.js";
export type {
  Chat, ChatCompletion, ChatCompletionChoice, ChatCompletionChunk, ChatCompletions, ChatDelta, ChatLogprobs, ChatTokenLogprob,
} from "./chat.js";
export type { ChatCompletionRequest, ChatMessage, TextPart } from "./chat-request.js";
export type { Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, Completions } from "./completions.js";
export type {
  InstructionExample, ItemNotes, ShareGptConversation, ShareGptTurn, TrainingConversation, TrainingDataset, TrainingExample, TrainingItem,
} from "./dataset.js";
export type { Dtype, Engine, EngineInfo, EngineOptions } from "./engine.js";
export type { DeviceLost } from "./device-loss.js";
export type { EmbeddingRequest, EmbeddingResponse, Embeddings } from "./embeddings.js";
export type { ErrorKind } from "./error.js";
export type { FinishReason } from "./generation.js";
export type { HubOptions } from "./hub.js";
export type { Progress } from "./load.js";
export type { RecoverOptions } from "./recover.js";
export type { CompletionRequest, PromptProgress, SamplingOptions, TextRequest } from "./request.js";
export type { CompletionUsage, Head } from "./response.js";
export type { SliceBudget } from "./slices.js";
export type { AdapterParts, AdapterSource, FileSource, ModelParts, ModelSource, TemplateSource } from "./source.js";
export type { CacheKind } from "./store.js";
export type {
  ChunkReport, Evaluation, Learned, TempGenerateRequest, TempLora, TempPart, TempProgress, TempTextOptions,
} from "./temp-lora.js";
export type { TempLoraOptions } from "./temp-lora-options.js";
export type { TrainOptions, TrainingStep } from "./train.js";
export type { CombinationOptions, CombinationType } from "./weighted.js";
