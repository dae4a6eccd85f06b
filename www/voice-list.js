// The list of voices as the reader sees it: to choose one, to tick several, or to weigh each.
// Remembers nothing: voices.js tells it what to show, and hears what was done.

import { element, make, voiceChoice, weightSlider } from "./parts.js";
import { t } from "./words.js";

const KINDS = {
  one: { type: "radio", legend: "voices.one", hint: "voices.one.hint" },
  several: { type: "checkbox", legend: "voices.several", hint: "voices.several.hint" },
  weights: { legend: "voices.weights", hint: "voices.weights.hint" },
};

export class VoiceList {
  #box = element("voice-list");
  #onWeigh;
  #onRemove;
  #onSave;
  /** Boxes that can be ticked at once. */
  #most = 1;

  /** `onChoose` hears a name, `onTick` a name and whether it is on, `onWeigh` a name and a weight, `onRemove` and `onSave` a name. */
  constructor({ onChoose, onTick, onWeigh, onRemove, onSave }) {
    this.#onWeigh = onWeigh;
    this.#onRemove = onRemove;
    this.#onSave = onSave;
    this.#box.addEventListener("change", ({ target }) => {
      if (target.type === "radio") onChoose(target.value);
      if (target.type !== "checkbox") return;
      onTick(target.value, target.checked);
      this.#limit();
    });
  }

  /**
   * `kind` is `one`, `several` or `weights`; `base` stands before the `voices` where there is something
   * to choose; `isOn(voice)` tells what is on, `weights` how much; at most `most` can be ticked.
   */
  draw({ kind, ready, base, voices, isOn, weights, most }) {
    const { type, legend, hint } = KINDS[kind];
    const focused = this.#box.contains(document.activeElement) ? document.activeElement.value : undefined;
    const rows = type ? [base, ...voices].map((voice) => this.#choice(type, voice, isOn(voice))) : voices.map((voice, i) => this.#slider(voice, i, weights));
    this.#most = most;
    this.#box.disabled = !ready;
    this.#box.dataset.kind = kind;
    element("voice-legend").textContent = t(legend);
    this.#box.replaceChildren(element("voice-legend"), ...rows);
    if (focused !== undefined) this.#inputs.find(({ value }) => value === focused)?.focus();
    element("voices-hint").textContent = t(voices.length > 0 ? hint : "voices.none");
    this.#limit();
  }

  /** Shows another choice of one. */
  select(name) {
    for (const input of this.#inputs) if (input.type === "radio") input.checked = input.value === name;
    const row = this.#inputs.find(({ checked }) => checked)?.closest(".voice");
    if (row) this.#box.scrollLeft = row.offsetLeft - (this.#box.clientWidth - row.offsetWidth) / 2; // a narrow window shows a few
  }

  /** Shows other weights, one for each row. */
  weigh(weights) {
    this.#inputs.filter(({ type }) => type === "range").forEach((slider, i) => {
      if (Number(slider.value) === weights[i]) return;
      slider.value = String(weights[i]);
      slider.previousElementSibling.value = weights[i].toFixed(2);
    });
  }

  /** Gives the keyboard a place again whose row has gone. */
  focus() {
    (this.#inputs.find(({ checked }) => checked) ?? this.#inputs[0])?.focus();
  }

  get #inputs() {
    return [...this.#box.querySelectorAll("input")];
  }

  #limit() {
    const boxes = this.#inputs.filter(({ type }) => type === "checkbox");
    const full = boxes.filter(({ checked }) => checked).length >= this.#most;
    for (const box of boxes) box.disabled = full && !box.checked;
  }

  #choice(type, { name, title, line, hue, loaded, own }, checked) {
    const choice = { type, value: name, title, line, hue, checked, disabled: !loaded };
    if (!own) return voiceChoice(choice);
    const button = (textContent, words, onClick) => {
      const it = make("button", { type: "button", textContent, title: words, ariaLabel: words });
      it.addEventListener("click", () => onClick(name));
      return it;
    };
    return voiceChoice(choice, button("↓", t("voices.save", { name }), this.#onSave), button("×", t("voices.remove", { name }), this.#onRemove));
  }

  #slider({ name, title, hue, loaded }, i, weights) {
    const onWeight = (weight) => this.#onWeigh(name, weight);
    return weightSlider({ id: `weight-${i}`, title, hue, weight: weights[name] ?? 0, disabled: !loaded, onWeight });
  }
}
