// Engine: a loaded model, from the caller's side.
// Not the work itself: files are load.ts's, requests are completions.ts's.

import type { ModelCache } from "../files/cache.js";
import type { AdapterSource } from "../files/source.js";
import { checkBoolean, checkNames, isWhole, wrong } from "../options.js";
import type { DeviceLost } from "../thread/device-loss.js";
import type { Turns } from "../thread/turns.js";
import { exportAdapter, getAdapter, loadAdapter, type AdapterDetails, type AdapterOptions } from "./adapters.js";
import { applyChatTemplate, type TemplateOptions } from "./apply-template.js";
import { checkMessages, conversation, type ChatMessage } from "./chat-request.js";
import { Chat } from "./chat.js";
import { adapterWeights, type AdapterChoice, type AdapterInfo } from "./choice.js";
import { Completions } from "./completions.js";
import type { Conversations } from "./conversations.js";
import { Embeddings } from "./embeddings.js";
import type { EngineInfo } from "./engine-options.js";
import type { Grammars } from "./grammars.js";
import { recover, type Origin, type RecoverOptions } from "./recover.js";
import { restoreSession, saveSession, type RestoreOptions, type SessionOptions, type SessionText } from "./session.js";
import type { TempLoraOptions } from "./temp-lora-options.js";
import { createTempLora, type TempLora } from "./temp-lora.js";
import { trainAdapter, type TrainOptions, type TrainingStep } from "./train.js";
import { addWeightedAdapter, type CombinationOptions } from "./weighted.js";

/** How a text becomes tokens. The name is transformers'. */
export interface TokenizeOptions {
  /** Whether the special tokens that the model expects around a text are added. Default `true`. */
  add_special_tokens?: boolean;
}

/** A loaded model. `createEngine` makes one. */
export class Engine {
  /** Continues texts, in OpenAI's shapes. */
  readonly completions: Completions;
  /** Answers in conversations, in OpenAI's shapes. */
  readonly chat: Chat;
  /** Turns texts into vectors, in OpenAI's shapes. */
  readonly embeddings: Embeddings;
  /** The model, its device and its sizes. */
  readonly info: Readonly<EngineInfo>;
  /** Why `device: "auto"` chose the CPU; undefined if it did not. */
  readonly fallbackReason: string | undefined;
  /** The files that are kept for later loads. */
  readonly cache: ModelCache;
  readonly #turns: Turns;
  readonly #origin: Origin;
  readonly #conversations: Conversations;

  /** @internal */
  constructor(
    turns: Turns, info: EngineInfo, origin: Origin, fallbackReason: string | undefined, cache: ModelCache, conversations: Conversations,
    grammars: Grammars,
  ) {
    this.#turns = turns;
    this.#origin = origin;
    this.info = Object.freeze(info);
    this.fallbackReason = fallbackReason;
    this.cache = cache;
    this.completions = new Completions(turns, info, grammars);
    this.chat = new Chat(turns, info, conversations, grammars);
    this.#conversations = conversations;
    this.embeddings = new Embeddings(turns, info.model);
  }

  /** Where the model runs. */
  get device(): "webgpu" | "cpu" {
    return this.info.device;
  }

