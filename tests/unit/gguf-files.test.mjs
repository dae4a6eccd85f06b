// Which GGUF files make a model: the one that is chosen of a repository, and the parts of one that is in several.
// Not what they compute.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { createEngine } from "../../dist/index.js";
import { chooseGguf } from "../../dist/files/quantised.js";
import { root } from "../../tools/setup.mjs";
import { startHub } from "../web/hub-server.mjs";

const fixtures = join(root, "tests/fixtures");
const gguf = (name) => join(fixtures, `gguf/models/${name}.gguf`);
const split = join(fixtures, "gguf/split");
const parts = readdirSync(split).sort();

let hub;
before(async () => {
  hub = await startHub({
    "org/tiny-GGUF": { files: { "tiny-F16.gguf": gguf("gemma-f16"), "tiny-Q8_0.gguf": gguf("llama-q8_0"), "tiny.q4_0.gguf": gguf("llama-tied-q4_0"), "mmproj-F16.gguf": gguf("qwen2-f16"), "config.json": join(fixtures, "models/llama/config.json") } },
    "org/one-GGUF": { files: { "anything.gguf": gguf("llama-q8_0") }, revisions: ["v2"] },
    "org/two-GGUF": { files: { "a.gguf": gguf("llama-q8_0"), "b.gguf": gguf("llama-q8_0") } },
    "org/split-GGUF": { folder: split },
    "org/llama": { folder: join(fixtures, "models/llama") },
    "org/none": { folder: join(fixtures, "chat") },
  });
});
after(() => hub?.close());
beforeEach(() => hub.seen.splice(0));

const failure = async (promise) => promise.then(() => assert.fail("no error"), ({ kind, message }) => `${kind}: ${message}`);
/** What is told of an engine, once it has written a token. */
async function load(source, options = {}) {
  const engine = await createEngine(source, { device: "cpu", cache: false, hubUrl: hub.url, ...options });
  const { choices } = await engine.completions.create({ prompt: [5, 7, 9], max_tokens: 6, temperature: 0 });
  await engine.dispose();
  return { ...engine.info, text: choices[0].text };
}

test("the type is chosen by preference, then by what fits", () => {
  const files = (...list) => list.map(([path, size]) => ({ path, size }));
  const all = files(["m-Q8_0.gguf", 800], ["m-Q4_K_M.gguf", 500], ["m-Q2_K.gguf", 300], ["m-IQ1_S.gguf", 100], ["m-F16.gguf", 1600], ["README.md", 1], ["sub/m-Q4_0.gguf", 1]);
  const choose = (list, type, room = 1e9, folder = "") => chooseGguf("org/m", list, folder, type, room);
  assert.equal(choose(all), "m-Q4_K_M.gguf");
  assert.equal(choose(all, undefined, 400), "m-Q2_K.gguf");
  assert.equal(choose(all, undefined, 10), "m-Q2_K.gguf", "the smallest, never one that has to be asked for");
  assert.equal(choose(all, "iq1_s"), "m-IQ1_S.gguf");
  assert.equal(choose(all, undefined, 1e9, "sub/"), "m-Q4_0.gguf");
  assert.equal(choose(files(["README.md", 1])), undefined);
  assert.equal(choose(files(["model.gguf", 9])), "model.gguf");
  assert.throws(() => choose(all, "Q6_K"), { kind: "argument", message: '"org/m": no GGUF file of type Q6_K, expected one of Q8_0, Q4_K_M, Q2_K, IQ1_S, F16' });
  assert.throws(() => choose(files(["a.gguf", 1], ["b.gguf", 2])), /^LorakeetError: "org\/m": 2 GGUF files, expected one named, as "org\/m:TYPE" or "org\/m\/FILE": a\.gguf, b\.gguf$/);
  const large = files(["m-Q4_K_M-00001-of-00002.gguf", 300], ["m-Q4_K_M-00002-of-00002.gguf", 300], ["m-Q5_K_M-00001-of-00002.gguf", 1], ["m-Q3_K_M.gguf", 350]);
  assert.equal(choose(large), "m-Q4_K_M-00001-of-00002.gguf");
  assert.equal(choose(large, undefined, 500), "m-Q3_K_M.gguf", "all parts count, and one alone is none");
});

