// `lorakeet/ai-sdk` under the AI SDK itself: whole texts, streams, warnings, interruptions.
// In Node, on the CPU: the provider knows no device.

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { golden, project, serveModel } from "./project.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const prompt = (messages) => messages.map(({ content }) => content).join("\n\n");
const TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}<assistant>";

let server;
let createEngine;
let lorakeet;
let engine;
let model;
before(async () => {
  const folder = pathToFileURL(join(project("ai-sdk", {}), "node_modules/lorakeet/dist/")).href;
  ({ createEngine } = await import(`${folder}index.js`));
  ({ lorakeet } = await import(`${folder}ai-sdk.js`));
  server = await serveModel();
  engine = await createEngine(server.url, { device: "cpu" });
  model = lorakeet(engine, { prompt, repetition_penalty: 1 });
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

test("a conversation is in the model's template; settings of one request count", async () => {
  const parts = { config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" };
  const urls = Object.fromEntries(Object.entries(parts).map(([role, name]) => [role, new URL(name, server.url)]));
  const chat = await createEngine({ ...urls, chatTemplate: new TextEncoder().encode(TEMPLATE) }, { device: "cpu" });
  const messages = [{ role: "user", content: "One." }, { role: "assistant", content: "Two." }, { role: "user", content: [{ type: "text", text: "Th" }, { type: "text", text: "ree." }] }];
  const written = "<system> Be kind.\n<user> One.\n<assistant> Two.\n<user> Three.\n<assistant>";
  const request = { system: "Be kind.", messages, maxOutputTokens: 12, seed: 5, temperature: 0.7 };
  const expected = await chat.completions.create({ prompt: written, max_tokens: 12, seed: 5, temperature: 0.7 });
  const { text, usage } = await generateText({ model: lorakeet(chat), ...request });
  assert.equal(text, expected.choices[0].text);
  assert.equal(usage.inputTokens, expected.usage.prompt_tokens);
  assert.equal(await streamText({ model: lorakeet(chat), ...request }).text, text);
  const stopped = await generateText({ model: lorakeet(chat), ...request, stopSequences: [text.at(-1)] });
  assert.deepEqual([stopped.text, stopped.finishReason], [text.slice(0, text.indexOf(text.at(-1))), "stop"]);
  const unknown = { providerOptions: { lorakeet: { adapter: "nobody" } } };
  await assert.rejects(generateText({ model: lorakeet(chat), ...request, ...unknown }), { kind: "argument", message: /nobody/ });
  await chat.dispose();
  await assert.rejects(generateText({ model: lorakeet(engine), ...request }), { kind: "unsupported" }); // without a template
});

test("objects keep to their schema, and tools are called, answered, and gone on from", async () => {
  const parts = { config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" };
  const urls = Object.fromEntries(Object.entries(parts).map(([role, name]) => [role, new URL(name, server.url)]));
  const template = "{% if tools %}{{ tools | tojson }}<tool_call>\n{% endif %}{% for m in messages %}<{{ m.role }}> {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}\n{% endfor %}<assistant>";
  const chat = await createEngine({ ...urls, chatTemplate: template }, { device: "cpu" });
  const schema = jsonSchema({ type: "object", required: ["age"], additionalProperties: false, properties: { age: { type: "integer", minimum: 0, maximum: 9 } } });
  const { object, warnings } = await generateObject({ model: lorakeet(chat), prompt: "Who?", schema });
  assert.ok(Number.isInteger(object.age));
  assert.deepEqual(warnings ?? [], []);
  const heard = [];
  const tools = { weather: tool({ description: "The weather.", inputSchema: schema, execute: async ({ age }) => (heard.push(age), "rain") }) };
  const asked = { model: lorakeet(chat), prompt: "Rain?", tools, toolChoice: "required", temperature: 0, stopWhen: stepCountIs(2) };
  const { steps } = await generateText(asked);
  assert.deepEqual(steps.map(({ toolCalls: [call], finishReason }) => [call.toolName, finishReason]), [["weather", "tool-calls"], ["weather", "tool-calls"]]);
  assert.equal(heard.length, 2);
  const streamed = streamText({ ...asked, stopWhen: stepCountIs(1) });
  assert.deepEqual((await streamed.toolCalls).map(({ input }) => input), [steps[0].toolCalls[0].input]);
  await chat.dispose();
});

test("penalties are taken, and what is not supported is refused", async () => {
  const { warnings } = await generateText({ model, ...asked, maxOutputTokens: 1, presencePenalty: 0.5 });
  assert.deepEqual(warnings ?? [], []);
  const file = { type: "file", data: new Uint8Array(1), mediaType: "image/png" };
  await assert.rejects(generateText({ model, messages: [{ role: "user", content: [file] }] }), { name: "LorakeetError", kind: "unsupported" });
  await assert.rejects(generateText({ model, ...asked, topP: 7 }), { name: "LorakeetError", kind: "argument" });
  let heard;
  for await (const _ of streamText({ model, ...asked, topP: 7, onError: ({ error }) => (heard = error) }).textStream);
  assert.equal(heard.kind, "argument");
});

test("a signal interrupts as the SDK knows it", async () => {
  // It does not end by itself before the signal: the golden text has no end token.
  const endless = { ...asked, model, maxOutputTokens: 1e6, providerOptions: { lorakeet: { overflow: "slide" } } };
  await assert.rejects(generateText({ ...endless, abortSignal: AbortSignal.timeout(1) }), { name: "TimeoutError" });
  const controller = new AbortController();
  let aborted = false;
  const { fullStream } = streamText({ ...endless, abortSignal: controller.signal, onAbort: () => (aborted = true) });
  for await (const part of fullStream) if (part.type === "text-delta") controller.abort();
  assert.equal(aborted, true);
});
