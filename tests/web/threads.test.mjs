// Threads of the CPU, in a page that is cross-origin isolated and in one that is not: how many there are, that they
// compute the same, and that they end; and what happens where they do not start, or fail.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ISOLATED } from "../../tools/serve.mjs";
import { openApi, root, sources, start } from "./browser.mjs";

/** Packages of which a file is missing, or another one: below these paths. */
const MISSING = { "/no-worker/": "worker-threads.js", "/no-thread/": "thread/pool-thread.js", "/no-module/": "wasm/lorakeet_threads_bg.wasm" };
const TRAPPING = "/trapping/";

let folder, isolated, plain;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "threads-"));
  const copy = (path) => {
    cpSync(join(root, "dist"), join(folder, path), { recursive: true });
    return join(folder, path);
  };
  for (const [path, file] of Object.entries(MISSING)) rmSync(join(copy(path), file));
  // Its threads end as one does whose instance traps.
  const glue = join(copy(TRAPPING), "wasm/lorakeet_threads.js");
  const text = readFileSync(glue, "utf8");
  const trapping = text.replace(/(function serveThread\(\)\{)/, `$1throw new WebAssembly.RuntimeError("unreachable");`);
  assert.notEqual(trapping, text);
  writeFileSync(glue, trapping);
  const packages = Object.fromEntries([...Object.keys(MISSING), TRAPPING].map((path) => [path, join(folder, path)]));
  [isolated, plain] = await Promise.all([start({ ...sources(), ...packages }, ISOLATED), start()]);
});
after(async () => {
  await Promise.all([isolated?.close(), plain?.close()]);
  rmSync(folder, { recursive: true, force: true });
});

/** A page of a browser, with `open(options)` for an engine of the CPU, of the package at `path`; and the paths that it fetches. */
async function openPage(browser, path = "/dist/") {
  const page = await openApi(browser, await browser.newContext());
  page.fetched = [];
  page.context().on("request", (request) => page.fetched.push(new URL(request.url()).pathname));
  await page.evaluate(async (path) => {
    globalThis.lorakeet = await import(`${path}index.js`);
    globalThis.open = (options) => lorakeet.createEngine("/models/demo/", { device: "cpu", contextLength: 256, ...options });
  }, path);
  return page;
}

/** A prompt of so many tokens that threads share it. */
const LONG = "The old man and the sea, and the fox, and the hen. ".repeat(8);

/** What an engine computes with so many threads: texts, logits, a training loss, the adapter it leads to. */
function computed(page, threads) {
  return page.evaluate(async ({ threads, long }) => {
    const engine = await open({ threads, dtype: "q8" });
    const { choices } = await engine.completions.create({ prompt: [long, "A fox"], max_tokens: 24, temperature: 0 });
    const drawn = await engine.completions.create({ prompt: "The old man", max_tokens: 24, temperature: 1, seed: 3 });
    const logits = (await engine.logits(await engine.tokenize(long))).at(-1);
    const losses = [];
    for await (const { loss } of engine.trainAdapter({ name: "me", dataset: "The fox ran home. The hen ran too. ".repeat(9), rank: 4, epochs: 2, seed: 1 })) losses.push(loss);
    const files = await engine.exportAdapter("me");
    const bytes = [...new Uint8Array(await files.at(-1).arrayBuffer())];
    const { info } = engine;
    await engine.dispose();
    return { threads: info.threads, same: JSON.stringify([choices.map(({ text }) => text), drawn.choices[0].text, [...logits], losses, bytes]) };
  }, { threads, long: LONG });
}

test("threads compute what one computes", async () => {
  const page = await openPage(isolated);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  const alone = await computed(page, 1);
  assert.equal(alone.threads, 1);
  assert.ok(!page.fetched.some((path) => path.includes("threads")), "one thread needs no other module");
  for (const threads of [2, 4]) {
    const together = await computed(page, threads);
    assert.equal(together.threads, threads);
    assert.equal(together.same, alone.same);
  }
  assert.ok(page.fetched.includes("/dist/wasm/lorakeet_threads_bg.wasm"));
  await page.context().close();
});

test("a page that is not isolated, an own worker, the page's thread, and WebGPU have one", async () => {
  const [page, other] = [await openPage(plain), await openPage(isolated)];
  const threads = (page, work) => page.evaluate(work);
  const counts = [
    await threads(page, async () => (await open({ threads: 4 })).info.threads),
    await threads(other, async () => (await open({ threads: 4, worker: false })).info.threads),
    await threads(other, async () => (await open({ threads: 4, worker: new Worker("/dist/worker.js", { type: "module" }) })).info.threads),
    await threads(other, async () => (await open({ device: "webgpu" })).info.threads),
  ];
  assert.deepEqual(counts, [1, 1, 1, 1]);
  for (const { fetched } of [page, other]) assert.ok(!fetched.some((path) => path.includes("threads")));
  await Promise.all([page.context().close(), other.context().close()]);
});

test("by default there are half as many as the processor has", async () => {
  const page = await openPage(isolated);
  const [threads, cores] = await page.evaluate(async () => [(await open()).info.threads, navigator.hardwareConcurrency]);
  assert.ok(threads === Math.min(Math.ceil(cores / 2), 8), `${threads} threads of ${cores} cores`);
  await page.context().close();
});

test("`threads` is a whole number from 1 to 8", async () => {
  const page = await openPage(isolated);
  for (const threads of [0, 9, 1.5, "2"]) {
    const error = await page.evaluate((threads) => failure(() => open({ threads })), threads);
    assert.deepEqual(error, { kind: "argument", message: `threads ${JSON.stringify(threads)}, expected a whole number from 1 to 8` });
  }
  await page.context().close();
});

for (const [path, file] of Object.entries(MISSING)) {
  test(`where ${file} is missing, one thread computes`, async () => {
    const page = await openPage(isolated, path);
    const [threads, text] = await page.evaluate(async () => {
      const engine = await open({ threads: 3 });
      const { choices } = await engine.completions.create({ prompt: "The old man", max_tokens: 4, temperature: 0 });
      return [engine.info.threads, choices[0].text];
    });
    assert.equal(threads, 1);
    assert.ok(text.length > 0);
    await page.context().close();
  });
}

test("dispose ends the threads with the worker", async () => {
  const page = await openPage(isolated);
  const session = await page.context().browser().newBrowserCDPSession();
  const count = async () => (await session.send("Target.getTargets")).targetInfos.filter(({ type, url }) => type === "worker" && url.startsWith(isolated.url)).length;
  await page.evaluate(async () => void (globalThis.engine = await open({ threads: 3 })));
  const before = await count();
  await page.evaluate(() => engine.dispose());
  let after = await count();
  for (let tries = 0; after > 0 && tries < 50; tries++) {
    await new Promise((done) => setTimeout(done, 100));
    after = await count();
  }
  console.log(`workers: ${before} with the engine, ${after} after it`);
  assert.deepEqual([before, after], [3, 0]);
  await page.context().close();
});

test("a thread that traps is an error of the call, and none waits for it", async () => {
  const page = await openPage(isolated, TRAPPING);
  const error = await page.evaluate(async (prompt) => {
    const engine = await open({ threads: 2 });
    await new Promise((done) => setTimeout(done, 200)); // the thread has begun by then
    return failure(() => engine.completions.create({ prompt, max_tokens: 4 }));
  }, LONG);
  assert.deepEqual(error, { kind: "device", message: "the WebAssembly module stopped: one of its threads has trapped; reload the page" });
  await page.context().close();
});
