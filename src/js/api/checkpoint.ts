// A training's state in the origin's private file system, so that it goes on after a reload.
// One file for each key, replaced as a whole: a page that closes while it writes keeps the one before.

import { LorakeetError } from "../error.js";
import { storageError } from "../files/store.js";

const FOLDER = "lorakeet-checkpoints";

/** Where a training is, and the adapter's two files. */
export interface Checkpoint {
  /** A digest of what is learned. */
  of: string;
  /** Steps done. */
  step: number;
  /** Steps in all. */
  steps: number;
  /** What else the adapter's numbers depend on, by the option's name. */
  options: Readonly<Record<string, unknown>>;
  config: Uint8Array<ArrayBuffer>;
  weights: Uint8Array<ArrayBuffer>;
}

/** The file: a line of JSON with everything but the weights, then those. */
export async function readCheckpoint(key: string): Promise<Checkpoint | undefined> {
  const bytes = await told(key, async () => {
    try {
      const file = await (await (await folder()).getFileHandle(fileName(key))).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return undefined;
      throw error;
    }
  });
  if (!bytes) return undefined;
  const end = bytes.indexOf("\n".charCodeAt(0));
  try {
    const { of, step, steps, options = {}, config } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    return { of, step, steps, options, config: new TextEncoder().encode(config), weights: bytes.slice(end + 1) };
  } catch (error) {
    throw new LorakeetError("format", `checkpoint \`${key}\`: ${(error as Error).message}`, { cause: error });
  }
}

export async function writeCheckpoint(key: string, { config, weights, ...rest }: Checkpoint): Promise<void> {
  const head = JSON.stringify({ ...rest, config: new TextDecoder().decode(config) });
  await told(key, async () => {
    const file = await (await folder()).getFileHandle(fileName(key), { create: true });
    const writable = await file.createWritable();
    try {
      await writable.write(new Blob([head, "\n", weights]));
      await writable.close();
    } catch (error) {
      await writable.abort().catch(() => {});
      throw error;
    }
  });
}

/** No error if there is none. */
export async function removeCheckpoint(key: string): Promise<void> {
  await (await told(key, folder)).removeEntry(fileName(key)).catch(() => {});
}

/** Does `work` on the file of a key; its errors are as `storageError` has them. */
async function told<T>(key: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LorakeetError ? error : storageError(`checkpoint \`${key}\`: the origin private file system refuses`, error);
  }
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
