// An engine in a worker: the same answers, streams, signals, errors and functions as on the page's own thread.
// That the rest of the API is the same there, the other tests show: a worker is the default.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../../tools/serve.mjs";
import { demo, openApi, root, start } from "./browser.mjs";

const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));
let browser;
let page;

before(async () => {
  browser = await start();
  page = await openApi(browser);
  await page.evaluate(async () => {
    globalThis.open = (options) => lorakeet.createEngine("/models/demo/", { device: "cpu", batch: 2, contextLength: 256, ...options });
    globalThis.engine = await open();
    globalThis.direct = await open({ worker: false });
  });
});
after(() => browser?.close());

test("a page's engine is in a worker, unless it is not to be", async () => {
  const fresh = await openApi(browser);
  const count = () => fresh.workers().length;
  const open = (options) => fresh.evaluate(async (options) => void (globalThis.engine = await lorakeet.createEngine("/models/demo/", { device: "cpu", ...options })), options);
  const close = () => fresh.evaluate(() => engine.dispose());
  /** The browser tells of a worker's end a little later. */
  const ended = async () => {
    for (let tries = 0; count() > 0 && tries < 50; tries++) await new Promise((done) => setTimeout(done, 100));
    return count();
  };
  const counts = [];
  for (const options of [{}, { worker: true }, { worker: false }]) {
    await open(options);
    counts.push(count());
    await close();
    await fresh.evaluate(() => engine.dispose());
    counts.push(await ended());
  }
  assert.deepEqual(counts, [1, 0, 1, 0, 0, 0]);
  await fresh.close();
});

test("the answers are those of the page's own thread", async () => {
  const [[text, ids], [info, sameInfo], [logits, sameLogits], names] = await page.evaluate(async (prompt) => {
    const { choices: [{ text, token_ids }] } = await engine.completions.create({ prompt, max_tokens: 64, temperature: 0 });
    const logits = (engine) => engine.logits([2, 5, 9]).then((all) => all.map((each) => [each.constructor.name, ...each]));
    return [
      [text, token_ids],
      [engine, direct].map(({ info, device, fallbackReason }) => JSON.stringify({ info, device, fallbackReason })),
      [await logits(engine), await logits(direct)],
      [await engine.listAdapters(), engine.nothing],
    ];
  }, golden.prompt);
  assert.deepEqual(ids, golden.ids);
  assert.equal(text, golden.text);
  assert.equal(info, sameInfo);
  assert.equal(logits[0][0], "Float32Array");
  assert.deepEqual(logits, sameLogits);
  assert.deepEqual(names, [[], undefined]);
});

test("a text is held to a format there, too", async () => {
  const texts = await page.evaluate((asked) => Promise.all([engine, direct].map(async (engine) => (await engine.completions.create(asked)).choices[0].text)),
    { prompt: "The old man", regex: "[a-z]{3} [0-9]{2}", seed: 1, max_tokens: 20 });
  assert.match(texts[0], /^[a-z]{3} [0-9]{2}$/);
  assert.equal(texts[0], texts[1]);
});

test("a stream begins when it is read, goes on when it is asked, and ends where it is left", async () => {
  const { unread, events, after } = await page.evaluate(async () => {
    const request = { prompt: "The old man", max_tokens: 40, temperature: 0, stream: true };
    const heard = [];
    const unread = engine.completions.create({ ...request, nonsense: 1 }); // no error, as nobody reads it
    for await (const { choices } of engine.completions.create({ ...request, onPrompt: ({ loaded, total }) => heard.push(loaded === total) })) {
      heard.push(choices[0].text);
      if (heard.length === 4) break;
    }
    const events = [...heard];
    // Both rows are free again.
    const { choices } = await engine.completions.create({ prompt: ["a", "b"], max_tokens: 1 });
    return { unread: typeof unread.next, events, after: choices.length };
  });
  assert.equal(unread, "function");
  assert.equal(events[0], true);
  assert.equal(events.length, 4);
  assert.equal(after, 2);
});

test("a signal crosses, and its reason is the page's own", async () => {
  const results = await page.evaluate(async () => {
    const results = [];
    const outcome = async (signal, work) => {
      try {
        await work(signal);
        return "no error";
      } catch (error) {
        return [error instanceof lorakeet.LorakeetError, error.kind, error.cause === signal.reason];
      }
    };
    const stopped = () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort({ why() {} }), 50); // a reason that cannot be cloned
      return controller.signal;
    };
    const endless = { prompt: "The old man", overflow: "slide", max_tokens: 1e6, temperature: 0 };
    results.push(await outcome(stopped(), (signal) => engine.completions.create({ ...endless, signal })));
    results.push(await outcome(stopped(), async (signal) => { for await (const _ of engine.completions.create({ ...endless, signal, stream: true })); }));
    results.push(await outcome(AbortSignal.abort("early"), (signal) => engine.completions.create({ ...endless, signal })));
    results.push(await outcome(AbortSignal.abort("early"), (signal) => open({ signal })));
    const controller = new AbortController();
    results.push(await outcome(controller.signal, (signal) => open({ signal, onProgress: () => controller.abort(new Error("enough")) })));
    return results;
  });
  assert.deepEqual(results, Array(5).fill([true, "cancelled", true]));
});

