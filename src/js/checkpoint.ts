// A training's state in the origin's private file system, so that it goes on after a reload.
// One file for each key, replaced as a whole: a page that closes while it writes keeps the one before.

import { LorakeetError } from "./error.js";

const FOLDER = "lorakeet-checkpoints";

/** Where a training is, and the adapter's two files. */
export interface Checkpoint {
  /** A digest of what is learned. */
  of: string;
  /** Steps done. */
  step: number;
  /** Steps in all. */
  steps: number;
  config: Uint8Array<ArrayBuffer>;
  weights: Uint8Array<ArrayBuffer>;
}

/** The file: a line of JSON with everything but the weights, then those. */
export async function readCheckpoint(key: string): Promise<Checkpoint | undefined> {
  let file;
  try {
    file = await (await (await folder()).getFileHandle(fileName(key))).getFile();
  } catch (error) {
    if ((error as Error).name === "NotFoundError") return undefined;
    throw error;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const end = bytes.indexOf("\n".charCodeAt(0));
  try {
    const { of, step, steps, config } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    return { of, step, steps, config: new TextEncoder().encode(config), weights: bytes.slice(end + 1) };
  } catch (error) {
    throw new LorakeetError("format", `checkpoint \`${key}\`: ${(error as Error).message}`, { cause: error });
  }
}

export async function writeCheckpoint(key: string, { of, step, steps, config, weights }: Checkpoint): Promise<void> {
  const head = JSON.stringify({ of, step, steps, config: new TextDecoder().decode(config) });
  const file = await (await folder()).getFileHandle(fileName(key), { create: true });
  const writable = await file.createWritable();
  await writable.write(new Blob([head, "\n", weights]));
  await writable.close();
}

/** No error if there is none. */
export async function removeCheckpoint(key: string): Promise<void> {
  await (await folder()).removeEntry(fileName(key)).catch(() => {});
}

async function folder(): Promise<FileSystemDirectoryHandle> {
  if (globalThis.navigator?.storage?.getDirectory === undefined) {
    throw new LorakeetError("unsupported", "checkpoints need the origin private file system, which this browser or page lacks");
  }
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

/** Any key is a file name so. */
function fileName(key: string): string {
  return `${encodeURIComponent(key)}.checkpoint`;
}
