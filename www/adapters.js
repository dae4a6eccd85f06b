// The row of adapters: loads what was dropped, switches by a chip, blends by sliders.
// The engine keeps the adapters; this shows them, and remembers what was chosen.

import { chip, make, weightSlider } from "./chips.js";
import { bytes } from "./model-card.js";

const element = (id) => document.getElementById(id);

export class Adapters {
  #engine;
  #list = [];
  /** The chip that is on; empty is the base. */
  #chosen = "";
  /** Weights of the blend, by name. */
  #weights = new Map();
  #switching = false;
  #again = false;
  #onChange;
  #fail;

  /** `onChange` hears of a new list of names, `fail` of errors; null takes the last one away. */
  constructor({ onChange, fail }) {
    this.#onChange = onChange;
    this.#fail = fail;
    element("chips").addEventListener("change", ({ target }) => {
      this.#chosen = target.value;
      this.#fail(null);
      this.#switch();
    });
    element("blend").addEventListener("change", ({ target }) => {
      if (target.checked) this.#weights = new Map([[this.#chosen, 1]]);
      this.#draw();
      this.#switch();
    });
    this.#draw();
  }

  /** The engine whose adapters are shown; undefined while there is none. Each begins at its base. */
  set engine(engine) {
    this.#engine = engine;
    this.#list = [];
    this.#chosen = "";
    element("blend").checked = false;
    element("switched").hidden = true;
    this.#draw();
  }

  /** Loads folders, {name, files}; the last one that fits is switched on. */
  async add(folders) {
    const engine = this.#engine;
    if (!engine) return;
    this.#fail(null);
    let last;
    for (const { name, files } of folders) {
      try {
        last = await engine.loadAdapter(files, { name: name || `adapter ${this.#list.length + 1}` });
      } catch (error) {
        if (engine === this.#engine) this.#fail(error);
      }
    }
    if (engine !== this.#engine) return; // another model has come
    if (last) await this.choose(last.name);
    else await this.#read(engine);
  }

  /** Reads the list anew and switches to one of it. */
  async choose(name) {
    const engine = this.#engine;
    await this.#read(engine);
    if (engine !== this.#engine) return;
    this.#chosen = name;
    this.#weights.set(name, 1);
    this.#draw();
    await this.#switch();
  }

  async #remove(name) {
    const engine = this.#engine;
    try {
      await engine.deleteAdapter(name);
    } catch (error) {
      return this.#fail(error);
    }
    this.#weights.delete(name);
    const off = this.#chosen === name;
    if (off) this.#chosen = "";
    if (this.#list.length === 1) element("blend").checked = false;
    await this.#read(engine);
    if (off) await this.#switch();
    element("chips").querySelector("input:checked")?.focus();
  }

  async #read(engine) {
    const list = await engine.listAdapters();
    if (engine !== this.#engine) return;
    this.#list = list;
    this.#draw();
  }

  /** A moving slider asks faster than the engine may answer: only the newest of what waits is sent. */
  async #switch() {
    this.#again = this.#switching;
    if (this.#switching) return;
    this.#switching = true;
    try {
      do {
        this.#again = false;
        const began = performance.now();
        await this.#engine?.setAdapter(this.choice);
        element("switch-time").textContent = ms(performance.now() - began);
        element("switched").hidden = false;
      } while (this.#again);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#switching = false;
    }
  }

  /** What is on: a name, {name: weight}, or null for the base. */
  get choice() {
    if (!element("blend").checked) return this.#chosen || null;
    return Object.fromEntries(this.#list.map(({ name }) => [name, this.#weights.get(name) ?? 0]));
  }

  #draw() {
    const list = this.#list;
    const blending = element("blend").checked;
    const radio = { type: "radio", group: "adapter", disabled: blending };
    element("chips").disabled = !this.#engine;
    element("chips").replaceChildren(
      chip({ ...radio, name: "Base", value: "", checked: this.#chosen === "" }),
      ...list.map(({ name, rank, bytes: size }) => {
        const remove = make("button", { type: "button", textContent: "×", title: `Remove ${name}`, ariaLabel: `Remove ${name}` });
        remove.addEventListener("click", () => this.#remove(name));
        return chip({ ...radio, name, value: name, note: `rank ${rank} · ${bytes(size)}`, checked: this.#chosen === name }, remove);
      }),
    );
    const slider = ({ name }, i) => weightSlider({
      name,
      id: `weight-${i}`,
      weight: this.#weights.get(name) ?? 0,
      onWeight: (weight) => {
        this.#weights.set(name, weight);
        this.#fail(null);
        this.#switch();
      },
    });
    element("mix").replaceChildren(...(blending ? list.map(slider) : []));
    element("mix").hidden = !blending;
    element("blending").hidden = list.length === 0;
    element("adapter-hint").hidden = list.length > 0;
    this.#onChange(list.map(({ name }) => name));
  }
}

/** Browsers round their clocks to a tenth. */
function ms(time) {
  return time < 0.1 ? "under 0.1 ms" : `${time.toFixed(1)} ms`;
}
