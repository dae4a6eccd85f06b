// What stands between a page and its files: service workers, full disks, storage that refuses, URLs of bytes in the page.
// Servers that go wrong are faults.test.mjs's and cache.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { adapters, fixtures, ggufs, openApi, root, start } from "./browser.mjs";
import { bigModel, startDownloads } from "./download-server.mjs";

const MIB = 1 << 20;

/** Service workers, by what they do to requests for the weights. */
const WORKERS = {
  // As many tutorials have it: whatever comes is put into the cache, which takes no parts.
  "cache-first": `async (request) => (await caches.match(request)) ?? fetch(request).then(async (response) => {
    const cache = await caches.open("all");
    await cache.put(request, response.clone());
    return response;
  })`,
  "answers 503 where it fails": `(request) => (request.headers.has("range") ? new Response("offline", { status: 503 }) : fetch(request))`,
  "answers parts as if they were whole": `async (request) => {
    const response = await fetch(request);
    return request.headers.has("range") ? new Response(await response.blob(), { headers: { "content-length": response.headers.get("content-length") } }) : response;
  }`,
  "answers parts with the whole": `(request) => (request.headers.has("range") ? fetch(request.url) : fetch(request))`,
  "lets nothing through": `() => Response.error()`,
};

let browser, server, model, expected, site;
before(async () => {
  site = mkdtempSync(join(tmpdir(), "worker-"));
  writeFileSync(join(site, "index.html"), "<!doctype html><title>A page with a service worker</title>");
  for (const [name, work] of Object.entries(WORKERS)) {
    writeFileSync(join(site, `${name.replaceAll(" ", "-")}.js`), `
      const work = ${work};
      addEventListener("install", () => skipWaiting());
      addEventListener("activate", (event) => event.waitUntil(clients.claim()));
      addEventListener("fetch", (event) => event.request.url.endsWith(".safetensors") && event.request.method === "GET" && event.respondWith(work(event.request)));
    `);
  }
  browser = await start({ "/": site, "/dist/": join(root, "dist"), "/test/fixtures/": fixtures, "/test/adapters/": adapters, "/test/gguf/": ggufs });
  model = bigModel();
  server = await startDownloads(model);
  expected = await apart(async (page) => load(page, { cache: false }));
});
after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(site, { recursive: true, force: true });
});
beforeEach(() => server.reset());

/** Runs with a page of its own, nothing of it kept from before. */
async function apart(work) {
  const page = await openApi(browser);
  await page.evaluate(() => {
    globalThis.mark = async (source, options) => {
      const engine = await lorakeet.createEngine(source, { device: "cpu", contextLength: 16, batch: 1, ...options });
      const logits = (await engine.logits([5, 250, 17])).at(-1);
      globalThis.kept = await engine.cache.list().catch((error) => error.kind);
      await engine.dispose();
      return Array.from(logits.subarray(0, 64)).join();
    };
  });
  try {
    return await work(page);
  } finally {
    await page.close();
  }
}

const load = (page, options = {}, url = server.url) => page.evaluate(([url, options]) => mark(url, options), [url, options]);
const fail = (page, options = {}, url = server.url) => page.evaluate(([url, options]) => failure(() => mark(url, options)), [url, options]);
const gets = () => server.seen.filter(({ method, name }) => method === "GET" && name === "model.safetensors");

/** Has the page's requests answered by one of the workers; gives the address of its script. */
function serveBy(page, name) {
  return page.evaluate(async (script) => {
    await navigator.serviceWorker.register(script, { scope: "/" });
    if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener("controllerchange", done, { once: true }));
    return navigator.serviceWorker.controller.scriptURL;
  }, `/${name.replaceAll(" ", "-")}.js`);
}

for (const name of Object.keys(WORKERS).slice(0, -1)) {
  for (const worker of [false, true]) {
    test(`a service worker that ${name}: a model of many parts loads ${worker ? "in a worker" : "in the page"}`, () => apart(async (page) => {
      await serveBy(page, name);
      assert.equal(await load(page, { worker }), expected);
      assert.equal(gets().filter(({ range }) => range === undefined).length, 1, "one plain request");
    }));
  }
}

