// Where the files of a model or an adapter are: a folder at a URL or on the hub, files the user chose, or
// parts named one by one. Not what is in them: that is judged in Rust.

import { GGUF, blob, files, oneFile } from "./bytes.js";
import { LorakeetError, throwIfCancelled } from "../error.js";
import { BlobFile, type ByteFile } from "./file.js";
import type { Target } from "./http.js";
import { COMMIT, type Hub, type HubRepository } from "./hub.js";
import { wrong } from "../options.js";
import { page } from "../page.js";
import type { Remote } from "./remote.js";

/** A file's bytes, or what gives them. */
type Bytes = Blob | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array> | FileSystemFileHandle;

/** One file: its bytes, or its URL. A string is a URL, relative to the page; `blob:` and `data:` URLs work too. */
export type FileSource = Bytes | URL | string;

/** A model's files, one by one. */
export interface ModelParts {
  /** `config.json` */
  config: FileSource;
  /** `tokenizer.json` */
  tokenizer: FileSource;
  /** The safetensors file, or all of them. */
  weights: FileSource | readonly FileSource[];
  /** `generation_config.json`, which names the tokens that end a text. */
  generationConfig?: FileSource;
  /** `tokenizer_config.json`, which names special tokens and may hold the chat template. */
  tokenizerConfig?: FileSource;
  /** `chat_template.jinja`; a string may also be the {@link TemplateSource | template itself}. */
  chatTemplate?: TemplateSource;
}

/** A chat template: a file, or the template itself, as a string that contains `{{` or `{%`. */
export type TemplateSource = FileSource;

/** All bytes of a file by its name; undefined if there is none. */
export type ReadFile = (name: string) => Promise<Uint8Array | undefined>;

/** An adapter's files, one by one. */
export interface AdapterParts {
  /** `adapter_config.json`, or mistral-finetune's `params.json` */
  config: FileSource;
  /** `adapter_model.safetensors`, or mlx-lm's `adapters.safetensors`, or mistral-finetune's `lora.safetensors` */
  weights: FileSource;
}

/** A folder on the hub or at a URL, or its files. */
type FolderSource = string | URL | FileList | Iterable<File>;

/**
 * Where a model comes from.
 *
 * A Hugging Face model folder:
 * - a hub id, `org/name` or `org/name@revision`;
 * - its URL, a string that begins with `./`, `../`, `/` or a scheme;
 * - its files, as a file input or a drop gives them, or a directory handle;
 * - its {@link ModelParts | parts}, one by one.
 *
 * Or a GGUF model:
 * - `org/name/file.gguf` on the hub, or the URL of a `.gguf` file;
 * - a `File`, its `blob:` URL, its bytes, a stream or a file handle;
 * - files that contain one `.gguf` file and no safetensors.
 *
 * For a GGUF file without a tokenizer, the `tokenizer.json` beside it is used.
 */
export type ModelSource = FolderSource | ModelParts | Bytes | FileSystemDirectoryHandle;

/**
 * Where an adapter comes from: a folder of PEFT, mlx-lm or mistral-finetune, or a GGUF LoRA, in any of the ways that
 * a {@link ModelSource} can be given. Files that contain one `.gguf` file and no `adapter_config.json` are a GGUF LoRA.
 */
export type AdapterSource = FolderSource | AdapterParts | Bytes | FileSystemDirectoryHandle;

/** A source of which nothing need be waited for, or can be read but once. */
type Settled<S> = Exclude<S, Bytes | FileSystemDirectoryHandle>;

/** A source with files in the places of handles, streams and bytes. */
export async function settled<S extends ModelSource | AdapterSource>(of: string, source: S): Promise<Settled<S>> {
  return (await settle(of, source)) as Settled<S>;
}

async function settle(of: string, source: unknown): Promise<unknown> {
  if (isObject(source) && "kind" in source && "values" in source) return files(source as FileSystemDirectoryHandle);
  const whole = await blob(source);
  if (whole instanceof Blob) return [await oneFile(of, whole)];
  if (!isObject(source) || !("config" in source)) return source;
  const parts = Object.entries(source).map(async ([name, part]) => [name, await (Array.isArray(part) ? Promise.all(part.map(blob)) : blob(part))] as const);
  return Object.fromEntries(await Promise.all(parts));
}

