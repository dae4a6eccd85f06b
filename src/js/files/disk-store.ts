// Kept files on the disk of a program: Node, Deno, Bun.
// Not those of a page, whose places store.ts has.

import { program, type Disk } from "../program.js";

/** Undefined in a page. Errors where the folder cannot be made. */
export async function openDisk(): Promise<DiskStore | undefined> {
  const here = program();
  if (!here) return undefined;
  const { join } = here.getBuiltinModule("path");
  const home = here.getBuiltinModule("os").homedir();
  const { LOCALAPPDATA, XDG_CACHE_HOME } = here.env;
  const root = join((here.platform === "win32" ? LOCALAPPDATA : XDG_CACHE_HOME) || join(home, ".cache"), "lorakeet");
  const disk = here.getBuiltinModule("fs/promises");
  await disk.mkdir(root, { recursive: true });
  return new DiskStore(disk, (...parts) => join(root, ...parts));
}

/** A `Store` of store.ts: one folder for each file, and in it a file for each piece. */
class DiskStore {
  readonly kind = "disk";
  #written = 0;

  constructor(readonly disk: Disk, readonly at: (...parts: string[]) => string) {}

  async room(bytes: number): Promise<number> {
    const { bavail, bsize } = await this.disk.statfs(this.at());
    return Math.min(bytes, bavail * bsize);
  }

  files(): Promise<string[]> {
    return this.disk.readdir(this.at());
  }

  async sizes(file: string): Promise<Map<string, number>> {
    const pieces = (await orUndefined(this.disk.readdir(this.at(file)))) ?? [];
    const sizes = await Promise.all(pieces.map(async (piece) => [piece, (await this.disk.stat(this.at(file, piece))).size] as const));
    return new Map(sizes);
  }

  async get(file: string, piece: string): Promise<Blob | undefined> {
    const bytes = await orUndefined(this.disk.readFile(this.at(file, piece)));
    return bytes && new Blob([bytes]);
  }

  async put(file: string, piece: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.disk.mkdir(this.at(file), { recursive: true });
    // Under another name until it is whole: the program may end meanwhile, and others may write the same.
    const name = `${piece}.${Math.random().toString(36).slice(2)}.${this.#written++}`;
    await this.disk.writeFile(this.at(file, name), bytes);
    await this.disk.rename(this.at(file, name), this.at(file, piece));
  }

  delete(file: string): Promise<void> {
    return this.disk.rm(this.at(file), { recursive: true, force: true });
  }
}

/** The value; undefined for what is not there. */
async function orUndefined<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}