test("a service worker that lets nothing through is named, and the next load succeeds without it", () => apart(async (page) => {
  const script = await serveBy(page, "lets nothing through");
  for (const worker of [false, true]) {
    const { kind, message } = await fail(page, { worker });
    assert.equal(kind, "network");
    assert.ok(message.startsWith("model.safetensors: ") && message.endsWith(`, through the service worker ${script}`), message);
  }
  assert.equal(gets().length, 0);
  await page.evaluate(async () => (await navigator.serviceWorker.ready).unregister());
  await page.reload();
  await apart(async (page) => assert.equal(await load(page), expected));
}));

/** The file was asked for in parts, and then without; a browser asks twice by itself where a connection that it had breaks. */
function onlyAtLast() {
  const isPart = gets().map(({ range }) => range !== undefined);
  const first = isPart.indexOf(false);
  assert.ok(first >= 4 && isPart.length - first <= 2 && !isPart.includes(true, first), isPart.join());
}

test("without a service worker, parts that all break off are asked for as one, once", () => apart(async (page) => {
  server.manners.answer = (request, response) => request.headers.range !== undefined && Boolean(response.destroy());
  assert.equal(await load(page), expected);
  onlyAtLast();
  server.manners.answer = (_, response) => Boolean(response.destroy());
  server.seen = [];
  const { kind, message } = await fail(page, { cache: false });
  assert.equal(kind, "network");
  assert.match(message, /^model\.safetensors: .+ after 0 of \d+ bytes, http:[^,]+\/model\.safetensors$/);
  onlyAtLast();
}));

test("a kept part of a file goes on where the server refuses HEAD by breaking off", () => apart(async (page) => {
  server.manners.pause = 2;
  const cancelled = await page.evaluate((url) => failure(() => {
    const abort = new AbortController();
    return mark(url, { worker: false, signal: abort.signal, onProgress: ({ loaded, total }) => loaded > total / 3 && abort.abort() });
  }), server.url);
  assert.equal(cancelled.kind, "cancelled");
  await page.route("**/*", (route) => (route.request().method() === "HEAD" ? route.abort() : route.continue()));
  server.manners.pause = 0;
  assert.equal(await load(page, { worker: false }), expected);
}));

/** The disk is full once `bytes` of pieces are there. */
const fillAfter = (page, bytes) => page.evaluate((bytes) => {
  const { write } = FileSystemWritableFileStream.prototype;
  let written = 0;
  FileSystemWritableFileStream.prototype.write = async function (data) {
    written += data.byteLength ?? data.size ?? 0;
    if (written > bytes) throw new DOMException("The disk is full.", "QuotaExceededError");
    return write.call(this, data);
  };
}, bytes);

for (const part of [0, 0.4, 0.9]) {
  test(`a disk that is full after ${part * 100} % of a download does not fail a load that names no cache`, () => apart(async (page) => {
    await fillAfter(page, part * server.size);
    assert.equal(await load(page, { worker: false }), expected);
    assert.ok(server.sent() < server.size + 4 * MIB, `${server.sent()} bytes sent`);
    const sizes = await page.evaluate(() => kept.map(({ bytes }) => bytes));
    assert.ok(sizes.every((bytes) => bytes < MIB), "nothing of a file that could not be kept whole stays");
    const { kind, message } = await fail(page, { worker: false, cache: "opfs" });
    assert.equal(kind, "memory");
    assert.match(message, /: cannot be kept: \d+ bytes more than this site may store: /);
    await page.reload();
  }));
}

test("a full disk at the very end, when the file is said to be whole, does not fail a load either", () => apart(async (page) => {
  await page.evaluate(() => {
    const { write } = FileSystemWritableFileStream.prototype;
    FileSystemWritableFileStream.prototype.write = async function (data) {
      if (new TextDecoder().decode(data).includes('"complete"')) throw new DOMException("The disk is full.", "QuotaExceededError");
      return write.call(this, data);
    };
  });
  assert.equal(await load(page, { worker: false }), expected);
  assert.deepEqual(await page.evaluate(() => kept), []);
}));

