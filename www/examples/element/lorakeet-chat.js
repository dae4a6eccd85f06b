// <lorakeet-chat model="…" adapter="NAME=URL" chat-template="…">: a conversation as an element, for any page.
// An example to take and change, not a part of the package.

import { createEngine } from "lorakeet";

class LorakeetChat extends HTMLElement {
  #engine;
  #messages = [];
  #running;

  connectedCallback() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.innerHTML = `
      <style>:host { display: block; font: inherit } p { white-space: pre-wrap; margin: .5em 0 } p.user { font-weight: 600 } form { display: flex; gap: .5em } input { flex: 1; font: inherit }</style>
      <div role="log" aria-live="polite"></div>
      <form><input name="text" aria-label="Message" autocomplete="off"><button disabled>Send</button></form>`;
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const { text } = event.target.elements;
      if (text.value !== "") this.#ask(text.value);
      text.value = "";
    });
    this.#engine = this.#open();
    this.#engine.then(() => (root.querySelector("button").disabled = false), (error) => this.#show("error").append(error.message));
  }

  /** The engine goes with the element. */
  disconnectedCallback() {
    this.#running?.abort();
    this.#engine.then((engine) => engine.dispose(), () => {});
  }

  async #open() {
    const chatTemplate = this.getAttribute("chat-template") ?? undefined;
    const engine = await createEngine(this.getAttribute("model"), { chatTemplate, dtype: this.getAttribute("dtype") ?? undefined });
    const [name, url] = (this.getAttribute("adapter") ?? "").split(/=(.*)/);
    if (url) {
      await engine.loadAdapter(url, { name });
      await engine.setAdapter(name);
    }
    return engine;
  }

  async #ask(content) {
    this.#running?.abort(); // a new question ends the answer to the last one
    const { signal } = (this.#running = new AbortController());
    this.#messages.push({ role: "user", content });
    this.#show("user").append(content);
    const answer = { role: "assistant", content: "" };
    const place = this.#show("assistant");
    try {
      const engine = await this.#engine;
      for await (const { choices: [choice] } of engine.chat.completions.create({ messages: this.#messages, max_tokens: 200, stream: true, signal })) {
        answer.content += choice.delta.content ?? "";
        place.textContent = answer.content;
      }
    } catch (error) {
      if (error.name !== "AbortError") this.#show("error").append(error.message);
    }
    if (answer.content !== "") this.#messages.push(answer);
    this.dispatchEvent(new CustomEvent("answer", { detail: answer.content }));
  }

  #show(role) {
    const place = Object.assign(document.createElement("p"), { className: role });
    this.shadowRoot.querySelector("div").append(place);
    return place;
  }
}

customElements.define("lorakeet-chat", LorakeetChat);
