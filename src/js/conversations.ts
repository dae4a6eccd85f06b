// Conversations as token ids, by the model's own chat template, which is read when it is first needed.
// Not the template's language: that is a WebAssembly module of its own.

import { optional, type ModelFolder } from "./source.js";
import type { Turns } from "./turns.js";
import { WasmChatTemplate, enterChat, loadChatWasm } from "./wasm.js";

/** A model's template, and the tokens that end its answers. */
interface Template {
  template: WasmChatTemplate;
  ends: number[];
}

export class Conversations {
  readonly #turns: Turns;
  readonly #folder: ModelFolder;
  readonly #wasmUrl: URL | undefined;
  #template: Promise<Template> | undefined;

  constructor(turns: Turns, folder: ModelFolder, wasmUrl: URL | undefined) {
    this.#turns = turns;
    this.#folder = folder;
    this.#wasmUrl = wasmUrl;
  }

  /** Token ids of a conversation, as `conversation` of chat-request.ts writes it. Errors as chats do. */
  async tokens(conversation: string): Promise<number[]> {
    const { template } = await this.#read();
    const text = await enterChat(() => template.render(conversation));
    return this.#turns.take((engine) => Array.from(engine.encodeChat(text)));
  }

  /** Tokens that end an answer, those of the model apart. */
  async ends(): Promise<number[]> {
    return (await this.#read()).ends;
  }

  #read(): Promise<Template> {
    this.#template ??= this.#readTemplate().catch((error: unknown) => {
      this.#template = undefined; // the next call may find it
      throw error;
    });
    return this.#template;
  }

  async #readTemplate(): Promise<Template> {
    const read = (name: string) => optional(this.#folder, name, undefined);
    const [config, jinja] = await Promise.all([
      read("tokenizer_config.json"), read("chat_template.jinja"), loadChatWasm(this.#wasmUrl),
    ]);
    const own = config || jinja ? undefined : await this.#turns.take((engine) => engine.tokenizerConfig());
    const { template, end, after } = await enterChat(() => {
      const template = WasmChatTemplate.fromFiles(config ?? own, jinja);
      return { template, end: template.special("eos_token"), after: template.endOfTurn() };
    });
    return { template, ends: await this.#turns.take((engine) => Array.from(engine.chatEnds(end, after))) };
  }
}
