// What the page says about the model: its progress, its facts, its failure.
// Says, and decides nothing.

const element = (id) => document.getElementById(id);

/** Bytes for people: 2.1 MB. */
export function bytes(n) {
  const unit = ["B", "kB", "MB", "GB"];
  let power = 0;
  for (; n >= 1000 && power < 3; power++) n /= 1000;
  return `${n.toFixed(power === 0 || n >= 100 ? 0 : 1)} ${unit[power]}`;
}

/** `total` is 0 until it is known. */
export function showLoading({ loaded, total }) {
  document.body.dataset.model = "loading";
  element("facts").hidden = element("device").hidden = true;
  element("progress").hidden = false;
  if (total > 0) element("progress").value = loaded / total;
  else element("progress").removeAttribute("value");
  // Whole tenths, so that a screen reader is not told of every piece.
  const tenths = total > 0 ? Math.floor((10 * loaded) / total) * 10 : 0;
  say(total > 0 ? `Loading ${bytes(total)}: ${tenths} %` : "Loading…");
  showError(null);
}

export function showModel({ info, device, fallbackReason }) {
  const { model, adapter, memoryBytes, contextLength, vocabSize } = info;
  document.body.dataset.model = "ready";
  element("progress").hidden = true;
  element("name").textContent = model;
  element("adapter").textContent = device === "cpu" ? "the CPU" : adapter || "an unnamed GPU";
  element("memory").textContent = bytes(memoryBytes);
  element("context").textContent = `${contextLength} tokens`;
  element("vocabulary").textContent = `${vocabSize} tokens`;
  element("facts").hidden = false;
  element("device").textContent = device === "webgpu" ? "WebGPU" : "CPU";
  element("device").dataset.device = device;
  element("device").hidden = false;
  say(fallbackReason ? `Ready, on the CPU: ${fallbackReason}` : "Ready.");
}

export function showNoModel() {
  document.body.dataset.model = "none";
  element("progress").hidden = true;
  say("No model. Choose another one.");
}

/** The engine's own words; null takes them away. */
export function showError(error) {
  element("error").hidden = error === null;
  element("error").textContent = error === null ? "" : error.message;
  if (error) element("error").dataset.kind = error.kind ?? "";
}

function say(text) {
  if (element("status").textContent !== text) element("status").textContent = text;
}
