// Files of `file:` URLs, where a program may read them: Node, Deno, Bun. A page may not.
// Not the files that a user chose: those are Blobs.

import { LorakeetError } from "../error.js";
import type { ByteFile } from "./file.js";
import type { Target } from "./http.js";
import { program, type Handle } from "../program.js";

/** Opens the file; undefined if there is none. Errors with `network`, also in a page. */
export async function openOnDisk({ name, url }: Target): Promise<ByteFile | undefined> {
  const here = program();
  if (!here) throw new LorakeetError("network", `${name}: a page cannot read \`file:\` URLs, expected files that the user chose, or a server's, ${url}`);
  try {
    const handle = await here.getBuiltinModule("fs/promises").open(url);
    const stat = await handle.stat();
    if (stat.isFile()) return new DiskFile(name, stat.size, handle);
    await handle.close();
    return undefined;
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as { code?: string }).code!)) return undefined;
    throw unreadable(name, error);
  }
}

class DiskFile implements ByteFile {
  readonly isArriving = false;
  #isOpen = true;

  constructor(readonly name: string, readonly size: number, readonly handle: Handle) {}

  peek(end: number): Promise<Uint8Array> {
    return this.read(0, end);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start);
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await this.handle.read(bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) throw new Error("it is shorter than it was");
        done += bytesRead;
      }
    } catch (error) {
      throw unreadable(this.name, error);
    }
    return bytes;
  }

  async whole(): Promise<Uint8Array> {
    try {
      return await this.read(0, this.size);
    } finally {
      this.close();
    }
  }

  async settle(): Promise<void> {}

  close(): void {
    if (this.#isOpen) void this.handle.close().catch(() => {}); // nothing was written
    this.#isOpen = false;
  }
}

function unreadable(name: string, error: unknown): LorakeetError {
  return new LorakeetError("network", `${name}: cannot be read: ${(error as Error).message}`, { cause: error });
}
