// Conversations as token ids, by the chat template of the model or of the adapters at work, each read when it is
// first needed. Not the template's language: that is a WebAssembly module of its own.

import { chosen, type AdapterInfo } from "./choice.js";
import { LorakeetError } from "../error.js";
import type { ReadFile } from "../files/source.js";
import type { Turns } from "../thread/turns.js";
import { WasmChatTemplate, enterChat, loadChatWasm } from "../thread/wasm.js";

/** A template, and the tokens that end its answers. */
interface Template {
  template: WasmChatTemplate;
  ends: number[];
  /** What tells it from others. */
  source: string;
}

/** Files in which templates are. */
interface Files {
  config?: Uint8Array | undefined;
  jinja?: Uint8Array | undefined;
  json?: Uint8Array | undefined;
}

/** Adapters by name, each with its weight. */
type Weights = Readonly<Record<string, number>>;

/** How conversations are had under some adapters. */
export interface Manner {
  /** The adapters, as the request named them, or those of the engine's choice when it was made. */
  adapter: Weights;
  /** Tokens that end an answer, those of the model apart. */
  ends: number[];
  /** The template that a conversation with tools, or without, has. Errors as chats do. */
  source(hasTools: boolean): Promise<string>;
  /** The text of a conversation, which is as `conversation` of chat-request.ts writes it. Errors as chats do. */
  render(conversation: string): Promise<string>;
  /** Token ids of what `render` wrote. */
  encode(text: string): Promise<number[]>;
}

const CONFIG = "tokenizer_config.json";
const JINJA = "chat_template.jinja";
const JSON_FILE = "chat_template.json";

export class Conversations {
  readonly #turns: Turns;
  readonly #files: ReadFile;
  readonly #wasmUrl: URL | undefined;
  #base: Promise<Template | undefined> | undefined;
  /** Folders of adapters, and what of a template was in them once that has been looked for. */
  readonly #adapters = new Map<string, { files: ReadFile; template?: Promise<Template | undefined> | undefined }>();

  /** `files` are the model's. */
  constructor(turns: Turns, files: ReadFile, wasmUrl: URL | undefined) {
    this.#turns = turns;
    this.#files = files;
    this.#wasmUrl = wasmUrl;
  }

  /** An adapter was loaded, from files that may have a template. */
  bring(name: string, files: ReadFile | undefined): void {
    if (files) this.#adapters.set(name, { files });
    else this.#adapters.delete(name);
  }

  /** An adapter was made after the likeness of `first`, or is gone. */
  inherit(name: string, first: string | undefined): void {
    this.bring(name, first === undefined ? undefined : this.#adapters.get(first)?.files);
  }

  /** Token ids of a conversation in the model's own template. Errors as chats do. */
  async tokens(conversation: string): Promise<number[]> {
    const { template } = await this.#under({});
    return this.#encode(await enterChat(() => template.render(conversation)));
  }

  /** How to converse under adapters; undefined is the engine's choice. Errors as chats do, `argument` for one that is not loaded. */
  async manner(given: Weights | undefined): Promise<Manner> {
    const { adapter, merged } = await this.#turns.take((engine) => {
      for (const [name, weight] of Object.entries(given ?? {})) if (weight !== 0) engine.adapter(name);
      const merged = (engine.adapters() as AdapterInfo[]).filter((each) => each.merged !== 0);
      return { adapter: given ?? chosen(engine), merged: Object.fromEntries(merged.map((each) => [each.name, each.merged])) };
    });
    const template = await this.#under({ ...merged, ...adapter });
    return {
      adapter,
      ends: template.ends,
      source: (hasTools) => enterChat(() => template.template.source(hasTools)),
      render: (conversation) => enterChat(() => template.template.render(conversation)),
      encode: (text) => this.#encode(text),
    };
  }

  #encode(text: string): Promise<number[]> {
    return this.#turns.take((engine) => Array.from(engine.encodeChat(text)));
  }

  /** The template that the adapters at work brought, if they agree; else the model's, or the one of the largest weight. */
  async #under(weights: Weights): Promise<Template> {
    const size = (name: string) => Math.abs(weights[name]!);
    const names = Object.keys(weights).filter((name) => size(name) !== 0).sort((a, b) => size(b) - size(a));
    const found = await Promise.all(names.map((name) => this.#ofAdapter(name)));
    const own = found.filter((each) => each !== undefined);
    const agree = own.every(({ source }) => source === own[0]!.source);
    if (own[0] && agree) return own[0];
    const template = (await this.#ofModel()) ?? own[0];
    // Says that there is none, and where it was looked for.
    return template ?? this.#made({});
  }

  #ofModel(): Promise<Template | undefined> {
    this.#base ??= this.#readBase().catch((error: unknown) => {
      this.#base = undefined; // the next call may find it
      throw error;
    });
    return this.#base;
  }

  async #readBase(): Promise<Template | undefined> {
    const files = await this.#find(this.#files);
    const own = await this.#turns.take((engine) => engine.tokenizerConfig());
    if (await isIn(files)) return this.#made({ ...files, config: files.config ?? own });
    return (await isIn({ config: own })) ? this.#made({ config: own }) : undefined;
  }

  async #ofAdapter(name: string): Promise<Template | undefined> {
    const adapter = this.#adapters.get(name);
    if (!adapter) return undefined;
    adapter.template ??= this.#readAdapter(adapter.files).catch((error: unknown) => {
      adapter.template = undefined;
      const { kind, message } = error as LorakeetError;
      throw new LorakeetError(kind, `adapter \`${name}\`: ${message}`, { cause: error });
    });
    return adapter.template;
  }

  async #readAdapter(read: ReadFile): Promise<Template | undefined> {
    const files = await this.#find(read);
    if (!(await isIn(files))) return undefined;
    // Where it names no special tokens, they are the model's.
    const config = files.config ?? (await this.#files(CONFIG)) ?? (await this.#turns.take((engine) => engine.tokenizerConfig()));
    return this.#made({ ...files, config });
  }

  async #find(read: ReadFile): Promise<Files> {
    const [config, jinja] = await Promise.all([read(CONFIG), read(JINJA), loadChatWasm(this.#wasmUrl)]);
    const json = (await isIn({ config, jinja })) ? undefined : await read(JSON_FILE);
    return { config, jinja, json };
  }

  async #made({ config, jinja, json }: Files): Promise<Template> {
    const { template, end, after } = await enterChat(() => {
      const template = WasmChatTemplate.fromFiles(config, jinja, json);
      return { template, end: template.special("eos_token"), after: template.endOfTurn() };
    });
    const ends = await this.#turns.take((engine) => Array.from(engine.chatEnds(end, after)));
    const source = jinja ? text(jinja) : String(field(config) ?? field(json));
    return { template, ends, source };
  }
}

function isIn({ config, jinja, json }: Files): Promise<boolean> {
  return enterChat(() => WasmChatTemplate.isInFiles(config, jinja, json));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The template in a file, as JSON. */
function field(json: Uint8Array | undefined): string | undefined {
  return json && JSON.stringify((JSON.parse(text(json)) as { chat_template?: unknown }).chat_template ?? undefined);
}
