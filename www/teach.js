// The lesson: a text in the reader's style becomes an adapter among the others.
// How it is learned is the engine's.

import { Chart } from "./chart.js";
import { offerFiles } from "./files-out.js";
import { element } from "./parts.js";
import { attempt, say, showError, tell } from "./speech.js";
import { keep } from "./taught.js";

/** Where it may change with every step, unheard. */
const STATUS = "teach-status";
const BLOCKED = "The long text is in the way: keep what it has learned, or discard it.";

export class Teach {
  #engine;
  #running;
  #chart = new Chart(element("teach-chart"), "Loss of each step", ["loss"]);
  #onTaught;
  #onRunning;
  #wasRunning = false;
  #isBlocked = false;
  /** Settles when no lesson is under way, and what was learned is kept. */
  settled = Promise.resolve();

  /**
   * `onTaught` hears the name of an adapter that was taught, `onRunning` whether a lesson is under way;
   * `keepLong()` and `discardLong()` end the long text.
   */
  constructor({ onTaught, onRunning, keepLong, discardLong }) {
    this.#onTaught = onTaught;
    this.#onRunning = onRunning;
    element("teaching").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBlocked) return this.#showWayOut();
      if (this.#engine && !this.#running) this.settled = attempt(() => this.#teach());
    });
    element("teach-stop").addEventListener("click", () => this.stop());
    element("blocked-keep").addEventListener("click", () => attempt(keepLong));
    element("blocked-discard").addEventListener("click", () => attempt(discardLong));
    this.#update();
  }

  /** Whether the long text is what the engine learns. */
  set isBlocked(isBlocked) {
    this.#isBlocked = isBlocked;
    element("teach-blocked").hidden = !isBlocked;
    if (!isBlocked && element("teach-status").textContent === BLOCKED) show("");
  }

  /** A text to teach, which came as a file. */
  take(text, name) {
    element("lesson").value = text;
    say(`${name} is the lesson: press Teach to learn it.`);
  }

  async stop() {
    this.#running?.abort();
    await this.settled;
  }

  /** The engine that learns; undefined while there is none. */
  set engine(engine) {
    this.#running?.abort();
    this.#engine = engine;
    this.isBlocked = false;
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
      else {
        say("Nothing was learned.");
        showError(error);
      }
    }
    this.#running = undefined;
    this.#update();
    if (engine !== this.#engine) {
      if (done) await keep(engine, name).catch(() => {}); // for when its model comes back
      return;
    }
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
    if (running !== this.#wasRunning) this.#onRunning((this.#wasRunning = running));
  }

  #showWayOut() {
    tell(STATUS, BLOCKED);
    element("blocked-keep").focus();
  }
}

function show(words) {
  element(STATUS).textContent = words;
}
