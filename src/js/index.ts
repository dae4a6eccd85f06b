// Lorakeet: compact language models in the browser.
// The public surface and nothing else; importing it does nothing.

export { benchGpu } from "./api/bench.js";
export { createEngine } from "./api/create.js";
export { models } from "./api/models.js";
export { saveAdapter } from "./api/save-adapter.js";
export { LorakeetError } from "./error.js";

export type { GpuBenchOptions, GpuReport } from "./api/bench.js";
export type { AdapterDetails, AdapterOptions } from "./api/adapters.js";
export type { AdapterChoice, AdapterInfo } from "./api/choice.js";
export type { CacheUsage, CachedFile, ModelCache } from "./files/cache.js";
export type {
  Chat, ChatCompletion, ChatCompletionChoice, ChatCompletionChunk, ChatCompletions, ChatDelta, ChatFinishReason, ChatLogprobs,
  ChatTokenLogprob,
} from "./api/chat.js";
export type { ChatCompletionRequest, ChatMessage, TextPart } from "./api/chat-request.js";
export type { Completion, CompletionChoice, CompletionChunk, CompletionLogprobs, Completions } from "./api/completions.js";
export type {
  InstructionExample, ItemNotes, ShareGptConversation, ShareGptTurn, TrainingConversation, TrainingDataset, TrainingExample, TrainingItem,
} from "./api/dataset.js";
export type { Dtype, EngineInfo, EngineOptions, KvDtype, StoredType } from "./api/engine-options.js";
export type { Engine, TokenizeOptions } from "./api/engine.js";
export type { DeviceLost } from "./thread/device-loss.js";
export type { EmbeddingRequest, EmbeddingResponse, Embeddings } from "./api/embeddings.js";
export type { ErrorKind } from "./error.js";
export type { FormatOptions, ResponseFormat } from "./api/format.js";
export type { FinishReason } from "./api/generation.js";
export type { GenerationConfig } from "./api/generation-config.js";
export type { HubOptions } from "./files/hub.js";
export type { ModelInfo } from "./api/models.js";
export type { Progress } from "./api/load.js";
export type { PeftSpellings } from "./api/peft-names.js";
export type { RecoverOptions } from "./api/recover.js";
export type { CompletionRequest, PromptProgress, SamplingOptions, TextRequest } from "./api/request.js";
export type { SaveOptions } from "./api/save-adapter.js";
export type { SamplerOptions } from "./api/samplers.js";
export type { RestoreOptions, SessionOptions, SessionText } from "./api/session.js";
export type { CompletionUsage, Head } from "./api/response.js";
export type { TextStream } from "./api/text-stream.js";
export type { ChatDocument, ChatTool, ChatToolCall, ChatToolChoice } from "./api/tools.js";
export type { TemplateOptions } from "./api/apply-template.js";
export type { SliceBudget } from "./thread/slices.js";
export type { AdapterParts, AdapterSource, ModelParts, ModelSource, TemplateSource } from "./files/source.js";
export type { FileSource } from "./files/bytes.js";
export type { CacheKind } from "./files/store.js";
export type {
  ChunkReport, Evaluation, Learned, TempGenerateRequest, TempLora, TempPart, TempProgress, TempTextOptions,
} from "./api/temp-lora.js";
export type { TempLoraOptions } from "./api/temp-lora-options.js";
export type { TrainOptions, TrainingStep } from "./api/train.js";
export type { CombinationOptions, CombinationType } from "./api/weighted.js";
