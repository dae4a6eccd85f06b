// The bar of measurements: device, memory, first token, speed, the last switch.
// Measures what it is told of; knows no engine.

import { bytes, element } from "./parts.js";
import { t } from "./words.js";

let began = 0;
let firstAt = 0;
let firstTokens = 0;
let tokens = 0;

/** Where the model is; undefined while there is none. */
export function showDevice(info) {
  element("runs-on").textContent = info === undefined ? "–" : info.device === "webgpu" ? "WebGPU" : "CPU";
  element("memory").textContent = info === undefined ? "–" : bytes(info.memoryBytes);
  if (info === undefined) element("switch-time").textContent = "–";
}

/** A text begins. */
export function begin() {
  began = performance.now();
  firstAt = firstTokens = tokens = 0;
  element("first").textContent = element("speed").textContent = "–";
}

/** Of the prompt, this much has been computed; of a text that goes on after a switch nobody waits for the first token. */
export function readPrompt({ loaded, total }) {
  if (firstAt === 0 && loaded < total) element("first").textContent = t("meter.read", { percent: Math.floor((100 * loaded) / total) });
}

/** `n` tokens came, of whichever text. The first wait for the prompt; speed is that of those after them. */
export function count(n) {
  const now = performance.now();
  tokens += n;
  if (firstAt === 0) {
    firstAt = now;
    firstTokens = n;
    element("first").textContent = now - began < 1000 ? ms(now - began) : `${((now - began) / 1000).toFixed(1)} s`;
  } else if (now > firstAt) {
    const speed = (1000 * (tokens - firstTokens)) / (now - firstAt);
    element("speed").textContent = `${speed.toFixed(speed < 100 ? 1 : 0)} tok/s`;
  }
}

/** Another voice is on, after `time` in ms. */
export function switched(time) {
  element("switch-time").textContent = ms(time);
}

/** Browsers round their clocks to a tenth. */
function ms(time) {
  if (time < 0.1) return "< 0.1 ms";
  return `${time.toFixed(time < 10 ? 1 : 0)} ms`;
}
