// The list of voices: the base and its adapters, to choose, to tick, or to weigh, as the view wants it.
// The engine keeps the adapters; this shows them, and remembers what was chosen.

import { switched } from "./meters.js";
import { bytes, chip, element, make, weightSlider } from "./parts.js";
import { attempt, say, showError } from "./speech.js";

/** Colours there are; more voices begin again at the first. */
const HUES = 8;
const BASE = { name: "", title: "Base", line: "the model's own voice", hue: "base", loaded: true };
const KINDS = {
  one: { type: "radio", legend: "The voice that speaks", hint: "Switch at any moment, also while it writes." },
  several: { type: "checkbox", legend: "The voices to compare", hint: "Tick those to hear side by side." },
  weights: { legend: "The weight of each voice", hint: "0 is off, 1 is its own strength; less than 0 leads away from it." },
};

export class Voices {
  #engine;
  /** {name, title, line, hue, loaded, own}, in the order they came. */
  #list = [];
  #chosen = "";
  #unticked = new Set();
  /** Of the blend, by name; those that are off are not there. */
  #weights = {};
  #kind = "one";
  /** Voices that can be ticked at once. */
  #most = 1;
  #wanted;
  #switching;
  #onSwitch;
  #onList;
  #onWeights;

  /**
   * `onSwitch` hears when another choice is on, `onList` of every new list, `onWeights` of weights
   * that a slider changed.
   */
  constructor({ onSwitch, onList, onWeights }) {
    this.#onSwitch = onSwitch;
    this.#onList = onList;
    this.#onWeights = onWeights;
    element("chips").addEventListener("change", ({ target }) => {
      if (target.type === "radio") this.choose(target.value);
      if (target.type === "checkbox") this.#tick(target);
    });
    this.#draw();
  }

  /** Shows voices that will come with the model, {name, title, line}; none takes them away again. */
  expect(voices) {
    this.#list = voices.map((voice, i) => ({ ...voice, hue: i % HUES, loaded: false, own: false }));
    this.#draw();
  }

  /** The engine whose adapters are shown; undefined while there is none. Each begins at its base. */
  set engine(engine) {
    this.#engine = engine;
    this.#chosen = "";
    this.#weights = {};
    this.#wanted = null;
    this.#most = Math.max(engine?.info.batch ?? 1, 1);
    this.#draw();
  }

