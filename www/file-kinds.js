// What a reader's files are: a model, adapters, a text, or none of these, and then what instead.
// Told by their names and first bytes; what is in them is judged by the engine.

/** Bytes of a GGUF in which its type is named, if it is; and of a text, enough to tell it from other files. */
const HEAD = 4096;
/** A longer one is no lesson for a page. */
const MOST_TEXT = 4e6;
/** Bytes that no text has. */
const CONTROL = /[\0-\x08\x0e-\x1a\x1c-\x1f]/;

/** By their first bytes. */
const KINDS = [
  [/^\x89PNG|^\xff\xd8\xff|^GIF8|^RIFF[^]{4}WEBP|^[^]{4}ftyp(avif|heic)/, "a picture"],
  [/^%PDF/, "a PDF"],
  [/^PK\x03\x04|^\x1f\x8b|^7z\xbc\xaf|^Rar!/, "an archive, to be unpacked first"],
  [/^ID3|^RIFF[^]{4}WAVE|^OggS|^fLaC/, "a sound"],
  [/^[^]{4}ftyp|^\x1aE\xdf\xa3/, "a film"],
];

/** A folder {name, files} with its `kind`: model, adapter, text or other. GGUF LoRAs beside each other are an adapter each. */
export async function apart({ name, files }) {
  const has = (it) => files.some((file) => file.name === it);
  if (has("adapter_config.json")) return [{ name, files, kind: "adapter" }];
  if (has("config.json")) return [{ name, files, kind: "model" }];
  const heads = await Promise.all(files.map(head));
  const isGguf = (file, i) => file.name.endsWith(".gguf") || heads[i].startsWith("GGUF");
  const ggufs = files.filter(isGguf);
  // After the name of the key come its type and the length of its value, twelve bytes.
  const isLora = (file, i) => /general\.type[^]{12}adapter/.test(heads[i]);
  if (ggufs.length > 0) {
    if (!files.every((file, i) => !isGguf(file, i) || isLora(file, i))) return [{ name, files, kind: "model" }];
    return ggufs.map((file) => ({ name: "", files: [file], kind: "adapter" }));
  }
  return [{ name, files, kind: files.every((file, i) => isText(file, heads[i])) ? "text" : "other" }];
}

/** The error for files that are nothing this page can use. */
export async function refusal(files) {
  if (files.length > 1) {
    return new Error(`Among these ${files.length} files is no config.json of a model, no adapter_config.json of an adapter, and no GGUF.`);
  }
  const [file] = files;
  const first = await head(file);
  const is = (what) => new Error(`${file.name} is ${what}, expected a model, an adapter or a text.`);
  const [, kind] = KINDS.find(([bytes]) => bytes.test(first)) ?? [];
  if (kind !== undefined) return is(kind);
  if (file.size === 0) return is("empty");
  if (/\.(safetensors|bin|pth?)$/.test(file.name)) {
    const config = file.name.startsWith("adapter") ? "adapter_config.json" : "config.json";
    return new Error(`${file.name} holds weights alone: choose it together with its ${config}, or the folder they lie in.`);
  }
  if (file.name.endsWith(".json")) return new Error(`${file.name} is one file of a folder: choose the folder, or all of its files.`);
  if (isReadable(first)) return new Error(`${file.name} is too long for a lesson: ${file.size} bytes, at most ${MOST_TEXT}.`);
  return is("a file of another kind");
}

/** A text, in whichever of the common encodings it is. */
export async function textOf(file) {
  const bytes = await file.arrayBuffer();
  const [mark] = new Uint16Array(bytes.slice(0, 2 * Math.min(1, bytes.byteLength >> 1)));
  if (mark === 0xfeff || mark === 0xfffe) return new TextDecoder(mark === 0xfeff ? "utf-16le" : "utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** A file of a folder is not one, though people could read it. */
function isText(file, first) {
  return file.size > 0 && file.size <= MOST_TEXT && !/\.(json|safetensors|bin|pth?|gguf)$/.test(file.name) && isReadable(first);
}

function isReadable(first) {
  return /^(\xff\xfe|\xfe\xff)/.test(first) || !(CONTROL.test(first) || KINDS.some(([bytes]) => bytes.test(first)));
}

/** The first bytes, each as a character. */
async function head(file) {
  return String.fromCharCode(...new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
}
