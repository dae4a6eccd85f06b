// A GPU that refuses: its own limits, or more memory. Both are answers, and what there was goes on.
// What is allocated when is tests/rust/memory.rs's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openApi, start } from "./browser.mjs";

/** Counts the bytes of buffers; past `cap` error scopes tell that memory is out. Devices refuse as `refuse` says. */
const PATCH = `
  globalThis.gpu = { held: 0, cap: Infinity, refuse: () => false, asked: [] };
  const { createBuffer, popErrorScope, pushErrorScope } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    gpu.held += buffer.size;
    const destroy = buffer.destroy.bind(buffer);
    let alive = true;
    buffer.destroy = () => {
      if (alive) gpu.held -= buffer.size;
      alive = false;
      destroy();
    };
    return buffer;
  };
  const filters = [];
  GPUDevice.prototype.pushErrorScope = function (filter) {
    filters.push(filter);
    pushErrorScope.call(this, filter);
  };
  GPUDevice.prototype.popErrorScope = function () {
    const isOut = filters.pop() === "out-of-memory" && gpu.held > gpu.cap;
    const told = popErrorScope.call(this);
    return isOut ? told.then(() => new GPUOutOfMemoryError("no more")) : told;
  };
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    gpu.asked.push(descriptor.requiredLimits.maxBufferSize);
    if (gpu.refuse(descriptor)) throw new DOMException("these limits are not to be had", "OperationError");
    return requestDevice.call(this, descriptor);
  };
`;

let browser, page;
before(async () => {
  browser = await start();
  page = await openApi(browser);
  await page.evaluate((script) => {
    (0, eval)(script);
    const source = Object.fromEntries(Object.entries({ config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" })
      .map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    globalThis.open = (options) => lorakeet.createEngine(source, { device: "webgpu", contextLength: 64, batch: 4, worker: false, ...options });
    globalThis.text = async (engine, adapter) => {
      const { choices } = await engine.completions.create({ prompt: [5, 90, 17], max_tokens: 20, temperature: 0, adapter });
      return choices[0].token_ids;
    };
  }, PATCH);
});
after(() => browser?.close());

test("a device that refuses the adapter's own limits is asked for the default ones", async () => {
  const { asked, tokens } = await page.evaluate(async () => {
    gpu.refuse = ({ requiredLimits }) => requiredLimits.maxBufferSize > 2 ** 28;
    gpu.asked = [];
    const engine = await open();
    const tokens = await text(engine);
    await engine.dispose();
    gpu.refuse = () => false;
    return { asked: gpu.asked, tokens };
  });
  assert.equal(asked.length, 2);
  assert.ok(asked[0] > asked[1], `${asked}`);
  assert.equal(asked[1], 2 ** 28);
  assert.equal(tokens.length, 20);
});

test("a device that refuses every limit is an error of kind device", async () => {
  const error = await page.evaluate(async () => {
    gpu.refuse = () => true;
    const error = await failure(() => open());
    gpu.refuse = () => false;
    return error;
  });
  assert.equal(error.kind, "device");
  assert.match(error.message, /these limits are not to be had/);
});

test("a model that does not fit the GPU is refused before its weights are fetched", async () => {
  const { error, fetched } = await page.evaluate(async () => {
    gpu.cap = gpu.held + 1000;
    performance.clearResourceTimings();
    const error = await failure(() => open());
    const fetched = performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith("model.safetensors"));
    gpu.cap = Infinity;
    return { error, fetched };
  });
  assert.deepEqual(error, { kind: "memory", message: "WebGPU device: out of memory" });
  assert.deepEqual(fetched, []);
});

test("what does not fit the GPU leaves everything as it was", async () => {
  const said = await page.evaluate(async () => {
    const engine = await open();
    let lost;
    void engine.lost().then((loss) => (lost = loss));
    const adapter = { qv: 0.8 };
    await engine.loadAdapter("/test/adapters/llama/qv/");
    const texts = async () => [await text(engine, null), await text(engine, adapter)];
    const before = await texts();
    const held = gpu.held;
    gpu.cap = held + 2000; // results are read back, nothing more
    const training = async () => {
      for await (const _ of engine.trainAdapter({ name: "me", dataset: "abc def ".repeat(8), rank: 64, maxLength: 24 }));
    };
    const errors = [
      await failure(() => engine.loadAdapter("/test/adapters/llama/all-linear/")),
      await failure(() => engine.loadAdapter("/test/gguf/llama-all-linear.gguf")),
      await failure(training),
      await failure(() => engine.createTempLora({ rank: 64, chunkTokens: 10, contextTokens: 12 })),
    ];
    const names = (await engine.listAdapters()).map(({ name }) => name);
    gpu.cap = Infinity;
    const after = await texts();
    await training();
    const loaded = (await engine.listAdapters()).map(({ name }) => name);
    await engine.dispose();
    return { before, after, errors, names, loaded, lost: lost ?? null };
  });
  for (const error of said.errors) {
    assert.equal(error.kind, "memory", error.message);
    assert.match(error.message, /WebGPU device: out of memory/);
  }
  assert.deepEqual(said.names, ["qv"]);
  assert.deepEqual(said.after, said.before);
  assert.notDeepEqual(said.before[0], said.before[1]);
  assert.deepEqual(said.loaded, ["qv", "me"]);
  assert.equal(said.lost, null);
});
