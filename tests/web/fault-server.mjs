// A server of one good model folder that goes wrong in a chosen way: /cut/model.safetensors is cut.
// Never wrong by chance: the first part of the path names the fault, `good` has none.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

/** How each fault answers for the weights: (response, bytes of the file). */
const WEIGHTS = {
  good: (response, bytes) => send(response, bytes),
  // The connection goes before the bytes promised have come.
  cut: (response, bytes) => sendPart(response, { "content-length": bytes.length }, bytes.subarray(0, bytes.length >> 1)),
  "cut-header": (response, bytes) => sendPart(response, { "content-length": bytes.length }, bytes.subarray(0, 100)),
  "cut-chunked": (response, bytes) => sendPart(response, {}, bytes.subarray(0, bytes.length >> 1)),
  // More bytes come than promised.
  lying: (response, bytes) => sendPart(response, { "content-length": bytes.length - 1000 }, bytes),
  // A whole answer, of a file that is not whole.
  truncated: (response, bytes) => send(response, bytes.subarray(0, bytes.length - 1000)),
  "truncated-header": (response, bytes) => send(response, bytes.subarray(0, 100)),
  empty: (response) => send(response, Buffer.alloc(0)),
  "huge-header": (response, bytes) => send(response, Buffer.concat([Buffer.alloc(8, 0xff), bytes.subarray(8)])),
  broken: (response) => response.writeHead(500).end("out of order"),
  // No fault, but no length to trust.
  chunked: (response, bytes) => {
    response.write(bytes.subarray(0, 1000));
    response.end(bytes.subarray(1000));
  },
  gzip: (response, bytes) => send(response, gzipSync(bytes), { "content-encoding": "gzip", "access-control-expose-headers": "content-encoding" }),
  // Half the file, and then nothing for ever.
  stalled: (response, bytes) => {
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, bytes.length >> 1));
  },
};

/** Compressed, with a length; that it is, a page of another origin is not told. */
const silentGzip = (response, bytes) => send(response, gzipSync(bytes), { "content-encoding": "gzip" });

/** How each fault answers for a small file; none: with the file. */
const SMALL = {
  "gzip-json": { "config.json": silentGzip, "tokenizer.json": silentGzip },
  "broken-config": { "config.json": (response) => response.writeHead(503).end() },
  "no-tokenizer": { "tokenizer.json": (response) => response.writeHead(404).end() },
  "cut-tokenizer": { "tokenizer.json": (response, bytes) => sendPart(response, { "content-length": bytes.length }, bytes.subarray(0, 500)) },
  "page-for-missing": { "generation_config.json": (response) => send(response, "<!doctype html>", { "content-type": "text/html" }) },
  "no-weights": { "model.safetensors": (response) => response.writeHead(404).end() },
};

/** Serves `folder` at `url` + fault + "/", to pages of any origin. */
export async function startFaults(folder) {
  const server = createServer(async (request, response) => {
    const [, fault, name] = request.url.split("/");
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("cache-control", "no-store");
    if (request.method === "HEAD") return response.writeHead(405).end(); // not a fault: few need to know it
    const bytes = await readFile(join(folder, basename(name))).catch(() => null);
    if (!bytes) return response.writeHead(404).end();
    const special = SMALL[fault]?.[name] ?? (name === "model.safetensors" ? WEIGHTS[fault] : undefined);
    (special ?? send)(response, bytes);
  });
  await new Promise((done) => server.listen(0, "localhost", done));
  const close = () => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  });
  return { url: `http://localhost:${server.address().port}/`, close };
}

function send(response, bytes, headers = {}) {
  response.writeHead(200, { "content-length": Buffer.byteLength(bytes), ...headers }).end(bytes);
}

function sendPart(response, headers, part) {
  response.writeHead(200, headers);
  response.write(part, () => response.destroy());
}
