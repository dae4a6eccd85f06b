// TempLora: the public API of a temporary adapter and the long text it learns.
// Not the training itself, nor the division into chunks: that is Rust's.

import { exportAdapter } from "./adapters.js";
import { givenName, type AdapterInfo } from "./choice.js";
import { LorakeetError, throwIfCancelled } from "../error.js";
import type { FinishReason } from "./generation.js";
import { withDefaults, type GenerationConfig } from "./generation-config.js";
import { checkBoolean, checkFunction, checkNames, checkSignal, isWhole, wrong } from "../options.js";
import { checkSampling, type SamplingOptions } from "./request.js";
import type { Seating } from "../thread/seats.js";
import { Slices } from "../thread/slices.js";
import { checkTempLora, type TempLoraOptions } from "./temp-lora-options.js";
import type { Turns } from "../thread/turns.js";
import { keeping } from "../thread/verdicts.js";
import { WasmEngine, enter } from "../thread/wasm.js";

/** The results for one chunk. Losses are means over its tokens, in nats. */
export interface ChunkReport {
  /** From 0. */
  index: number;
  tokens: number;
  /** Number of tokens that have a loss: all except the first of the text. */
  labels: number;
  /** Loss without the temporary adapter. Only for text that is scored, or sampled from the mix. */
  baseLoss?: number;
  /** Loss with what the adapter had learned from the chunks before. Only for text that is scored, or sampled from the mix. */
  adaptedLoss?: number;
  /** Loss of the mix of both, weighted by how well each has predicted so far: over a whole text at most ln 6 nats above the better one, and mostly below both. */
  mixedLoss?: number;
  /** The loss before each training step on the chunk; empty if it was not learned. */
  trainLosses: number[];
  /** Learning rate of those steps. */
  learningRate: number;
  /** Whether what was learned from the chunk before was undone. */
  rolledBack: boolean;
}

/** Progress of the work on a chunk. */
export interface TempProgress {
  work: "score" | "generate" | "train";
  done: number;
  all: number;
}

/** Options of `train` and `evaluate`. */
export interface TempTextOptions {
  /** Cancels the work within a slice, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Called with the progress of the work on a chunk. */
  onProgress?: (progress: TempProgress) => void;
  /** Called after every chunk. */
  onTrain?: (chunk: ChunkReport) => void;
}

/** Options of `generate`. */
export interface TempGenerateRequest extends SamplingOptions, TempTextOptions {
  /** Appended to the text so far, as context only: use `train` for text that is to be learned. Optional once there is a text. */
  prompt?: string | readonly number[];
  /**
   * Sample from the never-worse mix of base and adapted model: both predict each token, weighted by how well
   * each has predicted so far. It takes the memory of two sequences and the time of two rows, and the chunks
   * report the losses of what was sampled. Default `false`.
   */
  mix?: boolean;
}

/** A piece of generated text, or, with empty text, the report on a chunk. */
export interface TempPart {
  text: string;
  token_ids: number[];
  /** Null: not finished. */
  finish_reason: FinishReason | null;
  chunk: ChunkReport | null;
}

/** The result of `train`. */
export interface Learned {
  chunks: ChunkReport[];
  tokens: number;
}

/** The result of `evaluate`. Perplexities are over the whole text, each chunk scored before it was learned. */
export interface Evaluation extends Learned {
  /** Perplexity without the temporary adapter. */
  basePerplexity: number;
  /** Perplexity with it. */
  perplexity: number;
  /** Perplexity of the mix of both. */
  mixedPerplexity: number;
  /** The mean of the chunks' perplexities, as the paper reports it, without the temporary adapter. */
  meanChunkBasePerplexity: number;
  /** The same with it. */
  meanChunkPerplexity: number;
}

