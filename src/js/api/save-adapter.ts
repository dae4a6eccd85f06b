// saveAdapter: an adapter's files, from the page to the user's disk.
// Not what is in them: `exportAdapter` gives them.

import { LorakeetError } from "../error.js";
import { zipped } from "../files/zip.js";
import { checkNames, wrong } from "../options.js";

/** How an adapter is handed over. */
export interface SaveOptions {
  /** `folder`: into a folder that the user picks; `zip`: as a download. Default: `folder` where the browser lets pages ask for one. */
  as?: "folder" | "zip";
}

/** What has adapters: an engine. */
interface Exporter {
  exportAdapter(name: string): Promise<File[]>;
}

type Picker = (options: { mode: "readwrite"; id: string }) => Promise<FileSystemDirectoryHandle>;

/**
 * Hands an adapter to the user: a folder of its name, with the files that PEFT and {@link Engine.loadAdapter} read, in one
 * that the user picks, or as a zip archive among the downloads. Call it when the user clicks: browsers open no picker
 * otherwise. Returns how it was saved.
 *
 * ```ts
 * button.onclick = () => saveAdapter(engine, "me");
 * ```
 *
 * Errors: `argument` if it is not loaded; `unsupported` outside of a page, or where `as` is not possible; `cancelled` if
 * the user picks nothing; `network` if a file cannot be written.
 */
export async function saveAdapter(engine: Exporter, name: string, options: SaveOptions = {}): Promise<"folder" | "zip"> {
  checkNames(options, ["as"]);
  const { showDirectoryPicker: picker, document } = globalThis as { showDirectoryPicker?: Picker; document?: Document };
  const { as = picker ? "folder" : "zip" } = options;
  if (as !== "folder" && as !== "zip") throw wrong("as", as, "folder or zip");
  if (!document) throw new LorakeetError("unsupported", "saveAdapter: there is no page here; write the files of `exportAdapter`");
  if (as === "folder" && !picker) throw new LorakeetError("unsupported", "saveAdapter: this browser lets no page ask for a folder, expected as: \"zip\"");
  // Before anything else: the right to ask passes with the click.
  const picked = as === "folder" ? await pick(picker!) : undefined;
  const files = await engine.exportAdapter(name);
  const folder = name.replaceAll(/[^\p{L}\p{N}._ -]+/gu, "-").replace(/^\.+/, "-");
  if (picked) await write(await picked.getDirectoryHandle(folder, { create: true }), files);
  else download(document, `${folder}.zip`, await zipped(folder, files));
  return as;
}

async function pick(picker: Picker): Promise<FileSystemDirectoryHandle> {
  try {
    return await picker({ mode: "readwrite", id: "lorakeet-adapters" });
  } catch (error) {
    const isUsers = (error as Error).name === "AbortError";
    throw new LorakeetError(isUsers ? "cancelled" : "unsupported", `saveAdapter: ${(error as Error).message}`, { cause: error });
  }
}

async function write(folder: FileSystemDirectoryHandle, files: readonly File[]): Promise<void> {
  try {
    for (const file of files) {
      const writable = await (await folder.getFileHandle(file.name, { create: true })).createWritable();
      await writable.write(file);
      await writable.close(); // only now the file has its bytes
    }
  } catch (error) {
    throw new LorakeetError("network", `saveAdapter: ${(error as Error).message}`, { cause: error });
  }
}

function download(document: Document, name: string, blob: Blob): void {
  const href = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser has begun to read it by then
}
