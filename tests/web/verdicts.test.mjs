// A GPU that computes wrongly: told at load by the kernel's name, once, and kept.
// The answers themselves are tests/rust/known_answers.rs's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openApi, root, start } from "./browser.mjs";

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

/** A page in storage of its own. `broken` gives [kernel, from, to]: what the browser's compiler makes of its source. */
async function openPage(context, broken) {
  const page = await openApi(browser, context);
  await page.evaluate((broken) => {
    globalThis.compiled = [];
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function ({ code, ...rest }) {
      compiled.push(rest.label);
      if (rest.label === broken?.[0]) {
        if (!code.includes(broken[1])) throw new Error(`no ${broken[1]} in ${rest.label}`);
        code = code.replace(broken[1], broken[2]);
      }
      return createShaderModule.call(this, { ...rest, code });
    };
    globalThis.dispatches = 0;
    const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
    GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...args) {
      dispatches++;
      return dispatchWorkgroups.apply(this, args);
    };
    const source = Object.fromEntries(Object.entries({ config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" })
      .map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    globalThis.open = (device) => lorakeet.createEngine(source, { device, contextLength: 64, batch: 2, worker: false });
  }, broken);
  return page;
}

for (const broken of [["attention", "* params.scale", "* 1.5"], ["norm", "weight[c / 4u][c % 4u]", "1.0"]]) {
  test(`a GPU on which ${broken[0]} is wrong is not used, and that is remembered`, async () => {
    const context = await browser.newContext();
    const page = await openPage(context, broken);
    const words = new RegExp(`kernel \`${broken[0]}\` over f32 gives wrong numbers on this GPU`);
    const failed = await page.evaluate(() => failure(() => open("webgpu")));
    assert.equal(failed.kind, "device");
    assert.match(failed.message, words);
    // Another page of the site asks no GPU, although its compiler is right.
    const later = await openPage(context);
    const found = await later.evaluate(async () => {
      const engine = await open("auto");
      const { choices } = await engine.completions.create({ prompt: [5, 90, 17], max_tokens: 3, temperature: 0 });
      const result = { device: engine.device, reason: engine.fallbackReason, tokens: choices[0].token_ids.length, dispatches };
      await engine.dispose();
      return result;
    });
    assert.match(found.reason, words);
    assert.deepEqual({ ...found, reason: "" }, { device: "cpu", reason: "", tokens: 3, dispatches: 0 });
    await context.close();
  });
}

test("each kernel is tried once in a browser, and compiled once for a device", async () => {
  const context = await browser.newContext();
  const tried = [];
  for (let visit = 0; visit < 2; visit++) {
    const page = await openPage(context);
    tried.push(await page.evaluate(async () => {
      const began = performance.now();
      const engine = await open("webgpu");
      const result = { ms: performance.now() - began, dispatches, compiled: [...compiled], reason: engine.fallbackReason };
      for await (const _ of engine.trainAdapter({ name: "me", dataset: "abc def ghi jkl ", rank: 4, maxLength: 12, epochs: 1, learningRate: 1e-2 })) break;
      result.all = [...compiled];
      await engine.dispose();
      return result;
    }));
  }
  const [first, second] = tried;
  console.log(`loads: ${first.ms.toFixed(0)} ms, then ${second.ms.toFixed(0)} ms; ${first.dispatches} tried`);
  assert.equal(first.dispatches, first.compiled.length, "every kernel that was compiled was tried");
  assert.equal(second.dispatches, 0, "a later load tries none");
  for (const { all, reason } of tried) {
    assert.equal(reason, undefined);
    assert.equal(new Set(all).size, all.length, "no kernel is compiled twice");
    assert.ok(all.includes("linear_grad"));
  }
  await context.close();
});

test("verdicts are those of this version of the package", async () => {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const context = await browser.newContext();
  const page = await openPage(context);
  const keys = await page.evaluate(async () => {
    await (await open("webgpu")).dispose();
    const cache = await caches.open("lorakeet-kernels");
    return (await cache.keys()).map(({ url }) => decodeURIComponent(url.slice(url.lastIndexOf("/") + 1)).split("\n"));
  });
  assert.equal(keys.length, 1);
  assert.equal(keys[0][0], version);
  assert.equal(keys[0][1], await page.evaluate(() => navigator.userAgent));
  await context.close();
});
