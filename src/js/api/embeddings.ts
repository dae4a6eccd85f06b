// OpenAI's embeddings over an engine: texts to vectors.
// Of a model made for it, or of any other: hidden states, pooled.

import type { AdapterChoice } from "./choice.js";
import { throwIfCancelled } from "../error.js";
import { checkPositive, checkSignal, checkString, checkWhole, isWhole, wrong } from "../options.js";
import { adapters, checkModel, givenOptions } from "./request.js";
import { pause } from "../thread/pause.js";
import type { Turns } from "../thread/turns.js";

/** OpenAI's embeddings request, with options for how the vectors are made. */
export interface EmbeddingRequest {
  /** A string or its token ids, or an array of either. */
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** How hidden states become one vector: their mean, that of the last token, or that of the first (`cls`). Default: what the files of a model made for embeddings say, else `mean`. */
  pooling?: "mean" | "last" | "cls";
  /** Take the hidden states after this many layers; 0 is the token embedding. Default: after all layers and the final norm. */
  layer?: number;
  /** Keep this many numbers of each vector, then scale it to length 1 again. Default: all. */
  dimensions?: number;
  /** Only `float` is supported. */
  encoding_format?: "float";
  /** Adapters to use instead of the engine's choice; null is the base model. */
  adapter?: AdapterChoice;
  /** Adapters for each input, instead of `adapter`. */
  adapter_names?: readonly NonNullable<AdapterChoice>[];
  /** Cancels the request between two inputs, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** As in a completion request. */
  model?: string;
  /** Ignored. */
  user?: string;
}

/** OpenAI's list of embeddings. */
export interface EmbeddingResponse {
  object: "list";
  /** One vector of length 1 for each input, in order. */
  data: { object: "embedding"; index: number; embedding: number[] }[];
  model: string;
  usage: { prompt_tokens: number; total_tokens: number };
}

const NAMES = [
  "input", "pooling", "layer", "dimensions", "encoding_format", "adapter", "adapter_names", "signal", "model", "user",
];
const WHAT = "the embedding";

/** `engine.embeddings` */
export class Embeddings {
  readonly #turns: Turns;
  readonly #model: string;

  /** @internal */
  constructor(turns: Turns, model: string) {
    this.#turns = turns;
    this.#model = model;
  }

  /**
   * Turns texts into vectors of length 1. Their dot products tell how similar the texts are.
   *
   * ```ts
   * const { data } = await engine.embeddings.create({ input: ["a fox", "a vixen"] });
   * const nearness = data[0].embedding.reduce((sum, x, i) => sum + x * data[1].embedding[i], 0);
   * ```
   *
   * Inputs are computed one after the other. Errors: `argument` for an option that is unknown or out of range, an
   * input longer than the context, or an adapter that is not loaded; `cancelled`; `device`.
   */
  async create(request: EmbeddingRequest): Promise<EmbeddingResponse> {
    const given = givenOptions(request, NAMES, {});
    const { signal, dimensions, layer, pooling } = given;
    checkString("pooling", pooling);
    if (given.encoding_format !== undefined && given.encoding_format !== "float") throw wrong("encoding_format", given.encoding_format, "float");
    checkWhole("layer", layer);
    checkPositive("dimensions", dimensions);
    checkSignal(signal);
    const list = inputs(given.input);
    const chosen = adapters(checkModel(given, this.#model), given.adapter_names, list.length);
    const response: EmbeddingResponse = { object: "list", data: [], model: this.#model, usage: { prompt_tokens: 0, total_tokens: 0 } };
    for (const [index, input] of list.entries()) {
      await pause();
      throwIfCancelled(signal, WHAT);
      const [vector, tokens] = await this.#turns.seated(WHAT, async (engine) => {
        const ids = typeof input === "string" ? engine.encode(input) : Uint32Array.from(input);
        return [await engine.embed(ids, { adapter: chosen.adapters?.[index] ?? chosen.adapter, layer, pooling }), ids.length] as const;
      }, signal);
      if (dimensions !== undefined && dimensions > vector.length) throw wrong("dimensions", dimensions, `at most ${vector.length}`);
      response.data.push({ object: "embedding", index, embedding: ofLengthOne(vector.subarray(0, dimensions)) });
      response.usage.prompt_tokens += tokens;
    }
    throwIfCancelled(signal, WHAT);
    response.usage.total_tokens = response.usage.prompt_tokens;
    return response;
  }
}

function inputs(input: unknown): (string | readonly number[])[] {
  const isIds = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isWhole);
  const isInput = (value: unknown) => typeof value === "string" || isIds(value);
  if (isInput(input)) return [input as string | number[]];
  if (Array.isArray(input) && input.length > 0 && input.every(isInput)) return input as (string | number[])[];
  throw wrong("input", input, "a string, token ids, or an array of either");
}

/** The vector's direction; zeros stay zeros. */
function ofLengthOne(vector: Float32Array): number[] {
  const length = Math.hypot(...vector) || 1;
  return Array.from(vector, (x) => x / length);
}
