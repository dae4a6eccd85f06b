// The long text: it is read, then written on, while a temporary adapter learns it chunk by chunk.
// What a chunk is and how it is learned is the engine's.

import { Chart } from "./chart.js";
import { download } from "./download.js";
import { readSampling } from "./sampling.js";

const element = (id) => document.getElementById(id);

export class LongText {
  #engine;
  #temp;
  #running;
  #chart = new Chart(element("long-chart"), "Loss of each chunk", ["base", "adapted"]);
  #beside;
  #onKept;
  #fail;

  /**
   * `beside()` tells which adapters are on; `onKept` hears the name of one that was kept, `fail` of
   * errors; null takes the last one away.
   */
  constructor({ beside, onKept, fail }) {
    this.#beside = beside;
    this.#onKept = onKept;
    this.#fail = fail;
    element("long").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#engine && !this.#running) this.#attempt(() => this.#grow());
    });
    element("long-stop").addEventListener("click", () => this.#running?.abort());
    const outcome = (id, act) => element(id).addEventListener("click", () => this.#attempt(act));
    outcome("long-keep", async () => {
      const { name } = await this.#temp.keepAs(element("long-name").value);
      this.#forget(`Kept as ${name}.`);
      this.#onKept(name);
    });
    outcome("long-export", async () => download(await this.#temp.exportAdapter(), element("long-name").value));
    outcome("long-discard", async () => {
      await this.#temp.dispose();
      this.#forget("Discarded: the model is as it was.");
    });
    this.#update();
  }

  /** The engine that writes; undefined while there is none. A temporary adapter goes with its engine. */
  set engine(engine) {
    this.#running?.abort();
    this.#engine = engine;
    this.#forget("");
  }

  /** The first time, reads the beginning; then, and every time, writes on. */
  async #grow() {
    const engine = this.#engine;
    const { signal } = (this.#running = new AbortController());
    this.#update();
    try {
      if (this.#temp === undefined) await this.#read(engine, signal);
      let tokens = 0;
      for await (const { text, token_ids, chunk } of this.#temp.generate({ ...readSampling(), signal })) {
        this.#write(text);
        tokens += token_ids.length;
        if (chunk) this.#plot(chunk);
        else say(`Writing: ${tokens} tokens.`);
      }
      say(`${tokens} tokens written.`);
    } catch (error) {
      if (!signal.aborted) throw error;
      if (engine === this.#engine) say("Stopped. It can go on from here.");
    } finally {
      this.#running = undefined;
      this.#update();
    }
  }

  /** A beginning that is not read to its end is not read at all: it would be learned twice. */
  async #read(engine, signal) {
    this.#chart.clear();
    const beginning = element("start").value;
    element("long-beginning").textContent = beginning;
    element("long-text").textContent = "";
    const size = Number(element("chunk").value);
    const options = { chunkTokens: size, contextTokens: size, scoreGenerated: true, beside: this.#beside() };
    const temp = await engine.createTempLora(options);
    say("Reading the beginning.");
    try {
      if (beginning !== "") await temp.evaluate(beginning, { signal, onTrain: (chunk) => this.#plot(chunk) });
      signal.throwIfAborted();
    } catch (error) {
      await temp.dispose();
      throw error;
    }
    this.#temp = temp;
  }

  #plot({ index, baseLoss, adaptedLoss }) {
    if (baseLoss === undefined) return;
    this.#chart.add({ base: baseLoss, adapted: adaptedLoss });
    say(`Chunk ${index + 1} learned: loss ${adaptedLoss.toFixed(2)}, base ${baseLoss.toFixed(2)}.`);
  }

  #write(text) {
    const page = element("long-page");
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 40;
    element("long-text").append(text);
    if (atEnd) page.scrollTop = page.scrollHeight;
  }

  /** There is no temporary adapter any more. */
  #forget(status) {
    this.#temp = undefined;
    say(status);
    this.#update();
  }

  async #attempt(act) {
    this.#fail(null);
    try {
      await act();
    } catch (error) {
      this.#fail(error);
    }
  }

  #update() {
    const running = this.#running !== undefined;
    element("grow").disabled = !this.#engine || running;
    element("grow").textContent = this.#temp ? "Write on" : "Read it and write on";
    element("long-stop").disabled = !running;
    element("start").disabled = element("chunk").disabled = this.#temp !== undefined || running;
    element("long-outcome").disabled = !this.#temp || running;
    element("long-page").setAttribute("aria-busy", String(running));
  }
}

function say(text) {
  element("long-status").textContent = text;
}
