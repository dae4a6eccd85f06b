// What the page says about the model: its progress, its facts, its failure.
// Says, and decides nothing.

import { bytes, element } from "./parts.js";
import { say } from "./speech.js";
import { t } from "./words.js";

/** `total` is 0 until it is known; `isBeside` a model that goes on meanwhile; `isEngine` says that it is no model yet that comes. */
export function showLoading({ loaded, total }, isBeside, isEngine = false) {
  showState(isBeside ? "ready" : "loading");
  element("progress").hidden = false;
  if (total > 0) element("progress").value = loaded / total;
  else element("progress").removeAttribute("value");
  // Whole tenths, so that a screen reader is not told of every piece.
  if (total > 0) say(t(isEngine ? "model.engine" : "model.loading", { size: bytes(total), percent: Math.floor((10 * loaded) / total) * 10 }));
  else if (loaded > 0) say(t("model.engine.some", { size: bytes(loaded) }));
  else say(t("model.asking"));
}

export function showModel({ info, device, fallbackReason }) {
  showState("ready");
  element("name").textContent = info.model;
  element("adapter").textContent = device === "cpu" ? t("cpu") : info.adapter || t("gpu");
  element("context").textContent = t("tokens", { n: info.contextLength });
  element("vocabulary").textContent = t("tokens", { n: info.vocabSize });
  say(t(fallbackReason ? "ready.cpu" : "ready"));
  element("adapter").title = fallbackReason ?? ""; // why, for those who wonder
}

export function showNoModel() {
  showState("none");
  for (const id of ["name", "adapter", "context", "vocabulary"]) element(id).textContent = "–";
  say(t("model.none"));
}

/** The model that was to take its place is not here. */
export function showModelStays({ info }) {
  showState("ready");
  say(t("model.stays", { model: info.model }));
}

function showState(state) {
  document.body.dataset.model = state;
  element("progress").hidden = state !== "loading";
}
