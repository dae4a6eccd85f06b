// The pad of a blend: the base in the middle, the voices around the rim, a puck to drag between them.
// A picture for pointers; the sliders beside the voices do the same for everyone else.

import { coloured, element, make } from "./parts.js";

/** Where names stand, in radii. */
const LABEL_AT = 1.22;

export class Pad {
  #voices = [];
  #onMove;

  /** `onMove` hears {name: weight} of the voices at work. */
  constructor(onMove) {
    this.#onMove = onMove;
    const pad = element("pad");
    pad.addEventListener("pointerdown", (event) => {
      if (this.#voices.length === 0) return;
      pad.setPointerCapture(event.pointerId);
      this.#drag(event);
    });
    pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && this.#drag(event));
  }

  /** The voices around the rim, {name, title, hue}, the first at the top. */
  set voices(voices) {
    this.#voices = voices;
    const pad = element("pad");
    pad.querySelectorAll(".spot").forEach((spot) => spot.remove());
    const stops = [...voices, ...voices.slice(0, 1)].map(({ hue }, i) => `var(--hue-${hue}) ${i / voices.length}turn`);
    pad.firstElementChild.style.setProperty("--stops", voices.length > 0 ? stops.join() : "var(--line) 0turn, var(--line) 1turn");
    pad.append(...voices.map(({ title, hue }, i) => {
      const spot = coloured(hue, make("b", { className: "spot", textContent: title }));
      place(spot, i / voices.length, LABEL_AT);
      return spot;
    }));
  }

  /** Puts the puck where these weights pull it. */
  show(weights) {
    let [x, y, sum] = [0, 0, 0];
    this.#voices.forEach(({ name }, i) => {
      const weight = weights[name] ?? 0;
      x += weight * Math.sin((2 * Math.PI * i) / this.#voices.length);
      y += weight * Math.cos((2 * Math.PI * i) / this.#voices.length);
      sum += Math.abs(weight);
    });
    place(this.#puck, Math.atan2(x, y) / (2 * Math.PI), Math.hypot(x, y) < 1e-9 ? 0 : Math.min(sum, 1));
  }

  get #puck() {
    return element("pad").querySelector(".puck");
  }

  #drag({ clientX, clientY }) {
    const { left, top, width, height } = element("pad").firstElementChild.getBoundingClientRect();
    const x = (clientX - left) / (width / 2) - 1;
    const y = 1 - (clientY - top) / (height / 2);
    const [turn, radius] = [(Math.atan2(x, y) / (2 * Math.PI) + 1) % 1, Math.min(Math.hypot(x, y), 1)];
    place(this.#puck, turn, radius);
    this.#onMove(weightsAt(this.#voices.map(({ name }) => name), turn, radius));
  }
}

/** Only the two voices on either side act: the nearer the rim, the stronger. */
function weightsAt(names, turn, radius) {
  const at = turn * names.length;
  const [before, share] = [Math.floor(at) % names.length, at % 1];
  const weights = {};
  for (const [i, part] of [[before, 1 - share], [(before + 1) % names.length, share]]) {
    const weight = Math.round(100 * radius * part) / 100;
    if (weight > 0) weights[names[i]] = (weights[names[i]] ?? 0) + weight;
  }
  return weights;
}

/** `turn` is clockwise from the top, `radius` 1 at the rim. */
function place(it, turn, radius) {
  it.style.setProperty("--x", String(radius * Math.sin(2 * Math.PI * turn)));
  it.style.setProperty("--y", String(-radius * Math.cos(2 * Math.PI * turn)));
}
