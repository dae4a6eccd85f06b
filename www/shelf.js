// What ships with the page: the model it opens with, and that model's voices.
// Not code: one list, for the page and for the tools that publish it.

/** A Hugging Face folder. */
export const MODEL = "./models/demo/";

/** PEFT folders of adapters to `MODEL`, as {name, title, line, folder}; `title` and `line` are for the reader. */
export const VOICES = [];
