// Small models that run here, by their ids on the hub: their sizes, their licences, and whether their own weights were tried.
// Not all that run: what makes one run is its family.

/** A model on the Hugging Face Hub. */
export interface ModelInfo {
  /** What `createEngine` takes. */
  id: string;
  /** A name for people. */
  name: string;
  /** What it is made for: to answer, to continue texts, or to make embeddings. */
  use: "chat" | "text" | "embeddings";
  /** The `model_type` of its config. */
  family: string;
  /** Millions of parameters, about. */
  millions: number;
  /** Bytes of its weights on the hub, about; `dtype` tells what they take in memory. */
  bytes: number;
  /** Its licence: an SPDX identifier, or the name of its terms. */
  licence: string;
  /** Whether the hub wants its terms accepted, and gives files to a `token` only. */
  isGated: boolean;
  /**
   * Whether texts and numbers of its own weights, whole or as a GGUF file rounds them, were compared with transformers';
   * of the others, small random models of their family were.
   */
  isTried: boolean;
}

type Row = readonly [id: string, name: string, use: ModelInfo["use"], family: string, millions: number, bytes: number, licence: string, isTried?: boolean];

const APACHE = "Apache-2.0";
const GEMMA = "Gemma";

const ROWS: readonly Row[] = [
  ["HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2 135M", "chat", "llama", 135, 269e6, APACHE, true],
  ["google/gemma-3-270m-it", "Gemma 3 270M", "chat", "gemma3_text", 268, 536e6, GEMMA],
  ["google/gemma-3-270m", "Gemma 3 270M, base", "text", "gemma3_text", 268, 536e6, GEMMA, true],
  ["HuggingFaceTB/SmolLM2-360M-Instruct", "SmolLM2 360M", "chat", "llama", 362, 724e6, APACHE],
  ["Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5 0.5B", "chat", "qwen2", 494, 988e6, APACHE],
  ["Qwen/Qwen3-0.6B", "Qwen3 0.6B", "chat", "qwen3", 596, 1.5e9, APACHE],
  ["TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama 1.1B", "chat", "llama", 1100, 2.2e9, APACHE],
  ["openai-community/gpt2", "GPT-2", "text", "gpt2", 124, 548e6, "MIT"],
  ["sentence-transformers/all-MiniLM-L6-v2", "MiniLM L6", "embeddings", "bert", 23, 91e6, APACHE, true],
];

/**
 * Small models that run, those that answer first, the smallest first. Any other of these families runs too.
 *
 * ```ts
 * const [smallest] = models().filter(({ use }) => use === "chat");
 * const engine = await createEngine(smallest.id, { dtype: "q8" });
 * ```
 */
export function models(): ModelInfo[] {
  return ROWS.map(([id, name, use, family, millions, bytes, licence, isTried = false]) => ({ id, name, use, family, millions, bytes, licence, isGated: licence === GEMMA, isTried }));
}
