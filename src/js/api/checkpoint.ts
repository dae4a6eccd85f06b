// The files of trainings' checkpoints, in the origin's private file system; what is in one is Rust's.
// One file for each key, replaced as a whole: a page that closes while it writes keeps the one before.

import { LorakeetError } from "../error.js";
import { storageError } from "../files/store.js";

const FOLDER = "lorakeet-checkpoints";

/** Undefined if there is none. */
export async function readCheckpoint(key: string): Promise<Uint8Array | undefined> {
  return told(key, async () => {
    try {
      const file = await (await (await folder()).getFileHandle(fileName(key))).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return undefined;
      throw error;
    }
  });
}

export async function writeCheckpoint(key: string, bytes: Uint8Array): Promise<void> {
  await told(key, async () => {
    const file = await (await folder()).getFileHandle(fileName(key), { create: true });
    const writable = await file.createWritable();
    try {
      await writable.write(new Blob([bytes as Uint8Array<ArrayBuffer>]));
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
