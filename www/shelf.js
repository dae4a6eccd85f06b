// What ships with the page: the model it opens with, and voices for it and for the model that talks.
// Not code: one list, for the page and for the tools that publish it.

/** A GGUF file, or a Hugging Face folder. */
export const MODEL = "./models/novels/novels-q8_0.gguf";

/** Its name for people, and its bytes, about. */
export const MODEL_TITLE = "Lorakeet novels";
export const MODEL_BYTES = 3.5e6;

/** Which model of the hub is offered to who wants to talk, and options of the hub, such as a mirror's `hubUrl`. */
export const CHAT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct";
export const HUB = {};

/** PEFT folders of adapters to `CHAT_MODEL`, as `VOICES` are. A visitor gets them with that model only. */
export const CHAT_VOICES = [
  { name: "shakespeare", title: "Shakespeare", line: "Lines of a play", folder: "./adapters/smollm2/shakespeare/" },
  { name: "king-james", title: "King James", line: "As the Bible of 1611", folder: "./adapters/smollm2/king-james/" },
  { name: "sherlock", title: "Sherlock Holmes", line: "As Watson tells it", folder: "./adapters/smollm2/sherlock/" },
  { name: "pirate", title: "Pirates", line: "As in Treasure Island", folder: "./adapters/smollm2/pirate/" },
  { name: "poems", title: "Poems", line: "Verse, in place of prose", folder: "./adapters/smollm2/poems/" },
  { name: "horror", title: "Horror", line: "Slow dread, after Lovecraft", folder: "./adapters/smollm2/horror/" },
  { name: "children", title: "Children's books", line: "Tales to read aloud", folder: "./adapters/smollm2/children/" },
  { name: "plain", title: "Plain English", line: "Short sentences, common words", folder: "./adapters/smollm2/plain/" },
  { name: "json", title: "Text to JSON", line: "By a schema that you give", folder: "./adapters/smollm2/json/" },
  { name: "sql", title: "Question to SQL", line: "About a table that you name", folder: "./adapters/smollm2/sql/" },
];

/** PEFT folders of adapters to `MODEL`, as {name, title, line, folder}; `title` and `line` are for the reader. */
export const VOICES = [
  { name: "shakespeare", title: "Shakespeare", line: "Sixteen plays, in verse", folder: "./adapters/shakespeare/" },
  { name: "king-james", title: "King James", line: "The Bible of 1611, verse by verse", folder: "./adapters/king-james/" },
  { name: "sherlock", title: "Sherlock Holmes", line: "The Adventures, told by Watson", folder: "./adapters/sherlock/" },
  { name: "pirate", title: "Pirates", line: "Treasure Island and Captain Blood", folder: "./adapters/pirate/" },
  { name: "horror", title: "Horror", line: "Six stories by H. P. Lovecraft", folder: "./adapters/horror/" },
  { name: "poems", title: "Poems", line: "From Milton to Whitman and Frost", folder: "./adapters/poems/" },
  { name: "children", title: "Children's books", line: "Tales from Aesop to Oz", folder: "./adapters/children/" },
];
