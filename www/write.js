// The view of one text: it streams, and each part stands in the colour of the voice that wrote it.
// Not the switching itself: that is switched-text.js's.

import { readPrompt } from "./meters.js";
import { coloured, element, grow, make } from "./parts.js";
import { readSampling } from "./sampling.js";
import { say, showError } from "./speech.js";
import { SwitchedText } from "./switched-text.js";
import { t } from "./words.js";

export class Write {
  #pen;
  #voices;
  #text;
  engine;

  constructor(pen, voices) {
    this.#pen = pen;
    this.#voices = voices;
  }

  async write(prompt) {
    await this.#pen.write(async (signal, count) => {
      say(t("writing"));
      this.#clear(prompt);
      const text = (this.#text = new SwitchedText(this.engine, { ...readSampling(), prompt, signal, onPrompt: readPrompt }));
      let part, reason;
      try {
        for await (const choice of text.write()) {
          if (choice === null) part = this.#part(part);
          else {
            grow(element("page"), part, choice.text);
            count(choice.token_ids.length);
            reason = choice.finish_reason;
          }
        }
      } finally {
        element("caret").hidden = text === this.#text;
      }
      return reason;
    });
  }

  /** Another voice is on. */
  switched() {
    if (this.#pen.writing) this.#text?.switch(this.#voices.choice).catch(showError);
  }

  #clear(prompt) {
    element("blank").hidden = true;
    element("beginning").textContent = prompt;
    element("text").replaceChildren();
    element("caret").hidden = false;
  }

  /** Where the next part goes; the last one's place if nothing came of that. */
  #part(last) {
    const { title, hue } = this.#voices.speaking;
    if (last?.textContent === "") last.remove();
    const part = coloured(hue, make("span", { className: "part" }));
    if (element("text").childElementCount > 0) part.dataset.voice = title;
    element("text").append(part);
    return part;
  }
}