/** Ways in which storage refuses, put into a page. */
const REFUSALS = {
  "getDirectory is refused": () => (StorageManager.prototype.getDirectory = async () => { throw new DOMException("Security error when calling GetDirectory", "SecurityError"); }),
  "folders cannot be opened": () => (FileSystemDirectoryHandle.prototype.getDirectoryHandle = async () => { throw new DOMException("not allowed", "NotAllowedError"); }),
  "files cannot be opened": () => (FileSystemDirectoryHandle.prototype.getFileHandle = async () => { throw new DOMException("busy", "NoModificationAllowedError"); }),
  "files cannot be read": () => (FileSystemFileHandle.prototype.getFile = async () => { throw new DOMException("unreadable", "NotReadableError"); }),
  "files cannot be written": () => (FileSystemFileHandle.prototype.createWritable = async () => { throw new DOMException("busy", "InvalidStateError"); }),
  "nothing can be taken out": () => (FileSystemDirectoryHandle.prototype.removeEntry = async () => { throw new DOMException("busy", "NoModificationAllowedError"); }),
  "locks are refused": () => (LockManager.prototype.request = async () => { throw new DOMException("no", "SecurityError"); }),
  "there are caches in name only": () => {
    StorageManager.prototype.getDirectory = async () => { throw new DOMException("no", "SecurityError"); };
    CacheStorage.prototype.open = async () => { throw new DOMException("no", "SecurityError"); };
  },
  "nobody tells of room": () => (StorageManager.prototype.estimate = () => { throw new DOMException("no", "SecurityError"); }),
};

for (const [name, refuse] of Object.entries(REFUSALS)) {
  test(`where ${name}, models load, and what fails is told by kind`, () => apart(async (page) => {
    await page.evaluate(refuse);
    assert.equal(await load(page, { worker: false }), expected);
    assert.equal(await load(page, { worker: false }), expected);
    // A place that was asked for either serves, or says why not: nothing but this package's errors.
    for (const cache of ["opfs", "cache-api"]) {
      const outcome = await page.evaluate(([url, cache]) => mark(url, { worker: false, cache }).catch((error) => {
        if (!(error instanceof lorakeet.LorakeetError)) throw error;
        return error.kind;
      }), [server.url, cache]);
      assert.ok([expected, "unsupported", "network"].includes(outcome), outcome);
    }
  }));
}

test("a checkpoint where the private file system is refused is unsupported, and training without one succeeds", () => apart(async (page) => {
  await page.evaluate(() => (StorageManager.prototype.getDirectory = async () => { throw new DOMException("Security error when calling GetDirectory", "SecurityError"); }));
  const [error, steps] = await page.evaluate(async () => {
    const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu", worker: false });
    const options = { name: "x", dataset: "The ferry at Osselby crosses at noon.", epochs: 1 };
    const error = await failure(() => engine.trainAdapter({ ...options, checkpoint: "a" }).next());
    let steps = 0;
    for await (const step of engine.trainAdapter(options)) steps = step.steps;
    await engine.dispose();
    return [error, steps];
  });
  assert.deepEqual(error, { kind: "unsupported", message: "checkpoint `a`: the origin private file system refuses: Security error when calling GetDirectory" });
  assert.equal(steps, 1);
}));

test("a checkpoint for which there is no room is memory", () => apart(async (page) => {
  await fillAfter(page, 0);
  const error = await page.evaluate(async () => {
    const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu", worker: false, cache: false });
    const training = engine.trainAdapter({ name: "x", dataset: "The ferry at Osselby crosses at noon.", epochs: 3, checkpoint: "a", checkpointEvery: 1 });
    return failure(async () => {
      for await (const _ of training);
    });
  });
  assert.deepEqual(error, { kind: "memory", message: "checkpoint `a`: the origin private file system refuses: The disk is full." });
}));

test("tabs that may not lock are told so at once", () => apart(async (page) => {
  await page.evaluate(() => (LockManager.prototype.request = async () => { throw new DOMException("no", "SecurityError"); }));
  const error = await page.evaluate(async () => {
    const { shareEngine } = await import("/dist/tabs.js");
    return failure(() => shareEngine("one", () => lorakeet.createEngine("/test/fixtures/llama", { device: "cpu" })));
  });
  assert.deepEqual(error, { kind: "unsupported", message: "tabs share by Web Locks and BroadcastChannel, which this browser or page lacks" });
}));

const TEXT = { prompt: [1, 2, 3], max_tokens: 5, temperature: 0 };

