// The view of several texts: one prompt, one batch, a column for each voice.
// Which voices: those ticked in the list.

import { readPrompt } from "./meters.js";
import { coloured, element, make } from "./parts.js";
import { readSampling } from "./sampling.js";
import { say } from "./speech.js";
import { t } from "./words.js";

export class Compare {
  #pen;
  #voices;
  engine;

  constructor(pen, voices) {
    this.#pen = pen;
    this.#voices = voices;
  }

  async write(prompt) {
    const voices = this.#voices.ticked;
    if (voices.length === 0) return say(t("compare.none"));
    await this.#pen.write(async (signal, count) => {
      say(voices.length === 1 ? t("writing") : t("compare.writing", { n: voices.length }));
      await writeBeside(this.engine, element("columns"), prompt, voices, signal, count);
    });
  }
}

/** Writes the prompt on in each of `voices`, one batch, in columns of `box`; `count` hears of every few tokens. */
export async function writeBeside(engine, box, prompt, voices, signal, count) {
  const texts = voices.map(() => make("span", { className: "part" }));
  box.replaceChildren(...voices.map(({ title, hue }, i) => coloured(hue, make("section", { ariaLabel: t("compare.as", { title }) },
    make("h3", { textContent: title }),
    make("p", {}, make("span", { className: "beginning", textContent: prompt }), texts[i]),
  ))));
  const request = {
    ...readSampling(),
    prompt: voices.map(() => prompt),
    adapter_names: voices.map(({ name }) => name || "__base__"),
    stream: true, signal, onPrompt: readPrompt,
  };
  for await (const { choices: [choice] } of engine.completions.create(request)) {
    texts[choice.index].append(choice.text);
    count(choice.token_ids.length);
  }
}