  /** Loads the voices that were expected, one after the other, from {name, folder}; then the reader's stay. */
  async load(voices) {
    const engine = this.#engine;
    for (const { name, folder } of voices) {
      await this.#add(engine, () => engine.loadAdapter(folder, { name }));
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

  /** Shows an adapter that the engine has got otherwise, and switches to it. */
  async taught(name) {
    const engine = this.#engine;
    await this.#add(engine, () => engine.getAdapter(name));
    if (engine === this.#engine) await this.choose(name);
  }

  /** Switches to one voice. */
  async choose(name) {
    this.#chosen = name;
    if (this.#kind === "weights") return this.#onWeights(name === "" ? {} : { [name]: 1 });
    for (const radio of element("chips").querySelectorAll("[type=radio]")) radio.checked = radio.value === name;
    await this.#use();
    if (this.#kind === "one") say(`Speaking as ${this.speaking.title}.`);
  }

  /** Gives the voices other weights, {name: weight}. */
  async weigh(weights) {
    this.#weights = weights;
    this.#list.forEach(({ name }, i) => {
      const weight = weights[name] ?? 0;
      const slider = element(`weight-${i}`);
      if (slider === null || Number(slider.value) === weight) return;
      slider.value = String(weight);
      slider.previousElementSibling.value = weight.toFixed(2);
    });
    this.#colour();
    await this.#use();
  }

  /** How voices are chosen: `one`, `several` or `weights`. */
  async choosing(kind) {
    this.#kind = kind;
    this.#draw();
    await this.#use();
  }

  get list() {
    return this.#list.filter(({ loaded }) => loaded);
  }

  get weights() {
    return this.#weights;
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

  /** The voices to compare. */
  get ticked() {
    return [BASE, ...this.list].filter(({ name }) => !this.#unticked.has(name)).slice(0, this.#most);
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
    if (engine !== this.#engine) return undefined; // another model has come
    const { name, rank, bytes: size } = info;
    const there = this.#list.find((voice) => voice.name === name);
    if (there) there.loaded = true;
    else this.#list.push({ name, title: name, line: `rank ${rank} · ${bytes(size)}`, hue: this.#list.length % HUES, loaded: true, own: true });
    this.#draw();
    return info;
  }

  /** Of files without a folder only a GGUF has a name of its own. */
  #nameless(files) {
    return files.some(({ name }) => name.endsWith(".gguf")) ? {} : { name: `adapter ${this.#list.length + 1}` };
  }

  async #remove(name) {
    const engine = this.#engine;
    await attempt(async () => {
      await engine.deleteAdapter(name);
      this.#list = this.#list.filter((voice) => voice.name !== name);
      delete this.#weights[name];
      if (this.#chosen === name) await this.choose("");
      else this.#draw();
      element("chips").querySelector("input:checked, input")?.focus();
    });
  }

  #tick({ value, checked }) {
    if (checked) this.#unticked.delete(value);
    else this.#unticked.add(value);
    this.#limit();
  }

  /** No more boxes than the batch has rows can be on. */
  #limit() {
    const boxes = [...element("chips").querySelectorAll("[type=checkbox]")];
    const full = boxes.filter((box) => box.checked).length >= this.#most;
    for (const box of boxes) box.disabled = full && !box.checked;
  }

  /** A moving slider asks faster than the engine may answer: only the newest of what waits is sent. */
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
        if (engine === this.#engine) return showError(error);
      }
    } while (engine !== this.#engine || sent !== this.#wanted);
    this.#onSwitch();
  }

  /** The page wears the colour of the voice. */
  #colour() {
    document.body.dataset.hue = this.#kind === "several" ? "base" : this.speaking.hue;
  }

  #draw() {
    const { type, legend, hint } = KINDS[this.#kind];
    const rows = type ? this.#choices(type) : this.#list.map((voice, i) => this.#slider(voice, i));
    element("chips").disabled = !this.#engine;
    element("chips").dataset.kind = this.#kind;
    element("chips-legend").textContent = legend;
    const focused = element("chips").contains(document.activeElement) ? document.activeElement.value : undefined;
    element("chips").replaceChildren(element("chips-legend"), ...rows);
    if (focused !== undefined) [...element("chips").querySelectorAll("input")].find(({ value }) => value === focused)?.focus();
    element("voices-hint").textContent = this.#list.length > 0 ? hint : "None yet: drop an adapter folder here, or teach one.";
    if (type === "checkbox") this.#limit();
    this.#colour();
    this.#onList(this.list);
  }

  #choices(type) {
    const ticked = this.ticked;
    const isOn = (voice) => (type === "radio" ? voice.name === this.#chosen : ticked.includes(voice));
    return [BASE, ...this.#list].map((voice) => {
      const { name, title, line, hue, loaded, own } = voice;
      const row = { type, value: name, title, line, hue, checked: isOn(voice), disabled: !loaded };
      if (!own) return chip(row);
      const remove = make("button", { type: "button", textContent: "×", title: `Remove ${name}`, ariaLabel: `Remove ${name}` });
      remove.addEventListener("click", () => this.#remove(name));
      return chip(row, remove);
    });
  }

  #slider({ name, title, hue, loaded }, i) {
    return weightSlider({
      id: `weight-${i}`, title, hue, weight: this.#weights[name] ?? 0, disabled: !loaded,
      onWeight: (weight) => {
        const { [name]: _, ...others } = this.#weights;
        this.#onWeights(weight === 0 ? others : { ...others, [name]: weight });
      },
    });
  }
}
