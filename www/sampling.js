// The sampling controls: from the form to the names of a completion request.
// Ranges are checked by the engine, whose message the page shows.

import { element } from "./parts.js";

/** Keeps the numbers beside the sliders true. */
export function showSliders() {
  for (const id of ["temperature", "top-p", "penalty"]) {
    const show = () => (element(`${id}-value`).value = Number(element(id).value).toFixed(2));
    element(id).addEventListener("input", show);
    show();
  }
}

/** What suits a model that answers, and one that continues texts. */
const SUITED = { chat: { temperature: 0.2, "top-p": 0.9, penalty: 1, "max-tokens": 300 }, text: { temperature: 0.8, "top-p": 0.95, penalty: 1.1, "max-tokens": 200 } };

/** Sets what suits a model, `chat` or `text`, in the place of what suited the one before; what the reader has set stays. */
export function suit(use) {
  for (const [id, value] of Object.entries(SUITED[use])) {
    const field = element(id);
    if (!Object.values(SUITED).some((suited) => Number(field.value) === suited[id])) continue;
    field.value = String(value);
    field.dispatchEvent(new Event("input"));
  }
}

/** An empty field leaves the choice to the engine. */
export function readSampling() {
  const number = (id) => (element(id).value === "" ? undefined : Number(element(id).value));
  return {
    temperature: number("temperature"),
    top_p: number("top-p"),
    repetition_penalty: number("penalty"),
    max_tokens: number("max-tokens"),
    seed: number("seed"),
  };
}
