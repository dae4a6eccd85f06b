// The lesson: a text in the reader's style becomes an adapter among the others.
// How it is learned is the engine's.

import { Chart } from "./chart.js";
import { offerFiles } from "./files-out.js";
import { element } from "./parts.js";
import { attempt, say, showError, tell } from "./speech.js";

/** Where it may change with every step, unheard. */
const STATUS = "teach-status";

export class Teach {
  #engine;
  #running;
  #chart = new Chart(element("teach-chart"), "Loss of each step", ["loss"]);
  #onTaught;

  /** `onTaught` hears the name of an adapter that was taught. */
  constructor({ onTaught }) {
    this.#onTaught = onTaught;
    element("teaching").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#engine && !this.#running) attempt(() => this.#teach());
    });
    element("teach-stop").addEventListener("click", () => this.#running?.abort());
    this.#update();
  }

  /** The engine that learns; undefined while there is none. */
  set engine(engine) {
    this.#running?.abort();
    this.#engine = engine;
    offerFiles(element("teach-files"), []);
    show("");
    this.#update();
  }

  async #teach() {
    const engine = this.#engine;
    const { signal } = (this.#running = new AbortController());
    const name = element("teach-name").value;
    this.#chart.clear();
    show("");
    this.#update();
    say(`Learning to speak as ${name}.`);
    let done, words;
    try {
      const options = { name, dataset: element("lesson").value, epochs: Number(element("epochs").value), resume: true, signal };
      for await (done of engine.trainAdapter(options)) this.#show(done);
      words = `Learned: ${name} is among the voices, and on.`;
    } catch (error) {
      if (error.kind === "cancelled") words = done ? `Stopped: ${name} knows what it learned so far.` : "Stopped.";
      else showError(error);
    }
    this.#running = undefined;
    this.#update();
    if (engine !== this.#engine) return;
    if (done) {
      await this.#onTaught(name);
      offerFiles(element("teach-files"), await engine.exportAdapter(name));
    }
    if (words) tell(STATUS, words);
  }

  #show({ step, steps, loss, tokensPerSecond, eta }) {
    this.#chart.add({ loss });
    show(`Step ${step} of ${steps}: loss ${loss.toFixed(2)}, ${tokensPerSecond.toFixed(0)} tokens/s, ${Math.ceil(eta)} s left.`);
  }

  #update() {
    const running = this.#running !== undefined;
    element("learn").disabled = !this.#engine || running;
    element("teach-stop").disabled = !running;
  }
}

function show(words) {
  element(STATUS).textContent = words;
}
