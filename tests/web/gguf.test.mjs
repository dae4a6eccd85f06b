// Models from one GGUF file: by URL, from the hub, as a File, among files; stopped, cut and not a model.
// What they compute is judged by PyTorch's greedy text; the real one by llama2.c's.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ggufs, openApi, start, stories, withoutData } from "./browser.mjs";
import { startHub } from "./hub-server.mjs";

const NAME = "llama-q8_0";
const reference = readReference(join(ggufs, `models/${NAME}.safetensors`));

let browser, page;
before(async () => {
  browser = await start();
  page = await openApi(browser);
});
after(() => browser?.close());

/** Integer tensors of a safetensors file. */
function readReference(path) {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length));
  const ids = (name) => {
    const [from, to] = header[name].data_offsets.map((offset) => 8 + length + offset);
    return [...new Int32Array(new Uint8Array(file.subarray(from, to)).buffer)];
  };
  return { prompt: ids("input_ids").slice(0, 6), greedy: ids("greedy_ids") };
}

/** What an engine of `source`, an expression in the page, draws, and what the golden ids spell. */
function draw(source, options = {}) {
  return page.evaluate(
    async ({ source, options, prompt, greedy }) => {
      const progress = [];
      const onProgress = (p) => progress.push(p);
      const engine = await lorakeet.createEngine(await eval(source), { device: "cpu", onProgress, ...options });
      const { choices } = await engine.completions.create({ prompt, max_tokens: greedy.length, temperature: 0 });
      const golden = await engine.detokenize(greedy);
      await engine.dispose();
      return { text: choices[0].text, golden, progress };
    },
    { source, options, ...reference },
  );
}

for (const device of ["cpu", "webgpu"]) {
  test(`a URL, on ${device}`, async () => {
    const { text, golden, progress } = await draw(`"/test/gguf/models/${NAME}.gguf"`, { device });
    assert.equal(text, golden);
    const total = readFileSync(join(ggufs, `models/${NAME}.gguf`)).length;
    assert.ok(progress.every((p, i) => p.total === total && p.loaded <= total && p.loaded >= (progress[i - 1]?.loaded ?? 0)));
    assert.deepEqual(progress.at(-1), { loaded: total, total, phase: "ready" });
  });
}

for (const device of ["cpu", "webgpu"]) {
  test(`a file of all types, on ${device}`, async () => {
    const { prompt, greedy } = readReference(join(ggufs, "models/llama-types.safetensors"));
    const results = await page.evaluate(
      async ({ device, prompt, greedy }) => {
        const results = [];
        for (const dtype of [undefined, "f32"]) {
          const engine = await lorakeet.createEngine("/test/gguf/models/llama-types.gguf", { device, dtype });
          const { choices } = await engine.completions.create({ prompt, max_tokens: greedy.length, temperature: 0 });
          results.push({ text: choices[0].text, golden: await engine.detokenize(greedy), dtype: engine.info.dtype, warnings: engine.info.warnings });
          await engine.dispose();
        }
        return results;
      },
      { device, prompt, greedy },
    );
    for (const { text, golden } of results) assert.equal(text, golden);
    assert.deepEqual(results.map(({ dtype }) => dtype), ["q6_k", "f32"]);
    assert.deepEqual(results.map(({ warnings }) => warnings.length), [3, 0]);
    assert.equal(results[0].warnings[2], "1 tensor of type Q3_K held as q6_k, which keeps its numbers: 54272 bytes, 28160 in the file");
  });
}

test("bytes, a Blob and a stream of it", async () => {
  const response = `fetch("/test/gguf/models/${NAME}.gguf")`;
  for (const read of ["blob()", "arrayBuffer()", "arrayBuffer().then((buffer) => new Uint8Array(buffer))", "body"]) {
    const { text, golden } = await draw(`${response}.then((r) => r.${read})`);
    assert.equal(text, golden, read);
  }
});

test("a File, alone and among others", async () => {
  const file = `fetch("/test/gguf/models/${NAME}.gguf").then(async (r) => new File([await r.blob()], "m.gguf"))`;
  for (const source of [file, `${file}.then((f) => [new File(["x"], "README.md"), f])`]) {
    const { text, golden } = await draw(source);
    assert.equal(text, golden);
  }
  const two = await page.evaluate(() => failure(() => lorakeet.createEngine([new File([], "a.gguf"), new File([], "b.gguf")])));
  assert.deepEqual(two, { kind: "argument", message: "2 GGUF files, expected one model at a time: a.gguf, b.gguf" });
});

test("a file on the hub", async () => {
  const hub = await startHub({ "org/quants": { folder: join(ggufs, "models") } });
  try {
    const { text, golden } = await draw(`"org/quants/${NAME}.gguf@main"`, { hubUrl: hub.url });
    assert.equal(text, golden);
    assert.deepEqual(hub.seen.map(({ server, method, path }) => [server, method, path]), ["HEAD", "GET"].flatMap((method) => [
      ["hub", method, `/mirror/org/quants/resolve/main/${NAME}.gguf`],
      ["cdn", method, `/org%2Fquants/${NAME}.gguf`],
    ]));
  } finally {
    await hub.close();
  }
});

test("what is wrong is said by name", async () => {
  const errors = await page.evaluate(async (name) => {
    const whole = new Uint8Array(await (await fetch(`/test/gguf/models/${name}.gguf`)).arrayBuffer());
    const open = (bytes, options) => failure(() => lorakeet.createEngine(new File([bytes], "m.gguf"), { device: "cpu", ...options }));
    const controller = new AbortController();
    return {
      cut: await open(whole.subarray(0, whole.length - 1)),
      other: await open(new TextEncoder().encode("no model at all")),
      adapter: await failure(() => lorakeet.createEngine("/test/gguf/llama-f16.gguf", { device: "cpu" })),
      missing: await failure(() => lorakeet.createEngine("/test/gguf/none.gguf", { device: "cpu" })),
      stopped: await open(whole, { signal: controller.signal, onProgress: () => controller.abort() }),
    };
  }, NAME);
  const [words, kinds] = [{}, {}];
  for (const [name, { kind, message }] of Object.entries(errors)) [kinds[name], words[name]] = [kind, message];
  assert.deepEqual(kinds, { cut: "format", other: "format", adapter: "format", missing: "network", stopped: "cancelled" });
  assert.match(words.cut, /^m\.gguf: the file ends after \d+ of \d+ bytes: a download that was cut short$/);
  assert.equal(words.other, "m.gguf: GGUF file: begins with [110, 111, 32, 109], expected [71, 71, 85, 70]: GGUF");
  assert.equal(words.adapter, "GGUF file: general.type is `adapter`, expected `model`");
  assert.match(words.missing, /^none\.gguf: not found, http/);
});

test("stories260K writes what llama2.c does", { skip: withoutData }, async () => {
  const want = readFileSync(join(stories, "golden_greedy_200.txt"), "utf8").trimEnd();
  const file = readFileSync(join(stories, "../gguf/stories260K-f32.gguf")).toString("base64");
  const text = await page.evaluate(async (file) => {
    const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
    const engine = await lorakeet.createEngine(new File([bytes], "stories260K.gguf"), { device: "cpu" });
    const { choices } = await engine.completions.create({ prompt: "", max_tokens: 200, temperature: 0 });
    await engine.dispose();
    return choices[0].text;
  }, file);
  assert.equal(text.trimEnd(), want);
});
