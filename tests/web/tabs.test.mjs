// One engine for several tabs: one opens it, all use it, and when its tab is gone another opens it anew.
// What an engine can do is api.test.mjs's.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { serve } from "../../tools/serve.mjs";
import { root } from "./browser.mjs";

let browser;
let site;
before(async () => {
  browser = await launch();
  site = await serve({ roots: { "/": join(root, "www"), "/dist/": join(root, "dist") }, port: 0 });
});
after(async () => {
  await browser?.close();
  await site?.close();
});

let context;
beforeEach(async () => {
  context = await browser.newContext();
});
afterEach(() => context.close());

/** A tab that shares; `opened` there counts what it has opened itself. */
async function tab(options = {}) {
  const page = await context.newPage();
  await page.goto(`${site.url}models/demo/config.json`);
  await page.evaluate(async (options) => {
    const { createEngine } = await import("/dist/index.js");
    const { shareEngine } = await import("/dist/tabs.js");
    globalThis.opened = 0;
    globalThis.share = () => shareEngine("demo", async () => {
      opened++;
      if (globalThis.fault) throw globalThis.fault;
      return createEngine("/models/demo/", { device: "cpu", batch: 3, ...options });
    });
    globalThis.outcome = (work) => work().then(() => "no error", ({ kind, message }) => ({ kind, message }));
    globalThis.engine = await share();
    globalThis.write = async () => (await engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 8 })).choices[0].text;
  }, options);
  return page;
}

const write = (page) => page.evaluate(() => write());
const opened = (page) => page.evaluate(() => opened);

for (const worker of [true, false]) {
  test(`the first tab opens it ${worker ? "in a worker" : "on its own thread"}, and all write the same with it`, async () => {
    const [one, two, three] = [await tab({ worker }), ...(await Promise.all([tab(), tab()]))];
    const texts = await Promise.all([one, two, three].map(write));
    assert.equal(new Set(texts).size, 1);
    assert.ok(texts[0].length > 0);
    assert.deepEqual(await Promise.all([one, two, three].map(opened)), [1, 0, 0]);
    const [info, streamed, chunks, error] = await two.evaluate(async () => {
      let [text, chunks] = ["", 0];
      for await (const { choices } of engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 8, stream: true })) [text, chunks] = [text + choices[0].text, chunks + 1];
      const temp = await engine.createTempLora({ rank: 2, chunkTokens: 8, contextTokens: 8 });
      const heard = [];
      await temp.train("The fox said that it was late, and the hen said no.", { onTrain: ({ index }) => heard.push(index) });
      await temp.dispose();
      return [engine.info.model, text, [chunks > 1, heard[0]], await outcome(() => engine.tokenize(5))];
    });
    assert.deepEqual([info, streamed, chunks], ["demo", texts[0], [true, 0]]);
    assert.deepEqual(error, { kind: "argument", message: "text 5, expected a string" });
  });
}

test("chats, their streams, embeddings and the cache are shared too", async () => {
  const answers = (page) => page.evaluate(async () => {
    const { createEngine } = await import("/dist/index.js");
    const { shareEngine } = await import("/dist/tabs.js");
    const part = (name) => new URL(`/models/demo/${name}`, location.href);
    const chatTemplate = new TextEncoder().encode("{% for m in messages %}{{ m.content }}\n{% endfor %}");
    const source = { config: part("config.json"), tokenizer: part("tokenizer.json"), weights: part("model.safetensors"), chatTemplate };
    const shared = await shareEngine("chats", () => createEngine(source, { device: "cpu" }));
    const request = { messages: [{ role: "user", content: "The old man" }], temperature: 0, max_tokens: 8 };
    const { choices } = await shared.chat.completions.create(request);
    let streamed = "";
    for await (const { choices } of shared.chat.completions.create({ ...request, stream: true })) streamed += choices[0].delta.content ?? "";
    const { data } = await shared.embeddings.create({ input: "a fox" });
    const kept = (await shared.cache.list()).map(({ key }) => key).sort();
    return { text: choices[0].message.content, streamed, vector: Array.from(data[0].embedding), kept };
  });
  const [one, two] = [await tab(), await tab()];
  const [first, second] = [await answers(one), await answers(two)];
  assert.ok(first.text.length > 0 && first.vector.length > 0 && first.kept.length > 0);
  assert.equal(first.streamed, first.text);
  assert.deepEqual(second, first);
});

