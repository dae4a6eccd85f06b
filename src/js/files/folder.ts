// A model's or an adapter's files by their names, wherever they are: on the hub, at a URL, chosen, or named one by one.
// Not what a caller may pass for them: that is source.ts's.

import { LorakeetError, throwIfCancelled } from "../error.js";
import { wrong } from "../options.js";
import { page } from "../page.js";
import { pathUrl, workingFolder } from "../program.js";
import { GGUF, partNames, type FileSource } from "./bytes.js";
import { BlobFile, type ByteFile } from "./file.js";
import type { Target } from "./http.js";
import { COMMIT, type Hub, type HubRepository } from "./hub.js";
import { chooseGguf, type ListedFile } from "./quantised.js";
import type { Remote } from "./remote.js";

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
  /** The file of a GGUF model or LoRA, or one of its parts. */
  readonly gguf?: string | undefined;
}

/** A model's. */
export interface ModelFolder extends Folder {
  /** The weight files, where the caller has named them. */
  readonly weightNames?: readonly string[];
  /** Chooses the GGUF file of a repository without safetensors, of about so many bytes at most; it is `gguf` from then on. */
  chooseGguf?(room: number, signal: AbortSignal | undefined): Promise<void>;
}

/** Files that only an adapter's folder has, PEFT's and mlx-lm's first, then mistral-finetune's. */
export const ADAPTER_FILES = ["adapter_config.json", "lora.safetensors"];

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

/** A folder on the hub, or at a URL. */
export class UrlFolder implements ModelFolder {
  readonly name: string;
  readonly id: string;
  readonly what: string;
  gguf?: string | undefined;
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

  async chooseGguf(room: number, signal: AbortSignal | undefined): Promise<void> {
    const { hub, repository, remote } = this;
    if (!repository || this.gguf !== undefined) return;
    const { id, type } = repository;
    if (type === undefined) {
      for (const name of ["model.safetensors", "model.safetensors.index.json"]) if (await remote.has(this.#target(name, signal))) return;
    }
    // Kept as a file is: a later visit without a network chooses the same.
    const file = await remote.open({ ...this.#target("files.json", signal), url: hub.list(repository), hasDigest: false });
    if (!file && type === undefined) return; // a mirror may have files alone
    if (!file) throw new LorakeetError("network", `"${id}": the hub lists no files, expected "${id}/FILE.gguf"`);
    let files: ListedFile[];
    try {
      files = JSON.parse(new TextDecoder().decode(await file.whole())) as ListedFile[];
    } catch (error) {
      throw new LorakeetError("format", `"${id}": its list of files is no JSON, ${hub.list(repository)}`, { cause: error });
    }
    this.gguf = chooseGguf(id, files, hub.folder, type, room);
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
      hint: repository.hint ?? "",
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

/** Files that the user chose. */
export class FileFolder implements Folder {
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
    const names = ggufs[0] ? partNames(ggufs[0].name) : [];
    if (ggufs.length > names.length || ggufs.some((file) => !names.includes(file.name))) {
      throw new LorakeetError("argument", `${ggufs.length} GGUF files, expected one ${of} at a time: ${ggufs.map((file) => file.name).join(", ")}`);
    }
    const missing = names.find((name) => !ggufs.some((file) => file.name === name));
    if (missing !== undefined) throw new LorakeetError("argument", `${missing}: not among the files given, expected all ${names.length} parts of the ${of}`);
    if (ggufs[0]) this.gguf = names[0]!;
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

/** A GGUF file's name without `.gguf`, and without what tells parts apart. */
function stem(name: string): string {
  return name.slice(0, -GGUF.length).replace(/-\d{5}-of-\d{5}$/, "");
}

/** The folders a file lies in, the chosen one first; none where files were chosen. */
function path(file: File | undefined): string[] {
  return file?.webkitRelativePath ? file.webkitRelativePath.split("/").slice(0, -1) : [];
}

/** Files that the caller named one by one. */
export class PartsFolder implements ModelFolder {
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

/** The URL that a source is on this page. Errors with `argument`. */
export function pageUrl(source: string | URL): URL {
  const { base } = page();
  try {
    const isProgram = typeof source === "string" && base === workingFolder();
    return (isProgram ? pathUrl(source) : undefined) ?? new URL(source, base);
  } catch {
    throw wrong("URL", String(source), base === undefined ? "an absolute one: there is no page here" : "a valid one");
  }
}

/** A file of a server that nothing more is known of. */
function plainTarget(name: string, url: URL, signal: AbortSignal | undefined, what: string): Target {
  return { name, url, signal, what, headers: {}, isImmutable: false, hasDigest: false, refusal: () => undefined };
}
