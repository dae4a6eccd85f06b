// The long text: it is read, then written on, while a temporary adapter learns it chunk by chunk. Reading may be stopped,
// and gone on with, or left at that.
// What a chunk is and how it is learned is the engine's.

import { Chart } from "./chart.js";
import { offerFiles } from "./files-out.js";
import { BaseText, showEnd } from "./long-base.js";
import { begin, count } from "./meters.js";
import { element, grow } from "./parts.js";
import { readSampling } from "./sampling.js";
import { offerSamples } from "./samples.js";
import { attempt, say, tell } from "./speech.js";
import { t } from "./words.js";

/** Where it may change with every step, unheard. */
const STATUS = "long-status";
const BLOCKED = t("long.way");

export class LongText {
  #engine;
  #temp;
  #running;
  #chart = new Chart(element("long-chart"), t("long.chart.name"), ["base", "adapted"]);
  #beside;
  #onKept;
  #onOpen;
  /** Of each chunk scored, {baseLoss, adaptedLoss}. */
  #losses = [];
  /** Token ids of the beginning, and how many of them have been learned. */
  #book = { ids: [], done: 0 };
  /** Token ids of what was written after it. */
  #written = [];
  /** The other adapters that are on, as the text began. */
  #others = null;
  #base = new BaseText();
  #chunkBegan = 0;
  #isOpen = false;
  #isBlocked = false;
  /** Settles when nothing is read or written. */
  #settled = Promise.resolve();

