// The voices of the page: the base and its adapters, which of them are there, and what is on.
// The engine keeps the adapters; voice-list.js shows them.

import { saveFile } from "./files-out.js";
import { switched } from "./meters.js";
import { bytes } from "./parts.js";
import { isHubId } from "./sources.js";
import { attempt, say, showError } from "./speech.js";
import { keep, kept, letGo } from "./taught.js";
import { VoiceList } from "./voice-list.js";
import { t } from "./words.js";

/** Colours there are; more voices begin again at the first. */
const HUES = 8;
const BASE = { name: "", title: t("base"), line: t("base.line"), hue: "base", loaded: true, own: false };

export class Voices {
  #engine;
  /** {name, title, line, hue, loaded, own}, in the order they came. */
  #list = [];
  #chosen = "";
  #unticked = new Set();
  /** Of the blend, by name; those that are off are not there. */
  #weights = {};
  #kind = "one";
  #wanted;
  #switching;
  #onSwitch;
  #onList;
  #onWeights;
  #shown = new VoiceList({
    onChoose: (name) => this.choose(name),
    onTick: (name, on) => (on ? this.#unticked.delete(name) : this.#unticked.add(name)),
    onWeigh: (name, weight) => {
      const { [name]: _, ...others } = this.#weights;
      this.#onWeights(weight === 0 ? others : { ...others, [name]: weight });
    },
    onRemove: (name) => this.#remove(name),
    onSave: (name) => this.#save(name),
  });

  /**
   * `onSwitch` hears when another choice is on, `onList` of every new list, `onWeights` of weights
   * that the reader wants.
   */
  constructor({ onSwitch, onList, onWeights }) {
    this.#onSwitch = onSwitch;
    this.#onList = onList;
    this.#onWeights = onWeights;
  }

  /** Shows voices that will come with the model, {name, title, line}, in place of all others. */
  expect(voices) {
    this.#list = voices.map((voice, i) => ({ ...voice, hue: i % HUES, loaded: false, own: false }));
    this.#draw();
  }

  /** The engine whose adapters are shown; undefined while there is none. Each begins at its base. */
  set engine(engine) {
    this.#engine = engine;
    this.#chosen = "";
    this.#weights = {};
    this.#draw();
  }

  /** Loads the voices that were expected, one after the other, from {name, folder}; then those that were taught on earlier visits. */
  async load(voices) {
    const engine = this.#engine;
    for (const { name, folder } of voices) {
      // These have two files: a folder would be searched for a chat template when it first answers, and without a network that fails.
      const [config, weights] = ["adapter_config.json", "adapter_model.safetensors"].map((file) => new URL(folder + file, location.href).href);
      await this.#add(engine, () => engine.loadAdapter({ config, weights }, { name }));
    }
    for (const { name, files } of await kept(engine)) {
      if (engine !== this.#engine) return;
      await this.#add(engine, () => engine.loadAdapter(files, { name }).catch(() => undefined)); // another model's of that name
    }
  }

  /** Loads the reader's folders, {name, files}; the last one that fits is switched on. */
  async add(folders) {
    const engine = this.#engine;
    if (!engine) return;
    showError(null);
    let last;
    for (const { name, files } of folders) {
      const options = name ? { name } : this.#nameless(files);
      last = (await this.#add(engine, () => engine.loadAdapter(files, options))) ?? last;
    }
    if (last) await this.choose(last.name);
  }

  /** Loads an adapter from a hub id, read with these `options`, or from an address, and switches to it. */
  async fetch(source, options) {
    const engine = this.#engine;
    if (!engine) return;
    showError(null);
    say(t("voices.fetching"));
    const info = await this.#add(engine, () => engine.loadAdapter(source, isHubId(source) ? options : {}));
    if (info) await this.choose(info.name);
    else say(t("voices.not-fetched"));
  }

  /** Shows an adapter that the engine has got otherwise, and keeps it in this browser. */
  async made(name) {
    const engine = this.#engine;
    await this.#add(engine, () => engine.getAdapter(name));
    const isKept = await keep(engine, name).then(() => true, () => false);
    if (!isKept && engine === this.#engine) showError(new Error(t("voices.not-kept", { name })));
  }

  /** The same, and switches to it. */
  async taught(name) {
    const engine = this.#engine;
    await this.made(name);
    if (engine === this.#engine) await this.choose(name);
  }

  /** Switches to one voice, and says so unless `isQuiet`. */
  async choose(name, isQuiet = false) {
    this.#chosen = name;
    if (this.#kind === "weights") return this.#onWeights(name === "" ? {} : { [name]: 1 });
    this.#shown.select(name);
    await this.#use();
    if (this.#kind === "one" && !isQuiet) say(t("speaking", this.speaking));
  }

  /** Gives the voices other weights, {name: weight}. Whether the engine took the newest ones. */
  weigh(weights) {
    this.#weights = weights;
    this.#shown.weigh(this.#list.map(({ name }) => weights[name] ?? 0));
    return this.#use();
  }

  /** How voices are chosen: `one`, `several` or `weights`. */
  async choosing(kind) {
    this.#kind = kind;
    this.#draw();
    await this.#use();
  }

  get weights() {
    return this.#weights;
  }

  /** All that can speak, the base first. */
  get all() {
    return [BASE, ...this.#loaded];
  }

  /** The voice of that name; the base where there is none. */
  named(name) {
    return this.all.find((voice) => voice.name === name) ?? BASE;
  }

  /** What is on, as `setAdapter` takes it. */
  get choice() {
    return this.#kind === "weights" ? this.#weights : this.#chosen || null;
  }

  /** The voice of the choice, the strongest one of a blend. */
  get speaking() {
    const strength = (name) => Math.abs(this.#weights[name] ?? 0);
    const name = this.#kind === "weights" ? Object.keys(this.#weights).sort((a, b) => strength(b) - strength(a))[0] : this.#chosen;
    return this.#list.find((voice) => voice.name === name) ?? BASE;
  }

  /** The voices to compare, no more than the batch has rows. */
  get ticked() {
    return this.all.filter(({ name }) => !this.#unticked.has(name)).slice(0, this.#most);
  }

  get #loaded() {
    return this.#list.filter(({ loaded }) => loaded);
  }

  get #most() {
    return this.#engine?.info.batch ?? 1;
  }

  /** An adapter of that name is replaced in its place. Undefined if it was not loaded. */
  async #add(engine, load) {
    let info;
    try {
      info = await load();
    } catch (error) {
      if (engine === this.#engine) showError(error);
      return undefined;
    }
    if (engine !== this.#engine || !info) return undefined; // another model has come
    const { name, rank, bytes: size } = info;
    const there = this.#list.find((voice) => voice.name === name);
    const line = t("voices.own", { rank, size: bytes(size) });
    if (there) {
      if (there.loaded) Object.assign(there, { line, own: true }); // no more what shipped
      there.loaded = true;
    } else this.#list.push({ name, title: name, line, hue: this.#list.length % HUES, loaded: true, own: true });
    this.#draw();
    return info;
  }

  /** Of files without a folder only a GGUF has a name of its own. */
  #nameless(files) {
    return files.some(({ name }) => name.endsWith(".gguf")) ? {} : { name: t("voices.nameless", { n: this.#list.length + 1 }) };
  }

  async #save(name) {
    await attempt(async () => {
      for (const file of await this.#engine.exportAdapter(name)) saveFile(file);
      say(t("voices.saved", { name }));
    });
  }

  async #remove(name) {
    const engine = this.#engine;
    await attempt(async () => {
      await engine.deleteAdapter(name);
      await letGo(engine, name);
      this.#list = this.#list.filter((voice) => voice.name !== name);
      delete this.#weights[name];
      if (this.#chosen === name) await this.choose("");
      this.#draw();
      this.#shown.focus();
    });
  }

  /** A moving slider asks faster than the engine may answer: only the newest of what waits is sent. Whether it is on. */
  #use() {
    this.#wanted = this.choice;
    this.#colour();
    this.#switching ??= this.#send().finally(() => (this.#switching = undefined));
    return this.#switching;
  }

  async #send() {
    let engine, sent;
    do {
      [engine, sent] = [this.#engine, this.#wanted];
      const began = performance.now();
      try {
        await engine?.setAdapter(sent);
        if (engine && engine === this.#engine) switched(performance.now() - began);
      } catch (error) {
        if (engine !== this.#engine || sent !== this.#wanted) continue; // there is something newer to try
        showError(error);
        return false;
      }
    } while (engine !== this.#engine || sent !== this.#wanted);
    this.#onSwitch();
    return true;
  }

  /** The page wears the colour of the voice. */
  #colour() {
    document.body.dataset.hue = this.#kind === "several" ? BASE.hue : this.speaking.hue;
  }

  #draw() {
    const ticked = this.ticked;
    this.#shown.draw({
      kind: this.#kind,
      ready: this.#engine !== undefined,
      base: BASE,
      voices: this.#kind === "several" ? this.#loaded : this.#list,
      isOn: (voice) => (this.#kind === "one" ? voice.name === this.#chosen : ticked.includes(voice)),
      weights: this.#weights,
      most: this.#most,
    });
    this.#colour();
    this.#onList(this.#loaded);
  }
}
