// A lost GPU: it is told, and after `recover` all that was under way goes on as if nothing had been.
// What is put back, and what computed anew, is tests/rust/recover.rs's.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openApi, start } from "./browser.mjs";

/** Keeps the devices that are opened, of which `lose` ends the newest. */
const LOSE = `
  globalThis.devices = [];
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    devices.push(device);
    return device;
  };
  globalThis.lose = (device = devices.at(-1)) => device.destroy();
`;

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

/** What is wrong on a page, files apart that a server need not have. */
const complaints = (page) => page.complaints.filter((each) => !each.startsWith("Failed to load resource"));

async function openPage() {
  const page = await openApi(browser);
  await page.evaluate(async (script) => {
    (0, eval)(script);
    const source = Object.fromEntries(Object.entries({ config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" })
      .map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    source.chatTemplate = new TextEncoder().encode("{% for m in messages %}{{ m.content }} {% endfor %}");
    globalThis.open = (options) => lorakeet.createEngine(source, { device: "webgpu", contextLength: 64, batch: 4, worker: false, ...options });
    /** Recovers whenever the device is lost; tells how often that was. */
    globalThis.keep = (engine) => {
      const kept = { losses: [] };
      (async () => {
        for (;;) {
          kept.losses.push(await engine.lost());
          await engine.recover();
        }
      })();
      return kept;
    };
    const sampling = { max_tokens: 24, temperature: 1, seed: 3, repetition_penalty: 1.2 };
    globalThis.streams = {
      greedy: (engine) => engine.completions.create({ prompt: [5, 90, 17], max_tokens: 30, temperature: 0, stream: true }),
      drawn: (engine) => engine.completions.create({ prompt: [5, 90, 17], ...sampling, stop: ["never to come"], stream: true }),
      adapted: (engine) => engine.completions.create({ prompt: [5, 90, 17], ...sampling, adapter: { qv: 0.8, prefix: 1 }, stream: true }),
      chat: (engine) => engine.chat.completions.create({ messages: [{ role: "user", content: "Who?" }], ...sampling, stream: true }),
      temporary: async function* (engine) {
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 10, contextTokens: 12, learningRate: 1e-2, beside: { qv: 1 } });
        for await (const { text, chunk } of temp.generate({ prompt: [5, 90, 17], ...sampling, max_tokens: 26 })) yield chunk ? { loss: chunk.trainLosses[0] } : text;
        await temp.dispose();
      },
      training: async function* (engine) {
        const options = { name: "me", dataset: "abc def ghi jkl ".repeat(4), rank: 4, maxLength: 24, epochs: 2, dropout: 0.1, learningRate: 1e-2 };
        for await (const { step, loss } of engine.trainAdapter(options)) yield { step, loss };
        const files = await engine.exportAdapter("me");
        await engine.deleteAdapter("me");
        yield Array.from(new Uint8Array(await files[1].arrayBuffer())).join();
      },
    };
    /** What a stream says, and the numbers that come with it, if the device is lost after some of its parts. */
    globalThis.read = async (stream, losses = []) => {
      const [said, numbers] = [[], []];
      let parts = 0;
      for await (const part of stream) {
        const { choices, loss } = part;
        if (loss !== undefined) numbers.push(loss);
        else said.push(choices ? choices[0].text ?? choices[0].delta.content ?? "" : part);
        if (losses.includes(parts++)) lose();
      }
      return { said: said.join(""), numbers, parts };
    };
    globalThis.adapt = async (engine) => {
      for (const name of ["qv", "prefix"]) await engine.loadAdapter(`/test/adapters/llama/${name}/`);
    };
  }, LOSE);
  return page;
}

for (const where of ["page", "worker"]) {
  describe(where, () => {
    let page;
    before(async () => {
      page = await openPage();
      await page.evaluate(async ([where, script]) => {
        if (where === "page") {
          globalThis.engine = await open();
        } else {
          const channel = new BroadcastChannel("lose");
          const worker = `import "${location.origin}/dist/worker.js"; ${script} new BroadcastChannel("lose").onmessage = () => lose();`;
          const url = URL.createObjectURL(new Blob([worker], { type: "text/javascript" }));
          globalThis.engine = await open({ worker: new Worker(url, { type: "module" }) });
          globalThis.lose = () => channel.postMessage("now");
        }
        await adapt(engine);
        globalThis.kept = keep(engine);
      }, [where, LOSE]);
    });
    after(async () => {
      await page.evaluate(() => engine.dispose());
      assert.deepEqual(complaints(page), []);
      await page.close();
    });

    // A software GPU takes seconds for each recovery: in the worker, which adds messages alone, one text does.
    const [names, times] = where === "page" ? [["greedy", "adapted", "chat", "temporary", "training"], [[1]]] : [["drawn"], [[0, 3]]];
    for (const name of names) {
      test(`${name}: it goes on where it was`, async () => {
        const [undisturbed, disturbed, losses] = await page.evaluate(async ([name, times]) => {
          const begun = kept.losses.length;
          const undisturbed = await read(streams[name](engine));
          const disturbed = [];
          for (const losses of times) disturbed.push(await read(streams[name](engine), losses));
          return [undisturbed, disturbed, kept.losses.slice(begun)];
        }, [name, times]);
        assert.ok(undisturbed.said.length > 10 && undisturbed.parts > 4, JSON.stringify(undisturbed));
        for (const { said, numbers } of disturbed) {
          assert.equal(said, undisturbed.said);
          assert.equal(numbers.length, undisturbed.numbers.length);
          numbers.forEach((number, i) => assert.ok(Math.abs(number - undisturbed.numbers[i]) < 1e-3, `${numbers}, ${undisturbed.numbers}`));
        }
        assert.equal(losses.length, times.flat().length);
        for (const { kind, message } of losses) {
          assert.equal(kind, "device");
          assert.match(message, /^WebGPU device/);
        }
      });
    }

    test("requests side by side, logits and loading wait too", async () => {
      const [before, disturbed] = await page.evaluate(async () => {
        const all = async (losses) => {
          const [texts, last] = await Promise.all([
            Promise.all([read(streams.greedy(engine), losses), read(streams.drawn(engine)), read(streams.adapted(engine))]),
            engine.loadAdapter("/test/adapters/llama/dora/").then(() => engine.logits([5, 9], { adapter: "dora" })).then((logits) => [...logits[1]].join()),
          ]);
          return [texts.map(({ said }) => said), last, (await engine.listAdapters()).map(({ name }) => name)];
        };
        return [await all(), await all([0])];
      });
      assert.deepEqual(disturbed, before);
    });
  });
}

test("where nobody hears of a loss, calls fail with `device` until `recover`", async () => {
  const page = await openPage();
  const result = await page.evaluate(async () => {
    const engine = await open();
    await adapt(engine);
    await engine.setAdapter("qv");
    const said = await read(streams.greedy(engine));
    const progress = [];
    const error = await failure(() => read(streams.greedy(engine), [1]));
    const later = await failure(() => engine.logits([5]));
    const names = (await engine.listAdapters()).map(({ name }) => name);
    const lost = await engine.lost();
    await engine.recover({ onProgress: ({ phase }) => progress.push(phase) });
    const again = await read(streams.greedy(engine));
    const count = devices.length;
    await engine.recover(); // nothing is lost
    await engine.dispose();
    return { said, again, error, later, names, lost, progress, opened: devices.length - count, disposed: await failure(() => engine.recover()) };
  });
  assert.deepEqual(result.again, result.said);
  for (const error of [result.error, result.later]) assert.equal(error.kind, "device");
  assert.deepEqual(result.lost, result.later);
  assert.deepEqual(result.names, ["qv", "prefix"]);
  assert.deepEqual([...new Set(result.progress)], ["download", "verify", "compile", "ready"].filter((phase) => result.progress.includes(phase)));
  assert.equal(result.progress.at(-1), "ready");
  assert.equal(result.opened, 0);
  assert.deepEqual(result.disposed, { kind: "argument", message: "the engine is disposed" });
  await page.close();
});

test("without a GPU to go on with, `recover` says so; it can be tried again, and the engine disposed", async () => {
  const page = await openPage();
  const result = await page.evaluate(async () => {
    const engine = await open();
    const said = await read(streams.greedy(engine));
    const { requestAdapter } = navigator.gpu;
    navigator.gpu.requestAdapter = async () => null;
    const recovering = engine.lost().then(() => failure(() => engine.recover()));
    const waited = await failure(() => read(streams.greedy(engine), [1]));
    const refused = await recovering;
    const later = await failure(() => read(streams.greedy(engine)));
    const abort = new AbortController();
    navigator.gpu.requestAdapter = requestAdapter;
    const cancelled = await failure(() => engine.recover({ signal: abort.signal, onProgress: () => abort.abort() }));
    await engine.recover();
    const again = await read(streams.greedy(engine));
    navigator.gpu.requestAdapter = async () => null;
    lose();
    await engine.lost();
    const failed = await failure(() => engine.recover());
    await engine.dispose();
    return { said, again, waited, refused, later, cancelled, failed };
  });
  assert.deepEqual(result.again, result.said);
  assert.deepEqual([result.refused.kind, result.failed.kind], ["unsupported", "unsupported"]);
  assert.match(result.refused.message, /^no WebGPU: /);
  assert.deepEqual([result.waited.kind, result.later.kind], ["device", "device"]);
  assert.equal(result.cancelled.kind, "cancelled");
  assert.deepEqual(complaints(page), []);
  await page.close();
});

test("who waits can be cancelled, and ends with the engine; who hears of no loss is left alone", async () => {
  const page = await openPage();
  const result = await page.evaluate(async () => {
    const engine = await open();
    const heard = [];
    engine.lost().then(() => heard.push("first"));
    const abort = new AbortController();
    const stream = engine.completions.create({ prompt: [5, 90, 17], max_tokens: 30, temperature: 0, stream: true, signal: abort.signal });
    await stream.next();
    lose();
    const [one, other] = [failure(() => stream.next()), failure(() => engine.logits([5, 90]))];
    while (heard.length === 0) await new Promise((go) => setTimeout(go, 5));
    abort.abort();
    const cancelled = await one;
    await engine.dispose();
    const disposed = await other;
    const second = await open();
    second.lost().then(() => heard.push("second"), () => heard.push("failed"));
    await second.dispose();
    const third = await open({ worker: true });
    third.lost().then(() => heard.push("third"), () => heard.push("failed"));
    await third.dispose();
    await new Promise((go) => setTimeout(go, 100));
    return { cancelled, disposed, heard };
  });
  assert.equal(result.cancelled.kind, "cancelled");
  assert.deepEqual(result.disposed, { kind: "argument", message: "the engine is disposed" });
  assert.deepEqual(result.heard, ["first"]);
  assert.deepEqual(complaints(page), []);
  await page.close();
});

test("of two engines the other is not harmed", async () => {
  const page = await openPage();
  const result = await page.evaluate(async () => {
    const [one, other] = [await open(), await open()];
    const [ones, others] = [keep(one), keep(other)];
    const said = await read(streams.greedy(one));
    const [first] = devices;
    const both = Promise.all([one, other].map((engine) => read(streams.greedy(engine))));
    lose(first);
    const texts = await both;
    const counts = [ones.losses.length, others.losses.length, devices.length];
    await one.dispose();
    const after = await read(streams.greedy(other));
    await other.dispose();
    return { said, texts, after, counts };
  });
  // What comes in how many parts depends on when the device was lost.
  assert.deepEqual([...result.texts, result.after].map(({ said }) => said), Array(3).fill(result.said.said));
  assert.deepEqual(result.counts, [1, 0, 3]);
  await page.close();
});

test("when the GPU's process crashes, all engines go on", async () => {
  const own = await start(); // every device of this browser is lost
  try {
    const page = await openApi(own);
    await page.evaluate(async () => {
      globalThis.open = () => lorakeet.createEngine("/models/demo/", { device: "webgpu", contextLength: 128 });
      globalThis.engines = [await open(), await open()];
      globalThis.losses = 0;
      for (const engine of engines) engine.lost().then(() => (losses++, engine.recover()));
      globalThis.write = (engine) => engine.completions.create({ prompt: "The old man", temperature: 1, seed: 1, max_tokens: 100 });
      globalThis.said = (await write(engines[0])).choices[0].text;
      globalThis.texts = Promise.all(engines.map(write));
    });
    await own.crashGpu();
    const result = await page.evaluate(async () => ({ said, texts: (await texts).map(({ choices }) => choices[0].text), losses }));
    assert.deepEqual(result.texts, [result.said, result.said]);
    assert.equal(result.losses, 2);
  } finally {
    await own.close();
  }
});
