// Loading: every kind of source, progress, memory, cancelling, and files that are not what they should be.
// Servers that fail are faults.test.mjs's.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures, openApi, start } from "./browser.mjs";
import { zeroModel } from "./weights.mjs";

let browser, page;
before(async () => {
  browser = await start();
  page = await openApi(browser);
  await page.evaluate(() => {
    globalThis.blob = async (name) => (await fetch(`/test/fixtures/llama/${name}`)).blob();
    /** Loads, draws five tokens, disposes. */
    globalThis.attempt = async (source, options) => {
      const engine = await lorakeet.createEngine(source, { device: "cpu", ...options });
      const { choices, model } = await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 5, temperature: 0 });
      await engine.dispose();
      return [model, choices[0].token_ids.join()];
    };
  });
});
after(() => browser?.close());

test("every source gives the same model", async () => {
  const results = await page.evaluate(async () => {
    const folder = "/test/fixtures/llama";
    const names = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];
    const files = await Promise.all(names.map(async (name) => new File([await blob(name)], name)));
    const [config, generationConfig, tokenizer, weights] = files;
    const bytes = async (file) => new Uint8Array(await file.arrayBuffer());
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    const root = await navigator.storage.getDirectory();
    const directory = await root.getDirectoryHandle("chosen", { create: true });
    await directory.getDirectoryHandle("onnx", { create: true });
    for (const file of files) {
      const writable = await (await directory.getFileHandle(file.name, { create: true })).createWritable();
      await writable.write(file);
      await writable.close();
    }
    return [
      await attempt(folder),
      await attempt(`${folder}/`),
      await attempt("../llama"),
      await attempt(`${folder}/?token=1`),
      await attempt(new URL(`${folder}/`, location.href)),
      await attempt(transfer.files),
      await attempt(files),
      await attempt(new Set(files)),
      await attempt({ config, tokenizer, weights, generationConfig }),
      await attempt({ config: await bytes(config), tokenizer: `${folder}/tokenizer.json`, weights: [new URL(`${folder}/model.safetensors`, location.href)] }),
      await attempt(directory),
      await attempt({ config: await config.arrayBuffer(), tokenizer: await directory.getFileHandle("tokenizer.json"), weights: [weights.stream()] }),
      await attempt({ config: config.stream(), tokenizer, weights: weights.stream() }, { worker: false }),
    ];
  });
  const models = ["llama", "llama", "llama", "llama", "llama", "model", "model", "model", "model", "model", "chosen", "model", "model"];
  assert.deepEqual(results.map(([model]) => model), models);
  assert.equal(new Set(results.map(([, ids]) => ids)).size, 1);
  assert.equal(results[0][1].split(",").length, 5);
});

test("weights in several files come from their index, or as a list", async () => {
  const [indexed, listed, progress] = await page.evaluate(async () => {
    const folder = "/test/fixtures/llama-tied/";
    const weights = [1, 2].map((i) => `${folder}model-0000${i}-of-00002.safetensors`);
    const progress = [];
    const indexed = await attempt(folder, { onProgress: (each) => progress.push(each) });
    return [indexed, await attempt({ config: `${folder}config.json`, tokenizer: `${folder}tokenizer.json`, weights }), progress];
  });
  assert.equal(indexed[1], listed[1]);
  const total = [1, 2].reduce((sum, i) => sum + readFileSync(join(fixtures, `llama-tied/model-0000${i}-of-00002.safetensors`)).length, 0);
  checkProgress(progress, total);
});

test("progress only grows, and ends at the size of the weights", async () => {
  const progress = await page.evaluate(async () => {
    const progress = [];
    await attempt("/models/demo/", { onProgress: (each) => progress.push(each) });
    return progress;
  });
  checkProgress(progress, readFileSync(join(fixtures, "../../../www/models/demo/model.safetensors")).length);
});

function checkProgress(progress, total) {
  assert.ok(progress.length > 10);
  assert.deepEqual(progress[0], { loaded: 0, total, phase: "download" });
  assert.deepEqual(progress.at(-1), { loaded: total, total, phase: "ready" });
  for (const [i, each] of progress.entries()) {
    assert.equal(each.total, total);
    const phases = ["download", "verify"];
    assert.ok(i === progress.length - 1 ? each.phase === "ready" : i === progress.length - 2 ? each.phase === "compile" : phases.includes(each.phase), each.phase);
    assert.ok(i === 0 || each.loaded >= progress[i - 1].loaded);
  }
}

