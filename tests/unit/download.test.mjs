// One file from a server: which parts are asked for, and what is made of the answers. The server is a function.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Download } from "../../dist/files/download.js";
import { PIECE_BYTES, SPAN, Window, pieceBytes, pieceCount } from "../../dist/files/pieces.js";

const { fetch } = globalThis;
afterEach(() => (globalThis.fetch = fetch));

const SIZE = 9.5 * PIECE_BYTES;
const file = new Uint8Array(SIZE).map((_, i) => (i * 31 + (i >> 12)) & 255);

/** Serves `file`: `answer` may change or replace what a request gets. The ranges asked for gather in `asked`. */
function serve(answer = (response) => response) {
  const asked = [];
  globalThis.fetch = async (url, { headers }) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "")?.map(Number) ?? [];
    asked.push(headers.range && [from, to + 1]);
    const response = headers.range
      ? { status: 206, body: file.slice(from, to + 1), headers: { "content-range": `bytes ${from}-${to}/${SIZE}` } }
      : { status: 200, body: file, headers: {} };
    const { body, status, headers: said } = answer(response, asked.length);
    return new Response(body, { status, headers: { "content-length": String(body.length), etag: '"1"', ...said } });
  };
  return asked;
}

const target = (signal) => ({
  name: "weights", url: new URL("https://a.example/weights"), headers: {}, signal, what: "loading the model", isImmutable: false, hasDigest: false, refusal: () => undefined,
});

async function download(sink = new Window(), signal) {
  const load = new Download(target(signal), { size: SIZE, tag: '"1"' }, sink);
  try {
    const bytes = new Uint8Array(SIZE);
    for (let piece = 0; piece < pieceCount(SIZE); piece++) {
      bytes.set((await load.piece(piece, pieceBytes(SIZE, piece))).subarray(0, pieceBytes(SIZE, piece)), piece * PIECE_BYTES);
    }
    await load.all();
    return bytes;
  } finally {
    await load.stop();
  }
}

const isFile = (bytes) => Buffer.compare(bytes, file) === 0;
const inOrder = (ranges) => ranges.toSorted(([a], [b]) => a - b);

test("the last piece is as long as what is left", () => {
  assert.deepEqual([pieceCount(SIZE), pieceBytes(SIZE, 8), pieceBytes(SIZE, 9)], [10, PIECE_BYTES, PIECE_BYTES / 2]);
});

test("every byte is asked for once, a few pieces at a time", async () => {
  const asked = serve();
  assert.ok(isFile(await download()));
  const ranges = inOrder(asked);
  assert.equal(ranges[0][0], 0);
  assert.equal(ranges.at(-1)[1], SIZE);
  for (const [i, [from, to]] of ranges.entries()) {
    if (i > 0) assert.equal(from, ranges[i - 1][1]);
    assert.ok(to - from <= SPAN * PIECE_BYTES);
  }
});

test("what is held already is not asked for", async () => {
  const asked = serve();
  const sink = new Window();
  for (const piece of [0, 1, 5]) await sink.put(piece, file.slice(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES));
  assert.ok(isFile(await download(sink)));
  const pieces = inOrder(asked).map(([from, to]) => [from / PIECE_BYTES, to / PIECE_BYTES]);
  assert.deepEqual(pieces, [[2, 5], [6, 9.5]]);
});

test("a server that sends the whole instead of a part is asked once", async () => {
  const asked = serve((response) => ({ ...response, status: 200, body: file, headers: {} }));
  assert.ok(isFile(await download()));
  assert.equal(asked.length, 1);
});

test("a connection that ends early is taken up where it ended", async () => {
  const cut = PIECE_BYTES / 2;
  const asked = serve((response, n) => (n === 1 ? { ...response, body: response.body.slice(0, cut), headers: { ...response.headers, "content-length": String(SPAN * PIECE_BYTES) } } : response));
  assert.ok(isFile(await download()));
  assert.ok(asked.some(([from]) => from === cut), String(asked));
});

test("a file that changes meanwhile, or was another one from the start, is an error", async () => {
  serve((response, n) => (n === 1 ? response : { ...response, headers: { ...response.headers, etag: '"2"' } }));
  await assert.rejects(download(), { kind: "network", message: /^weights: version "2", expected "1": it changed while it was read/ });
  serve(() => ({ status: 416, body: new Uint8Array(), headers: {} }));
  await assert.rejects(download(), { kind: "network", message: /^weights: HTTP 416, expected the bytes 0 to/ });
  serve((response) => ({ ...response, headers: { "content-range": `bytes 7-9/${SIZE}` } }));
  await assert.rejects(download(), { kind: "network", message: /^weights: bytes 7-9\/\d+ of \d+ bytes, expected bytes 0-/ });
});

test("a refusal is told, and a signal ends the reading", async () => {
  serve(() => ({ status: 404, body: new Uint8Array(), headers: {} }));
  await assert.rejects(download(), { kind: "network", message: "weights: HTTP 404, https://a.example/weights" });
  serve();
  await assert.rejects(download(new Window(), AbortSignal.abort("no")), { kind: "cancelled", message: "loading the model was cancelled", cause: "no" });
});
