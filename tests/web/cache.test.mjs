// Downloads and what is kept of them: connections that break, servers that change, pages that close, no room.
// Every load is judged by the logits of the same model from files.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { openApi, start } from "./browser.mjs";
import { bigModel, startDownloads } from "./download-server.mjs";

const MIB = 1 << 20;
const CHUNK = 4 * MIB;

let browser, server, model, expected;
before(async () => {
  browser = await start();
  model = bigModel();
  server = await startDownloads(model);
  const page = await openPage();
  expected = await page.evaluate(async (url) => {
    const parts = await Promise.all(["config.json", "tokenizer.json", "model.safetensors"].map(async (name) => (await fetch(url + name)).blob()));
    return mark({ config: parts[0], tokenizer: parts[1], weights: parts[2] }, {});
  }, server.url);
  await page.close();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(() => server.reset());

/** A page whose `mark` loads a model and gives numbers that depend on all its weights; `cache` outlives the engine. */
async function openPage(context) {
  const page = await openApi(browser, context);
  await page.evaluate(() => {
    globalThis.mark = async (source, options) => {
      const engine = await lorakeet.createEngine(source, { device: "cpu", worker: false, contextLength: 16, batch: 1, ...options });
      const logits = (await engine.logits([5, 250, 17])).at(-1);
      globalThis.cache = engine.cache;
      await engine.dispose();
      return Array.from(logits.subarray(0, 64)).join();
    };
  });
  return page;
}

const load = (page, options = {}) => page.evaluate(([url, options]) => mark(url, options), [server.url, options]);
const fail = (page, options = {}) => page.evaluate(([url, options]) => failure(() => mark(url, options)), [server.url, options]);
const asked = (method, name = "model.safetensors") => server.seen.filter((each) => each.method === method && each.name === name);

/** Runs with a page of its own, nothing of it kept from before. */
async function fresh(work) {
  const page = await openPage();
  try {
    await work(page);
  } finally {
    await page.close();
  }
}

for (const cache of ["opfs", "cache-api", "memory"]) {
  test(`${cache}: a second load downloads nothing, and needs no network`, () => fresh(async (page) => {
    assert.equal(await load(page, { cache }), expected);
    assert.ok(server.sent() < server.size + CHUNK, `${server.sent()} bytes sent`);
    console.log(`${server.sent() - server.size} bytes more than there are`);
    server.seen = [];
    assert.equal(await load(page, { cache }), expected);
    assert.equal(server.seen.filter(({ method }) => method === "GET").length, 0);
    await page.context().setOffline(true);
    assert.equal(await load(page, { cache }), expected);
    await page.context().setOffline(false);
    const { kind, list, usage, deleted, left } = await page.evaluate(async (url) => ({
      kind: await cache.kind(), list: await cache.list(), usage: await cache.usage(), deleted: await cache.delete(url), left: await cache.list(),
    }), server.url);
    assert.equal(kind, cache);
    const sizes = { "config.json": model.config.length, "model.safetensors": model.weights.length, "tokenizer.json": model.tokenizer.length };
    assert.deepEqual(
      list.sort((a, b) => (a.key < b.key ? -1 : 1)),
      Object.entries(sizes).map(([name, size]) => ({ key: server.url + name, bytes: size, size, isComplete: true })),
    );
    assert.equal(usage.bytes, Object.values(sizes).reduce((a, b) => a + b));
    assert.deepEqual([deleted, left], [3, []]);
  }));
}

test("an engine in a worker keeps files for the next one, and tells of them", () => fresh(async (page) => {
  assert.equal(await load(page, { worker: true }), expected);
  server.seen = [];
  const files = await page.evaluate(async (url) => {
    const engine = await lorakeet.createEngine(url, { device: "cpu" });
    const files = await engine.cache.list();
    const error = await failure(() => engine.cache.delete(5));
    return { kind: await engine.cache.kind(), complete: files.every(({ isComplete }) => isComplete), count: files.length, deleted: await engine.cache.delete(url), error };
  }, server.url);
  assert.deepEqual(files, { kind: "opfs", complete: true, count: files.count, deleted: files.count, error: { kind: "argument", message: "key 5, expected a string" } });
  assert.ok(files.count >= 3);
  assert.equal(asked("GET").length, 0);
}));

test("the default keeps files in the private file system, and false keeps none", () => fresh(async (page) => {
  assert.equal(await load(page), expected);
  assert.equal(await page.evaluate(() => cache.kind()), "opfs");
  server.seen = [];
  assert.equal(await load(page, { cache: false }), expected);
  assert.ok(asked("GET").length >= 1);
  assert.deepEqual(await page.evaluate(async () => [await cache.kind(), await cache.list()]), [undefined, []]);
}));

test("a file that the server has changed is downloaded anew, and one without a version always", () => fresh(async (page) => {
  await load(page);
  for (const etag of ['"other"', null, null]) {
    server.seen = [];
    server.manners.etag = etag;
    assert.equal(await load(page), expected);
    assert.ok(server.sent() >= server.size, String(etag));
  }
}));

test("a commit of the hub is not asked for again; a branch is, and does without the network", () => fresh(async (page) => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const hub = (id) => page.evaluate(([id, hubUrl]) => mark(id, { hubUrl }), [id, server.url]);
  for (const [id, heads] of [[`org/big@${commit}`, 0], ["org/big", 4]]) {
    assert.equal(await hub(id), expected);
    server.seen = [];
    assert.equal(await hub(id), expected);
    assert.deepEqual(server.seen.map(({ method }) => method), Array(heads).fill("HEAD"));
    await page.context().setOffline(true);
    assert.equal(await hub(id), expected);
    await page.context().setOffline(false);
  }
}));

test("adapters are kept as models are, and so is the absence of a file", () => fresh(async (page) => {
  const ranks = () => page.evaluate(async () => {
    const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu", worker: false });
    const { rank } = await engine.loadAdapter("/test/adapters/llama/qv");
    await engine.dispose();
    return rank;
  });
  const rank = await ranks();
  await page.context().setOffline(true);
  assert.equal(await ranks(), rank);
  await page.evaluate(async () => (await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu", worker: false })).cache.delete(new URL("/test/adapters/", location.href).href));
  await assert.rejects(ranks(), /Failed to fetch/);
  await page.context().setOffline(false);
}));

test("connections that break cost next to nothing", () => fresh(async (page) => {
  server.manners = { ...server.manners, cutAfter: 1.5 * MIB, pause: 1 };
  assert.equal(await load(page), expected);
  assert.ok(asked("GET").length > 6);
  const twice = server.sent() - server.size;
  console.log(`${asked("GET").length} requests, ${twice} bytes twice`);
  assert.ok(twice <= CHUNK, `${twice} bytes`);
}));

test("a connection on which nothing comes any more is given up for another", () => fresh(async (page) => {
  let stalled = 0;
  server.manners.answer = (_, response, { start, end }) => {
    if (stalled > 0) return false;
    stalled++;
    response.writeHead(206, { "content-length": end - start }).write(model.weights.subarray(start, start + 1000));
    return true;
  };
  await page.clock.install();
  const loading = load(page);
  while (stalled === 0) await new Promise((done) => setTimeout(done, 20));
  const wait = new Promise((done) => setTimeout(done, 500, "waiting"));
  assert.equal(await Promise.race([loading, wait]), "waiting");
  await page.clock.fastForward(20_000);
  assert.equal(await loading, expected);
}));

test("a server without ranges sends one stream, and again what a break has lost", () => fresh(async (page) => {
  let cuts = 1;
  server.manners = { ...server.manners, ranges: false, pause: 1 };
  server.manners.answer = (_, response) => {
    if (asked("GET").length === 1) setTimeout(() => cuts-- > 0 && response.destroy(), 60);
    return false;
  };
  assert.equal(await load(page), expected);
  assert.equal(asked("GET").length, 2);
  assert.ok(server.sent() < 2 * server.size);
  server.seen = [];
  assert.equal(await load(page), expected);
  assert.equal(server.sent(), 0);
}));

test("a page that closes in mid-download goes on where it was", async () => {
  const context = await browser.newContext();
  const first = await openPage(context);
  server.manners.pause = 10;
  const loading = load(first).catch(() => {});
  while (server.sent() < 0.6 * server.size) await new Promise((done) => setTimeout(done, 5));
  await first.close();
  await loading;
  await new Promise((done) => setTimeout(done, 100));
  const before = server.sent();
  assert.ok(before < 0.9 * server.size, "closed too late to show anything");
  server.manners.pause = 0;
  const second = await openPage(context);
  assert.equal(await load(second), expected);
  const twice = server.sent() - server.size;
  console.log(`${before} bytes before, ${server.sent() - before} after, ${twice} twice, of ${server.size}`);
  assert.ok(twice <= CHUNK, `${twice} bytes`);
  await context.close();
});

test("a busy server is asked again when it says, and given up in the end", () => fresh(async (page) => {
  server.manners.answer = (_, response, { count }) => count <= 2 && response.writeHead(429, { "retry-after": "1", "access-control-expose-headers": "retry-after" }).end();
  const began = performance.now();
  assert.equal(await load(page), expected);
  assert.ok(performance.now() - began > 1900);
  await page.evaluate((url) => cache.delete(url), server.url);
  server.manners.answer = (_, response) => response.writeHead(503).end();
  server.seen = [];
  assert.deepEqual(await fail(page), { kind: "network", message: `model.safetensors: HTTP 503, ${server.url}model.safetensors` });
  assert.equal(asked("GET").length, 4);
  server.reset();
  assert.equal(await load(page), expected);
}));

/** Answers to a part that are none, each told once per load or always. */
const LIES = {
  "416": (response) => response.writeHead(416).end(),
  "a wrong length": (response, { start, end }) => response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/5`, "access-control-expose-headers": "content-range" }).end(),
  "another version": (response, { start, end }) => response
    .writeHead(206, { etag: '"b"', "access-control-expose-headers": "etag", "content-length": end - start }).end(model.weights.subarray(start, end)),
};

for (const [name, lie] of Object.entries(LIES)) {
  test(`${name} in mid-download begins anew once, then is network, and the next load succeeds`, () => fresh(async (page) => {
    let times = 1;
    server.manners.answer = (request, response, part) => request.headers.range !== undefined && times-- > 0 && Boolean(lie(response, part));
    assert.equal(await load(page), expected);
    await page.evaluate((url) => cache.delete(url), server.url);
    times = Infinity;
    const { kind, message } = await fail(page);
    assert.equal(kind, "network");
    assert.match(message, /^model\.safetensors: .+, expected .+: it changed while it was read, http/);
    server.reset();
    assert.equal(await load(page), expected);
  }));
}

test("bytes that are not those of the digest are not kept", () => fresh(async (page) => {
  const hub = () => page.evaluate((hubUrl) => mark("org/big", { hubUrl }), server.url);
  server.manners.spoil = server.size - 7;
  const { kind, message } = await page.evaluate((hubUrl) => failure(() => mark("org/big", { hubUrl })), server.url);
  assert.equal(kind, "network");
  assert.match(message, /^model\.safetensors: SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}$/);
  server.reset();
  assert.equal(await hub(), expected);
  assert.ok(server.sent() >= server.size);
}));

test("a kept piece that is damaged is downloaded again, and no other", () => fresh(async (page) => {
  await load(page);
  await page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("lorakeet-models");
    for await (const folder of root.values()) {
      const handle = await folder.getFileHandle?.("3").catch(() => undefined);
      if (!handle) continue;
      const writable = await handle.createWritable();
      await writable.write("short");
      await writable.close();
    }
  });
  server.seen = [];
  assert.equal(await load(page), expected);
  assert.deepEqual(asked("GET").map(({ range }) => range), [`bytes=${3 * MIB}-${4 * MIB - 1}`]);
}));

test("without room, a load that names no cache keeps nothing, and one that does says how many bytes are missing", () => fresh(async (page) => {
  const client = await page.context().newCDPSession(page);
  await client.send("Storage.overrideQuotaForOrigin", { origin: new URL(browser.url).origin, quotaSize: 3 * MIB });
  assert.equal(await load(page), expected);
  const error = await fail(page, { cache: "opfs" });
  assert.equal(error.kind, "memory");
  const [, missing] = /^model\.safetensors: cannot be kept: (\d+) bytes more than this site may store: /.exec(error.message) ?? assert.fail(error.message);
  assert.ok(Math.abs(Number(missing) - (server.size - 3 * MIB)) < MIB / 2, missing);
  await client.send("Storage.overrideQuotaForOrigin", { origin: new URL(browser.url).origin });
  assert.equal(await load(page, { cache: "opfs" }), expected);
}));

test("two loads at once download once", () => fresh(async (page) => {
  server.manners.pause = 1;
  const both = await page.evaluate((url) => Promise.all([mark(url), mark(url)]), server.url);
  assert.deepEqual(both, [expected, expected]);
  assert.ok(server.sent() < server.size + CHUNK, `${server.sent()} bytes`);
}));

test("a cancelled load leaves what it has, and the next one goes on", () => fresh(async (page) => {
  server.manners.pause = 2;
  for (const part of [0, 0.3, 0.8]) {
    const error = await page.evaluate(([url, part]) => failure(() => {
      const abort = new AbortController();
      return mark(url, { signal: abort.signal, onProgress: ({ loaded, total }) => loaded >= part * total && abort.abort() });
    }), [server.url, part]);
    assert.deepEqual(error, { kind: "cancelled", message: "loading the model was cancelled" });
  }
  assert.equal(await load(page), expected);
  assert.ok(server.sent() < server.size + 3 * CHUNK, `${server.sent()} bytes`);
}));

test("progress grows through all phases", () => fresh(async (page) => {
  server.manners.cutAfter = 2.5 * MIB;
  const heard = (url) => page.evaluate(async (url) => {
    const heard = [];
    await mark(url, { onProgress: (each) => heard.push(each) });
    return heard;
  }, url);
  for (const phases of [["download", "verify", "compile", "ready"], ["upload", "compile", "ready"]]) {
    const progress = await heard(server.url);
    assert.deepEqual([...new Set(progress.map(({ phase }) => phase))], phases);
    assert.ok(progress.every(({ loaded, total }, i) => total === server.size && (i === 0 || loaded >= progress[i - 1].loaded)));
    assert.deepEqual(progress.at(-1), { loaded: server.size, total: server.size, phase: "ready" });
  }
}));

test("wrong choices of a cache are arguments", () => fresh(async (page) => {
  assert.deepEqual(await fail(page, { cache: "tape" }), { kind: "argument", message: 'cache "tape", expected opfs or cache-api or memory or disk or false' });
  assert.deepEqual(await fail(page, { cache: "disk" }), { kind: "unsupported", message: 'cache "disk": this browser or page has none' });
  assert.deepEqual(await page.evaluate(async (url) => {
    await mark(url, {});
    return failure(() => cache.delete(5));
  }, server.url), { kind: "argument", message: "key 5, expected a string" });
}));
