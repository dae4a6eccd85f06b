// The pen: one text is written at a time, measured, and stopped by a button or a key.
// What is written, and where, is the views'.

import { begin, count } from "./meters.js";
import { element } from "./parts.js";
import { say, showError } from "./speech.js";
import { t } from "./words.js";

export class Pen {
  #ready = false;
  #hearers = [];
  #running;
  /** Settles when nothing is being written, and never fails. */
  #last = Promise.resolve(false);

  /** `onWrite` hears the prompt when the reader wants it to be gone on from. */
  constructor(onWrite) {
    for (const id of ["writing", "blending", "comparing", "combining"]) {
      element(id).addEventListener("submit", (event) => {
        event.preventDefault();
        if (this.#ready) onWrite(element("prompt").value);
      });
    }
    element("stop").addEventListener("click", () => this.stop());
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === element("prompt")) element("prompt").form.requestSubmit();
    });
    this.#show();
  }

  /** Whether there is a model to write with. */
  set ready(ready) {
    this.#ready = ready;
    this.#show();
  }

  /** `hear` hears whenever writing begins or ends. */
  onChange(hear) {
    this.#hearers.push(hear);
  }

  get writing() {
    return this.#running !== undefined;
  }

  stop() {
    this.#running?.abort();
  }

  /**
   * `work` writes until its signal ends it, tells of every few tokens, and gives the reason of its end.
   * A text that is still being written ends first: a batch may have room for one. Of several that wait
   * only the newest is begun. Gives whether this one came to its end.
   */
  write(work) {
    this.#running?.abort();
    const running = (this.#running = new AbortController());
    this.#show();
    this.#last = this.#last.then(() => running === this.#running && this.#run(running, work));
    return this.#last;
  }

  async #run(running, work) {
    let tokens = 0;
    begin();
    showError(null);
    try {
      running.signal.throwIfAborted(); // stopped before its turn came
      const reason = await work(running.signal, (n) => {
        if (running !== this.#running) return;
        tokens += n;
        count(n);
      });
      if (running === this.#running) say(t(reason === "stop" ? "wrote.whole" : "wrote", { n: tokens }));
      return true;
    } catch (error) {
      if (running !== this.#running) return false;
      if (running.signal.aborted) say(t("stopped", { n: tokens }));
      else {
        say(t("ended", { n: tokens }));
        showError(error);
      }
      return false;
    } finally {
      if (running === this.#running) this.#running = undefined;
      this.#show();
    }
  }

  #show() {
    element("generate").disabled = !this.#ready;
    if (!this.writing && document.activeElement === element("stop")) element("generate").focus(); // it goes with its work
    element("stop").disabled = !this.writing;
    document.body.dataset.writing = String(this.writing);
    for (const hear of this.#hearers) hear();
  }
}