test("the worker knows whether the page is seen", async () => {
  const [seen, hidden] = await page.evaluate(async () => {
    const turns = async () => {
      let turns = 0;
      const temp = await engine.createTempLora({ rank: 4, chunkTokens: 64, contextTokens: 64, budget: { visible: 0.001, hidden: 1e6 } });
      await temp.train("The old man and the sea. ".repeat(40), { onProgress: ({ work }) => (turns += work === "train" ? 1 : 0) });
      await temp.dispose();
      return turns;
    };
    const seen = await turns();
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    const hidden = await turns();
    delete document.visibilityState;
    return [seen, hidden];
  });
  assert.ok(3 * hidden < seen, `${hidden} turns where it is hidden, ${seen} where it is seen`);
});

test("what a function of the page throws comes out of the call", async () => {
  const results = await page.evaluate(async () => {
    const own = new RangeError("own");
    const is = async (work) => work().then(() => "no error", (error) => error === own);
    const throws = () => { throw own; };
    return [
      await is(() => open({ onProgress: throws })),
      await is(() => engine.completions.create({ prompt: "Now", max_tokens: 2, onPrompt: throws })),
      await is(async () => { for await (const _ of engine.completions.create({ prompt: "Now", stream: true, onPrompt: throws })); }),
      (await engine.completions.create({ prompt: ["a", "b"], max_tokens: 1 })).choices.length,
    ];
  });
  assert.deepEqual(results, [true, true, true, 2]);
});

test("what cannot be sent is an error of the call", async () => {
  const errors = await page.evaluate(async () => {
    const circle = { prompt: "Now" };
    circle.prompt = circle;
    return Promise.all([
      failure(() => engine.completions.create(circle)),
      failure(() => engine.tokenize(Symbol("a"))),
      failure(() => engine.completions.create({ prompt: "Now", nonsense: 1 })),
      failure(() => lorakeet.createEngine("/models/demo/", { worker: "yes" })),
    ]);
  });
  assert.deepEqual(errors.map(({ kind }) => kind), Array(4).fill("argument"));
  for (const { message } of errors.slice(0, 2)) assert.match(message, /^an argument cannot be sent to the engine: /);
  assert.match(errors[2].message, /^option `nonsense`: unknown/);
  assert.equal(errors[3].message, 'worker "yes", expected true, false or a Worker');
});

test("sources of every kind cross: a URL relative to the page, a folder's files, parts of each kind", async () => {
  const results = await page.evaluate(async () => {
    history.pushState(null, "", "/models/elsewhere/index.html");
    const names = ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors"];
    const bytes = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await (await fetch(`../demo/${name}`)).blob()])));
    const files = names.map((name) => Object.defineProperty(new File([bytes[name]], name), "webkitRelativePath", { value: `chosen/${name}` }));
    const parts = { config: bytes["config.json"], tokenizer: new URL("../demo/tokenizer.json", location.href), weights: [new Uint8Array(await bytes["model.safetensors"].arrayBuffer())] };
    const names_ = [];
    for (const source of ["../demo/", new URL("../demo", location.href), files, new Set(files), parts]) {
      const other = await lorakeet.createEngine(source, { device: "cpu", contextLength: 64, batch: 1, wasmUrl: "../../dist/wasm/lorakeet_bg.wasm" });
      const { choices } = await other.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 5 });
      names_.push([other.info.model, choices[0].text]);
      await other.dispose();
    }
    return names_;
  });
  assert.deepEqual(results.map(([name]) => name), ["demo", "demo", "chosen", "chosen", "model"]);
  assert.equal(new Set(results.map(([, text]) => text)).size, 1);
});

test("an object of the engine's stays in the worker, and works as one", async () => {
  const { steps, learned, name, files, after } = await page.evaluate(async () => {
    const steps = [];
    for await (const { step } of engine.trainAdapter({ name: "me", dataset: "The fox ran home. The hen ran too.", rank: 2, epochs: 3 })) {
      steps.push(step);
      if (step === 2) break;
    }
    const heard = [];
    const temp = await engine.createTempLora({ variant: "lora-xs", rank: 2, chunkTokens: 8, contextTokens: 8 });
    const { chunks } = await temp.train("The fox said that it was late, and the hen said that it was not.", { onTrain: (chunk) => heard.push(chunk.index) });
    for await (const { text } of temp.generate({ max_tokens: 3 })) if (text) break;
    const files = await temp.exportAdapter();
    await temp.dispose();
    await temp.dispose();
    const after = await failure(() => temp.train("more"));
    return { steps, learned: [heard.length, chunks.length], name: [temp.name, temp.chunkTokens], files: files.map((file) => [file instanceof File, file.name]), after };
  });
  assert.deepEqual(steps, [1, 2]);
  assert.ok(learned[0] > 0);
  assert.equal(learned[0], learned[1]);
  assert.deepEqual(name, ["temp", 8]);
  assert.deepEqual(files, [[true, "adapter_config.json"], [true, "adapter_model.safetensors"]]);
  assert.deepEqual(after, { kind: "argument", message: "the temporary adapter is disposed" });
});

