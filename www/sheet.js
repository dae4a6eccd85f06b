// The sheet of paper: prompt, buttons, the growing text, or several side by side, and its measurements.
// Knows nothing of models.

import { make } from "./chips.js";

const element = (id) => document.getElementById(id);

export class Sheet {
  #ready = false;
  #writing = false;
  #started = 0;
  #first = 0;
  #firstTokens = 0;
  #tokens = 0;
  /** Where the text of each prompt goes. */
  #texts = [];

  constructor({ onGenerate, onCompare, onStop }) {
    const form = element("writing");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#ready && !this.#writing) onGenerate(element("prompt").value);
    });
    element("compare").addEventListener("click", () => onCompare(element("prompt").value));
    element("stop").addEventListener("click", onStop);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#writing) onStop();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === element("prompt")) form.requestSubmit();
    });
  }

  /** Whether there is a model to write with. */
  set ready(ready) {
    this.#ready = ready;
    this.#update();
  }

  /** Clears the page and begins to measure; `titles` are those of texts side by side. */
  begin(prompt, titles) {
    this.#writing = true;
    this.#started = performance.now();
    this.#first = this.#firstTokens = this.#tokens = 0;
    element("blank").hidden = true;
    element("beginning").textContent = prompt;
    element("text").textContent = "";
    element("page").hidden = titles !== undefined;
    element("columns").hidden = titles === undefined;
    this.#texts = titles === undefined ? [element("text")] : titles.map(() => make("span"));
    element("columns").replaceChildren(...(titles ?? []).map((title, i) => make("section", {},
      make("h3", { textContent: title }),
      make("p", {}, make("span", { className: "beginning", textContent: prompt }), this.#texts[i]),
    )));
    for (const id of ["first", "speed", "tokens", "ended"]) element(id).textContent = "–";
    this.#update();
  }

  /** Shows how much of the prompt has been read. */
  read(loaded, total) {
    if (loaded < total) element("first").textContent = `${Math.floor((100 * loaded) / total)} % read`;
  }

  /** Adds text of `n` tokens to text number `index`. */
  write(text, n, index) {
    const page = element(element("page").hidden ? "columns" : "page");
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 40;
    this.#texts[index].append(text);
    if (atEnd) page.scrollTop = page.scrollHeight;
    this.#tokens += n;
    this.#measure(n);
  }

  /** Ends the text, by `reason`. */
  finish(reason) {
    this.#writing = false;
    element("ended").textContent = reason;
    this.#update();
  }

  /** The first tokens wait for the prompt; speed is that of those after them. */
  #measure(n) {
    const now = performance.now();
    if (this.#first === 0) {
      this.#first = now;
      this.#firstTokens = n;
      const ms = now - this.#started;
      element("first").textContent = ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
    } else {
      const speed = (1000 * (this.#tokens - this.#firstTokens)) / (now - this.#first);
      element("speed").textContent = `${speed.toFixed(speed < 100 ? 1 : 0)} tokens/s`;
    }
    element("tokens").textContent = this.#tokens;
  }

  #update() {
    element("generate").disabled = element("compare").disabled = !this.#ready || this.#writing;
    element("stop").disabled = !this.#writing;
    element("caret").hidden = !this.#writing;
    for (const id of ["page", "columns"]) element(id).setAttribute("aria-busy", String(this.#writing));
    document.body.dataset.writing = String(this.#writing);
  }
}
