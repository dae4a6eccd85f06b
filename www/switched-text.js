// One text whose voice can change while it is written: at a switch it goes on from its own tokens.
// The engine keeps a request's adapter to its end, so each voice's part is a request of its own.

/** What an unfinished character decodes to. */
const UNFINISHED = "\uFFFD";

export class SwitchedText {
  #engine;
  #prompt;
  #sampling;
  #signal;
  /** Ends the part that is being written, not the text. */
  #part = new AbortController();

  /** `sampling` is as a completion takes it; `signal` ends the text. */
  constructor(engine, prompt, sampling, signal) {
    this.#engine = engine;
    this.#prompt = prompt;
    this.#sampling = sampling;
    this.#signal = signal;
  }

  /** The engine's choice is another one: the next token is drawn under it. */
  switch() {
    this.#part.abort();
  }

  /** Yields every choice, and null where a part begins, the first included. */
  async *write(onPrompt) {
    let ids = await this.#engine.tokenize(this.#prompt);
    const prompt = ids.length;
    const { max_tokens, ...sampling } = this.#sampling;
    for (;;) {
      this.#part = new AbortController();
      const signal = AbortSignal.any([this.#signal, this.#part.signal]);
      const room = max_tokens === undefined ? undefined : max_tokens - (ids.length - prompt);
      yield null;
      try {
        const request = { ...sampling, max_tokens: room, prompt: ids, stream: true, signal, onPrompt };
        for await (const { choices: [choice] } of this.#engine.completions.create(request)) {
          ids.push(...choice.token_ids);
          yield choice;
        }
        return;
      } catch (error) {
        if (this.#signal.aborted || !this.#part.signal.aborted) throw error;
      }
      ids = await this.#shown(ids);
    }
  }

  /** Without the tokens of a character that was not shown, because it is not whole: they are drawn anew. */
  async #shown(ids) {
    while ((await this.#engine.detokenize(ids)).endsWith(UNFINISHED)) ids = ids.slice(0, -1);
    return ids;
  }
}