test("a repository of GGUF files gives one by itself, or the type that is named", async () => {
  const [chosen, named, file] = [await load("org/tiny-GGUF"), await load("org/tiny-GGUF:Q8_0"), await load("org/tiny-GGUF/tiny-F16.gguf")];
  assert.deepEqual([chosen, named, file].map((info) => info.file), ["tiny.q4_0.gguf", "tiny-Q8_0.gguf", "tiny-F16.gguf"]);
  assert.deepEqual([chosen, named].map(({ model, types }) => [model, types[0].stored]), [["tiny-GGUF", "Q4_0"], ["tiny-GGUF", "Q8_0"]]);
  assert.equal((await load("org/one-GGUF@v2")).file, "anything.gguf");
  assert.equal(await failure(load("org/tiny-GGUF:Q6_K")), 'argument: "org/tiny-GGUF": no GGUF file of type Q6_K, expected one of F16, Q8_0, Q4_0');
  assert.match(await failure(load("org/two-GGUF")), /^argument: "org\/two-GGUF": 2 GGUF files, expected one named/);
  assert.match(await failure(load("org/none")), /^network: \w+\.json of "org\/none": not there at revision "main"/);
  assert.match(await failure(load("org/absent:Q8_0")), /^network: files\.json of "org\/absent": HTTP 401: no such repository, or a private one/);
});

test("of a repository with safetensors no list is asked for", async () => {
  const { file, types } = await load("org/llama");
  assert.equal(file, undefined);
  assert.deepEqual(types, []);
  assert.ok(hub.seen.length > 0 && hub.seen.every(({ path }) => !path.includes("/api/")));
  assert.match(await failure(load("org/llama:Q8_0")), /no GGUF file of type Q8_0, expected one of none$/);
});

test("what was chosen is found again without a network", async () => {
  const own = await startHub({ "org/kept": { files: { "k-Q8_0.gguf": gguf("llama-q8_0"), "k-Q4_0.gguf": gguf("llama-tied-q4_0") } } });
  const first = await load("org/kept", { hubUrl: own.url, cache: "memory" });
  await own.close();
  assert.deepEqual(await load("org/kept", { hubUrl: own.url, cache: "memory" }), first);
});

test("types are told with their tensors and bytes", async () => {
  const { types } = await load("org/tiny-GGUF:Q8_0");
  assert.deepEqual(types.map(({ stored, held }) => `${stored} as ${held}`), ["Q8_0 as f32", "F16 as f32", "Q8_0 as q8", "F32 as f32"]);
  assert.ok(types.every(({ tensors, storedBytes, heldBytes }) => tensors > 0 && storedBytes > 0 && heldBytes >= storedBytes));
});

test("a model in parts comes from files, a URL and the hub, whichever part is named", async () => {
  const { text, model } = await load([new File([readFileSync(gguf("qwen3-q8_0"))], "qwen3-q8_0.gguf")]);
  const files = parts.map((name) => new File([readFileSync(join(split, name))], name));
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const told = [];
  const onProgress = ({ loaded, total, phase }) => told.push([loaded, total, phase]);
  for (const source of [files, files.toReversed(), "org/split-GGUF", "org/split-GGUF:q8_0", `org/split-GGUF/${parts[1]}`, `${hub.url}/org/split-GGUF/resolve/main/${parts[2]}`]) {
    told.length = 0;
    const loaded = await load(source, { onProgress });
    assert.equal(loaded.text, text, String(source));
    assert.ok([model, "split-GGUF"].includes(loaded.model), loaded.model);
    assert.ok(told.every(([loaded, all], i) => all === total && loaded >= (told[i - 1]?.[0] ?? 0)), "it grows");
    assert.deepEqual(told.at(-1), [total, total, "ready"]);
  }
});

test("parts that are missing or mixed are refused by name", async () => {
  const [a, b, c] = parts.map((name) => new File([readFileSync(join(split, name))], name));
  const other = new File([readFileSync(gguf("llama-q8_0"))], "llama-q8_0.gguf");
  const renamed = (file, name) => new File([file], name);
  assert.equal(await failure(load([a, c])), `argument: ${b.name}: not among the files given, expected all 3 parts of the model`);
  assert.equal(await failure(load([b])), `argument: ${a.name}: not among the files given, expected all 3 parts of the model`);
  assert.match(await failure(load([a, b, c, other])), /^argument: 4 GGUF files, expected one model at a time/);
  assert.equal(await failure(load([a, b, renamed(b, c.name)])), "mismatch: GGUF file 3 of 3: part 2 of its model, expected part 3");
  assert.match(await failure(load([renamed(a, "whole.gguf")])), /^mismatch: GGUF file 1 of 1: one of the 3 files of a model, expected one of 1: parts are found by their names/);
  assert.match(await failure(load([a, b, renamed(other, c.name)])), /^mismatch: GGUF file 3 of 3: one of the 1 files of a model, expected one of 3/);
});
