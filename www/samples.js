// Texts to begin with at a click, for readers who have none at hand: short openings, and the lessons of samples/.
// Not what a view does with them.

import { element, make } from "./parts.js";
import { attempt, say } from "./speech.js";
import { t } from "./words.js";

const OPENINGS = ["Once upon a time there was a little", "It was a dark night when the captain came down to the shore, and", "And the queen rose up and said unto them,"];
/** Of an opening, so many words are its name. */
const OPENING_WORDS = 5;
const TEXTS = ["lighthouse", "ferry"];

/** Puts a button for each sample beside the field of that id: whole texts, or for the `prompt` openings. */
export function offerSamples(id) {
  const place = document.querySelector(`.samples[data-for="${id}"]`);
  const samples = id === "prompt" ? OPENINGS.map((text) => [`${text.split(" ").slice(0, OPENING_WORDS).join(" ")} …`, () => text]) : TEXTS.map((name) => [t(`sample.${name}`), () => read(name)]);
  place.append(make("span", { className: "hint", textContent: t("samples") }), ...samples.map(([title, text]) => {
    const button = make("button", { type: "button", textContent: title });
    button.addEventListener("click", () => attempt(async () => {
      if (element(id).disabled) return say(t("samples.locked"));
      element(id).value = await text();
      element(id).scrollTop = 0;
      element(id).focus({ preventScroll: true });
    }));
    return button;
  }));
}

async function read(name) {
  const response = await fetch(`./samples/${name}.txt`);
  if (!response.ok) throw new Error(t("samples.gone", { name, status: response.status }));
  return (await response.text()).trim();
}
