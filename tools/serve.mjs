// A static server for the page and the tests: `serve` any folders, or from a terminal the site.
// For this machine only: it listens on localhost, where browsers allow WebGPU without TLS.
//
//   node tools/serve.mjs [--port 8080] [--build]

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./setup.mjs";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".jinja": "text/plain; charset=utf-8",
  ".map": "application/json",
  ".md": "text/markdown; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".ts": "text/plain; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
  ".wgsl": "text/plain; charset=utf-8",
};

/** The page from its sources: the package as it was last built, and what the page takes from others. */
export const SOURCES = { "/": join(root, "www"), "/dist/": join(root, "dist"), "/vendor/": join(root, "node_modules/marked/lib") };
/** Make a page cross-origin isolated: its engines may then compute with threads. */
export const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * Serves folders: `roots` maps URL prefixes to them, the longest prefix wins.
 * Takes the next free port if `port` is taken; 0 asks the system for any. `headers` go on
 * every response (a test's Content-Security-Policy, say).
 */
export async function serve({ roots = SOURCES, port = 8080, headers = {} } = {}) {
  const prefixes = Object.keys(roots).sort((a, b) => b.length - a.length);
  const server = createServer((request, response) => {
    answer(request, response, roots, prefixes, headers).catch(() => response.destroy());
  });
  const url = `http://localhost:${await listen(server, port)}/`;
  const close = () => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  });
  return { url, server, close };
}

/** Tries twenty ports from `port` on. */
async function listen(server, port) {
  for (let next = port; ; next++) {
    try {
      await new Promise((done, failed) => {
        server.once("error", failed);
        server.listen(next, "localhost", () => {
          server.off("error", failed);
          done();
        });
      });
      return server.address().port;
    } catch (error) {
      if (error.code !== "EADDRINUSE" || next >= port + 20) throw error;
    }
  }
}

async function answer(request, response, roots, prefixes, headers) {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const refuse = (status, text) => response.writeHead(status, { "content-type": "text/plain" }).end(`${text}\n`);
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(405, "only GET and HEAD");

  const file = await locate(request.url, roots, prefixes);
  if (!file) return refuse(404, `nothing at ${request.url}`);

  const { start, end, partial } = range(request.headers.range, file.size);
  response.setHeader("accept-ranges", "bytes");
  response.setHeader("cache-control", "no-cache");
  if (start > end && file.size > 0) {
    response.setHeader("content-range", `bytes */${file.size}`);
    return refuse(416, "no such range");
  }
  if (partial) response.setHeader("content-range", `bytes ${start}-${end}/${file.size}`);
  response.writeHead(partial ? 206 : 200, {
    "content-type": TYPES[extname(file.path)] ?? "application/octet-stream",
    "content-length": end - start + 1,
  });
  if (request.method === "HEAD" || file.size === 0) return response.end();
  createReadStream(file.path, { start, end }).on("error", () => response.destroy()).pipe(response);
}

/** The file a URL means, or null if there is none, or if it lies outside the prefix's folder. */
async function locate(url, roots, prefixes) {
  let path;
  try {
    path = decodeURIComponent(url.split(/[?#]/, 1)[0]);
  } catch {
    return null; // a broken escape
  }
  const prefix = prefixes.find((candidate) => path.startsWith(candidate));
  if (prefix === undefined || path.includes("\0")) return null;
  const folder = resolve(roots[prefix]);
  let file = resolve(folder, `.${sep}${path.slice(prefix.length)}`);
  if (file !== folder && !file.startsWith(folder + sep)) return null;
  if (path.endsWith("/")) file = join(file, "index.html");
  const found = await stat(file).catch(() => null);
  return found?.isFile() ? { path: file, size: found.size } : null;
}

/** First and last byte asked for. What is not one plain range is answered with the whole file. */
function range(header, size) {
  const whole = { start: 0, end: size - 1, partial: false };
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return whole;
  if (first === "") {
    const length = Number(last);
    return { start: length === 0 ? size : Math.max(0, size - length), end: size - 1, partial: true };
  }
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < Number(first)) return whole; // not a valid range at all
  return { start: Number(first), end, partial: true };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const at = process.argv.indexOf("--port");
    const port = at < 0 ? 8080 : Number(process.argv[at + 1]);
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error("--port wants a number from 0 to 65535");
    if (process.argv.includes("--build")) await (await import("./build.mjs")).build();
    await (await import("./site.mjs")).writeSite();
    const { url } = await serve({ roots: { "/": join(root, "site") }, port, headers: ISOLATED });
    console.log(`\nLorakeet is at ${url}  (Ctrl-C ends it)`);
  } catch (error) {
    console.error(`[serve] ${error.message}`);
    process.exit(1);
  }
}