  /** Token ids of a text, with the special tokens the model expects around it, unless `add_special_tokens` is false. */
  async tokenize(text: string, options: TokenizeOptions = {}): Promise<number[]> {
    if (typeof text !== "string") throw wrong("text", text, "a string");
    checkNames(options, ["add_special_tokens"]);
    const { add_special_tokens: adds = true } = options;
    checkBoolean("add_special_tokens", adds);
    return Array.from(await this.#turns.take((engine) => engine.tokenize(text, adds)));
  }

  /**
   * The text of token ids, without special tokens, unless `skip_special_tokens` is false. Errors with `argument` for
   * an id that is not in the vocabulary.
   */
  async detokenize(ids: readonly number[], options: { skip_special_tokens?: boolean } = {}): Promise<string> {
    if (!Array.isArray(ids) || !ids.every(isWhole)) throw wrong("ids", ids, "an array of token ids");
    checkNames(options, ["skip_special_tokens"]);
    const { skip_special_tokens: skips = true } = options;
    checkBoolean("skip_special_tokens", skips);
    return this.#turns.take((engine) => engine.detokenize(Uint32Array.from(ids), skips));
  }

  /**
   * How many tokens a text has, with the special tokens as `tokenize` adds them; or a conversation, as the model's
   * chat template writes it before an answer.
   */
  async countTokens(text: string | readonly ChatMessage[], options: TokenizeOptions = {}): Promise<number> {
    if (typeof text === "string") return (await this.tokenize(text, options)).length;
    checkNames(options, []);
    return (await this.#conversations.tokens(conversation({ messages: checkMessages("messages", text) }, true))).length;
  }

  /**
   * A conversation as the chat template writes it, special tokens included: the text of the prompt that a chat would have.
   *
   * ```ts
   * console.log(await engine.applyChatTemplate(messages, { tools }));
   * ```
   *
   * Errors as `engine.chat.completions.create`.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: TemplateOptions = {}): Promise<string> {
    return applyChatTemplate(this.#conversations, messages, options);
  }

  /** Bytes of weights, caches, buffers, adapters and training on the device, now. */
  memoryBytes(): Promise<number> {
    return this.#turns.take((engine) => (engine.info() as EngineInfo).memoryBytes);
  }

  /**
   * The logits at every position of `ids`, computed anew: for each, what the model expects to come next.
   *
   * ```ts
   * const ids = await engine.tokenize("The fox");
   * const last = (await engine.logits(ids, { adapter: "poet" })).at(-1)!; // Float32Array of info.vocabSize
   * ```
   *
   * `adapter` is used instead of the engine's own choice; null means the base model. Errors with `argument` if
   * there are no ids, ids outside the vocabulary or more ids than the context holds, or if an adapter is not loaded.
   */
  async logits(ids: readonly number[], options: { adapter?: AdapterChoice } = {}): Promise<Float32Array[]> {
    if (!Array.isArray(ids) || !ids.every(isWhole)) throw wrong("ids", ids, "an array of token ids");
    checkNames(options, ["adapter"]);
    const weights = options.adapter === undefined ? undefined : adapterWeights("adapter", options.adapter);
    const all = await this.#turns.seated("the logits", (engine) => engine.logits(Uint32Array.from(ids), weights));
    const v = this.info.vocabSize;
    return ids.map((_, t) => all.subarray(t * v, (t + 1) * v));
  }

  /**
   * The keys and values of a conversation as bytes, to go on later, after a reload too, without computing it again.
   * What of it the cache does not hold is computed first. A text or token ids can stand in place of messages.
   *
   * ```ts
   * const bytes = await engine.saveSession(messages);
   * await engine.restoreSession(bytes); // in another engine of the same model
   * await engine.chat.completions.create({ messages: [...messages, next] });
   * ```
   *
   * Errors: `argument` for an option, or a text that does not fit the context; `unsupported` for an encoder;
   * `device`; `cancelled`.
   */
  saveSession(text: SessionText, options: SessionOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return saveSession(this.#turns, this.#conversations, text, options);
  }

  /**
   * Puts a saved session into the cache, and gives its token ids: a prompt that begins with them goes on from there.
   * The session must be of this model in the same types, of the same adapters with the same weights, and saved
   * by this version of the package; on which device does not matter. Other conversations may take its place
   * in the cache, as any other's.
   *
   * Errors: `mismatch` saying what is another here; `format` for damaged bytes; `argument` for an option, an
   * adapter that is not loaded or a context that is too short; `device`; `cancelled`. After an error of the
   * first three the cache is as it was.
   */
  restoreSession(session: Uint8Array | ArrayBuffer | Blob, options: RestoreOptions = {}): Promise<number[]> {
    return restoreSession(this.#turns, session, options);
  }

  /**
   * Loads a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`, as `save_pretrained`
   * writes them, a folder of mlx-lm or of mistral-finetune, or a GGUF LoRA as llama.cpp's converter
   * writes it. Loading does not activate the adapter; `setAdapter` does.
   *
   * ```ts
   * await engine.loadAdapter("./adapters/sql/"); // as "sql"
   * await engine.loadAdapter("org/sql-lora"); //    from the Hugging Face Hub
   * await engine.loadAdapter("./poet.gguf");
   * await engine.loadAdapter(input.files, { name: "poet" });
   * await engine.setAdapter({ sql: 0.7, poet: 0.3 });
   * ```
   *
   * Errors: `argument` for an option, a missing file, or a name that a running completion uses;
   * `network`, `format`, `unsupported`, `mismatch` for an adapter of another base, `memory`, and
   * `cancelled`. After an error all adapters are as they were, and so is one that had the name.
   */
  loadAdapter(source: AdapterSource, options: AdapterOptions = {}): Promise<AdapterInfo> {
    return loadAdapter(this.#turns, this.#conversations, this.cache, source, options);
  }

  /**
   * Chooses the adapters for requests that name none: one adapter, a blend of several, or the base model.
   * Requests made later use the new choice; requests that are already running keep theirs.
   *
   * Errors with `argument` if an adapter is not loaded, or if there are more than a blend can hold.
   */
  async setAdapter(choice: AdapterChoice): Promise<void> {
    const weights = adapterWeights("adapter", choice);
    await this.#turns.take((engine) => engine.setAdapter(weights));
  }

  /** Chooses the base model: the same as `setAdapter(null)`. */
  disableAdapters(): Promise<void> {
    return this.setAdapter(null);
  }

  /** The loaded adapters, in the order of loading. */
  listAdapters(): Promise<AdapterInfo[]> {
    return this.#turns.take((engine) => engine.adapters() as AdapterInfo[]);
  }

  /** One loaded adapter, with its config. Errors with `argument` if it is not loaded. */
  getAdapter(name: string): Promise<AdapterDetails> {
    return getAdapter(this.#turns, name);
  }

  /**
   * Combines loaded LoRAs into a new adapter, as PEFT's `add_weighted_adapter` does. An adapter that has the
   * name is replaced. The config and the chat template are copied from the first adapter. To blend adapters,
   * `setAdapter` is enough, exact and free; use this for the other methods, or to export the result.
   *
   * ```ts
   * await engine.addWeightedAdapter("both", { sql: 0.7, poet: 0.3 }, { combinationType: "ties", density: 0.4 });
   * ```
   *
   * Errors: `argument` for an option, an adapter that is not loaded, or ranks that must be equal and are not;
   * `unsupported` for adapters that are not plain LoRAs; `memory`.
   */
  async addWeightedAdapter(
    name: string, adapters: Readonly<Record<string, number>>, options: CombinationOptions = {},
  ): Promise<AdapterInfo> {
    const info = await addWeightedAdapter(this.#turns, name, adapters, options);
    this.#conversations.inherit(name, Object.keys(adapters)[0]);
    return info;
  }

  /**
   * A loaded adapter as a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`. They are the files
   * it was loaded from; an adapter made here is written as a LoRA. If the config does not name its base model,
   * the model's hub id or folder name is filled in, which PEFT and llama.cpp's converter need.
   *
   * Errors with `argument` if it is not loaded, `unsupported` if it cannot be written as a LoRA.
   */
  exportAdapter(name: string): Promise<File[]> {
    return exportAdapter(this.#turns, name);
  }

  /**
   * Adds adapters to the model's weights and removes them from the engine's choice; other adapters can be
   * active on top. Merged adapters cost nothing per token. Sums are rounded to f32, and a copy of the changed
   * weights is kept for `unmergeAdapter`.
   *
   * Errors with `argument` if adapters are already merged, if one is not loaded or is being trained, or if a
   * completion is running; `unsupported` for an adapter that cannot be merged, or quantised weights; `device`.
   */
  async mergeAdapter(choice: AdapterChoice): Promise<void> {
    const weights = adapterWeights("adapter", choice);
    await this.#turns.take((engine) => engine.mergeAdapter(weights));
  }

  /**
   * Restores the base model's weights, bit for bit. Errors with `argument` if nothing is merged, or if a
   * completion is running.
   */
  async unmergeAdapter(): Promise<void> {
    await this.#turns.take((engine) => engine.unmergeAdapter());
  }

  /**
   * Removes an adapter, and removes it from the engine's choice. Errors with `argument` if it is not loaded,
   * is merged, or is used by a running completion.
   */
  async deleteAdapter(name: string): Promise<void> {
    if (typeof name !== "string") throw wrong("name", name, "a string");
    await this.#turns.take((engine) => engine.deleteAdapter(name));
    this.#conversations.inherit(name, undefined);
  }

  /**
   * Trains a new adapter, or with `resume` a loaded one, on texts or examples. The work is done in small
   * slices, so that the page and other requests go on; the adapter can be used meanwhile. Training occupies
   * one sequence of the `batch`.
   *
   * ```ts
   * for await (const { step, steps, loss, eta } of engine.trainAdapter({ name: "me", dataset: text })) {
   *   show(`${step} of ${steps}: loss ${loss.toFixed(2)}, ${eta.toFixed(0)} s left`);
   * }
   * await engine.setAdapter("me");
   * ```
   *
   * Training begins with the first read. It ends when the loop is left or `signal` fires; the adapter keeps
   * what the last finished step made of it.
   *
   * Errors: `argument` for an option, a name that is taken, or while another adapter is trained or a temporary
   * one exists; `unsupported` for an adapter that is not a plain LoRA, or for conversations without a suitable
   * chat template; `memory`, with what would fit; `device` if the loss becomes NaN; `cancelled`.
   */
  trainAdapter(options: TrainOptions): AsyncGenerator<TrainingStep, void, undefined> {
    return trainAdapter(this.#turns, this.#conversations, options);
  }

  /**
   * Creates a temporary adapter, which learns a long text chunk by chunk (Temp-LoRA, arXiv:2401.11504), is used
   * for what comes next, and is then kept, exported or discarded. There can be one at a time.
   *
   * ```ts
   * const temp = await engine.createTempLora();
   * await temp.train(story);
   * for await (const { text, chunk } of temp.generate({ max_tokens: 20_000, temperature: 0.8 })) {
   *   page.append(text);
   *   if (chunk) plot(chunk.trainLosses[0]);
   * }
   * await temp.dispose(); // the base is bit-identical again
   * ```
   *
   * Errors: `argument` for an option, a name that is taken, or while another adapter is trained;
   * `unsupported` for adapters beside it that are not plain LoRAs; `memory`, with what would fit.
   */
  createTempLora(options: TempLoraOptions = {}): Promise<TempLora> {
    return createTempLora(this.#turns, this.info.generationConfig, options);
  }

  /**
   * Resolves when the GPU is lost: it crashed, the system reset it, or it ran out of memory in the middle of
   * work. (An adapter or a training that does not fit is refused, and nothing is lost.) A call that runs into
   * the loss fails with kind `device` or `memory`. If you have called `lost`, such calls wait for
   * {@link recover} instead, and then go on.
   *
   * ```ts
   * async function watch() {
   *   for (;;) {
   *     const { message } = await engine.lost();
   *     show(message);
   *     await engine.recover();
   *   }
   * }
   * ```
   *
   * Call it again after each recovery. It never resolves on the CPU, or after the engine is disposed.
   */
  lost(): Promise<DeviceLost> {
    return this.#turns.lost();
  }

  /**
   * Opens a GPU again after a loss and restores the engine. The model is loaded again from its source, or from
   * the cache; all adapters, merged ones too, the choice of them, a temporary adapter and one in training are
   * restored from memory. Requests that wait (see {@link lost}) compute their text so far again and continue it.
   * Later calls wait until it is done. If nothing was lost, nothing is done.
   *
   * Training continues after the last finished step. The keys and values that a temporary adapter keeps
   * (`kv` other than `recompute`) are computed again, with the adapter as it is now.
   *
   * Errors: as `createEngine` with `device: "webgpu"`; `mismatch` if the model has changed at its source.
   * Waiting requests then fail with the loss. You can call `recover` again, or `dispose` the engine.
   */
  recover(options: RecoverOptions = {}): Promise<void> {
    return recover(this.#turns, this.#origin, options);
  }

  /**
   * Frees the model, also on the GPU, once the current step is done. Unfinished requests and later calls fail
   * with `argument`. Calling it again does nothing.
   */
  dispose(): Promise<void> {
    return this.#turns.close();
  }
}
