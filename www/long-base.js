// What the model writes on its own, beside a long text that is learned: from the same place, and then on from its own words.
// Not the text that is learned: that is long.js's.

import { count, readPrompt } from "./meters.js";
import { element, grow } from "./parts.js";

const SWITCH = "long-beside";
/** Of a text that does not fit so many of the first tokens stay, as in a context that slides: models lean on them. */
const FIRST = 4;

export class BaseText {
  /** Token ids of the text so far, with what stood before it; undefined before it begins. */
  #ids;

  constructor() {
    const show = () => (element("long-title").hidden = element("long-base").hidden = !this.isOn);
    element(SWITCH).addEventListener("change", show);
    show(); // a browser may have kept the switch over a refresh
  }

  get isOn() {
    return element(SWITCH).checked;
  }

  set isLocked(isLocked) {
    element(SWITCH).disabled = isLocked;
  }

  /** The next text begins anew; what has been written stays to be read. */
  end() {
    this.#ids = undefined;
  }

  clear() {
    this.end();
    element("long-base-beginning").textContent = element("long-base-text").textContent = "";
  }

  /**
   * Writes on under `request`, a completion's options, with the newest tokens that fit the context: from `place`, token ids, or from its own
   * end once it has begun. `onTokens` hears how many there are so far.
   */
  async write(engine, place, request, onTokens) {
    const { contextLength } = engine.info;
    // What is to be written has room too, up to half the context: where that is full the engine keeps its newest half.
    const most = Math.max(contextLength >> 1, contextLength - (request.max_tokens ?? contextLength));
    if (this.#ids === undefined) {
      this.clear();
      const seen = place.length > most ? place.slice(FIRST - most) : place;
      element("long-base-beginning").textContent = (seen === place ? "" : "… ") + (await engine.detokenize(seen));
      this.#ids = [...place];
    }
    const ids = this.#ids;
    const [box, join] = [element("long-base-page"), element("long-base-beginning")];
    showEnd(box, join);
    let tokens = 0;
    const stream = engine.completions.create({ ...request, prompt: fitting(ids, most), overflow: "slide", stream: true, onPrompt: readPrompt });
    for await (const { choices: [{ text, token_ids }] } of stream) {
      grow(box, element("long-base-text"), text);
      ids.push(...token_ids);
      count(token_ids.length);
      onTokens((tokens += token_ids.length));
    }
  }
}

/** Of token ids those that `most` have room for. */
const fitting = (ids, most) => (ids.length > most ? [...ids.slice(0, FIRST), ...ids.slice(FIRST - most)] : ids);

/** Scrolls a box so far that the end of its beginning is seen, with room for what comes. */
export function showEnd(box, beginning) {
  box.scrollTop += beginning.getBoundingClientRect().bottom - box.getBoundingClientRect().top - box.clientHeight / 3;
}
