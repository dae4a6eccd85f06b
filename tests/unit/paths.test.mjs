// Paths and `file:` URLs in Node, where there is no page that URLs would be relative to.
// In Deno and Bun the package is tried by tests/bundlers.

import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createEngine } from "../../dist/index.js";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const model = join(root, "tests/fixtures/models/llama");
const adapter = join(root, "tests/fixtures/adapters/llama/qv");

let folder;
before(() => (folder = mkdtempSync(join(tmpdir(), "paths ä#")))); // a URL has to spell these otherwise
after(() => rmSync(folder, { recursive: true, force: true }));

/** What an engine of the source writes. */
async function written(source, options) {
  const engine = await createEngine(source, options);
  try {
    return (await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 6, temperature: 0 })).choices[0].token_ids;
  } finally {
    await engine.dispose();
  }
}

test("a model is read from a path, absolute or relative, and from its URL", async () => {
  const names = ["config.json", "tokenizer.json"];
  const [config, tokenizer] = names.map((name) => readFileSync(join(model, name)));
  const expected = await written({ config, tokenizer, weights: readFileSync(join(model, "model.safetensors")) });
  cpSync(model, join(folder, "a model"), { recursive: true });
  const here = relative(process.cwd(), model);
  for (const source of [model, `${model}/`, `./${here}`, pathToFileURL(model), `${pathToFileURL(model)}/`, pathToFileURL(join(folder, "a model"))]) {
    assert.deepEqual(await written(source), expected, String(source));
  }
  const parts = { config: join(model, "config.json"), tokenizer: pathToFileURL(join(model, "tokenizer.json")), weights: [`./${here}/model.safetensors`] };
  assert.deepEqual(await written(parts), expected);
});

test("so are GGUF files, adapters and templates", async () => {
  const gguf = join(root, "www/models/novels/novels-q8_0.gguf");
  const engine = await createEngine(gguf, { contextLength: 64 });
  assert.deepEqual([engine.info.model, engine.info.file], ["novels-q8_0", "novels-q8_0.gguf"]);
  await engine.dispose();
  const template = join(folder, "template.jinja");
  writeFileSync(template, "{% for m in messages %}({{ m.role }}) {{ m.content }}{% endfor %}");
  const other = await createEngine(model, { chatTemplate: template });
  assert.equal(await other.applyChatTemplate([{ role: "developer", content: "Hi" }]), "(system) Hi");
  assert.equal((await other.loadAdapter(adapter)).name, "qv");
  assert.equal((await other.loadAdapter(pathToFileURL(adapter), { name: "again" })).name, "again");
  await other.dispose();
});

test("a folder's generation_config.json gives the defaults", async () => {
  const made = join(folder, "defaults");
  cpSync(model, made, { recursive: true });
  writeFileSync(join(made, "generation_config.json"), JSON.stringify({ do_sample: true, temperature: 0.5, top_k: 3 }));
  const engine = await createEngine(made);
  assert.deepEqual(engine.info.generationConfig, { temperature: 0.5, top_k: 3 });
  const create = async (request) => (await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 12, seed: 5, ...request })).choices[0].token_ids;
  assert.deepEqual(await create({}), await create({ temperature: 0.5, top_k: 3 }));
  assert.notDeepEqual(await create({}), await create({ temperature: 1, top_k: 0 }));
  await engine.dispose();
});

test("what is not there, or cannot be read, is named", async () => {
  const missing = { name: "LorakeetError", kind: "network", message: /^config\.json: not found, file:.*nowhere/ };
  await assert.rejects(createEngine(join(folder, "nowhere")), missing);
  await assert.rejects(createEngine(join(folder, "nowhere.gguf")), { kind: "network", message: /^nowhere\.gguf: not found/ });
  await assert.rejects(createEngine(join(folder, "nowhere.gguf/model.gguf")), { kind: "network" });
  const cut = join(folder, "cut");
  cpSync(model, cut, { recursive: true });
  writeFileSync(join(cut, "model.safetensors"), readFileSync(join(model, "model.safetensors")).subarray(0, -9));
  await assert.rejects(createEngine(cut), { kind: "format", message: /model\.safetensors/ });
  if (process.getuid?.() === 0) return; // root reads all
  chmodSync(join(cut, "config.json"), 0);
  await assert.rejects(createEngine(cut), { kind: "network", message: /^config\.json: cannot be read: EACCES/ });
});
