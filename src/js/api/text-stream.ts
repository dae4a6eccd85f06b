// A stream of text whose adapters can change while it is written: what it is, and when the engine hears of a change.
// Not the change itself: that is Rust's.

import { adapterWeights, type AdapterChoice } from "./choice.js";
import { pause } from "../thread/pause.js";
import type { Turns } from "../thread/turns.js";
import type { WasmEngine } from "../thread/wasm.js";

/** A stream of text. */
export interface TextStream<Chunk> extends AsyncGenerator<Chunk, void, undefined> {
  /**
   * Goes on with the text under other adapters, from the next token on; null is the base model. All that was written is
   * read under them, and half a character, stop strings, samplers and a format go on where they were. Chunks that come after it
   * has resolved are the new adapters'; a chat keeps its prompt. After the stream's end it does nothing.
   *
   * ```ts
   * const stream = engine.completions.create({ prompt, stream: true, adapter: "poet" });
   * button.onclick = () => stream.setAdapter("pirate");
   * for await (const { choices } of stream) write(choices[0].text);
   * ```
   *
   * Errors with `argument` if an adapter is not loaded, or the text has no room under it: it goes on as before then.
   */
  setAdapter(choice: AdapterChoice): Promise<void>;
}

type Weights = Record<string, number>;

/** A change that waits for the end of a step. */
interface Asked {
  weights: Weights;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** What a stream's adapters are to be, for who writes it. */
export class Switch {
  readonly #turns: Turns;
  #weights: Weights | undefined;
  /** The engine's number of the batch that is under way. */
  #batch: number | undefined;
  #isStepping = false;
  #asked: Asked[] = [];

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** The same stream with `setAdapter`. */
  of<Chunk>(stream: AsyncGenerator<Chunk, void, undefined>): TextStream<Chunk> {
    return Object.assign(stream, { setAdapter: (choice: AdapterChoice) => this.#set(choice) });
  }

  /** What prompts that begin now are to have; undefined if nobody has said anything. */
  get weights(): Weights | undefined {
    return this.#weights;
  }

  /** In the turn that begins a batch, or ends it: then there is none. */
  is(batch: number | undefined): void {
    this.#batch = batch;
  }

  /** Does a step. What is asked for meanwhile is done before its text is shown, and told once it was. */
  async during<T>(step: () => Promise<T>): Promise<T> {
    this.#isStepping = true;
    try {
      return await step();
    } finally {
      for (const { weights, resolve, reject } of this.#asked.splice(0)) {
        await this.#apply(weights).then(() => void pause().then(resolve), reject);
      }
      this.#isStepping = false;
    }
  }

  async #set(choice: AdapterChoice): Promise<void> {
    const weights = adapterWeights("adapter", choice);
    // A reader who waits for the change before reading on must get it; one who waits for text gets that first.
    if (!this.#isStepping) return this.#apply(weights);
    return new Promise((resolve, reject) => this.#asked.push({ weights, resolve, reject }));
  }

  async #apply(weights: Weights): Promise<void> {
    if (this.#turns.closed) return;
    await this.#turns.take((engine) => {
      if (this.#batch === undefined) checkLoaded(engine, weights);
      else engine.switch(this.#batch, weights);
      this.#weights = weights;
    });
  }
}

/** Errors with `argument`. */
function checkLoaded(engine: WasmEngine, weights: Weights): void {
  for (const [name, weight] of Object.entries(weights)) if (weight !== 0) engine.adapter(name);
}
