// What a caller may pass as a model, an adapter or a chat template, and the folder that it is.
// Not what is in the files: that is judged in Rust.

import { wrong } from "../options.js";
import { blob, files, oneFile, type Bytes, type FileSource } from "./bytes.js";
import { ADAPTER_FILES, FileFolder, PartsFolder, UrlFolder, optional, pageUrl, small, type Folder, type ModelFolder } from "./folder.js";
import type { Hub } from "./hub.js";
import type { Remote } from "./remote.js";

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
 * - its URL, a string that begins with `./`, `../`, `/` or a scheme; in Node, Deno and Bun that is a path, or a `file:` URL;
 * - its files, as a file input or a drop gives them, or a directory handle;
 * - its {@link ModelParts | parts}, one by one.
 *
 * Or a GGUF model:
 * - `org/name/file.gguf` on the hub, or the URL of a `.gguf` file;
 * - `org/name:Q4_K_M` on the hub, the file of that type, or `org/name` alone where the repository has no safetensors: then
 *   the type is chosen, and `info.file` names it;
 * - a `File`, its `blob:` URL, its bytes, a stream or a file handle;
 * - files that contain one `.gguf` file and no safetensors.
 *
 * A model in parts, `name-00001-of-00003.gguf` and so on, is named by one of them; of files all are given.
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

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
