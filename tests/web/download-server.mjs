// A server of one model of several megabytes, whose connections are slow, break off and lie as a test says.
// It counts what it sends. What is in the files is right: wrong ones are fault-server.mjs's.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fixtures } from "./browser.mjs";
import { zeroModel } from "./weights.mjs";

const CHUNK = 1 << 16;

/** A model whose every megabyte differs: pieces in a wrong order would show. */
export function bigModel() {
  const { config, head, dataBytes } = zeroModel({ C: 256, F: 512, L: 2, V: 4000 });
  const data = new Float32Array(dataBytes / 4);
  for (let i = 0, x = 1; i < data.length; i++) {
    x = (x * 48271) % 2147483647;
    data[i] = (x / 2147483647 - 0.5) / 8;
  }
  const weights = Buffer.concat([head, Buffer.from(data.buffer)]);
  return { config: Buffer.from(JSON.stringify(config)), tokenizer: readFileSync(join(fixtures, "llama/tokenizer.json")), weights };
}

/**
 * Serves the model at `url`, and as a hub's `org/big`. `manners` can be changed at any time:
 * `ranges`, `etag` (null: none), `cutAfter` bytes of an answer, `pause` milliseconds after each 64 KiB,
 * `answer(request, response, {start, end, count})`, which returns true if it has answered for the weights,
 * and `spoil`, a byte of the weights that is sent wrong. `seen` has {method, name, range, sent} of every request.
 */
export async function startDownloads({ config, tokenizer, weights }) {
  const digest = createHash("sha256").update(weights).digest("hex");
  const files = { "config.json": config, "tokenizer.json": tokenizer, "model.safetensors": weights };
  const usual = { ranges: true, etag: `"${digest}"`, cutAfter: Infinity, pause: 0, answer: undefined, spoil: undefined };
  const server = createServer(async (request, response) => {
    const name = request.url.split("/").at(-1);
    const seen = { method: request.method, name, range: request.headers.range, sent: 0, url: request.url };
    api.seen.push(seen);
    const { ranges, etag, cutAfter, pause, answer, spoil } = api.manners;
    response.setHeader("access-control-allow-origin", "*");
    const isBig = name === "model.safetensors";
    let bytes = files[name];
    if (!bytes) return response.writeHead(404, { "access-control-expose-headers": "x-error-code", "x-error-code": "EntryNotFound" }).end();
    const [, first = 0, last = bytes.length - 1] = (ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")) || [];
    const [start, end] = [Number(first), Number(last) + 1];
    const isPart = ranges && request.headers.range !== undefined;
    const count = api.seen.filter((each) => each.name === name && each.method === "GET").length;
    if (isBig && request.method === "GET" && answer?.(request, response, { start, end, count })) return;
    if (isBig && spoil !== undefined) (bytes = Buffer.from(bytes))[spoil] ^= 1;
    // A file's own tag: the others' names do for theirs.
    if (etag !== null) response.setHeader("etag", isBig ? etag : `"${name}"`);
    response.setHeader("access-control-expose-headers", "etag, content-range, retry-after");
    if (isPart) response.setHeader("content-range", `bytes ${start}-${end - 1}/${bytes.length}`);
    response.writeHead(isPart ? 206 : 200, { "content-length": end - start });
    if (request.method === "HEAD") return response.end();
    const closed = once(response, "close");
    for (let at = start; at < end && !response.destroyed; at += CHUNK) {
      const part = bytes.subarray(at, Math.min(at + CHUNK, end));
      if (isBig && seen.sent + part.length > cutAfter) {
        // What is on its way arrives: a busy reader would lose it with the connection.
        await new Promise((done) => setTimeout(done, 500));
        return response.destroy();
      }
      if (!response.write(part)) await Promise.race([once(response, "drain"), closed]);
      if (!response.destroyed) seen.sent += part.length;
      if (isBig && pause) await new Promise((done) => setTimeout(done, pause));
    }
    response.end();
  });
  await new Promise((done) => server.listen(0, "localhost", done));
  const api = {
    url: `http://localhost:${server.address().port}/`,
    manners: { ...usual },
    seen: [],
    size: weights.length,
    reset() {
      api.manners = { ...usual };
      api.seen = [];
    },
    /** Bytes of the weights sent. */
    sent: () => api.seen.reduce((sum, { name, sent }) => sum + (name === "model.safetensors" ? sent : 0), 0),
    close: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
  return api;
}