test("cancelling at any point is `cancelled`, and the next load succeeds", async () => {
  const { errors, last } = await page.evaluate(async () => {
    const errors = [];
    errors.push(await failure(() => attempt("/models/demo/", { signal: AbortSignal.abort() })));
    const late = new AbortController();
    errors.push(await failure(() => attempt("/models/demo/", { signal: late.signal, worker: false, onProgress: ({ phase }) => phase === "ready" && late.abort() })));
    // Between two pieces of the weights, early and late; and while the small files are fetched.
    for (const at of [0, 0.5, 0.99]) {
      const abort = new AbortController();
      const onProgress = ({ loaded, total }) => loaded >= at * total && abort.abort();
      errors.push(await failure(() => attempt("/models/demo/", { signal: abort.signal, onProgress })));
    }
    for (const device of ["cpu", "webgpu"]) {
      const abort = new AbortController();
      const loading = failure(() => attempt("/models/demo/", { device, signal: abort.signal }));
      abort.abort();
      errors.push(await loading);
    }
    return { errors, last: await attempt("/models/demo/") };
  });
  for (const error of errors) assert.deepEqual(error, { kind: "cancelled", message: "loading the model was cancelled" });
  assert.equal(last[0], "demo");
});

test("an exception in onProgress is the caller's own", async () => {
  const message = await page.evaluate(() => attempt("/models/demo/", { onProgress: () => { throw new TypeError("mine"); } }).catch((error) => `${error.name} ${error.message}`));
  assert.equal(message, "TypeError mine");
});

test("wrong sources and options say what is wrong", async () => {
  const errors = await page.evaluate(async () => {
    const part = async (name, edit) => new File([edit(await (await blob(name)).text())], name);
    const same = (text) => text;
    const files = async (edits) => Promise.all(["config.json", "tokenizer.json", "model.safetensors"].map(async (name) => (edits[name] ? part(name, edits[name]) : new File([await blob(name)], name))));
    const edit = (change) => (text) => JSON.stringify({ ...JSON.parse(text), ...change });
    const calls = {
      path: () => attempt("models/demo/"),
      bare: () => attempt("model"),
      nothing: () => attempt(undefined),
      object: () => attempt({ config: new Blob() }),
      part: () => attempt({ config: 5, tokenizer: new Blob(), weights: [] }),
      notFiles: () => attempt(["a"]),
      noFiles: () => attempt([]),
      absent: () => attempt("/test/nothing/"),
      option: () => attempt("/models/demo/", { contextLenght: 5 }),
      device: () => attempt("/models/demo/", { device: "gpu" }),
      context: () => attempt("/models/demo/", { contextLength: 0.5 }),
      options: () => lorakeet.createEngine("/models/demo/", null),
      signal: () => attempt("/models/demo/", { signal: new AbortController() }),
      json: async () => attempt(await files({ "config.json": () => "{" })),
      architecture: async () => attempt(await files({ "config.json": edit({ model_type: "mamba", architectures: ["MambaModel"] }) })),
      shape: async () => attempt(await files({ "config.json": edit({ hidden_size: 48 }) })),
      layers: async () => attempt(await files({ "config.json": edit({ num_hidden_layers: 4 }) })),
      vocabulary: async () => attempt(await files({ "config.json": edit({ vocab_size: 299 }) })),
      tokenizer: async () => attempt(await files({ "tokenizer.json": () => "[]" })),
      notWeights: async () => attempt(await files({ "model.safetensors": () => "version https://git-lfs.github.com/spec/v1\n" })),
    };
    const errors = {};
    for (const [name, call] of Object.entries(calls)) errors[name] = await failure(call);
    return errors;
  });
  const id = "expected a hub id (`org/name`, `org/name@revision`, `org/name/file.gguf` or, of a model, `org/name:Q4_K_M`; the option `subfolder` names a folder in it), or a URL that begins with `./`, `/` or `https:`";
  assert.deepEqual(errors, {
    path: { kind: "argument", message: `model "models/demo/", ${id}` },
    bare: { kind: "argument", message: `model "model", ${id}` },
    nothing: { kind: "argument", message: "model undefined, expected a hub id, a URL, files, or {config, tokenizer, weights}" },
    object: { kind: "argument", message: 'model {"config":{}}, expected a hub id, a URL, files, or {config, tokenizer, weights}' },
    part: { kind: "argument", message: "config.json 5, expected a Blob, bytes, a stream, a file handle or a URL" },
    notFiles: { kind: "argument", message: 'model "a", expected a File' },
    noFiles: { kind: "argument", message: "config.json: not among the 0 files given" },
    absent: { kind: "network", message: errors.absent.message }, // of the file whose answer came first
    option: { kind: "argument", message: "option `contextLenght`: unknown, did you mean `contextLength`? Expected one of device, contextLength, batch, dtype, kvDtype, exact, threads, maxQueue, streamIdleTimeout, chatTemplate, cache, signal, onProgress, wasmUrl, threadsWasmUrl, chatWasmUrl, grammarWasmUrl, worker, revision, subfolder, token, hubUrl" },
    device: { kind: "argument", message: 'device `gpu`, expected auto, webgpu or cpu' },
    context: { kind: "argument", message: "contextLength 0.5, expected a whole number, at least 0" },
    options: { kind: "argument", message: "options null, expected an object" },
    signal: { kind: "argument", message: "signal {}, expected an AbortSignal" },
    json: { kind: "format", message: "config.json: the file ends after 1 bytes: a download that was cut short" },
    architecture: { kind: "unsupported", message: errors.architecture.message }, // its list grows
    shape: { kind: "mismatch", message: "model.safetensors: tensor `lm_head.weight`: shape [300, 42], expected [300, 48]" },
    layers: { kind: "mismatch", message: "tensor `model.layers.3.input_layernorm.weight` is missing, and 8 more" },
    vocabulary: { kind: "mismatch", message: "tokenizer: 300 tokens, expected at most the model's vocab_size 299" },
    tokenizer: { kind: "format", message: errors.tokenizer.message }, // serde's words
    notWeights: { kind: "format", message: "model.safetensors: a Git LFS pointer, not the file it stands for: get that with `git lfs pull`, or download it" },
  });
  assert.match(errors.architecture.message, /^config\.json: model_type `mamba`, expected one of llama, /);
  assert.match(errors.tokenizer.message, /^tokenizer/);
  const absent = ["config.json", "tokenizer.json"].map((name) => `${name}: not found, ${browser.url}test/nothing/${name}`);
  assert.ok(absent.includes(errors.absent.message), errors.absent.message);
});

