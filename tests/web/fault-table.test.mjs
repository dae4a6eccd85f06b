// Forty named faults, of the network, storage, devices, memory and input: each ends in the right text or the right typed error.
// After each the next call works, of the engine that was there and of a new one. tests/RESULTS.md lists them.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures, openApi, start } from "./browser.mjs";
import { bigModel, startDownloads } from "./download-server.mjs";
import { startFaults } from "./fault-server.mjs";

let browser, faults, downloads, model, page, expected;
before(async () => {
  browser = await start();
  faults = await startFaults(join(fixtures, "llama"));
  model = bigModel();
  downloads = await startDownloads(model);
  page = await openApi(browser);
  await page.evaluate(async ([small, big]) => {
    Object.assign(globalThis, { small, big });
    const options = { device: "cpu", worker: false, contextLength: 32, batch: 1 };
    globalThis.open = (source, more) => lorakeet.createEngine(source, { ...options, ...more });
    globalThis.text = async (engine) => (await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 4, temperature: 0 })).choices[0].token_ids.join();
    /** The text of an engine that is made for it. */
    globalThis.load = async (source, more) => {
      const engine = await open(source, more);
      try {
        return await text(engine);
      } finally {
        await engine.dispose();
      }
    };
    /** Runs while methods, [object, name, stand-in], are others than the browser's. */
    globalThis.patched = async (methods, work) => {
      const before = methods.map(([object, name]) => Object.getOwnPropertyDescriptor(object, name));
      for (const [object, name, value] of methods) Object.defineProperty(object, name, { configurable: true, writable: true, value });
      try {
        return await work();
      } finally {
        methods.forEach(([object, name], i) => (before[i] ? Object.defineProperty(object, name, before[i]) : delete object[name]));
      }
    };
    globalThis.refusing = (name, message = "refused") => async () => {
      throw new DOMException(message, name);
    };
    globalThis.noOpfs = () => [[StorageManager.prototype, "getDirectory", refusing("SecurityError")]];
    /** The disk is full once so many bytes are written. */
    globalThis.fullAfter = (bytes) => {
      const { write } = FileSystemWritableFileStream.prototype;
      return [[FileSystemWritableFileStream.prototype, "write", async function (data) {
        bytes -= data.byteLength ?? data.size ?? 0;
        if (bytes < 0) throw new DOMException("The disk is full.", "QuotaExceededError");
        return write.call(this, data);
      }]];
    };
    /** Nothing of the large model is kept from before. */
    globalThis.clear = async () => {
      const engine = await open(small);
      await engine.cache.delete(big);
      await engine.dispose();
    };
    globalThis.parts = async (change = {}) => {
      const part = async (name) => change[name] ?? (await fetch(`${small}${name}`)).blob();
      return { config: await part("config.json"), tokenizer: await part("tokenizer.json"), weights: await part("model.safetensors") };
    };
    globalThis.engine = await open(small);
    globalThis.trained = async (options) => {
      for await (const _ of engine.trainAdapter({ name: "x", dataset: "The ferry at Osselby crosses at noon.", maxLength: 16, epochs: 1, ...options }));
    };
  }, [`${faults.url}good/`, downloads.url]);
  expected = await page.evaluate(async () => ({ small: await text(engine), big: await load(big, { cache: false }) }));
});
after(async () => {
  await browser?.close();
  await faults?.close();
  await downloads?.close();
});

const lie = (answer) => (downloads.manners.answer = (request, response, part) => request.headers.range !== undefined && Boolean(answer(response, part, request)));
const SMALL = "the small model's text";
const BIG = "the large model's text";

/**
 * [area, what goes wrong, what is done in the page, what comes of it, what the large model's server does].
 * What comes is a text, or an error's [kind, message].
 */