/** A chat template with a Blob in the place of handles, streams, bytes and text. Errors with `argument`. */
export async function settledTemplate(template: TemplateSource | undefined): Promise<Blob | URL | undefined> {
  if (template === undefined) return undefined;
  const source = await blob(templateText(template));
  if (source instanceof Blob) return source;
  if (typeof source === "string" || source instanceof URL) return pageUrl(source);
  throw wrong("chatTemplate", template, "a template, a Blob, bytes, a stream, a file handle or a URL");
}

function templateText(template: TemplateSource): FileSource {
  return typeof template === "string" && /\{[{%]/.test(template) ? new Blob([template]) : template;
}

/** Reads files of a folder, if there is one, with `template`, if it is given, before those in it. */
export function templateFiles(folder: Folder | undefined, template: Blob | URL | undefined, remote: Remote): ReadFile | undefined {
  const name = "chat_template.jinja";
  if (template) {
    const given = new PartsFolder("chat template", remote, new Map([[name, template]]));
    return async (file) => (file === name ? small(given, file, undefined) : folder && optional(folder, file, undefined));
  }
  return folder && ((file) => optional(folder, file, undefined));
}

/** A source as a folder of files. */
export interface Folder {
  /** Its own name; empty where the source tells none. */
  readonly name: string;
  /** What others call it: its hub id, else its own name. */
  readonly id: string;
  /** What reading it is called: "loading the model". */
  readonly what: string;
  /** Opens a file; undefined if there is none. */
  find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined>;
  /** Bytes of a file without opening it; undefined if that cannot be told. */
  size(name: string, signal?: AbortSignal): Promise<number | undefined>;
  /** The error for want of a file. */
  missing(name: string): LorakeetError;
  /** The one file of a GGUF model or LoRA. */
  readonly gguf?: string;
}

/** A model's. */
export interface ModelFolder extends Folder {
  /** The weight files, where the caller has named them. */
  readonly weightNames?: readonly string[];
}

/** Files that only an adapter's folder has, PEFT's and mlx-lm's first, then mistral-finetune's. */
const ADAPTER_FILES = ["adapter_config.json", "lora.safetensors"];

/** Reads what the caller passed. Errors with `argument`. */
export function modelFolder(source: Settled<ModelSource>, hub: Hub, remote: Remote): ModelFolder {
  const folder = plainFolder("model", source, hub, remote);
  if (folder) return folder;
  if (isObject(source) && "config" in source && "tokenizer" in source && "weights" in source) return modelParts(source, remote);
  throw wrong("model", source, "a hub id, a URL, files, or {config, tokenizer, weights}");
}

/** Reads what the caller passed. Errors with `argument`. */
export function adapterFolder(source: Settled<AdapterSource>, hub: Hub, remote: Remote): Folder {
  const folder = plainFolder("adapter", source, hub, remote);
  if (folder instanceof FileFolder) return folder.gguf === undefined ? folder.beside(folder.first(ADAPTER_FILES)) : folder;
  if (folder) return folder;
  if (isObject(source) && "config" in source && "weights" in source) {
    const { config, weights } = source;
    const parts = new Map([["adapter_config.json", config], ["adapter_model.safetensors", weights]]);
    return new PartsFolder("adapter", remote, parts);
  }
  throw wrong("adapter", source, "a hub id, a URL, files, or {config, weights}");
}

/** All bytes of a file that must be there. */
export async function small(folder: Folder, name: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const bytes = await optional(folder, name, signal);
  if (bytes === undefined) throw folder.missing(name);
  return bytes;
}

/** All bytes of a file; undefined if there is none. */
export async function optional(folder: Folder, name: string, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
  throwIfCancelled(signal, folder.what);
  return (await folder.find(name, signal))?.whole();
}

/** A folder on the hub, at a URL or of files; undefined for anything else. */
function plainFolder(of: string, source: ModelSource | AdapterSource, hub: Hub, remote: Remote): UrlFolder | FileFolder | undefined {
  if (typeof source === "string" && !/^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(source)) {
    const repository = hub.repository(of, source);
    return new UrlFolder(of, hub.url(repository), hub, remote, repository);
  }
  hub.refuseOptions(of);
  if (typeof source === "string" || source instanceof URL) return new UrlFolder(of, pageUrl(source), hub, remote);
  if (isObject(source) && Symbol.iterator in source) return new FileFolder(of, [...(source as Iterable<File>)]);
  return undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

class UrlFolder implements Folder {
  readonly name: string;
  readonly id: string;
  readonly what: string;
  readonly gguf?: string;
  readonly url: URL;

  /** `url` is that of the folder or of a GGUF file in it. */
  constructor(of: string, url: URL, readonly hub: Hub, readonly remote: Remote, readonly repository?: HubRepository) {
    this.what = `loading the ${of}`;
    this.url = new URL(url);
    const path = url.pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
    const last = path.at(-1);
    if (last !== undefined && url.pathname.endsWith(GGUF)) {
      this.gguf = last;
      this.name = stem(last);
      this.id = repository?.id ?? this.name;
      this.url.pathname = url.pathname.replace(/[^/]*$/, "");
      return;
    }
    if (!url.pathname.endsWith("/")) this.url.pathname += "/";
    const isHub = path.at(-2) === "resolve"; // org/model/resolve/main
    if (isHub) path.splice(-2);
    this.name = path.at(-1) ?? url.host;
    this.id = repository?.id ?? (isHub ? path.slice(-2).join("/") : this.name);
  }

  find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined> {
    return this.remote.open(this.#target(name, signal));
  }

  size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    return this.remote.size(this.#target(name, signal));
  }

  missing(name: string): LorakeetError {
    if (this.repository) return this.hub.missing(this.repository, name);
    return new LorakeetError("network", `${name}: not found, ${this.#at(name)}`);
  }

  #target(name: string, signal: AbortSignal | undefined): Target {
    const { hub, repository } = this;
    const url = this.#at(name);
    const plain = plainTarget(name, url, signal, this.what);
    if (!repository) return { ...plain, headers: hub.headers(url) };
    return {
      ...plain,
      headers: hub.headers(url),
      isImmutable: COMMIT.test(repository.revision),
      hasDigest: true,
      refusal: (response) => hub.refusal(repository, name, response),
    };
  }

  /** A query, such as a signature, stays. */
  #at(name: string): URL {
    const url = new URL(this.url);
    url.pathname += encodeURIComponent(name);
    return url;
  }
}

class FileFolder implements Folder {
  readonly name: string;
  readonly id: string;
  readonly what: string;
  readonly gguf?: string;

  constructor(readonly of: string, readonly files: readonly File[], name?: string) {
    const other = files.find((file) => !(file instanceof File));
    if (other !== undefined) throw wrong(of, other, "a File");
    this.what = `loading the ${of}`;
    // The folder itself is exact; a GGUF in it is a conversion.
    const isFolder = files.some(({ name }) => (of === "adapter" ? ADAPTER_FILES.includes(name) : name.endsWith(".safetensors")));
    const ggufs = isFolder ? [] : files.filter((file) => file.name.endsWith(GGUF));
    if (ggufs.length > 1) {
      throw new LorakeetError("argument", `${ggufs.length} GGUF files, expected one ${of} at a time: ${ggufs.map((file) => file.name).join(", ")}`);
    }
    if (ggufs[0]) this.gguf = ggufs[0].name;
    this.name = name ?? (this.gguf === undefined ? path(files[0])[0] : stem(this.gguf)) ?? "";
    this.id = this.name;
  }

  /** The folder in which `name` is, and nothing of its neighbours: one adapter's weights fit another's config. */
  beside(name: string): FileFolder {
    const found = this.#nearest(name);
    const places = found.map((file) => path(file).at(-1) ?? "");
    if (found.length > 1) {
      const which = places.some((place) => place !== "") ? `: ${places.join(", ")}` : "";
      throw new LorakeetError("argument", `${found.length} files ${name}, expected one ${this.of} at a time${which}`);
    }
    if (found.length === 0) return this;
    const home = path(found[0]).join("/");
    return new FileFolder(this.of, this.files.filter((file) => path(file).join("/") === home), places[0]);
  }

  /** The first of some names that a file has. */
  first(names: readonly string[]): string {
    return names.find((name) => this.files.some((file) => file.name === name)) ?? names[0]!;
  }

  async find(name: string): Promise<ByteFile | undefined> {
    const [file] = this.#nearest(name);
    return file && new BlobFile(name, file);
  }

  async size(name: string): Promise<number | undefined> {
    return (await this.find(name))?.size;
  }

  missing(name: string): LorakeetError {
    const n = this.files.length;
    return new LorakeetError("argument", `${name}: not among the ${n} ${n === 1 ? "file" : "files"} given`);
  }

  /** Of several files of one name, those nearest the top: folders inside hold other formats. */
  #nearest(name: string): File[] {
    const named = this.files.filter((file) => file.name === name);
    const top = Math.min(...named.map((file) => path(file).length));
    return named.filter((file) => path(file).length === top);
  }
}

/** A file's name without `.gguf`. */
function stem(name: string): string {
  return name.slice(0, -GGUF.length);
}

/** The folders a file lies in, the chosen one first; none where files were chosen. */
function path(file: File | undefined): string[] {
  return file?.webkitRelativePath ? file.webkitRelativePath.split("/").slice(0, -1) : [];
}

class PartsFolder implements ModelFolder {
  readonly name = "";
  readonly id = "";
  readonly what: string;

  constructor(of: string, readonly remote: Remote, readonly parts: ReadonlyMap<string, FileSource>, readonly weightNames: readonly string[] = []) {
    this.what = `loading the ${of}`;
  }

  async find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined> {
    const part = this.parts.get(name);
    if (part === undefined) return undefined;
    if (part instanceof Blob) return new BlobFile(name, part);
    if (typeof part === "string" || part instanceof URL) return this.remote.open(plainTarget(name, pageUrl(part), signal, this.what));
    throw wrong(name, part, "a Blob, bytes, a stream, a file handle or a URL");
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    const part = this.parts.get(name);
    if (part instanceof Blob) return part.size;
    return this.remote.size(plainTarget(name, pageUrl(part as URL | string), signal, this.what));
  }

  missing(name: string): LorakeetError {
    const part = this.parts.get(name);
    if (part === undefined) return new LorakeetError("argument", `${name}: not given`);
    return new LorakeetError("network", `${name}: not found, ${part}`);
  }
}

function modelParts(
  { config, tokenizer, weights, generationConfig, tokenizerConfig, chatTemplate }: ModelParts, remote: Remote,
): PartsFolder {
  const list = Array.isArray(weights) ? (weights as readonly FileSource[]) : [weights as FileSource];
  const parts = new Map(list.map((part, i) => [`weights[${i}]`, part]));
  const weightNames = [...parts.keys()];
  parts.set("config.json", config).set("tokenizer.json", tokenizer);
  if (generationConfig !== undefined) parts.set("generation_config.json", generationConfig);
  if (tokenizerConfig !== undefined) parts.set("tokenizer_config.json", tokenizerConfig);
  if (chatTemplate !== undefined) parts.set("chat_template.jinja", templateText(chatTemplate));
  return new PartsFolder("model", remote, parts, weightNames);
}

function pageUrl(source: string | URL): URL {
  const { base } = page();
  try {
    return new URL(source, base);
  } catch {
    throw wrong("URL", String(source), base === undefined ? "an absolute one: there is no page here" : "a valid one");
  }
}

/** A file of a server that nothing more is known of. */
function plainTarget(name: string, url: URL, signal: AbortSignal | undefined, what: string): Target {
  return { name, url, signal, what, headers: {}, isImmutable: false, hasDigest: false, refusal: () => undefined };
}