test("an adapter is trained from another tab, stopped there, and serves all", async () => {
  const [one, two] = [await tab(), await tab()];
  const [steps, heard, reason, sizes] = await two.evaluate(async () => {
    const dataset = "The ferry had one rope, one lantern and one dog. ".repeat(4);
    const [steps, heard] = [[], []];
    for await (const { step, loss } of engine.trainAdapter({ name: "ferry", dataset, rank: 2, maxLength: 24, epochs: 2, learningRate: 1e-2, onStep: ({ step }) => heard.push(step) })) steps.push([step, loss]);
    const stop = new AbortController();
    const reason = await outcome(async () => {
      for await (const _ of engine.trainAdapter({ name: "ferry", resume: true, dataset, maxLength: 24, epochs: 50, signal: stop.signal })) stop.abort();
    });
    const files = await engine.exportAdapter("ferry");
    return [steps, heard, reason.kind, files.map(({ name, size }) => [name, size > 0])];
  });
  assert.deepEqual(heard, steps.map(([step]) => step));
  assert.ok(steps.length > 4 && steps.at(-1)[1] < steps[0][1], JSON.stringify(steps));
  assert.equal(reason, "cancelled");
  assert.deepEqual(sizes, [["adapter_config.json", true], ["adapter_model.safetensors", true]]);
  const texts = await one.evaluate(async () => {
    const said = async (adapter) => (await engine.completions.create({ prompt: "The ferry had", adapter, temperature: 0, max_tokens: 8 })).choices[0].text;
    return [(await engine.listAdapters()).map(({ name }) => name), await said("ferry"), await said({})];
  });
  assert.deepEqual(texts[0], ["ferry"]);
  assert.notEqual(texts[1], texts[2]);
});

test("when the tab that has it is closed, another opens it, and what was under way fails", async () => {
  const one = await tab();
  const others = await Promise.all([tab(), tab()]);
  const text = await write(one);
  await Promise.all(others.map((page) => page.evaluate(async () => {
    const stream = engine.completions.create({ prompt: "The old man", overflow: "slide", max_tokens: 1e6, temperature: 0, stream: true });
    globalThis.running = outcome(async () => { for await (const _ of stream) globalThis.began = true; });
  })));
  for (const page of others) await page.waitForFunction(() => globalThis.began);
  await one.close();
  for (const page of others) assert.deepEqual(await page.evaluate(() => running), { kind: "device", message: "the tab that had the engine is gone: ask again" });
  for (const page of others) assert.equal(await write(page), text);
  assert.equal((await opened(others[0])) + (await opened(others[1])), 1);
});

test("a tab that is closed leaves nothing behind in the engine", async () => {
  const [one, two] = [await tab({ batch: 1, streamIdleTimeout: Infinity }), await tab()];
  await two.evaluate(async () => {
    await engine.createTempLora({ rank: 2 });
    await engine.completions.create({ prompt: "The old man", max_tokens: 100, stream: true }).next(); // it has the only row
  });
  await one.evaluate(() => void outcome(write).then((outcome) => (globalThis.served = outcome)));
  await one.waitForTimeout(1000); // a text takes less
  assert.equal(await one.evaluate(() => globalThis.served), undefined, "it waits for the row");
  await two.close();
  await one.waitForFunction(async () => globalThis.served === "no error" && (await engine.listAdapters()).length === 0);
});

test("dispose leaves the others theirs, and hands it over", async () => {
  const [one, two] = [await tab(), await tab()];
  const text = await write(two);
  const error = await one.evaluate(async () => {
    await Promise.all([engine.dispose(), engine.dispose()]);
    return outcome(write);
  });
  assert.deepEqual(error, { kind: "argument", message: "the engine is disposed" });
  await two.waitForFunction(() => opened === 1);
  assert.equal(await write(two), text);
  assert.equal(await one.evaluate(async () => (await (await share()).tokenize("a")).length > 0), true);
  assert.equal(await opened(one), 1); // that of before
});

test("a tab that could not take over tries again", async () => {
  const [one, two] = [await tab(), await tab()];
  const text = await write(one);
  await two.evaluate(() => (globalThis.fault = new RangeError("own")));
  await one.close();
  await two.waitForFunction(() => outcome(write).then(({ message }) => message === "own"));
  await two.evaluate(() => (globalThis.fault = undefined));
  assert.equal(await write(two), text);
});

test("what opening it throws comes out, and the next tab tries", async () => {
  const one = await tab();
  const outcomes = await one.evaluate(async () => {
    const { shareEngine } = await import("/dist/tabs.js");
    const fails = () => shareEngine("other", async () => { throw new RangeError("own"); }).catch((error) => `${error.name} ${error.message}`);
    return [await fails(), await fails(), await outcome(() => shareEngine("", () => {})), await outcome(() => shareEngine("other"))];
  });
  assert.deepEqual(outcomes.slice(0, 2), ["RangeError own", "RangeError own"]);
  assert.deepEqual(outcomes.slice(2), [{ kind: "argument", message: 'name "", expected a non-empty string' }, { kind: "argument", message: "open undefined, expected a function" }]);
});
