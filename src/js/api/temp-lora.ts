// TempLora: a temporary adapter and the long text it learns, from the caller's side.
// Not the learning itself, nor what a chunk is: that is Rust's.

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

/** What became of one chunk. Losses are means over its tokens, nats. */
export interface ChunkReport {
  /** From 0. */
  index: number;
  tokens: number;
  /** Tokens that have a loss: all but the text's first. */
  labels: number;
  /** Without the temporary adapter; where text is scored, or drawn from the mix. */
  baseLoss?: number;
  /** With what the chunks before had taught it; where text is scored. */
  adaptedLoss?: number;
  /** Of both mixed by their merits so far: never worse than the better by more than ln 6 in all, and mostly better than either. */
  mixedLoss?: number;
  /** Before each step on the chunk; none if it was not learned. */
  trainLosses: number[];
  /** Of those steps. */
  learningRate: number;
  /** Whether what the chunk before had taught was undone. */
  rolledBack: boolean;
  /** Of the chunk that decides a probe: the rates tried before it, and the mean loss of what followed each lesson. */
  probed?: { learningRate: number; loss: number }[];
}

/** How far the work on a chunk is. */
export interface TempProgress {
  work: "score" | "generate" | "probe" | "train";
  done: number;
  all: number;
}

/** For `train` and `evaluate`. */
export interface TempTextOptions {
  /** Ends the work within a slice, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Hears of the work on a chunk. */
  onProgress?: (progress: TempProgress) => void;
  /** Hears of every chunk that is done. */
  onTrain?: (chunk: ChunkReport) => void;
}

/** For `generate`. */
export interface TempGenerateRequest extends SamplingOptions, TempTextOptions {
  /** Put after what is there, and not learned: `train` does that. May be left out once there is a text. */
  prompt?: string | readonly number[];
  /**
   * Draw from the never-worse mix of base and adapted model: both predict each token, and weigh by how well
   * each has predicted so far. It takes the room of two prompts and the time of two rows, and the losses of
   * what is drawn come with its chunk. Default `false`.
   */
  mix?: boolean;
}

/** A part of generated text, or, without text, a chunk that was learned. */
export interface TempPart {
  text: string;
  token_ids: number[];
  /** Null: more will come. */
  finish_reason: FinishReason | null;
  chunk: ChunkReport | null;
}

/** A text that was learned. */
export interface Learned {
  chunks: ChunkReport[];
  tokens: number;
}

/** A text that was scored, each chunk before it was learned. Perplexities are those of the whole text. */
export interface Evaluation extends Learned {
  /** Without the temporary adapter. */
  basePerplexity: number;
  /** With it. */
  perplexity: number;
  /** Of the two mixed. */
  mixedPerplexity: number;
  /** The plain mean of the chunks' perplexities, as the paper reports it, without the temporary adapter. */
  meanChunkBasePerplexity: number;
  /** With it. */
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

/** Begins a temporary adapter when the engine comes to it. */
export async function createTempLora(turns: Turns, config: GenerationConfig, options: TempLoraOptions): Promise<TempLora> {
  const { budget, ...fields } = checkTempLora(options);
  const slices = new Slices(budget);
  const keeps = fields.overlap === true || (fields.kv !== undefined && fields.kv !== "recompute");
  return new TempLora(turns, slices, config, keeps, await turns.take((engine) => keeping(engine, () => engine.beginTempLora(fields) as Promise<Begun>)));
}

/** A temporary adapter. {@link Engine.createTempLora} makes one. */
export class TempLora {
  /** Among the adapters, while it lives. */
  readonly name: string;
  readonly chunkTokens: number;
  readonly contextTokens: number;
  readonly #turns: Turns;
  readonly #slices: Slices;
  readonly #config: GenerationConfig;
  /** Whether a text keeps its keys and values while a chunk of it is learned. */
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
   * Goes on with the text and learns what it writes, past the context without end: `max_tokens` may be
   * any number. Leaving the loop ends it: what was written stays, and is gone on from, but an unfinished
   * chunk is not learned.
   *
   * Errors: `argument` for an option, no text to go on from, other work under way, or after
   * `dispose`; `cancelled` when `signal` fires; `device`.
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

  /** Learns a text or token ids, put after what is there. Errors as `generate` does. */
  async train(text: string | readonly number[], options: TempTextOptions = {}): Promise<Learned> {
    return this.#learn(text, options, false);
  }

  /** The same, each chunk scored first, with and without the adapter. Errors as `generate` does. */
  async evaluate(text: string | readonly number[], options: TempTextOptions = {}): Promise<Evaluation> {
    const learned = await this.#learn(text, options, true);
    return { ...learned, ...(await enter(() => WasmEngine.evaluation(learned.chunks) as Omit<Evaluation, keyof Learned>)) };
  }

  /** What it has learned, as a PEFT folder. Errors with `argument` after `dispose` or `keepAs`. */
  async exportAdapter(): Promise<File[]> {
    this.#check();
    return exportAdapter(this.#turns, this.name);
  }

  /**
   * Makes it an ordinary adapter called `name`, and ends this object. Errors with `argument` if the
   * name is taken: it is then still there.
   */
  async keepAs(name: string): Promise<AdapterInfo> {
    this.#check();
    givenName(name);
    return this.#end(name, (engine) => engine.adapter(name) as AdapterInfo);
  }

  /**
   * Takes it away: every text and logit is as if it had never been. Work under way ends with an error.
   * Disposing twice, or after the engine, is no error; `argument` if a running completion uses it.
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

  /** Begins something that takes `seats`, and moves it on to its end; what is left is dropped if the caller leaves. */
  async *#work(options: TempTextOptions, seats: number, begin: (engine: WasmEngine) => void): AsyncGenerator<Event, void, undefined> {
    const { signal, onProgress, onTrain } = options;
    checkSignal(signal);
    checkFunction("onProgress", onProgress);
    checkFunction("onTrain", onTrain);
    this.#check();
    throwIfCancelled(signal, WHAT);
    if (this.#busy) throw new LorakeetError("argument", "the temporary adapter is at work, expected one call at a time");
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
          // Nothing is under way between two chunks: others come in.
          seating.leave();
          seating = undefined;
        }
        const readAgain = seating?.idle(cancel);
        yield event;
        readAgain?.();
      }
    } finally {
      await cancel().catch(() => {}); // the error that led here is the one to tell
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
