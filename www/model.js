// What the page says about the model: its progress, its facts, its failure; and which others the hub has.
// Says, and decides nothing.

import { models } from "./dist/index.js";
import { bytes, element, make } from "./parts.js";
import { say, showError } from "./speech.js";

/** Lists models of the hub that write and that anybody may have; `onModel` hears of the one that is chosen. */
export function showModels(onModel) {
  const list = element("hub-model");
  for (const { id, name, bytes: size, licence } of models().filter(({ use, isGated }) => use !== "embeddings" && !isGated)) {
    list.append(make("option", { value: id, textContent: `${name}: ${bytes(size)}, ${licence}` }));
  }
  list.addEventListener("change", () => {
    const { value } = list;
    list.value = ""; // the same choice again is a change too
    if (value !== "") onModel(value);
  });
}

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
