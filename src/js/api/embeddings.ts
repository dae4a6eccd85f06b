// OpenAI's embeddings over an engine: texts to vectors.
// Not a model made for it: any causal model's hidden states, pooled.

import type { AdapterChoice } from "./adapters.js";
import { throwIfCancelled } from "../error.js";
import { checkOneOf, checkPositive, checkSignal, checkWhole, isWhole, wrong } from "../options.js";
import { adapters, checkModel, givenOptions } from "./request.js";
import { pause } from "../thread/pause.js";
import type { Turns } from "../thread/turns.js";

/** OpenAI's embeddings request, with a choice of how vectors are made. */
export interface EmbeddingRequest {
  /** A text or its token ids, or several of either. */
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** Which of a text's hidden states become its vector: their mean, the last, or the first. Default `mean`. */
  pooling?: "mean" | "last" | "cls";
  /** After how many layers: 0 is the embedding alone. Default: after all, and the last norm. */
  layer?: number;
  /** Keep this many numbers of each vector, which then has length 1 again. Default: all. */
  dimensions?: number;
  /** `float`, the default, is all there is. */
  encoding_format?: "float";
  /** What to use instead of the engine's choice; null is the base. */
  adapter?: AdapterChoice;
  /** One for each input, in place of `adapter`. */
  adapter_names?: readonly NonNullable<AdapterChoice>[];
  /** Ends the request between two inputs, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** As in a completion. */
  model?: string;
  /** Ignored, as it changes nothing. */
  user?: string;
}

/** OpenAI's list of embeddings. */
export interface EmbeddingResponse {
  object: "list";
  /** One for each input, in order; of length 1. */
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
   * Turns texts into vectors of length 1, whose products tell how near the texts are.
   *
   * ```ts
   * const { data } = await engine.embeddings.create({ input: ["a fox", "a vixen"] });
   * const nearness = data[0].embedding.reduce((sum, x, i) => sum + x * data[1].embedding[i], 0);
   * ```
   *
   * Inputs take the engine's turns one by one. Errors: `argument` for an option that is unknown or out
   * of range, an input longer than the context, or an adapter that is not loaded; `cancelled`; `device`.
   */
  async create(request: EmbeddingRequest): Promise<EmbeddingResponse> {
    const given = givenOptions(request, NAMES, {});
    const { signal, dimensions, layer, pooling = "mean" } = given;
    checkOneOf("pooling", pooling, ["mean", "last", "cls"]);
    checkOneOf("encoding_format", given.encoding_format, ["float"]);
    checkWhole("layer", layer);
    checkPositive("dimensions", dimensions);
    checkSignal(signal);
    const list = inputs(given.input);
    const chosen = adapters(checkModel(given, this.#model), given.adapter_names, list.length);
    const each = chosen.adapters as unknown[] | undefined;
    const response: EmbeddingResponse = { object: "list", data: [], model: this.#model, usage: { prompt_tokens: 0, total_tokens: 0 } };
    for (const [index, input] of list.entries()) {
      await pause();
      throwIfCancelled(signal, WHAT);
      const [vector, tokens] = await this.#turns.seated(WHAT, async (engine) => {
        const ids = typeof input === "string" ? engine.encode(input) : Uint32Array.from(input);
        return [await engine.embed(ids, { adapter: each?.[index] ?? chosen.adapter, layer, pooling }), ids.length] as const;
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
  throw wrong("input", input, "a text, token ids, or several of either");
}

/** The vector's direction; zeros stay zeros. */
function ofLengthOne(vector: Float32Array): number[] {
  const length = Math.hypot(...vector) || 1;
  return Array.from(vector, (x) => x / length);
}
