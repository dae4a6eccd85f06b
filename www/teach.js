// The lesson: a text in the reader's style becomes an adapter among the others.
// How it is learned is the engine's.

import { Chart } from "./chart.js";
import { download } from "./download.js";

const element = (id) => document.getElementById(id);

export class Teach {
  #engine;
  #running;
  /** Name of the adapter taught last. */
  #taught;
  #chart = new Chart(element("teach-chart"), "Loss of each step", ["loss"]);
  #onTaught;
  #fail;

  /** `onTaught` hears the name of an adapter that was taught, `fail` of errors; null takes the last one away. */
  constructor({ onTaught, fail }) {
    this.#onTaught = onTaught;
    this.#fail = fail;
    element("teach").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#engine && !this.#running) this.#teach();
    });
    element("teach-stop").addEventListener("click", () => this.#running?.abort());
    element("teach-export").addEventListener("click", async () => {
      try {
        download(await this.#engine.exportAdapter(this.#taught), this.#taught);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#update();
  }

  /** The engine that learns; undefined while there is none. */
  set engine(engine) {
    this.#running?.abort();
    this.#engine = engine;
    this.#taught = undefined;
    say("");
    this.#update();
  }

  async #teach() {
    const engine = this.#engine;
    const { signal } = (this.#running = new AbortController());
    const name = element("teach-name").value;
    this.#fail(null);
    this.#chart.clear();
    this.#update();
    let done;
    try {
      const options = { name, dataset: element("lesson").value, epochs: Number(element("epochs").value), resume: true, signal };
      for await (done of engine.trainAdapter(options)) this.#show(done);
      say(`Learned: ${name} is among the adapters, and on.`);
    } catch (error) {
      if (error.kind === "cancelled") say(done ? `Stopped: ${name} knows what it learned so far.` : "Stopped.");
      else this.#fail(error);
    }
    this.#running = undefined;
    if (engine === this.#engine && done) {
      this.#taught = name;
      await this.#onTaught(name);
    }
    this.#update();
  }

  #show({ step, steps, loss, tokensPerSecond, eta }) {
    this.#chart.add({ loss });
    element("teach-progress").value = step / steps;
    say(`Step ${step} of ${steps}: loss ${loss.toFixed(2)}, ${tokensPerSecond.toFixed(0)} tokens/s, ${Math.ceil(eta)} s left.`);
  }

  #update() {
    const running = this.#running !== undefined;
    element("learn").disabled = !this.#engine || running;
    element("teach-stop").disabled = !running;
    element("teach-export").hidden = this.#taught === undefined;
    element("teach-progress").hidden = !running;
    if (!running) element("teach-progress").value = 0;
  }
}

function say(text) {
  element("teach-status").textContent = text;
}
