// Node's modules and paths, in Node, Deno and Bun; a page has none of them.
// No `import`: bundlers for browsers would refuse it.

/** A file that is open. */
export interface Handle {
  stat(): Promise<{ size: number; isFile(): boolean }>;
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

/** The little of `fs/promises` that is used. */
export interface Disk {
  open(path: URL): Promise<Handle>;
  readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>>;
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  readdir(path: string): Promise<string[]>;
  stat(path: string): Promise<{ size: number }>;
  statfs(path: string): Promise<{ bavail: number; bsize: number }>;
  rm(path: string, options: { recursive: true; force: true }): Promise<void>;
}

/** The little of a worker of `worker_threads` that is used. */
export interface ProgramWorker {
  on(event: "message", hear: (data: unknown) => void): void;
  on(event: "error", hear: (error: Error) => void): void;
  postMessage(data: unknown): void;
  unref(): void;
}

/** The little of `worker_threads` that is used. */
export interface Workers {
  Worker: new (script: URL) => ProgramWorker;
  parentPort: { once(event: "message", hear: (data: unknown) => void): void; postMessage(data: unknown): void };
}

/** The little of Node's `process` that is used. */
export interface Program {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: string;
  cwd(): string;
  getBuiltinModule(name: "fs/promises"): Disk;
  getBuiltinModule(name: "url"): { pathToFileURL(path: string): URL };
  getBuiltinModule(name: "os"): { homedir(): string; availableParallelism(): number };
  getBuiltinModule(name: "path"): { join(...parts: string[]): string };
  getBuiltinModule(name: "worker_threads"): Workers;
}

/** Undefined in a page. */
export function program(): Program | undefined {
  const { process } = globalThis as { process?: Partial<Program> };
  return process?.getBuiltinModule ? (process as Program) : undefined;
}

/** What relative paths are relative to, as a URL; undefined in a page. */
export function workingFolder(): string | undefined {
  const here = program();
  return here && `${here.getBuiltinModule("url").pathToFileURL(here.cwd()).href}/`;
}

/** The URL of a path, whatever its letters mean in URLs; undefined for what has a scheme, which a drive's letter is not. */
export function pathUrl(path: string): URL | undefined {
  return /^[a-z][a-z0-9+.-]+:/i.test(path) ? undefined : program()?.getBuiltinModule("url").pathToFileURL(path);
}
