// Where a model's files are: a folder at a URL, files the user chose, or parts named one by one.
// Not what is in them: that is judged in Rust.

import { LorakeetError, cancelled } from "./error.js";
import { BlobFile, UrlFile, trustedLength, type ByteFile } from "./file.js";
import { wrong } from "./options.js";

/** One file: bytes, or where they are. A string is a URL, relative to the page. */
export type FileSource = Blob | URL | string | Uint8Array;

/** A model's files by their role instead of their names. */
export interface ModelParts {
  /** `config.json` */
  config: FileSource;
  /** `tokenizer.json` */
  tokenizer: FileSource;
  /** The safetensors file, or all of several. */
  weights: FileSource | readonly FileSource[];
  /** `generation_config.json`, which names the tokens that end a text. */
  generationConfig?: FileSource;
}

/**
 * Where a model comes from: the URL of a Hugging Face model folder (a string that begins with `./`,
 * `../`, `/` or a scheme, with or without `/` at its end), the files of one, as a file input or a
 * drop gives them, or its {@link ModelParts | parts}.
 */
export type ModelSource = string | URL | FileList | Iterable<File> | ModelParts;

/** A source as a folder of files. */
export interface ModelFolder {
  /** What responses call the model. */
  readonly model: string;
  /** The weight files, where the caller has named them. */
  readonly weightNames?: readonly string[];
  /** Opens a file; undefined if there is none. */
  find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined>;
  /** Bytes of a file without opening it; undefined if that cannot be told. */
  size(name: string, signal?: AbortSignal): Promise<number | undefined>;
  /** The error for want of a file. */
  missing(name: string): LorakeetError;
}

/** Reads what the caller passed. Errors with `argument`, or `unsupported` for a hub id. */
export function modelFolder(source: ModelSource): ModelFolder {
  if (typeof source === "string" || source instanceof URL) return new UrlFolder(folderUrl(source));
  if (typeof source === "object" && source !== null) {
    if (Symbol.iterator in source) return new FileFolder([...source]);
    if ("config" in source && "tokenizer" in source && "weights" in source) return new PartsFolder(source);
  }
  throw wrong("model", source, "a URL, files, or {config, tokenizer, weights}");
}

class UrlFolder implements ModelFolder {
  readonly model: string;

  constructor(readonly url: URL) {
    const path = url.pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
    if (path.at(-2) === "resolve") path.splice(-2); // a hub URL: org/model/resolve/main
    this.model = path.at(-1) ?? url.host;
  }

  find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined> {
    return openUrl(name, this.#at(name), signal);
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    const response = await request(name, this.#at(name), { method: "HEAD", signal });
    return response.ok ? trustedLength(response) : undefined;
  }

  missing(name: string): LorakeetError {
    return new LorakeetError("network", `${name}: not found, ${this.#at(name)}`);
  }

  /** A query, such as a signature, stays. */
  #at(name: string): URL {
    const url = new URL(this.url);
    url.pathname += name;
    return url;
  }
}

class FileFolder implements ModelFolder {
  readonly model: string;

  constructor(readonly files: readonly File[]) {
    const other = files.find((file) => !(file instanceof File));
    if (other !== undefined) throw wrong("model", other, "a File");
    this.model = files[0]?.webkitRelativePath.split("/")[0] || "model";
  }

  /** Of several files of one name, the one nearest the top: folders inside hold other formats. */
  async find(name: string): Promise<ByteFile | undefined> {
    const depth = (file: File) => file.webkitRelativePath.split("/").length;
    const [file] = this.files.filter((each) => each.name === name).sort((a, b) => depth(a) - depth(b));
    return file && new BlobFile(name, file);
  }

  async size(name: string): Promise<number | undefined> {
    return (await this.find(name))?.size();
  }

  missing(name: string): LorakeetError {
    const n = this.files.length;
    return new LorakeetError("argument", `${name}: not among the ${n} ${n === 1 ? "file" : "files"} given`);
  }
}

class PartsFolder implements ModelFolder {
  readonly model = "model";
  readonly weightNames: readonly string[];
  readonly #parts: Map<string, FileSource>;

  constructor({ config, tokenizer, generationConfig, weights }: ModelParts) {
    const list = Array.isArray(weights) ? (weights as readonly FileSource[]) : [weights as FileSource];
    this.weightNames = list.map((_, i) => `weights[${i}]`);
    this.#parts = new Map(list.map((part, i) => [`weights[${i}]`, part]));
    this.#parts.set("config.json", config).set("tokenizer.json", tokenizer);
    if (generationConfig !== undefined) this.#parts.set("generation_config.json", generationConfig);
  }

  async find(name: string, signal?: AbortSignal): Promise<ByteFile | undefined> {
    const part = this.#parts.get(name);
    if (part === undefined) return undefined;
    if (part instanceof Blob) return new BlobFile(name, part);
    if (part instanceof Uint8Array) return new BlobFile(name, new Blob([part as Uint8Array<ArrayBuffer>]));
    if (typeof part === "string" || part instanceof URL) return openUrl(name, pageUrl(part), signal);
    throw wrong(name, part, "a Blob, a URL or a Uint8Array");
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    const part = this.#parts.get(name);
    if (part instanceof Blob) return part.size;
    if (part instanceof Uint8Array) return part.byteLength;
    const response = await request(name, pageUrl(part as URL | string), { method: "HEAD", signal });
    return response.ok ? trustedLength(response) : undefined;
  }

  missing(name: string): LorakeetError {
    const part = this.#parts.get(name);
    return new LorakeetError("network", part === undefined ? `${name}: not given` : `${name}: not found, ${part}`);
  }
}

function folderUrl(source: string | URL): URL {
  if (typeof source === "string" && !/^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(source)) {
    const hint = "a folder's URL begins with `./`, `/` or `https:`, and hub ids are not supported yet";
    throw new LorakeetError("unsupported", `model ${JSON.stringify(source)}: ${hint}`);
  }
  const url = new URL(pageUrl(source));
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function pageUrl(source: string | URL): URL {
  const page = globalThis.document?.baseURI ?? globalThis.location?.href;
  try {
    return new URL(source, page);
  } catch {
    throw wrong("URL", String(source), page === undefined ? "an absolute one: there is no page here" : "a valid one");
  }
}

async function openUrl(name: string, url: URL, signal: AbortSignal | undefined): Promise<ByteFile | undefined> {
  const response = await request(name, url, { signal });
  // Servers of single-page applications answer every unknown path with their page.
  const page = response.headers.get("content-type")?.startsWith("text/html") ?? false;
  if (response.ok && !page) return new UrlFile(name, url, response, signal);
  response.body?.cancel().catch(() => {});
  if (response.ok || response.status === 404) return undefined;
  throw new LorakeetError("network", `${name}: HTTP ${response.status}, ${url}`);
}

async function request(name: string, url: URL, { method = "GET", signal }: { method?: string; signal?: AbortSignal | undefined }): Promise<Response> {
  try {
    return await fetch(url, { method, signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal, "loading the model");
    throw new LorakeetError("network", `${name}: ${(error as Error).message}, ${url}`, { cause: error });
  }
}