test("blob: and data: URLs are read, as models, as adapters and as parts of them", () => apart(async (page) => {
  const texts = await page.evaluate(async (TEXT) => {
    const urls = [];
    const blobUrl = (blob) => urls[urls.push(URL.createObjectURL(blob)) - 1];
    const dataUrl = (blob) => new Promise((done) => Object.assign(new FileReader(), { onload: ({ target }) => done(target.result) }).readAsDataURL(blob));
    const file = async (path) => (await fetch(path)).blob();
    const at = "/test/fixtures/llama/";
    const parts = { config: await file(`${at}config.json`), tokenizer: await file(`${at}tokenizer.json`), weights: await file(`${at}model.safetensors`) };
    const all = async (make) => Object.fromEntries(await Promise.all(Object.entries(parts).map(async ([name, blob]) => [name, await make(blob)])));
    const whole = await file("/test/gguf/models/llama-q8_0.gguf");
    const lora = await file("/test/gguf/llama-f16.gguf");
    const models = [
      ["folder", at],
      ["folder", await all(blobUrl)],
      ["folder", await all(dataUrl)],
      ["gguf", "/test/gguf/models/llama-q8_0.gguf"],
      ["gguf", blobUrl(whole)],
      ["gguf", new URL(blobUrl(whole))],
      ["gguf", await dataUrl(whole)],
      ["gguf", new File([whole], "sha256-0123")],
    ];
    const adapters = [
      "/test/gguf/llama-f16.gguf", blobUrl(lora), new URL(blobUrl(lora)), await dataUrl(lora), blobUrl(new File([lora], "poet.bin")), new File([lora], "poet"), new File([lora], "poet.GGUF"),
    ];
    const texts = { folder: [], gguf: [], adapter: [] };
    for (const worker of [false, true]) {
      for (const [kind, model] of models) {
        const engine = await lorakeet.createEngine(model, { device: "cpu", worker });
        texts[kind].push((await engine.completions.create(TEXT)).choices[0].token_ids.join());
        for (const adapter of model === at ? adapters : []) {
          await engine.loadAdapter(adapter, { name: "a" });
          texts.adapter.push((await engine.completions.create({ ...TEXT, adapter: "a" })).choices[0].token_ids.join());
        }
        const kept = await engine.cache.list();
        if (kept.some(({ key }) => !key.startsWith("http"))) throw new Error("bytes of the page were kept once more");
        await engine.dispose();
      }
    }
    return texts;
  }, TEXT);
  assert.deepEqual([texts.folder.length, texts.gguf.length, texts.adapter.length], [6, 10, 14]);
  assert.notEqual(texts.adapter[0], texts.folder[0]);
  for (const alike of Object.values(texts)) assert.equal(new Set(alike).size, 1, alike.join("\n"));
}));

test("a blob: URL of one file of a folder, or of nothing any more, is refused by name", () => apart(async (page) => {
  const errors = await page.evaluate(async () => {
    const url = async (path) => URL.createObjectURL(await (await fetch(path)).blob());
    const gone = URL.createObjectURL(new Blob(["x"]));
    URL.revokeObjectURL(gone);
    const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu" });
    const sources = [
      () => url("/test/fixtures/llama/config.json").then((model) => lorakeet.createEngine(model, { device: "cpu" })),
      () => url("/test/fixtures/llama/model.safetensors").then((model) => lorakeet.createEngine(model, { device: "cpu" })),
      () => url("/test/adapters/llama/qv/adapter_model.safetensors").then((adapter) => engine.loadAdapter(adapter)),
      () => lorakeet.createEngine(gone, { device: "cpu" }),
      () => engine.loadAdapter(gone),
    ];
    const errors = [];
    for (const source of sources) errors.push(await failure(source));
    await engine.completions.create({ prompt: [1, 2], max_tokens: 2 });
    return errors;
  });
  assert.deepEqual(errors.slice(0, 3), ["model", "model", "adapter"].map((of) => ({
    kind: "argument",
    message: `${of}: one file of a folder, expected all of them, as files or ${of === "model" ? "{config, tokenizer, weights}" : "{config, weights}"}, or a GGUF`,
  })));
  for (const { kind, message } of errors.slice(3)) {
    assert.equal(kind, "network");
    assert.match(message, /^a blob: URL cannot be read: .+, blob:http/);
  }
}));
