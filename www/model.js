// What the page says about the model: its progress, its facts, its failure.
// Says, and decides nothing.

import { bytes, element } from "./parts.js";
import { say, showError } from "./speech.js";

/** `total` is 0 until it is known; `isBeside` a model that goes on meanwhile. */
export function showLoading({ loaded, total }, isBeside) {
  showState(isBeside ? "ready" : "loading");
  element("progress").hidden = false;
  if (total > 0) element("progress").value = loaded / total;
  else element("progress").removeAttribute("value");
  // Whole tenths, so that a screen reader is not told of every piece.
  if (total > 0) say(`Fetching a model of ${bytes(total)}: ${Math.floor((10 * loaded) / total) * 10} %`);
  else say("Fetching a model…");
}

export function showModel({ info, device, fallbackReason }) {
  showState("ready");
  element("name").textContent = info.model;
  element("adapter").textContent = device === "cpu" ? "the CPU" : info.adapter || "an unnamed GPU";
  element("context").textContent = `${info.contextLength} tokens`;
  element("vocabulary").textContent = `${info.vocabSize} tokens`;
  say(fallbackReason ? `Ready, on the CPU: ${fallbackReason}` : "Ready. Give me a beginning, and pick a voice.");
}

export function showNoModel() {
  showState("none");
  for (const id of ["name", "adapter", "context", "vocabulary"]) element(id).textContent = "–";
  say("No model. Choose another one.");
}

/** The model that was to take its place is not here. */
export function showModelStays({ info }) {
  showState("ready");
  say(`That one did not load: ${info.model} goes on.`);
}

function showState(state) {
  document.body.dataset.model = state;
  element("progress").hidden = state !== "loading";
}