test("without WebGPU, auto goes on with the CPU and says why", async () => {
  const fresh = await openApi(browser);
  const reason = "no WebGPU: `navigator.gpu` is missing in this browser, or the page is not served over https";
  const [auto, error] = await fresh.evaluate(async () => {
    Object.defineProperty(navigator, "gpu", { value: undefined });
    const engine = await lorakeet.createEngine("/models/demo/", { worker: false });
    return [[engine.device, engine.fallbackReason], await failure(() => lorakeet.createEngine("/models/demo/", { device: "webgpu", worker: false }))];
  });
  assert.deepEqual(auto, ["cpu", reason]);
  assert.deepEqual(error, { kind: "unsupported", message: reason });
  await fresh.close();
});

test("where there is no adapter, auto goes on with the CPU and says why", async () => {
  const fresh = await openApi(browser);
  const [device, reason] = await fresh.evaluate(async () => {
    navigator.gpu.requestAdapter = async () => null;
    const engine = await lorakeet.createEngine("/models/demo/", { worker: false });
    return [engine.device, engine.fallbackReason];
  });
  assert.equal(device, "cpu");
  assert.equal(reason, "no WebGPU: the browser offers no GPU on this machine");
  await fresh.close();
});

test("the module can be elsewhere, and its absence is no end", async () => {
  const fresh = await openApi(browser);
  const [error, device] = await fresh.evaluate(async () => {
    const error = await failure(() => lorakeet.createEngine("/models/demo/", { wasmUrl: "/nowhere.wasm" }));
    const engine = await lorakeet.createEngine("/models/demo/", { device: "cpu", wasmUrl: new URL("/dist/wasm/lorakeet_bg.wasm", location.href) });
    return [error, engine.device];
  });
  assert.deepEqual(error, { kind: "network", message: "the WebAssembly module: HTTP 404, /nowhere.wasm" });
  assert.equal(device, "cpu");
  await fresh.close();
});

test("in a worker it is the same", async () => {
  const [device, ids] = await page.evaluate(async () => {
    const script = `
      import { createEngine } from "${location.origin}/dist/index.js";
      const engine = await createEngine("${location.origin}/test/fixtures/llama");
      const { choices } = await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 5, temperature: 0 });
      postMessage([engine.device, choices[0].token_ids.join()]);`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
    const reply = await new Promise((done, failed) => {
      worker.onmessage = ({ data }) => done(data);
      worker.onerror = (event) => failed(new Error(event.message));
    });
    worker.terminate();
    return reply;
  });
  assert.equal(device, "webgpu");
  assert.deepEqual(ids, (await page.evaluate(() => attempt("/test/fixtures/llama")))[1]);
});

