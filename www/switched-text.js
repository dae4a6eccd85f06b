// One text whose voice can change while it is written, and where its parts begin.
// The change itself is the stream's: the next token is drawn by the new voice.

export class SwitchedText {
  #engine;
  #request;
  #stream;
  #isSwitched = true;

  /** `request` is as a completion takes it. */
  constructor(engine, request) {
    this.#engine = engine;
    this.#request = request;
  }

  /** Goes on in another voice. */
  async switch(choice) {
    await this.#stream?.setAdapter(choice);
    this.#isSwitched = true;
  }

  /** Yields every choice, and null where a part begins, the first included. */
  async *write() {
    this.#stream = this.#engine.completions.create({ ...this.#request, stream: true });
    for await (const { choices: [choice] } of this.#stream) {
      if (this.#isSwitched) yield null;
      this.#isSwitched = false;
      yield choice;
    }
  }
}
