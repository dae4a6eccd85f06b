// Bytes that a caller has at hand, as Blobs and Files: streams, arrays, handles, and URLs of what is in the page already.
// Not what servers send: that is remote.ts's.

import { LorakeetError } from "../error.js";
import { BlobFile } from "./file.js";

/** A file's bytes, or what gives them. */
export type Bytes = Blob | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array> | FileSystemFileHandle;

/** One file: its bytes, or its URL. A string is a URL, relative to the page; `blob:` and `data:` URLs work too. */
export type FileSource = Bytes | URL | string;

/** The end of a GGUF file's name. */
export const GGUF = ".gguf";

/**
 * The files of a model of which `name` is one, in their order: llama.cpp writes large ones in parts,
 * `name-00001-of-00003.gguf` and so on.
 */
export function partNames(name: string): string[] {
  const [, stem, count = "0"] = /^(.*)-\d{5}-of-(\d{5})\.gguf$/.exec(name) ?? [];
  if (Number(count) === 0) return [name];
  return Array.from({ length: Number(count) }, (_, i) => `${stem}-${String(i + 1).padStart(5, "0")}-of-${count}${GGUF}`);
}

/** A file that is all there is: its first bytes tell whether it is a GGUF, whatever it is called. */
export async function oneFile(of: string, blob: Blob): Promise<File> {
  const { name } = blob instanceof File ? blob : { name: "" };
  const head = new TextDecoder("latin1").decode(await new BlobFile(name || of, blob).peek(9));
  if (name.endsWith(GGUF) || (name !== "" && !head.startsWith("GGUF"))) return blob as File;
  // JSON, or safetensors: eight bytes of length, and JSON.
  if (!head.startsWith("GGUF") && (head[0] === "{" || head[8] === "{")) {
    const parts = of === "model" ? "{config, tokenizer, weights}" : "{config, weights}";
    throw new LorakeetError("argument", `${of}: one file of a folder, expected all of them, as files or ${parts}, or a GGUF`);
  }
  return new File([blob], `${name || of}${GGUF}`);
}

/** URLs of bytes that are in this page already, and of no server. */
const IN_PAGE = /^(blob|data):/i;

/** A file's bytes as a Blob; anything else as it is. Errors with `network` for a URL in the page that is no more. */
export async function blob(value: unknown): Promise<unknown> {
  const url = typeof value === "string" || value instanceof URL ? String(value) : "";
  if (IN_PAGE.test(url)) {
    try {
      return await (await fetch(url)).blob();
    } catch (error) {
      throw new LorakeetError("network", `a ${url.slice(0, 5)} URL cannot be read: ${(error as Error).message}, ${url.slice(0, 100)}`, { cause: error });
    }
  }
  if (value instanceof ReadableStream) return new Response(value).blob();
  if (value instanceof ArrayBuffer || value instanceof Uint8Array) return new Blob([value as Uint8Array<ArrayBuffer>]);
  return typeof value === "object" && value !== null && "getFile" in value ? (value as FileSystemFileHandle).getFile() : value;
}

/** The files of a directory, without those of directories in it. */
export async function files(directory: FileSystemDirectoryHandle): Promise<File[]> {
  const files = [];
  for await (const handle of directory.values()) {
    if (handle.kind !== "file") continue;
    const file = await (handle as FileSystemFileHandle).getFile();
    files.push(Object.defineProperty(file, "webkitRelativePath", { value: `${directory.name}/${file.name}` }));
  }
  return files;
}
