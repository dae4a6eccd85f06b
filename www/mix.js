// The view of a mix that stays: several voices become a new one, which is heard beside its parts, kept, and given out as files.
// Not a blend, which lasts as long as its weights stand; and not the arithmetic, which is the engine's.

import { writeBeside } from "./compare.js";
import { offerFiles } from "./files-out.js";
import { element } from "./parts.js";
import { say, tell } from "./speech.js";
import { t } from "./words.js";

/** By PEFT's names: what each way to combine is called, what it does, and whether it leaves numbers out. */
const METHODS = {
  cat: { name: "mix.cat", how: "mix.cat.how" },
  svd: { name: "mix.svd", how: "mix.svd.how" },
  linear: { name: "mix.linear", how: "mix.linear.how" },
  ties: { name: "mix.ties", how: "mix.ties.how", isSparse: true },
  dare_ties: { name: "mix.dare-ties", how: "mix.dare-ties.how", isSparse: true },
  dare_linear: { name: "mix.dare-linear", how: "mix.dare-linear.how", isSparse: true },
  magnitude_prune: { name: "mix.prune", how: "mix.prune.how", isSparse: true },
};

export class Mix {
  #pen;
  #voices;
  #engine;

  /** `voices` tells the weights, and hears of the new voice. */
  constructor(pen, voices) {
    this.#pen = pen;
    this.#voices = voices;
    const list = element("mix-method");
    list.append(...Object.entries(METHODS).map(([value, { name }]) => new Option(t(name), value)));
    const explain = () => {
      const { how, isSparse } = METHODS[list.value];
      element("mix-how").textContent = t(how);
      element("mix-share").closest("label").hidden = !isSparse;
    };
    list.addEventListener("change", explain);
    explain();
  }

  /** The engine that mixes; undefined while there is none. */
  set engine(engine) {
    this.#engine = engine;
    offerFiles(element("mix-files"), []);
    element("mix-status").textContent = "";
  }

  async write(prompt) {
    const { weights } = this.#voices;
    const names = Object.keys(weights);
    const name = element("mix-name").value;
    if (names.length < 2) return say(t("mix.few"));
    if (names.includes(name)) return say(t("mix.taken", { name }));
    const engine = this.#engine;
    await this.#pen.write(async (signal, count) => {
      say(t("mix.making"));
      const combinationType = element("mix-method").value;
      const density = METHODS[combinationType].isSparse ? { density: element("mix-share").valueAsNumber / 100 } : {};
      await engine.addWeightedAdapter(name, weights, { combinationType, ...density });
      await this.#voices.made(name);
      signal.throwIfAborted();
      tell("mix-status", t("mix.made", { name }));
      offerFiles(element("mix-files"), await engine.exportAdapter(name));
      const heard = [name, ...names].map((each) => this.#voices.named(each)).slice(0, engine.info.batch);
      await writeBeside(engine, element("mix-columns"), prompt, heard, signal, count);
    });
  }
}
