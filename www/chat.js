// The view of a conversation: turns, an answer in one voice or in two beside each other, stopped, asked for again, edited.
// Not what is kept of it: that is conversation.js's; how it looks is chat-turns.js's.

import { drawTurns, showAnswer } from "./chat-turns.js";
import { Conversation } from "./conversation.js";
import { saveFile } from "./files-out.js";
import { bytes, element, make } from "./parts.js";
import { readSampling } from "./sampling.js";
import { say, showError } from "./speech.js";
import { t } from "./words.js";

/** Tokens of an answer for which room is made, where the reader names none. */
const LEAST_ROOM = 64;
const OPENINGS = ["chat.sample.1", "chat.sample.2", "chat.sample.3"];

export class Chat {
  #pen;
  #voices;
  #engine;
  #conversation = new Conversation();
  /** Whether the model answers; undefined until that is known. */
  #answers;
  #editing;
  /** Comes with the first model that answers: who does not talk need not wait for it. */
  #markdown;

  /** `offer` is the model to fetch where there is none that answers, {name, bytes, licence}; `onFetch` is called to fetch it. */
  constructor(pen, voices, { offer, onFetch }) {
    this.#pen = pen;
    this.#voices = voices;
    element("chat-fetch").textContent = t("chat.fetch", offer);
    element("chat-size").textContent = t("chat.size", { size: bytes(offer.bytes), licence: offer.licence });
    element("chat-fetch").addEventListener("click", onFetch);
    element("chatting").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    element("message").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      element("chatting").requestSubmit();
    });
    element("chat-stop").addEventListener("click", () => pen.stop());
    element("chat-unedit").addEventListener("click", () => this.#edit(undefined));
    element("chat-clear").addEventListener("click", () => this.#clear());
    element("chat-export").addEventListener("click", () => saveFile(this.#conversation.file()));
    element("chat-samples").append(...OPENINGS.map((key) => {
      const sample = make("button", { type: "button", textContent: t(key) });
      sample.addEventListener("click", () => {
        element("message").value = t(key);
        element("chatting").requestSubmit();
      });
      return sample;
    }));
    pen.onChange(() => this.#update());
    this.#draw();
  }

  /** The engine that answers; undefined while there is none. */
  set engine(engine) {
    this.#engine = engine;
    this.#answers = undefined;
    this.#update();
  }

  /** Whether the model has a chat template, and so answers. */
  async look() {
    const engine = this.#engine;
    if (!engine || this.#answers !== undefined) return this.#answers ?? false;
    let answers = true;
    try {
      await engine.countTokens([{ role: "user", content: "?" }]);
    } catch (error) {
      answers = false;
      if (error.kind !== "unsupported") showError(error);
    }
    if (answers) this.#markdown ??= (await import("./markdown.js")).markdown;
    if (engine === this.#engine) this.#answers = answers;
    this.#draw();
    return answers;
  }

  /** The voices have changed: which may answer second. */
  showVoices() {
    const list = element("second-voice");
    const before = list.value;
    const voices = this.#voices.all.map(({ name, title }) => new Option(title, name || "__base__"));
    list.replaceChildren(new Option(t("chat.nobody"), ""), ...voices);
    list.value = before;
    if (list.selectedIndex < 0) list.value = "";
    list.closest("label").hidden = voices.length < 2;
    element("one-voice").hidden = voices.length >= 2;
  }

  #send() {
    const field = element("message");
    const text = field.value.trim();
    if (text === "" || !this.#answers || this.#pen.writing) return;
    if (this.#editing !== undefined) this.#conversation.cut(this.#editing);
    this.#editing = undefined;
    field.value = "";
    this.#answer(this.#conversation.ask(text));
  }

  /** Writes the answers to the last turn anew. */
  async #answer(turn) {
    const engine = this.#engine;
    const second = element("second-voice").value;
    const voices = [this.#voices.speaking, ...(second === "" ? [] : [this.#voices.named(second === "__base__" ? "" : second)])];
    turn.answers = voices.map(({ name, title, hue }) => ({ voice: name, title, hue, text: "" }));
    turn.chosen = 0;
    this.#draw();
    const box = element("turns-box");
    box.scrollTop = box.scrollHeight;
    await this.#pen.write(async (signal, count) => {
      say(voices.length > 1 ? t("chat.answering.two") : t("chat.answering"));
      const sampling = readSampling();
      const { messages, room } = await this.#fitting(engine, sampling.max_tokens);
      sampling.max_tokens = Math.min(sampling.max_tokens ?? room, room);
      const ends = await Promise.allSettled(turn.answers.map(async (answer, i) => {
        const request = { ...sampling, messages, adapter: answer.voice || null, stream: true, stream_options: { include_usage: true }, signal };
        let tokens = 0;
        try {
          for await (const { choices: [choice], usage } of engine.chat.completions.create(request)) {
            if (usage) tokens = usage.completion_tokens;
            if (!choice?.delta.content) continue;
            if (answer.text === "") count(1);
            answer.text += choice.delta.content;
            showAnswer(i, this.#markdown(answer.text));
          }
        } finally {
          // Of an answer that was stopped nobody tells them.
          if (answer.text !== "") count((tokens || (await engine.countTokens(answer.text, { add_special_tokens: false }))) - 1);
        }
      }));
      const failed = ends.find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
    });
    // Who stops before the first word has asked nothing yet.
    if (turn.answers.every(({ text }) => text === "")) {
      this.#conversation.cut(this.#conversation.turns.indexOf(turn));
      if (element("message").value === "") element("message").value = turn.text;
    }
    this.#conversation.keep();
    this.#draw();
  }

  /** The conversation as messages, and the tokens left for an answer; the oldest turns are left out where the context does not hold all and an answer of `wanted`. */
  async #fitting(engine, wanted = LEAST_ROOM) {
    const { contextLength } = engine.info;
    for (let from = 0; ; from++) {
      const messages = this.#conversation.messages(from);
      const room = contextLength - (await engine.countTokens(messages));
      if (messages.length > 1 && room < Math.min(wanted, contextLength / 2)) continue;
      if (from > 0) say(t("chat.forgotten", { n: from }));
      return { messages, room: Math.max(room, 1) };
    }
  }

  /** Takes a turn back into the field, to be asked otherwise; undefined lets it be. */
  #edit(i) {
    this.#editing = i;
    element("message").value = i === undefined ? "" : this.#conversation.turns[i].text;
    element("message").focus();
    this.#update();
  }

  #clear() {
    this.#pen.stop();
    this.#conversation.cut(0);
    this.#edit(undefined);
    this.#draw();
    say(t("chat.cleared"));
  }

  #draw() {
    if (!this.#markdown) return this.#update();
    drawTurns(this.#conversation.turns, {
      markdown: this.#markdown,
      onEdit: (i) => !this.#pen.writing && this.#edit(i),
      onAgain: () => this.#answers && !this.#pen.writing && this.#answer(this.#conversation.turns.at(-1)),
      onChoose: (i, k) => {
        this.#conversation.choose(i, k);
        this.#draw();
      },
    });
    this.#update();
  }

  #update() {
    const isEmpty = this.#conversation.turns.length === 0;
    element("chat-none").hidden = this.#answers === true;
    element("chat-room").hidden = this.#answers !== true;
    element("chat-why").textContent = t(!this.#engine ? "chat.no-model" : this.#answers === undefined ? "chat.checking" : "chat.none");
    element("chat-offer").hidden = this.#answers !== false;
    element("chat-blank").hidden = element("chat-samples").hidden = !isEmpty;
    element("chat-keep").hidden = isEmpty || this.#answers !== true;
    element("chat-unedit").hidden = this.#editing === undefined;
    element("send").disabled = this.#pen.writing;
    if (!this.#pen.writing && document.activeElement === element("chat-stop")) element("message").focus(); // it goes with its work
    element("chat-stop").disabled = !this.#pen.writing;
    element("turns-box").setAttribute("aria-busy", String(this.#pen.writing));
  }
}
