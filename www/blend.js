// The view of a blend: the text is written anew, under the new mix, whenever a weight moves.
// The dice are the same each time, so that what changes is the blend's doing.

import { readPrompt } from "./meters.js";
import { element, make } from "./parts.js";
import { readSampling } from "./sampling.js";
import { say } from "./speech.js";
import { t } from "./words.js";

export class Blend {
  #pen;
  #seed = crypto.getRandomValues(new Uint32Array(1))[0];
  engine;

  constructor(pen) {
    this.#pen = pen;
  }

  /** What stood there before stays, faint, until the new text is as long. */
  async write(prompt) {
    const [place, tail] = [element("blend-text"), element("blend-tail")];
    const text = make("span");
    const whole = await this.#pen.write(async (signal, count) => {
      const old = place.textContent + tail.textContent;
      if (old === "") say(t("blend.writing"));
      element("blend-blank").hidden = true;
      element("blend-beginning").textContent = prompt;
      place.replaceChildren(text);
      tail.textContent = old;
      const sampling = readSampling();
      let reason;
      const request = { ...sampling, seed: sampling.seed ?? this.#seed, prompt, stream: true, signal, onPrompt: readPrompt };
      for await (const { choices: [choice] } of this.engine.completions.create(request)) {
        text.append(choice.text);
        tail.textContent = old.slice(text.textContent.length);
        count(choice.token_ids.length);
        reason = choice.finish_reason;
      }
      return reason;
    });
    if (whole || !this.#pen.writing) tail.textContent = "";
  }
}