  /**
   * `beside()` tells which adapters are on; `onKept` hears the name of one that was kept, `onOpen` whether
   * there is a temporary one; `stopLesson()` ends the lesson.
   */
  constructor({ beside, onKept, onOpen, stopLesson }) {
    this.#beside = beside;
    this.#onKept = onKept;
    this.#onOpen = onOpen;
    element("growing").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBlocked) return this.#showWayOut();
      if (this.#engine && !this.#running) this.#settled = attempt(() => this.#grow());
    });
    offerSamples("start");
    element("start-file").addEventListener("change", ({ target }) => attempt(async () => {
      const [file] = target.files;
      target.value = "";
      if (file && !element("start").disabled) element("start").value = await file.text();
    }));
    element("long-skip").addEventListener("click", () => {
      this.#book.ids.length = this.#book.done;
      element("growing").requestSubmit();
    });
    element("blocked-stop").addEventListener("click", () => attempt(stopLesson));
    element("long-stop").addEventListener("click", () => this.#running?.abort());
    const outcome = (id, act) => element(id).addEventListener("click", () => attempt(act));
    outcome("long-keep", () => this.keep());
    outcome("long-export", async () => {
      offerFiles(element("long-files"), await this.#temp.exportAdapter());
      say(t("long.exported"));
    });
    outcome("long-discard", () => this.discard());
    this.#update();
  }

  /** Whether a lesson is what the engine learns. */
  set isBlocked(isBlocked) {
    this.#isBlocked = isBlocked;
    element("long-blocked").hidden = !isBlocked;
    if (!isBlocked && element(STATUS).textContent === BLOCKED) show("");
  }

  get isOpen() {
    return this.#isOpen;
  }

  /** Ends the text; what it has learned becomes a voice. */
  async keep() {
    await this.#stop();
    if (!this.#temp) return;
    const { name } = await this.#temp.keepAs(element("long-name").value);
    this.#forget(t("long.was-kept", { name }));
    await this.#onKept(name);
  }

  /** Ends the text; the model is as it was. */
  async discard() {
    await this.#stop();
    await this.#temp?.dispose();
    this.#forget(t("long.discarded"));
  }

  async #stop() {
    this.#running?.abort();
    await this.#settled;
  }

  /** The engine that writes; undefined while there is none. A temporary adapter goes with its engine. */
  set engine(engine) {
    this.#running?.abort();
    this.#engine = engine;
    if (engine) element("chunk").value = engine.info.tempLora.chunkTokens;
    this.#forget("");
  }

  /** Reads what is left to read of the beginning; then, and every time, writes on. */
  async #grow() {
    const engine = this.#engine;
    const { signal } = (this.#running = new AbortController());
    this.#update();
    try {
      if (this.#temp === undefined) await this.#begin(engine);
      await this.#read(signal);
      begin();
      say(t("long.going"));
      const written = await this.#write(engine, readSampling(), signal);
      tell(STATUS, [t("long.written", written), this.#gain()].join(" ").trim());
    } catch (error) {
      if (!signal.aborted) throw error;
      if (engine === this.#engine) tell(STATUS, this.#isReading() ? t("long.stopped-reading", { percent: this.#percent() }) : t("long.stopped"));
    } finally {
      this.#running = undefined;
      this.#update();
    }
  }

  /** Writes on, and beside it the base if that is wanted: both at once where the batch has room, else the base afterwards. Gives {n, seconds}. */
  async #write(engine, sampling, signal) {
    const place = [...this.#book.ids, ...this.#written];
    let written;
    const texts = [async (signal) => (written = await this.#writeOn({ ...sampling, mix: overlaps(engine), signal }))];
    if (this.#base.isOn) {
      const tellOf = (n) => written && show(t("long.writing.base", { n }));
      texts.push((signal) => this.#base.write(engine, place, { ...sampling, adapter: this.#others, signal }, tellOf));
    } else {
      this.#base.end();
    }
    if (engine.info.batch > seatsFor(engine)) await atOnce(texts, signal);
    else for (const write of texts) await write(signal);
    return written;
  }

  async #writeOn(request) {
    let n = 0;
    const began = (this.#chunkBegan = performance.now());
    showEnd(element("long-page"), element("long-beginning"));
    for await (const { text, token_ids, chunk } of this.#temp.generate(request)) {
      grow(element("long-page"), element("long-text"), text);
      this.#written.push(...token_ids);
      n += token_ids.length;
      if (token_ids.length > 0) count(token_ids.length);
      if (chunk) this.#plot(chunk, "long.learned");
      else show(t("long.writing", { n }));
    }
    return { n, seconds: secondsSince(began) };
  }

  /** By how much what was learned has lowered the loss, over all chunks that something was learned before; empty where it did not. */
  #gain() {
    const later = this.#losses.slice(1);
    const mean = (key) => later.reduce((sum, loss) => sum + loss[key], 0) / later.length;
    const percent = Math.round(100 * (1 - mean("adaptedLoss") / mean("baseLoss")));
    return percent > 0 ? t("long.gain", { percent }) : "";
  }

  async #begin(engine) {
    this.#chart.clear();
    this.#losses = [];
    const beginning = element("start").value;
    element("long-beginning").textContent = beginning;
    element("long-text").textContent = "";
    this.#base.clear();
    const size = Number(element("chunk").value);
    // While the text is written it is learned between its tokens, and the mix tells the losses; else it is scored between chunks.
    const manner = overlaps(engine) ? { overlap: true, kv: "stale" } : { scoreGenerated: true };
    const ids = beginning === "" ? [] : await engine.tokenize(beginning);
    const beside = this.#beside();
    this.#temp = await engine.createTempLora({ chunkTokens: size, contextTokens: size, beside, ...manner });
    this.#book = { ids, done: 0 };
    this.#written = [];
    this.#others = beside;
  }

  async #read(signal) {
    const { ids, done } = this.#book;
    if (!this.#isReading()) return;
    tell(STATUS, t("long.reading"));
    this.#chunkBegan = performance.now();
    const onTrain = (chunk) => {
      this.#book.done += chunk.tokens;
      this.#plot(chunk, "long.read");
    };
    await this.#temp.evaluate(ids.slice(done), { signal, onTrain });
    signal.throwIfAborted();
    this.#book.done = ids.length;
  }

  #isReading() {
    return this.#book.done < this.#book.ids.length;
  }

  #percent() {
    const { ids, done } = this.#book;
    return Math.min(99, Math.floor((100 * done) / ids.length));
  }

  /** `words` say it, of a chunk read or written. */
  #plot({ index, baseLoss, adaptedLoss }, words) {
    const seconds = secondsSince(this.#chunkBegan);
    this.#chunkBegan = performance.now();
    if (baseLoss === undefined) return;
    this.#chart.add({ base: baseLoss, adapted: adaptedLoss });
    this.#losses.push({ baseLoss, adaptedLoss });
    show(t(words, { chunk: index + 1, percent: this.#isReading() ? this.#percent() : 100, seconds, adapted: adaptedLoss.toFixed(2), base: baseLoss.toFixed(2) }));
  }

  /** There is no temporary adapter any more. */
  #forget(status) {
    this.#temp = undefined;
    this.#book = { ids: [], done: 0 };
    this.#written = [];
    this.#base.end();
    offerFiles(element("long-files"), []);
    if (status) tell(STATUS, status);
    else show("");
    this.#update();
  }

  #update() {
    const running = this.#running !== undefined;
    element("grow").disabled = !this.#engine || running;
    element("grow").textContent = t(this.#isReading() ? "long.read-on" : this.#temp ? "long.on" : "long.go");
    element("long-skip").hidden = running || !this.#isReading() || this.#book.done === 0;
    element("long-stop").disabled = !running;
    this.#base.isLocked = running;
    element("start").disabled = element("start-file").disabled = element("chunk").disabled = this.#temp !== undefined || running;
    element("long-outcome").disabled = !this.#temp || running;
    element("long-outcome").hidden = !this.#temp;
    for (const id of ["long-page", "long-base-page"]) element(id).setAttribute("aria-busy", String(running));
    const isOpen = this.#temp !== undefined || running;
    if (isOpen !== this.#isOpen) this.#onOpen((this.#isOpen = isOpen));
  }

  #showWayOut() {
    tell(STATUS, BLOCKED);
    element("blocked-stop").focus();
  }
}

/** Whether there is room for a text that is drawn from two models while a chunk of it is learned. */
const overlaps = (engine) => engine.info.batch >= 3;

/** Sequences of the batch that the text takes: one, or those of both models and of the chunk. */
const seatsFor = (engine) => (overlaps(engine) ? 3 : 1);

/** Writes all of `texts`; where one fails the others end, and that is the error. */
async function atOnce(texts, signal) {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  await Promise.all(texts.map((write) => write(either).catch((error) => failed.abort(error))));
  failed.signal.throwIfAborted();
}

const secondsSince = (began) => ((performance.now() - began) / 1000).toFixed(1);

function show(words) {
  element(STATUS).textContent = words;
}