const ROWS = [
  ["network", "the server is not there", () => load("http://localhost:1/model/"), ["network", /^(config|tokenizer|generation_config)\.json: .+, http:\/\/localhost:1\//]],
  ["network", "a file is missing", (url) => load(`${url}no-weights/`), ["network", /^model\.safetensors: not found, http/]],
  ["network", "the server answers 500 for ever", (url) => load(`${url}broken/`), ["network", /^model\.safetensors: HTTP 500, http/]],
  ["network", "every connection breaks off half-way", (url) => load(`${url}cut/`), ["network", /^model\.safetensors: .+ after \d+ of 239104 bytes, http/]],
  ["network", "a connection breaks off after each 1.5 MB", () => load(big), BIG, () => (downloads.manners.cutAfter = 1.5e6)],
  ["network", "the server is busy and says when to come again", () => load(big), BIG, () => {
    downloads.manners.answer = (_, response, { count }) => count <= 2 && response.writeHead(429, { "retry-after": "1" }).end();
  }],
  ["network", "HEAD is refused by breaking off", () => patched([[globalThis, "fetch", ((plain) => (url, init) => (init?.method === "HEAD" ? Promise.reject(new TypeError("Failed to fetch")) : plain(url, init)))(fetch)]], () => load(big)), BIG],
  ["network", "every part is redirected", () => load(big), BIG, () => lie((response, _, { url }) => !url.startsWith("/other/") && response.writeHead(302, { location: "/other/model.safetensors" }).end())],
  ["network", "parts are refused, and the whole is not", () => load(big), BIG, () => lie((response) => response.destroy())],
  ["network", "each part is of another version", () => load(big), ["network", /^model\.safetensors: version .+: it changed while it was read, http/], () => lie((response, { start, end }) => (
    response.writeHead(206, { etag: `"${start}"`, "access-control-expose-headers": "etag", "content-length": end - start }).end(model.weights.subarray(start, end))))],
  ["network", "the answer is compressed, and its length that of the compressed bytes", (url) => load(`${url}gzip/`), SMALL],
  ["network", "nothing comes any more, and the caller gives up", (url) => {
    const abort = new AbortController();
    return load(`${url}stalled/`, { signal: abort.signal, onProgress: ({ loaded }) => loaded > 80_000 && abort.abort() });
  }, ["cancelled", /^loading the model was cancelled$/]],

  ["storage", "the private file system is refused", () => patched(noOpfs(), () => load(big)), BIG],
  ["storage", "the private file system is refused, and was asked for", () => patched(noOpfs(), () => load(big, { cache: "opfs" })), ["unsupported", /^cache "opfs": this browser or page has none$/]],
  ["storage", "the disk is full from the start", () => patched(fullAfter(0), () => load(big)), BIG],
  ["storage", "the disk is full in mid-download", () => patched(fullAfter(3e6), () => load(big)), BIG],
  ["storage", "the disk is full in mid-download, and the place was asked for", () => patched(fullAfter(3e6), () => load(big, { cache: "opfs" })), ["memory", /^model\.safetensors: cannot be kept: \d+ bytes more than this site may store/]],
  ["storage", "what is kept cannot be read", async () => {
    await load(big);
    return patched([[FileSystemFileHandle.prototype, "getFile", refusing("NotReadableError")]], () => load(big));
  }, BIG],
  ["storage", "locks are refused", () => patched([[LockManager.prototype, "request", refusing("SecurityError")]], () => load(big)), BIG],
  ["storage", "a checkpoint where the private file system is refused", () => patched(noOpfs(), () => trained({ checkpoint: "a" })), ["unsupported", /^checkpoint `a`: the origin private file system refuses: refused$/]],

  ["device", "there is no WebGPU, and it was asked for", () => patched([[navigator, "gpu", undefined]], () => load(small, { device: "webgpu" })), ["unsupported", /^no WebGPU: /]],
  ["device", "there is no WebGPU", () => patched([[navigator, "gpu", undefined]], () => load(small, { device: "auto" })), SMALL],
  ["device", "there is no adapter", () => patched([[navigator.gpu, "requestAdapter", async () => null]], () => load(small, { device: "auto" })), SMALL],
  ["device", "the adapter gives no device", () => patched([[GPUAdapter.prototype, "requestDevice", refusing("OperationError")]], () => load(small, { device: "auto" })), SMALL],
  ["device", "the device is lost in mid-text", async () => {
    const devices = [];
    const { requestDevice } = GPUAdapter.prototype;
    const gpu = await patched([[GPUAdapter.prototype, "requestDevice", async function (...args) {
      devices.push(await requestDevice.apply(this, args));
      return devices.at(-1);
    }]], () => open(small, { device: "webgpu" }));
    try {
      for await (const _ of gpu.completions.create({ prompt: [1, 2, 3], max_tokens: 20, temperature: 0, stream: true })) devices.at(-1).destroy();
    } finally {
      await gpu.recover();
      if ((await text(gpu)) !== (await text(engine))) throw new Error("another text after it is recovered");
      await gpu.dispose();
    }
  }, ["device", /^WebGPU device/]],
  ["device", "the engine's worker does not start", () => load(small, { worker: new Worker("data:text/javascript,throw new Error('no')") }), ["unsupported", /^the engine's worker did not start: /]],

  ["memory", "a context longer than there is room for", async () => {
    const config = { ...(await (await fetch(`${small}config.json`)).json()), max_position_embeddings: 2 ** 20 };
    return load(await parts({ "config.json": new Blob([JSON.stringify(config)]) }), { contextLength: 2 ** 20, batch: 128 });
  }, ["memory", /would fit/]],
  ["memory", "an adapter to train does not fit into what the caller allows", () => trained({ rank: 64, memoryLimit: engine.info.memoryBytes + 1_500_000 }), ["memory", /^training adapter `x`: \d+ bytes .+; a rank of \d+ would fit$/]],
  ["memory", "a temporary adapter does not fit into what the caller allows", () => engine.createTempLora({ rank: 64, chunkTokens: 8, contextTokens: 8, memoryLimit: engine.info.memoryBytes + 1_500_000 }), ["memory", /^training adapter `temp`: \d+ bytes .+; a rank of \d+ would fit$/]],
  ["memory", "there is no room for a checkpoint", () => patched(fullAfter(0), () => trained({ checkpoint: "a", checkpointEvery: 1, epochs: 3 })).finally(() => engine.deleteAdapter("x")), ["memory", /^checkpoint `a`: .+The disk is full\.$/]],

  ["input", "the weights are a Git LFS pointer", async () => load(await parts({ "model.safetensors": new Blob([`version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 239104\n`]) })), ["format", /^weights\[0\]: .*a Git LFS pointer, not the file/]],
  ["input", "a GGUF is a web page", () => load(new Blob(["<!doctype html><html><title>Sign in</title></html>"])), ["format", /^model\.gguf: .*a web page, not the file/]],
  ["input", "the weights are cut", (url) => load(`${url}truncated/`), ["format", /^model\.safetensors: .*byte/]],
  ["input", "config.json is no JSON", async () => load(await parts({ "config.json": new Blob(["{"]) })), ["format", /^config\.json: /]],
  ["input", "the architecture is unknown", async () => load(await parts({ "config.json": new Blob(['{"model_type": "mamba", "architectures": ["MambaModel"]}']) })), ["unsupported", /^config\.json: model_type `mamba`, expected one of llama/]],
  ["input", "an adapter is of another model", () => engine.loadAdapter("/test/adapters/llama/NEG-wrong-base"), ["mismatch", /expected/]],
  ["input", "an adapter's weights are a file of a folder behind a blob: URL", async () => engine.loadAdapter(URL.createObjectURL(await (await fetch("/test/adapters/llama/qv/adapter_model.safetensors")).blob())), ["argument", /^adapter: one file of a folder, expected all of them/]],
  ["input", "the prompt is longer than the context", () => engine.completions.create({ prompt: Array(64).fill(1), max_tokens: 1 }), ["argument", /context/]],
  ["input", "a token is none of the vocabulary's", () => engine.completions.create({ prompt: [1, 99_999], max_tokens: 1 }), ["argument", /99999/]],
  ["input", "a weight is no number", async () => {
    const weights = new Uint8Array(await (await fetch(`${small}model.safetensors`)).arrayBuffer()).fill(255, -4);
    return load(await parts({ "model.safetensors": new Blob([weights]) }));
  }, ["format", /tensor `[a-z_.0-9]+`: .*(NaN|infinite)/]],
];

test("there are forty faults: 12 of the network, 8 of storage, 6 of devices, 4 of memory, 10 of input", () => {
  const counts = {};
  for (const [area, name] of ROWS) (counts[area] ??= new Set()).add(name);
  assert.deepEqual(Object.entries(counts).map(([area, names]) => [area, names.size]), [["network", 12], ["storage", 8], ["device", 6], ["memory", 4], ["input", 10]]);
});

for (const [area, name, run, comes, misbehave] of ROWS) {
  const told = typeof comes === "string" ? comes : comes[0];
  test(`${area}: ${name}: ${told}`, async () => {
    downloads.reset();
    if (comes === BIG || misbehave) await page.evaluate(() => clear());
    misbehave?.();
    const outcome = await page.evaluate(async ([run, url]) => {
      try {
        return { text: await (0, eval)(run)(url) };
      } catch (error) {
        return error instanceof lorakeet.LorakeetError ? { kind: error.kind, message: error.message } : { untyped: String(error) };
      }
    }, [`(${run})`, faults.url]);
    if (comes === SMALL) assert.deepEqual(outcome, { text: expected.small });
    else if (comes === BIG) assert.deepEqual(outcome, { text: expected.big });
    else {
      assert.equal(outcome.kind, comes[0], JSON.stringify(outcome));
      assert.match(outcome.message, comes[1]);
    }
    // The next call, of the engine that was there, which has nothing of what failed; and a new load.
    downloads.reset();
    const next = await page.evaluate(async (usesBig) => ({
      same: await text(engine), anew: await load(usesBig ? big : small), adapters: await engine.listAdapters(),
    }), Boolean(misbehave));
    assert.deepEqual(next, { same: expected.small, anew: misbehave ? expected.big : expected.small, adapters: [] });
  });
}
