// The lesson: a text in the reader's style becomes an adapter among the others.
// How it is learned is the engine's.

import { Chart } from "./chart.js";
import { offerFiles } from "./files-out.js";
import { element } from "./parts.js";
import { attempt, say, showError, tell } from "./speech.js";
import { dropLesson, keepLesson, keptLesson } from "./lesson-kept.js";
import { hideVerdict, holdBack, showVerdict } from "./lesson-verdict.js";
import { offerSamples } from "./samples.js";
import { readSampling } from "./sampling.js";
import { keep } from "./taught.js";
import { t } from "./words.js";

/** Where it may change with every step, unheard. */
const STATUS = "teach-status";
const BLOCKED = t("teach.way");
/** Bytes of a model whose steps take long on a CPU. */
const LARGE = 1e8;
/** Characters of a lesson that shows little. */
const LITTLE = 200;
/** Steps between two checkpoints. */
const EVERY = 10;

export class Teach {
  #engine;
  #running;
  #chart = new Chart(element("teach-chart"), t("teach.chart.name"), ["loss", "round"]);
  #onTaught;
  #voiceOf;
  #onRunning;
  #wasRunning = false;
  #isBlocked = false;
  /** Ends what is said of the lesson before. */
  #judging;
  /** Settles when no lesson is under way, and what was learned is kept. */
  settled = Promise.resolve();

  /**
   * `onTaught` hears the name of an adapter that was taught, `onRunning` whether a lesson is under way; `voiceOf(name)` is
   * the voice it has become;
   * `keepLong()` and `discardLong()` end the long text.
   */
  constructor({ onTaught, voiceOf, onRunning, keepLong, discardLong }) {
    this.#onTaught = onTaught;
    this.#voiceOf = voiceOf;
    this.#onRunning = onRunning;
    element("teaching").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBlocked) return this.#showWayOut();
      if (this.#engine && !this.#running) this.settled = attempt(() => this.#teach(this.#asked()));
    });
    element("teach-stop").addEventListener("click", () => this.stop());
    offerSamples("lesson");
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
    say(t("teach.took", { name }));
  }

  /** Goes on with the lesson that was under way when the page went, if the model is the same. */
  resume() {
    const lesson = this.#engine && keptLesson(this.#engine);
    if (!lesson || this.#running) return;
    element("lesson").value = lesson.text;
    element("teach-name").value = lesson.name;
    element("epochs").value = lesson.epochs;
    this.settled = attempt(() => this.#teach(lesson));
  }

  get isRunning() {
    return this.#running !== undefined;
  }

  async stop() {
    this.#running?.abort();
    await this.settled;
  }

  /** The engine that learns; undefined while there is none. */
  set engine(engine) {
    this.#running?.abort();
    this.#judging?.abort();
    this.#engine = engine;
    this.isBlocked = false;
    offerFiles(element("teach-files"), []);
    hideVerdict();
    show("");
    this.#update();
  }

  /** What the reader wants taught. */
  #asked() {
    return { name: element("teach-name").value, text: element("lesson").value, epochs: Number(element("epochs").value) };
  }

  async #teach({ name, text, epochs, checkpoint }) {
    const engine = this.#engine;
    const { signal } = (this.#running = new AbortController());
    this.#judging?.abort();
    this.#chart.clear();
    hideVerdict();
    show(engine.device === "cpu" && engine.info.memoryBytes > LARGE ? t("teach.slow") : "");
    this.#update();
    say(t("teach.learning", { name }));
    checkpoint ??= await keepLesson(engine, { name, text, epochs });
    const parts = holdBack(text);
    let done, words;
    try {
      const options = { name, dataset: parts.lesson, epochs, resume: true, checkpoint, checkpointEvery: checkpoint && EVERY, signal };
      const round = [];
      for await (done of engine.trainAdapter(options)) this.#show(done, epochs, round);
      words = t(text.length < LITTLE ? "teach.learned.little" : "teach.learned", { name });
    } catch (error) {
      if (error.kind === "cancelled") words = done ? t("teach.stopped", { name }) : t("teach.stopped.none");
      else {
        say(t("teach.failed"));
        showError(error);
      }
    }
    if (checkpoint !== undefined) await dropLesson(checkpoint);
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
    if (done && !signal.aborted) {
      this.#judging = new AbortController();
      await showVerdict(engine, this.#voiceOf(name), parts, readSampling(), this.#judging.signal);
    }
  }

  /** `round` holds the losses of the round so far. */
  #show({ step, steps, loss, tokensPerSecond, eta }, epochs, round) {
    const isLast = round.push(loss) === steps / epochs; // a lesson that goes on may begin in the middle of one
    const isOver = step % (steps / epochs) === 0;
    this.#chart.add({ loss, round: isLast ? round.reduce((sum, each) => sum + each, 0) / round.length : undefined });
    if (isOver) round.length = 0;
    show(t("teach.step", { step, steps, loss: loss.toFixed(2), speed: tokensPerSecond.toFixed(0), eta: Math.ceil(eta) }));
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
