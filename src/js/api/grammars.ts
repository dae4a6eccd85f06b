// The grammars of an engine's requests. What knows them is fetched for the first one, and has the model's tokens.
// Not what a grammar lets through: that is a WebAssembly module of its own.

import type { Constraint } from "../thread/constraint.js";
import { GrammarInstance, type Format } from "../thread/grammar.js";
import type { Turns } from "../thread/turns.js";
import { loadGrammarWasm } from "../thread/wasm.js";

/** A grammar, compiled for the texts of a request. */
export interface Grammar {
  /** Of another text, which stands at its beginning. */
  constraint(): Constraint;
  /** To be called once, when no constraint of it is asked any more. */
  free(): void;
}

export class Grammars {
  readonly #turns: Turns;
  readonly #wasmUrl: URL | undefined;
  #tokens: Promise<Uint8Array> | undefined;
  /** The instance that the last request left, for the next one. */
  #idle: GrammarInstance | undefined;

  constructor(turns: Turns, wasmUrl: URL | undefined) {
    this.#turns = turns;
    this.#wasmUrl = wasmUrl;
  }

  /** What compiles a format, if one is asked for. Errors with `argument`, `network`. */
  of(format: Format | undefined): (() => Promise<Grammar>) | undefined {
    return format && (() => this.#compile(format));
  }

  async #compile(format: Format): Promise<Grammar> {
    const instance = await this.#take();
    try {
      return { constraint: instance.compile(format), free: () => this.#leave(instance) };
    } catch (error) {
      this.#leave(instance);
      throw error;
    }
  }

  async #take(): Promise<GrammarInstance> {
    const module = await loadGrammarWasm(this.#wasmUrl);
    this.#tokens ??= this.#turns.take((engine) => engine.packedTokens()).catch((error: unknown) => {
      this.#tokens = undefined;
      throw error;
    });
    const tokens = await this.#tokens;
    const idle = this.#idle;
    this.#idle = undefined;
    return idle ?? GrammarInstance.open(module, tokens);
  }

  #leave(instance: GrammarInstance): void {
    if (instance.clear()) this.#idle = instance;
  }
}
