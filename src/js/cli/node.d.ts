// The little of Node's interfaces that the command uses.
// Not @types/node, whose globals would be everywhere.

declare module "node:http" {
  interface Stream {
    on(event: string, listener: (...args: never[]) => void): this;
    once(event: string, listener: (...args: never[]) => void): this;
  }
  interface IncomingMessage extends Stream, AsyncIterable<Uint8Array> {
    readonly method: string;
    readonly url: string;
    readonly headers: Record<string, string | string[] | undefined>;
  }
  interface ServerResponse extends Stream {
    readonly writableFinished: boolean;
    readonly destroyed: boolean;
    writeHead(status: number, headers: Record<string, string>): void;
    write(bytes: Uint8Array): boolean;
    end(): void;
    destroy(): void;
  }
  interface Server extends Stream {
    listen(port: number, host: string, then: () => void): void;
    address(): { address: string; port: number };
    close(): void;
    closeAllConnections(): void;
  }
  export function createServer(answer: (request: IncomingMessage, response: ServerResponse) => void): Server;
}

declare module "node:fs" {
  export function existsSync(path: string): boolean;
  export function readFileSync(path: URL, encoding: "utf8"): string;
}

declare module "node:path" {
  export function basename(path: string, end?: string): string;
  export function resolve(path: string): string;
}

declare module "node:url" {
  export function pathToFileURL(path: string): URL;
}

declare module "node:util" {
  export interface OptionSpec {
    type: "string" | "boolean";
    multiple?: boolean;
    short?: string;
  }
  export function parseArgs(config: {
    args: string[];
    options: Record<string, OptionSpec>;
    allowPositionals: true;
  }): { values: Record<string, string | boolean | string[] | undefined>; positionals: string[] };
}

declare module "node:process" {
  const process: {
    argv: string[];
    env: Record<string, string | undefined>;
    exitCode: number | undefined;
    exit(code: number): never;
    stderr: { isTTY?: boolean; write(text: string): void };
    stdout: { write(text: string): void };
    on(event: "SIGINT" | "SIGTERM", listener: () => void): void;
  };
  export default process;
}
