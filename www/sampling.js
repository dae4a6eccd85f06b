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
