// `lorakeet serve`: a local server of one model and its adapters.
// What it answers is handler.ts's.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { createEngine } from "../api/create.js";
import type { Dtype, EngineOptions, KvDtype } from "../api/engine-options.js";
import type { Engine } from "../api/engine.js";
import type { Progress } from "../api/load.js";
import { createHandler } from "../server/handler.js";
import { Usage, numberOf, type Values } from "./arguments.js";
import { listen } from "./http.js";

export const SERVE = {
  adapter: { type: "string", multiple: true },
  host: { type: "string" },
  port: { type: "string" },
  "api-key": { type: "string" },
  origin: { type: "string", multiple: true },
  dtype: { type: "string" },
  "kv-dtype": { type: "string" },
  "context-length": { type: "string" },
  batch: { type: "string" },
  threads: { type: "string" },
  revision: { type: "string" },
  token: { type: "string" },
} as const;

/** Names by which this machine calls itself. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Serves until the program is interrupted. */
export async function serve([source, ...others]: string[], values: Values): Promise<void> {
  if (source === undefined || others.length > 0) throw new Usage("expected one MODEL");
  const [host, port] = [String(values.host ?? "127.0.0.1"), numberOf("port", values.port) ?? 8000];
  const name = host.includes(":") ? `[${host}]` : host; // IPv6
  const adapters = ((values.adapter ?? []) as string[]).map(adapterOf);
  const engine = await createEngine(sourceOf(source), engineOptions(values));
  process.stderr.write("\n");
  for (const [as, adapter] of adapters) await load(engine, as, adapter, values);
  const handle = createHandler(engine, {
    ...(values["api-key"] === undefined ? {} : { apiKey: String(values["api-key"]) }),
    origins: (values.origin ?? []) as string[],
    // Whoever opens it to the network may call the machine by any name.
    ...(LOCAL.includes(name) ? { hosts: LOCAL } : {}),
  });
  const server = await listen(handle, port, host);
  const at = server.address().port;
  const { model, contextLength, batch, dtype, device, threads } = engine.info;
  const names = (await engine.listAdapters()).map(({ name }) => name);
  process.stderr.write(`${model} (${dtype}, context ${contextLength}, batch ${batch}, ${device === "cpu" && threads > 1 ? `${threads} threads` : device})${names.length > 0 ? `, adapters ${names.join(", ")}` : ""}\n`);
  process.stdout.write(`http://${name}:${at}/v1\n`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      server.close();
      server.closeAllConnections();
      void engine.dispose().then(() => process.exit(0));
    });
  }
}

/** `NAME=SOURCE` or `SOURCE`. */
function adapterOf(given: string): [name: string | undefined, source: string] {
  const [, name, source] = /^([^=/:]+)=(.+)$/.exec(given) ?? [];
  return name === undefined ? [undefined, given] : [name, source!];
}

async function load(engine: Engine, name: string | undefined, source: string, { token }: Values): Promise<void> {
  const { warnings, ...info } = await engine.loadAdapter(sourceOf(source), { ...(name === undefined ? {} : { name }), ...hubToken(token) });
  for (const warning of warnings) process.stderr.write(`adapter ${info.name}: ${warning}\n`);
}

/** A path that is there, or what `createEngine` takes. */
function sourceOf(source: string): string | URL {
  return existsSync(source) ? pathToFileURL(resolve(source)) : source;
}

function engineOptions(values: Values): EngineOptions {
  const { dtype, revision } = values;
  const [contextLength, batch] = [numberOf("context-length", values["context-length"]), numberOf("batch", values.batch)];
  const [kvDtype, threads] = [values["kv-dtype"], numberOf("threads", values.threads)];
  return {
    device: "auto",
    cache: "disk",
    onProgress: showProgress(),
    ...(dtype === undefined ? {} : { dtype: dtype as Dtype }),
    ...(kvDtype === undefined ? {} : { kvDtype: kvDtype as KvDtype }),
    ...(contextLength === undefined ? {} : { contextLength }),
    ...(batch === undefined ? {} : { batch }),
    ...(threads === undefined ? {} : { threads }),
    ...(revision === undefined ? {} : { revision: String(revision) }),
    ...hubToken(values.token),
  };
}

function hubToken(token: Values[string]): { token?: string } {
  const known = token ?? process.env.HF_TOKEN;
  return known === undefined ? {} : { token: String(known) };
}

/** One line, written over; every tenth percent where nobody watches. */
function showProgress(): (progress: Progress) => void {
  let shown = "";
  return ({ loaded, total, phase }) => {
    const percent = Math.floor((10 * loaded) / total) * 10;
    const line = `${phase} ${percent} %`;
    if (line === shown) return;
    shown = line;
    process.stderr.write(process.stderr.isTTY ? `\r${line.padEnd(20)}` : `${line}\n`);
  };
}