const TEXT_NAMES = ["signal", "onProgress", "onTrain"] as const;
const SAMPLING_NAMES = ["prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "stop_token_ids"] as const;

const WHAT = "the temporary adapter's work";

/** `Engine.tempNext`'s reply. */
type Event =
  | { kind: "idle" }
  | ({ kind: "progress" } & TempProgress)
  | { kind: "text"; text: string; tokens: number[]; finish?: FinishReason }
  | { kind: "chunk"; chunk: ChunkReport };

/** `Engine.beginTempLora`'s reply. */
interface Begun {
  id: number;
  name: string;
  chunkTokens: number;
  contextTokens: number;
}

/** Creates a temporary adapter once the calls before it are done. */
export async function createTempLora(turns: Turns, config: GenerationConfig, options: TempLoraOptions): Promise<TempLora> {
  const { budget, ...fields } = checkTempLora(options);
  const slices = new Slices(budget);
  const keeps = fields.overlap === true || (fields.kv !== undefined && fields.kv !== "recompute");
  return new TempLora(turns, slices, config, keeps, await turns.take((engine) => keeping(engine, () => engine.beginTempLora(fields) as Promise<Begun>)));
}

/** A temporary adapter, created by {@link Engine.createTempLora}. */
export class TempLora {
  /** Its name among the adapters, while it exists. */
  readonly name: string;
  readonly chunkTokens: number;
  readonly contextTokens: number;
  readonly #turns: Turns;
  readonly #slices: Slices;
  readonly #config: GenerationConfig;
  /** Whether the keys and values of the text stay in the cache while a chunk is learned. */
  readonly #keeps: boolean;
  readonly #id: number;
  #busy = false;
  #ended = false;

  /** @internal */
  constructor(turns: Turns, slices: Slices, config: GenerationConfig, keeps: boolean, { id, name, chunkTokens, contextTokens }: Begun) {
    this.#turns = turns;
    this.#slices = slices;
    this.#config = config;
    this.#keeps = keeps;
    this.#id = id;
    this.name = name;
    this.chunkTokens = chunkTokens;
    this.contextTokens = contextTokens;
  }

  /**
   * Continues the text and learns what it writes. It may go far beyond the context: `max_tokens` can be any
   * number. Leaving the loop ends it: what was written stays part of the text, but an unfinished chunk is not learned.
   *
   * Errors: `argument` for an invalid option, without any text to continue, while another call is running, or after
   * `dispose`; `cancelled` when `signal` fires; `device` if the device fails.
   */
  async *generate(request: TempGenerateRequest = {}): AsyncGenerator<TempPart, void, undefined> {
    checkNames(request, [...SAMPLING_NAMES, ...TEXT_NAMES, "mix"]);
    const { prompt = "", mix = false } = request;
    checkBoolean("mix", mix);
    checkText("prompt", prompt);
    const sampling = checkSampling(withDefaults(request, this.#config));
    const seats = 1 + Number(mix) + Number(this.#keeps);
    for await (const event of this.#work(request, seats, (engine) => engine.tempGenerate(this.#id, prompt, sampling, mix))) {
      if (event.kind === "text") {
        yield { text: event.text, token_ids: event.tokens, finish_reason: event.finish ?? null, chunk: null };
      } else if (event.kind === "chunk") {
        yield { text: "", token_ids: [], finish_reason: null, chunk: event.chunk };
      }
    }
  }

  /** Appends a text or token ids to the text so far, and learns them. Same errors as `generate`. */
  async train(text: string | readonly number[], options: TempTextOptions = {}): Promise<Learned> {
    return this.#learn(text, options, false);
  }

  /** Like `train`, but scores each chunk before it is learned, with and without the adapter. */
  async evaluate(text: string | readonly number[], options: TempTextOptions = {}): Promise<Evaluation> {
    const learned = await this.#learn(text, options, true);
    return { ...learned, ...(await enter(() => WasmEngine.evaluation(learned.chunks) as Omit<Evaluation, keyof Learned>)) };
  }

  /** The adapter as the files of a PEFT folder. Errors with `argument` after `dispose` or `keepAs`. */
  async exportAdapter(): Promise<File[]> {
    this.#check();
    return exportAdapter(this.#turns, this.name);
  }

  /**
   * Turns it into an ordinary adapter called `name`, and ends this object. Errors with `argument` if the
   * name is taken; the temporary adapter then remains as it was.
   */
  async keepAs(name: string): Promise<AdapterInfo> {
    this.#check();
    givenName(name);
    return this.#end(name, (engine) => engine.adapter(name) as AdapterInfo);
  }

  /**
   * Removes it; every text and logit is then as if it had never existed. Running work ends with an error.
   * Disposing it twice, or after the engine, is not an error. Errors with `argument` while a completion uses it.
   */
  async dispose(): Promise<void> {
    if (this.#ended || this.#turns.closed) return;
    await this.#end(undefined, () => {});
  }

  async #end<T>(keep: string | undefined, then: (engine: WasmEngine) => T): Promise<T> {
    this.#ended = true;
    try {
      return await this.#turns.take(async (engine) => {
        await engine.endTempLora(this.#id, keep);
        return then(engine);
      });
    } catch (error) {
      this.#ended = false;
      throw error;
    }
  }

  async #learn(text: string | readonly number[], options: TempTextOptions, evaluate: boolean): Promise<Learned> {
    checkText("text", text);
    checkNames(options, TEXT_NAMES);
    const chunks: ChunkReport[] = [];
    for await (const event of this.#work(options, 1, (engine) => engine.tempLearn(this.#id, text, evaluate))) {
      if (event.kind === "chunk") chunks.push(event.chunk);
    }
    return { chunks, tokens: chunks.reduce((sum, chunk) => sum + chunk.tokens, 0) };
  }

  /** Starts work that takes `seats`, and runs it to its end. If the caller leaves the loop, the rest is cancelled. */
  async *#work(options: TempTextOptions, seats: number, begin: (engine: WasmEngine) => void): AsyncGenerator<Event, void, undefined> {
    const { signal, onProgress, onTrain } = options;
    checkSignal(signal);
    checkFunction("onProgress", onProgress);
    checkFunction("onTrain", onTrain);
    this.#check();
    throwIfCancelled(signal, WHAT);
    if (this.#busy) throw new LorakeetError("argument", "the temporary adapter is busy, expected one call at a time");
    this.#busy = true;
    let seating: Seating | undefined;
    const cancel = async () => {
      if (!this.#turns.closed) await this.#turns.take((engine) => engine.tempCancel(this.#id));
    };
    try {
      await this.#turns.take(begin);
      for (let isAdmitted = false; ; isAdmitted = true) {
        throwIfCancelled(signal, WHAT);
        seating ??= await this.#turns.seats.take(seats, seats, signal, WHAT, isAdmitted);
        const event = await this.#slices.run(this.#turns, (engine, count) => {
          this.#check();
          return engine.tempNext(this.#id, count) as Promise<Event>;
        }, (event) => (event.kind === "progress" && event.work === "train" ? event.done : undefined), signal);
        if (event.kind === "idle") return;
        if (event.kind === "progress") onProgress?.({ work: event.work, done: event.done, all: event.all });
        if (event.kind === "chunk") onTrain?.(event.chunk);
        if (event.kind === "chunk" && !this.#keeps) {
          // Nothing runs between two chunks: other requests get the seats.
          seating.leave();
          seating = undefined;
        }
        const readAgain = seating?.idle(cancel);
        yield event;
        readAgain?.();
      }
    } finally {
      await cancel().catch(() => {}); // the error that led here is the one to report
      seating?.leave();
      this.#busy = false;
    }
  }

  #check(): void {
    if (this.#ended) throw new LorakeetError("argument", "the temporary adapter is disposed");
  }
}

function checkText(name: string, text: string | readonly number[]): void {
  const isIds = Array.isArray(text) && text.every(isWhole);
  if (typeof text !== "string" && !isIds) throw wrong(name, text, "a string or token ids");
}
