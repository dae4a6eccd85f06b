// Instances of the WebAssembly module that knows grammars: each holds a model's tokens, and the grammars of one request.
// A trap stops its instance alone. src/grammar/exports.rs is the other side.

import { LorakeetError } from "../error.js";
import type { Constraint } from "./constraint.js";

/** What a text is to be like: of a JSON schema (its JSON), of a grammar in Lark, or of a regular expression. */
export interface Format {
  /** Where a caller said so; errors name it. */
  option: string;
  kind: (typeof KINDS)[number];
  text: string;
}

/** What the module exports; a negative answer is an error, told by `message`. */
interface Exports {
  memory: WebAssembly.Memory;
  begin(): void;
  room(length: number): number;
  message(): number;
  message_length(): number;
  set_tokens(): number;
  compile(kind: number): number;
  copy(constraint: number): number;
  allowed(constraint: number): number;
  mask(): number;
  accept(constraint: number, token: number): number;
  clear(): void;
}

/** In the order of the module. */
const KINDS = ["json_schema", "lark", "regex"] as const;
const ENDINGS = ["never", "may", "must"] as const;

export class GrammarInstance {
  #exports!: Exports;
  /** What is at work, for errors. */
  #option = "the module of grammars";
  /** Words of a mask. */
  #words = 0;
  /** What the last panic said. */
  #panic = "";
  /** Set once it has trapped: its memory can no longer be trusted. */
  #stopped: LorakeetError | undefined;

  /** `tokens` are `Engine.packedTokens`. */
  static async open(module: WebAssembly.Module, tokens: Uint8Array): Promise<GrammarInstance> {
    const made = new GrammarInstance();
    const panicked = (at: number, length: number) => void (made.#panic = made.#text(at, length));
    const { exports } = await WebAssembly.instantiate(module, { env: { panicked, now: () => performance.now() } });
    made.#exports = exports as unknown as Exports;
    made.#guard(() => made.#exports.begin());
    made.#write(tokens);
    made.#words = made.#ask(() => made.#exports.set_tokens());
    return made;
  }

  /** Compiles a grammar; gives what makes a constraint for each text of it. Errors with `argument`. */
  compile({ option, kind, text }: Format): () => Constraint {
    this.#option = option;
    this.#write(new TextEncoder().encode(text));
    const first = this.#ask(() => this.#exports.compile(KINDS.indexOf(kind)));
    return () => this.#constraint(this.#ask(() => this.#exports.copy(first)));
  }

  /** Forgets all grammars. Returns whether it can take others. */
  clear(): boolean {
    try {
      this.#guard(() => this.#exports.clear());
      return true;
    } catch {
      return false;
    }
  }

  #constraint(number: number): Constraint {
    return {
      allowed: () => {
        const ending = ENDINGS[this.#ask(() => this.#exports.allowed(number))]!;
        const mask = new Uint32Array(this.#exports.memory.buffer, this.#exports.mask(), this.#words).slice();
        return { mask, ending };
      },
      accept: (token) => void this.#ask(() => this.#exports.accept(number, token)),
    };
  }

  #write(bytes: Uint8Array): void {
    const at = this.#guard(() => this.#exports.room(bytes.length));
    new Uint8Array(this.#exports.memory.buffer, at, bytes.length).set(bytes);
  }

  #ask(call: () => number): number {
    const answer = this.#guard(call);
    if (answer < 0) throw this.#error(this.#text(this.#exports.message(), this.#exports.message_length()));
    return answer;
  }

  #guard<T>(call: () => T): T {
    if (this.#stopped) throw this.#stopped;
    try {
      return call();
    } catch (error) {
      // A panic, a stack too small, no memory: nothing was unwound.
      this.#stopped = this.#error(`it stopped the module of grammars: ${this.#panic || (error as Error).message}`, error);
      throw this.#stopped;
    }
  }

  #error(message: string, cause?: unknown): LorakeetError {
    return new LorakeetError("argument", `${this.#option}: ${message}`, { cause });
  }

  #text(at: number, length: number): string {
    return new TextDecoder().decode(new Uint8Array(this.#exports.memory.buffer, at, length));
  }
}
