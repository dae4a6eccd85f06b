// The grammars of an engine's requests. What knows them is fetched for the first one, and has the model's tokens.
// Not what a grammar lets through: that is a WebAssembly module of its own.

import type { Constraint } from "../thread/constraint.js";
import { GrammarInstance, type Format as TextFormat } from "../thread/grammar.js";
import type { Turns } from "../thread/turns.js";
import { loadGrammarWasm } from "../thread/wasm.js";

/** A grammar, compiled for the texts of a request. */
export interface Grammar {
  /** Of another text, which stands at its beginning. */
  constraint(): Constraint;
  /** To be called once, when no constraint of it is asked any more. */
  free(): void;
}

/** What a text is to be like. Where that depends on the model's tokens, `token` says how a special token or a text is put in Lark. */
export type Format = Omit<TextFormat, "text"> & { text: string | ((token: (text: string) => string) => string) };

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
    const [instance, tokens] = await this.#take();
    try {
      const text = typeof format.text === "string" ? format.text : format.text((text) => inLark(text, tokens));
      return { constraint: instance.compile({ ...format, text }), free: () => this.#leave(instance) };
    } catch (error) {
      this.#leave(instance);
      throw error;
    }
  }

  async #take(): Promise<[GrammarInstance, Uint8Array]> {
    const module = await loadGrammarWasm(this.#wasmUrl);
    this.#tokens ??= this.#turns.take((engine) => engine.packedTokens()).catch((error: unknown) => {
      this.#tokens = undefined;
      throw error;
    });
    const tokens = await this.#tokens;
    const idle = this.#idle;
    this.#idle = undefined;
    return [idle ?? (await GrammarInstance.open(module, tokens)), tokens];
  }

  #leave(instance: GrammarInstance): void {
    if (instance.clear()) this.#idle = instance;
  }
}

/** A special token by its id, if `packed` has one of this name; else the text. */
function inLark(text: string, packed: Uint8Array): string {
  const name = [0xff, ...new TextEncoder().encode(text)];
  for (let at = 0, id = 0; at < packed.length; id++) {
    const length = packed[at]! | (packed[at + 1]! << 8);
    const start = at + 2;
    if (length === name.length && name.every((byte, i) => packed[start + i] === byte)) return `<[${id}]>`;
    at = start + length;
  }
  return JSON.stringify(text);
}
