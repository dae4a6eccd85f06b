// The package in Node, without a server: sessions that are saved in one engine and go on in another, and the tokenizer.
// That a file fits what it is restored into, tests/rust/sessions.rs shows.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createEngine } from "../../dist/index.js";
import { root } from "../../tools/setup.mjs";

const names = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];
const files = names.map((name) => new File([readFileSync(join(root, "www/models/demo", name))], name));
const chatTemplate = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}";
const open = (options = {}) => createEngine(files, { device: "cpu", contextLength: 128, batch: 1, chatTemplate, ...options });

let engine;
let other;
before(async () => ([engine, other] = await Promise.all([open(), open()])));
after(() => Promise.all([engine?.dispose(), other?.dispose()]));

const failure = async (promise) => promise.then(() => assert.fail("no error"), ({ kind, message }) => `${kind}: ${message}`);
const cached = ({ usage }) => usage.prompt_tokens_details.cached_tokens;

test("a text goes on in another engine, and nothing of it is computed again", async () => {
  const request = { prompt: "Once upon a time there was a", max_tokens: 10, temperature: 0, logprobs: 0 };
  const { choices: [{ text }] } = await engine.completions.create(request);
  const told = [];
  const bytes = await engine.saveSession(request.prompt + text, { onProgress: ({ loaded, total }) => told.push([loaded, total]) });
  assert.ok(told.length > 2 && told.every(([loaded], i) => i === 0 || loaded > told[i - 1][0]), "it grows");
  assert.deepEqual(told.at(-1), [bytes.length, bytes.length]);
  const next = { ...request, prompt: `${request.prompt}${text} and` };
  const want = await engine.completions.create(next);
  for (const session of [bytes, bytes.slice().buffer, new Blob([bytes])]) {
    await other.completions.create({ ...request, prompt: "Something else", max_tokens: 1 });
    const ids = await other.restoreSession(session);
    assert.deepEqual(ids, await engine.tokenize(request.prompt + text));
    const got = await other.completions.create(next);
    assert.equal(cached(got), ids.length);
    assert.deepEqual(got.choices, want.choices);
  }
});

test("a conversation goes on, under its template", async () => {
  const messages = [{ role: "user", content: "Who had a red ball?" }];
  const { choices: [{ message }] } = await engine.chat.completions.create({ messages, max_tokens: 8, temperature: 0 });
  messages.push(message);
  await other.restoreSession(await engine.saveSession(messages));
  messages.push({ role: "user", content: "And then?" });
  const request = { messages, max_tokens: 8, temperature: 0 };
  const got = await other.chat.completions.create(request);
  assert.equal(cached(got), await engine.countTokens(messages.slice(0, 2).map(({ role, content }) => `[${role}] ${content}\n`).join("")));
  assert.deepEqual(got.choices, (await engine.chat.completions.create(request)).choices);
});

test("what cannot be saved or restored is refused, and the engine goes on", async () => {
  const bytes = await engine.saveSession("The old man");
  const damaged = bytes.slice();
  damaged[damaged.length - 20] ^= 1;
  const signal = AbortSignal.abort();
  const refusals = [
    [() => engine.saveSession(5), /^argument: text 5, expected a text, an array of token ids, or messages$/],
    [() => engine.saveSession([]), /^argument: text \[\]/],
    [() => engine.saveSession([{ role: "user" }]), /^argument: messages\[0\]: content/],
    [() => engine.saveSession("a", { adapters: "b" }), /^argument: option `adapters`/],
    [() => engine.saveSession("a", { adapter: "b" }), /^argument: adapter `b` is not loaded/],
    [() => engine.saveSession("a", { signal }), /^cancelled: /],
    [() => engine.restoreSession("a"), /^argument: session "a", expected the bytes/],
    [() => engine.restoreSession(new Uint8Array(5)), /^format: session: the bytes are none/],
    [() => engine.restoreSession(bytes.subarray(0, 900)), /^format: session: 900 bytes, expected/],
    [() => engine.restoreSession(damaged), /^format: session: the values of layer \d are damaged$/],
    [() => engine.restoreSession(bytes, { signal }), /^cancelled: /],
    [() => engine.restoreSession(bytes, { adapter: "b" }), /^argument: adapter `b` is not loaded/],
  ];
  for (const [call, says] of refusals) assert.match(await failure(call()), says);
  const packed = await open({ dtype: "q8" });
  assert.match(await failure(packed.restoreSession(bytes)), /^mismatch: session: of another model, or of this one with another `dtype`$/);
  await packed.dispose();
  // Given up in the middle, the only seat is free again.
  const controller = new AbortController();
  const stopped = engine.restoreSession(bytes, { signal: controller.signal, onProgress: () => controller.abort() });
  assert.match(await failure(stopped), /^cancelled: /);
  assert.deepEqual(await engine.restoreSession(bytes), await engine.tokenize("The old man"));
});

test("tokens are counted, of nothing too, and ids that are none are refused", async () => {
  assert.deepEqual(await engine.tokenize("", { add_special_tokens: false }), []);
  assert.equal(await engine.countTokens("", { add_special_tokens: false }), 0);
  const around = await engine.tokenize("");
  assert.equal(await engine.countTokens(""), around.length);
  assert.equal(await engine.detokenize(around), "");
  const text = "The old man and the sea";
  const ids = await engine.tokenize(text, { add_special_tokens: false });
  assert.ok(ids.length > 3);
  assert.equal(await engine.countTokens(text, { add_special_tokens: false }), ids.length);
  assert.equal(await engine.countTokens(text), ids.length + around.length);
  assert.equal(await engine.countTokens([{ role: "user", content: text }]), await engine.countTokens(`[user] ${text}\n[assistant] `, { add_special_tokens: false }));
  const { vocabSize } = engine.info;
  assert.equal(await engine.detokenize([]), "");
  for (const id of [vocabSize, 2 ** 32 - 1]) assert.equal(await failure(engine.detokenize([1, id])), `argument: token id ${id}, expected below the vocabulary size ${vocabSize}`);
  assert.match(await failure(engine.detokenize([-1])), /^argument: ids \[-1\]/);
});

test("a conversation is written as the model is given it", async () => {
  const messages = [{ role: "developer", content: "Be kind." }, { role: "user", content: "Hi" }];
  const text = await engine.applyChatTemplate(messages);
  assert.equal(text, "[system] Be kind.\n[user] Hi\n[assistant] ");
  assert.equal(await engine.applyChatTemplate(messages, { add_generation_prompt: false }), "[system] Be kind.\n[user] Hi\n");
  assert.equal(await engine.countTokens(messages), await engine.countTokens(text, { add_special_tokens: false }));
  const refused = (options) => failure(engine.applyChatTemplate(messages, options));
  assert.match(await refused({ tokenize: true }), /^argument: option `tokenize`: unknown/);
  assert.match(await refused({ adapter: "b" }), /^argument: adapter `b` is not loaded/);
  assert.match(await refused({ tools: [{ type: "function", function: { name: "f" } }] }), /^unsupported: tools/);
});

test("memory is told as it is", async () => {
  const before = await engine.memoryBytes();
  assert.equal(before, engine.info.memoryBytes);
  const temp = await engine.createTempLora({ rank: 4, chunkTokens: 8, contextTokens: 8 });
  await temp.train("The old man and the sea, and what came of it in the end.");
  assert.ok((await engine.memoryBytes()) > before);
  await temp.dispose();
});