test("importing does nothing, and works where there is no page", async () => {
  const before = Object.keys(globalThis);
  const lorakeet = await import("../../dist/index.js");
  assert.deepEqual(Object.keys(lorakeet), ["LorakeetError", "benchGpu", "createEngine", "models", "saveAdapter"]);
  assert.deepEqual(Object.keys(globalThis), before);
  await assert.rejects(lorakeet.createEngine("./model/"), {
    name: "LorakeetError",
    kind: "network",
    message: /^config\.json: not found, file:.*\/model\/config\.json$/, // relative to the program's folder
  });
});

test("a lost device is `device`, and a new engine works", async () => {
  const own = await start(); // every device of this browser is lost
  try {
    const page = await openApi(own);
    await page.evaluate(async () => {
      globalThis.engine = await lorakeet.createEngine("/models/demo/", { device: "webgpu" });
      globalThis.write = async (max_tokens) => (await engine.completions.create({ prompt: "The old man", temperature: 1, seed: 1, max_tokens })).usage.completion_tokens;
      globalThis.long = failure(() => new Promise((_, failed) => {
        (async () => { for (;;) await write(400); })().catch(failed);
      }));
      await write(3);
    });
    await own.crashGpu();
    const errors = await page.evaluate(async () => [await long, await failure(() => write(3))]);
    for (const error of errors) {
      assert.equal(error.kind, "device");
      assert.match(error.message, /^WebGPU device/);
    }
    const tokens = await page.evaluate(async () => {
      await engine.dispose();
      engine = await lorakeet.createEngine("/models/demo/", { device: "webgpu" });
      return write(3);
    });
    assert.equal(tokens, 3);
  } finally {
    await own.close();
  }
});

test("a model loaded and disposed ten times takes the memory of one", async () => {
  const fresh = await openApi(browser);
  const grown = await fresh.evaluate(async () => {
    const { default: init } = await import("/dist/wasm/lorakeet.js");
    const sizes = [];
    for (let i = 0; i < 10; i++) {
      const engine = await lorakeet.createEngine("/models/demo/", { device: "cpu", worker: false });
      for await (const _ of engine.completions.create({ prompt: "Now", stream: true })) break;
      await engine.dispose();
      sizes.push((await init()).memory.buffer.byteLength);
    }
    return sizes.at(-1) - sizes[2]; // by then its pieces have found their places
  });
  assert.equal(grown, 0);
  await fresh.close();
});

test("loading to WebGPU takes little memory of its own", async () => {
  const { config, head, dataBytes, largestBytes } = zeroModel({ C: 512, F: 2048, L: 12, V: 16_000 });
  assert.ok(dataBytes > 2 * (largestBytes + (64 << 20)), "a model too small to show anything");
  const tokenizer = readFileSync(join(fixtures, "llama/tokenizer.json"));
  const server = createServer(async (request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    if (request.url === "/config.json") return response.end(JSON.stringify(config));
    if (request.url === "/tokenizer.json") return response.end(tokenizer);
    if (request.url !== "/model.safetensors") return response.writeHead(404).end();
    response.setHeader("content-length", head.length + dataBytes);
    response.write(head);
    const zeros = Buffer.alloc(1 << 20);
    for (let left = dataBytes; left > 0; left -= zeros.length) {
      const part = zeros.subarray(0, left);
      if (!response.write(part)) await new Promise((drained) => response.once("drain", drained));
    }
    response.end();
  });
  await new Promise((done) => server.listen(0, "localhost", done));
  const growth = async (device) => {
    const fresh = await openApi(browser);
    const grown = await fresh.evaluate(async ({ url, device }) => {
      const { default: init } = await import("/dist/wasm/lorakeet.js");
      await (await lorakeet.createEngine("/test/fixtures/llama", { device, worker: false })).dispose();
      const { memory } = await init(); // the module in use
      const before = memory.buffer.byteLength;
      const engine = await lorakeet.createEngine(url, { device, worker: false, contextLength: 16, batch: 1 });
      const grown = memory.buffer.byteLength - before;
      await engine.dispose();
      return grown;
    }, { url: `http://localhost:${server.address().port}/`, device });
    await fresh.close();
    return grown;
  };
  try {
    const grown = await growth("webgpu");
    console.log(`grown by ${grown >> 20} MiB for ${dataBytes >> 20} MiB of weights, largest tensor ${largestBytes >> 20} MiB`);
    assert.ok(grown < largestBytes + (64 << 20), `${grown} bytes`);
    assert.ok((await growth("cpu")) > dataBytes, "what should hold the weights is not seen to");
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
