// The view of models: the one that came with the page, those of the hub, and earlier ones of this visit; each a click away.
// Not the loading: app.js does that.

import { models } from "./dist/index.js";
import { bytes, element, make } from "./parts.js";
import { cache, ofHub } from "./sources.js";
import { attempt, say } from "./speech.js";
import { t } from "./words.js";

/** Models of the hub for this page: those that write. */
export const HUB_MODELS = models().filter(({ use }) => use !== "embeddings");
/** Bytes of a weight as this page holds it: q8. */
const WEIGHT_BYTES = 1.0625;
/** What keys and values take at most, unless one text alone takes more. */
const CACHE_BYTES = 2 ** 27;

export class Shelf {
  #onModel;
  #shipped;
  /** The reader's own, {id, title, source}, in the order they came. */
  #own = [];
  #engine;
  #current;

  /** `shipped` is {id, title, bytes} of the model that came with the page; `onModel` hears a source, `onVoice` the id or address of an adapter. */
  constructor({ shipped, onModel, onVoice }) {
    this.#shipped = shipped;
    this.#onModel = onModel;
    element("fetching").addEventListener("submit", (event) => {
      event.preventDefault();
      const source = element("source").value.trim();
      if (source === "") return;
      if (event.submitter?.value === "voice") onVoice(source);
      else onModel(source);
    });
    this.#draw([]);
  }

  /** The reader's token for the hub, which is kept nowhere but in its field; "" where there is none. */
  get token() {
    return element("token").value.trim();
  }

  /** The engine that is at work, and what it was loaded from; undefined while there is none. */
  use(engine, source) {
    this.#engine = engine;
    this.#current = source;
    const isKnown = source === undefined || source === this.#shipped.id || HUB_MODELS.some(({ id }) => id === source) || this.#own.some((each) => each.source === source);
    if (engine && !isKnown) this.#own.push({ title: engine.info.model, source });
    this.show();
  }

  /** Shows what is kept in this browser by now. */
  async show() {
    this.#draw([]);
    this.#draw(await cache.list().catch(() => []));
  }

  #draw(files) {
    const { title, bytes: size } = this.#shipped;
    element("shelf").replaceChildren(
      this.#card({ source: this.#shipped.id, title, facts: [t("models.shipped"), t("models.weighs", { size: bytes(size) })] }),
      ...HUB_MODELS.map(({ id, name, use, millions, bytes: size, licence, isGated }) => {
        const kept = ofHub(id, files);
        const there = kept.filter(({ isComplete }) => isComplete);
        const memory = millions * 1e6 * WEIGHT_BYTES + CACHE_BYTES;
        const facts = [t(use === "chat" ? "models.answers" : "models.continues"), licence, t("models.memory", { size: bytes(memory) })];
        if (isGated) facts.push(t("models.gated"));
        // Browsers tell no more than 8 GB, and round.
        if (memory > (navigator.deviceMemory ?? 8) * 2 ** 29) facts.push(t("models.too-big"));
        const download = there.length > 0 ? t("models.kept", { size: bytes(sum(there)) }) : t("models.fetched", { size: bytes(size) });
        return this.#card({ source: id, title: name, facts: [...facts, download], kept, isGated: isGated && there.length === 0 });
      }),
      ...this.#own.map(({ title, source }) => this.#card({ source, title, facts: [t("models.own")] })),
    );
  }

  #card({ source, title, facts, kept = [], isGated = false }) {
    const isHere = this.#engine !== undefined && source === this.#current;
    const use = make("button", { type: "button", textContent: t(isHere ? "models.here" : "models.use"), disabled: isHere, ariaLabel: t(isHere ? "models.here.which" : "models.use.which", { title }) });
    use.addEventListener("click", () => {
      if (!isGated || this.token !== "") return this.#onModel(source);
      say(t("models.token.first", { title }));
      element("token").focus();
    });
    const card = make("li", { className: isHere ? "here" : "" }, make("b", { textContent: title }), make("small", { textContent: facts.join(" · ") }), use);
    if (kept.length > 0 && !isHere) {
      const remove = make("button", { type: "button", textContent: t("models.remove"), ariaLabel: t("models.remove.which", { title }) });
      remove.addEventListener("click", () => attempt(async () => {
        for (const { key } of kept) await cache.delete(key);
        say(t("models.removed", { title, size: bytes(sum(kept)) }));
        await this.show();
      }));
      card.append(remove);
    }
    return card;
  }
}

const sum = (files) => files.reduce((total, { bytes }) => total + bytes, 0);