test("dispose ends what is under way, and the worker", async () => {
  const [running, streaming, later, texts] = await page.evaluate(async () => {
    const [other, third] = [await open(), await open()];
    const endless = { prompt: "The old man", overflow: "slide", max_tokens: 1e6, temperature: 0 };
    const running = failure(() => other.completions.create(endless));
    const stream = other.completions.create({ ...endless, stream: true });
    await stream.next();
    const temp = await other.createTempLora({ rank: 2 });
    await Promise.all([other.dispose(), other.dispose()]);
    await temp.dispose();
    const texts = await third.tokenize("The old man"); // another engine lives on
    await third.dispose();
    return [await running, await failure(() => stream.next()), await failure(() => other.tokenize("a")), texts.length > 0];
  });
  for (const error of [running, streaming, later]) assert.deepEqual(error, { kind: "argument", message: "the engine is disposed" });
  assert.equal(texts, true);
});

test("a package on another server than the page has its worker too", async () => {
  const other = await serve({ roots: { "/": join(root, "dist") }, port: 0, headers: { "access-control-allow-origin": "*" } });
  const fresh = await openApi(browser);
  const text = await fresh.evaluate(async (url) => {
    const { createEngine } = await import(url);
    const engine = await createEngine("/models/demo/", { device: "cpu", worker: true });
    return (await engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 5 })).choices[0].text;
  }, `${other.url}index.js`);
  assert.equal(fresh.workers().length, 1);
  assert.equal(text, await page.evaluate(async () => (await direct.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 5 })).choices[0].text));
  await fresh.close();
  await other.close();
});

test("a worker that does not start is `unsupported`, and says what to do", async () => {
  const fresh = await openApi(browser);
  const [missing, broken, waiting] = await fresh.evaluate(async () => {
    const script = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = (url) => new Worker(url, { type: "module" });
    const signal = AbortSignal.timeout(50);
    return [
      await failure(() => lorakeet.createEngine("/models/demo/", { worker: worker("/nowhere.js") })),
      await failure(() => lorakeet.createEngine("/models/demo/", { worker: worker(script("throw new Error('broken')")) })),
      await failure(() => lorakeet.createEngine("/models/demo/", { worker: worker(script("")), signal })),
    ];
  });
  assert.equal(missing.kind, "unsupported");
  assert.match(missing.message, /^the engine's worker did not start: its script was not found.*`worker: false`, or a `Worker` of `lorakeet\/worker`$/);
  assert.equal(broken.kind, "unsupported");
  assert.match(broken.message, /broken/);
  assert.deepEqual(waiting, { kind: "cancelled", message: "loading the model was cancelled: its time was up" });
  await fresh.close();
});

test("a policy that forbids workers is `unsupported`; without a worker it works", async () => {
  const fresh = await openApi(browser);
  const [error, device] = await fresh.evaluate(async () => {
    const policy = Object.assign(document.createElement("meta"), { httpEquiv: "Content-Security-Policy", content: "worker-src 'none'" });
    document.head.append(policy);
    const error = await failure(() => lorakeet.createEngine("/models/demo/", { device: "cpu" }));
    return [error, (await lorakeet.createEngine("/models/demo/", { device: "cpu", worker: false })).device];
  });
  assert.equal(error.kind, "unsupported");
  assert.match(error.message, /^the engine's worker did not start: /);
  assert.equal(device, "cpu");
  await fresh.close();
});

test("the page stays free while a model is loaded, written with and taught", async () => {
  const fresh = await openApi(browser);
  const [before, control] = await fresh.evaluate(async () => {
    const tasks = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
    observer.observe({ type: "longtask" });
    const longest = async () => {
      await new Promise((done) => setTimeout(done, 200)); // entries come late
      return Math.max(0, ...tasks);
    };
    const engine = await lorakeet.createEngine("/models/demo/", { device: "cpu" });
    await engine.completions.create({ prompt: "The old man said. ".repeat(60), max_tokens: 20 });
    for await (const _ of engine.trainAdapter({ name: "me", dataset: "The fox ran home. The hen ran too. ".repeat(60), epochs: 2, budget: { visible: 500 } }));
    await engine.dispose();
    const before = await longest();
    await new Promise((done) => setTimeout(() => { // a long task is seen
      for (const end = performance.now() + 80; performance.now() < end;);
      done();
    }));
    return [before, await longest()];
  });
  console.log(`longest task of the page: ${before} ms with a worker (0: below 50)`);
  assert.ok(before < 50, `${before} ms`);
  assert.ok(control >= 80, `${control} ms: nothing is measured`);
  await fresh.close();
});
