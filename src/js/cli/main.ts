#!/usr/bin/env node
// The command `lorakeet`.
// Not the terminal program of a checkout, which is native: this one is the package, in Node.

import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { Usage } from "./arguments.js";
import { SERVE, serve } from "./serve.js";

const HELP = `lorakeet serve MODEL [options]

A server on this machine that answers OpenAI's requests. MODEL is a folder, a GGUF file, a hub id or a URL.

  --adapter [NAME=]SOURCE   an adapter's folder, GGUF LoRA, hub id or URL; may be repeated
  --port N                  default 8000; 0 takes any that is free
  --host NAME               default 127.0.0.1; 0.0.0.0 opens it to the network
  --api-key KEY             what clients must send as their key
  --origin ORIGIN           whose pages may ask, * for all; may be repeated
  --dtype, --kv-dtype       how weights, keys and values are held: f32, f16, q8, q4 (weights alone)
  --context-length N        tokens a text may have
  --batch N                 texts at the same time
  --threads N               of the CPU, 1 to 8; default half as many as it has
  --revision NAME           of a hub id
  --token TOKEN             for the hub; default HF_TOKEN

A request chooses adapters by \`model: "NAME"\`, or by \`adapter: { NAME: 0.7, OTHER: 0.3 }\`.
`;

async function main(args: string[]): Promise<void> {
  const options = { ...SERVE, help: { type: "boolean", short: "h" }, version: { type: "boolean", short: "v" } } as const;
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new Usage((error as Error).message);
  }
  const { values, positionals: [command, ...rest] } = parsed;
  if (values.version) return process.stdout.write(`${version()}\n`);
  if (values.help || command === undefined) return process.stdout.write(HELP);
  if (command !== "serve") throw new Usage(`no command \`${command}\`, expected serve`);
  await serve(rest, values);
}

function version(): string {
  return (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`lorakeet: ${(error as Error).message}\n`);
  if (error instanceof Usage) process.stderr.write("`lorakeet --help` tells what there is\n");
  process.exit(error instanceof Usage ? 2 : 1);
}
