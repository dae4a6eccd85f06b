// `lorakeet/ai-sdk` under the AI SDK itself: whole texts, streams, warnings, interruptions.
// In Node, on the CPU: the provider knows no device.

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import { generateText, streamText } from "ai";
import { golden, project, serveModel } from "./project.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

let server;
let engine;
let model;
before(async () => {
  const folder = pathToFileURL(join(project("ai-sdk", {}), "node_modules/lorakeet/dist/")).href;
  const [{ createEngine }, { lorakeet }] = [await import(`${folder}index.js`), await import(`${folder}ai-sdk.js`)];
  server = await serveModel();
  engine = await createEngine(server.url, { device: "cpu" });
  model = lorakeet(engine, { repetition_penalty: 1 });
});
after(async () => {
  await engine?.dispose();
  await server?.close();
});

const asked = { prompt: golden.prompt, maxOutputTokens: golden.ids.length, temperature: 0 };

test("generateText writes what transformers writes", async () => {
  const { text, finishReason, usage, warnings, response } = await generateText({ model, ...asked });
  assert.equal(text, golden.text);
  assert.equal(finishReason, "length");
  assert.deepEqual([usage.inputTokens, usage.outputTokens], [golden.prompt_ids.length, golden.ids.length]);
  assert.deepEqual(warnings ?? [], []);
  assert.equal(response.modelId, engine.info.model);
});

test("streamText streams it", async () => {
  const result = streamText({ model, ...asked });
  const parts = [];
  for await (const part of result.textStream) parts.push(part);
  assert.equal(parts.join(""), golden.text);
  assert.ok(parts.length > 10, `${parts.length} parts`);
  assert.equal(await result.finishReason, "length");
  assert.equal((await result.usage).outputTokens, golden.ids.length);
});

test("messages are one text, in order; stop texts and settings of one request count", async () => {
  const prompts = [];
  const spied = { info: engine.info, completions: { create: (request) => (prompts.push(request), engine.completions.create(request)) } };
  const { lorakeet } = await import(pathToFileURL(join(project("ai-sdk-spied", {}), "node_modules/lorakeet/dist/ai-sdk.js")).href);
  const messages = [{ role: "user", content: "One." }, { role: "assistant", content: "Two." }, { role: "user", content: [{ type: "text", text: "Th" }, { type: "text", text: "ree." }] }];
  await generateText({ model: lorakeet(spied), system: "Be kind.", messages, maxOutputTokens: 3, stopSequences: ["\n"], seed: 5, providerOptions: { lorakeet: { adapter: null } } });
  await generateText({ model: lorakeet(spied, { prompt: (all) => all.map(({ role }) => role).join() }), messages, maxOutputTokens: 1 });
  assert.deepEqual(prompts[0], { prompt: "Be kind.\n\nOne.\n\nTwo.\n\nThree.", max_tokens: 3, stop: ["\n"], seed: 5, adapter: null, stream: false });
  assert.equal(prompts[1].prompt, "user,assistant,user");
});

test("what is not supported is warned of, or refused", async () => {
  const { warnings } = await generateText({ model, ...asked, maxOutputTokens: 1, presencePenalty: 0.5 });
  assert.deepEqual(warnings, [{ type: "unsupported", feature: "presencePenalty" }]);
  const file = { type: "file", data: new Uint8Array(1), mediaType: "image/png" };
  await assert.rejects(generateText({ model, messages: [{ role: "user", content: [file] }] }), { name: "LorakeetError", kind: "unsupported" });
  await assert.rejects(generateText({ model, ...asked, topP: 7 }), { name: "LorakeetError", kind: "argument" });
  let heard;
  for await (const _ of streamText({ model, ...asked, topP: 7, onError: ({ error }) => (heard = error) }).textStream);
  assert.equal(heard.kind, "argument");
});

test("a signal interrupts as the SDK knows it", async () => {
  const endless = { model, prompt: "Now", maxOutputTokens: 1e6, providerOptions: { lorakeet: { overflow: "slide" } } };
  await assert.rejects(generateText({ ...endless, abortSignal: AbortSignal.timeout(100) }), { name: "TimeoutError" });
  const controller = new AbortController();
  let aborted = false;
  const { fullStream } = streamText({ ...endless, abortSignal: controller.signal, onAbort: () => (aborted = true) });
  for await (const part of fullStream) if (part.type === "text-delta") controller.abort();
  assert.equal(aborted, true);
});
