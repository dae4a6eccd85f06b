// `lorakeet serve` of the packed package, in Node on the CPU, asked by the clients that people have: OpenAI's own, the AI
// SDK, LangChain. Plain requests show what no client sends.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";
import { root } from "../../tools/setup.mjs";
import { writeRandomAdapter } from "../web/random-adapter.mjs";
import { golden, project } from "./project.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const TEMPLATE = `{% if tools %}{{ tools | tojson }} <tool_call>
{% endif %}{% for m in messages %}<{{ m.role }}> {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}
{% endfor %}<assistant>`;
const PERSON = {
  type: "object", required: ["age"], additionalProperties: false,
  properties: { age: { type: "integer", minimum: 0, maximum: 9 } },
};
const weather = { type: "function", function: { name: "weather", parameters: PERSON } };
const messages = [{ role: "developer", content: "Be kind." }, { role: "user", content: "Say it." }];

let server;
let url;
let client;
before(async () => {
  const folder = project("serve", {});
  const model = join(folder, "tale");
  cpSync(join(root, "www/models/demo"), model, { recursive: true });
  writeFileSync(join(model, "chat_template.jinja"), TEMPLATE);
  for (const [seed, name] of ["poet", "cook"].entries()) writeRandomAdapter(join(folder, name), { model, seed: seed + 1 });
  const command = [join(folder, "node_modules/.bin/lorakeet"), "serve", "tale", "--adapter", "./poet", "--adapter", "chef=cook", "--port", "0", "--api-key", "key", "--origin", "https://page.example", "--batch", "2"];
  server = spawn(process.execPath, command, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  for await (const part of server.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    url = part.trim();
    break;
  }
  assert.match(url ?? "", /^http:\/\/127\.0\.0\.1:\d+\/v1$/);
  client = new OpenAI({ baseURL: url, apiKey: "key", maxRetries: 0 });
});
after(() => server?.kill());

describe("OpenAI's client", () => {
  test("lists the model and its adapters", async () => {
    const { data } = await client.models.list();
    assert.deepEqual(data.map(({ id, parent }) => [id, parent]), [["tale", undefined], ["tale:poet", "tale"], ["tale:chef", "tale"]]);
    assert.equal((await client.models.retrieve("poet")).id, "tale:poet");
  });

  test("continues a text as transformers does, whole and streamed", async () => {
    const request = { model: "tale", prompt: golden.prompt, max_tokens: golden.ids.length, temperature: 0 };
    const { choices, usage } = await client.completions.create(request);
    assert.deepEqual([choices[0].text, choices[0].finish_reason], [golden.text, "length"]);
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [golden.prompt_ids.length, golden.ids.length]);
    let text = "";
    let parts = 0;
    for await (const { choices: [choice] } of await client.completions.create({ ...request, stream: true })) {
      text += choice.text;
      parts++;
    }
    assert.equal(text, golden.text);
    assert.ok(parts > 10, `${parts} parts`);
  });

  test("answers conversations, whole and streamed, with what clients add by themselves", async () => {
    const request = { model: "tale", messages, max_completion_tokens: 12, temperature: 0, seed: 1, store: false, metadata: {}, user: "me", n: 2 };
    const { choices, object } = await client.chat.completions.create(request);
    assert.deepEqual([object, choices.length, choices[0].message.role], ["chat.completion", 2, "assistant"]);
    const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
    const whole = await stream.finalChatCompletion();
    assert.deepEqual(whole.choices.map(({ message }) => message.content), choices.map(({ message }) => message.content));
    assert.equal((await stream.totalUsage()).completion_tokens, 24);
  });

  test("chooses adapters by the model's name, or by its own option", async () => {
    const ask = async (request) => (await client.completions.create({ prompt: golden.prompt, max_tokens: 16, temperature: 0, ...request })).choices.map(({ text }) => text);
    const [base] = await ask({ model: "tale" });
    const [poet] = await ask({ model: "poet" });
    const [chef] = await ask({ model: "tale:chef" });
    assert.equal(new Set([base, poet, chef]).size, 3);
    assert.deepEqual(await ask({ model: "org/tale" }), [base]); // as on the hub
    assert.deepEqual(await ask({ model: "tale", adapter: { poet: 1 } }), [poet]);
    const rows = { model: "tale", prompt: [golden.prompt, golden.prompt, golden.prompt], adapter_names: ["__base__", "chef", "poet"] };
    assert.deepEqual(await ask(rows), [base, chef, poet]);
    assert.equal(new Set([poet, chef, ...(await ask({ model: "tale", adapter: { poet: 0.5, chef: 0.5 } }))]).size, 3);
  });

  test("gets embeddings, as it asks for them by itself and as numbers", async () => {
    const request = { model: "tale", input: ["a fox", "a vixen"] };
    const [own, floats] = await Promise.all([client.embeddings.create(request), client.embeddings.create({ ...request, encoding_format: "float" })]);
    assert.equal(own.data.length, 2);
    own.data.forEach(({ embedding }, i) => {
      assert.equal(embedding.length, floats.data[i].embedding.length);
      embedding.forEach((value, j) => assert.equal(value, Math.fround(floats.data[i].embedding[j])));
    });
  });

  test("has tools called, and JSON of a schema", async () => {
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.create({ model: "tale", messages, tools: [weather], tool_choice: "required", temperature: 0 });
    assert.equal(finish_reason, "tool_calls");
    const [call] = message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.ok(Number.isInteger(JSON.parse(call.function.arguments).age));
    const after = [...messages, message, { role: "tool", tool_call_id: call.id, content: "rain" }];
    const next = await client.chat.completions.create({ model: "tale", messages: after, tools: [weather], max_tokens: 4 });
    assert.equal(next.choices.length, 1);
    const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };
    const { choices } = await client.chat.completions.parse({ model: "tale", messages, response_format });
    assert.ok(Number.isInteger(JSON.parse(choices[0].message.content).age));
  });

  test("knows what went wrong, and goes on", async () => {
    const bad = client.completions.create({ model: "tale", prompt: "a", temperature: -1 });
    await assert.rejects(bad, (error) => error instanceof OpenAI.BadRequestError && error.code === "argument" && /temperature -1/.test(error.message));
    const streamed = client.completions.create({ model: "tale", prompt: "a", temperature: -1, stream: true });
    await assert.rejects(streamed, OpenAI.BadRequestError);
    await assert.rejects(client.completions.create({ model: "gpt-9", prompt: "a" }), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
    const other = new OpenAI({ baseURL: url, apiKey: "another", maxRetries: 0 });
    await assert.rejects(other.models.list(), OpenAI.AuthenticationError);
  });

  test("an abort ends the work: more than the batch of them leave room for the next", async () => {
    const endless = { model: "tale", prompt: "The", max_tokens: 1e6, overflow: "slide", logit_bias: { 0: -100 } }; // 0 ends the text
    for (let i = 0; i < 3; i++) {
      const stream = await client.completions.create({ ...endless, stream: true });
      for await (const _ of stream) break; // the client aborts
      const signal = AbortSignal.timeout(300);
      await assert.rejects(client.completions.create(endless, { signal }), OpenAI.APIUserAbortError);
    }
    const { choices } = await client.completions.create({ model: "tale", prompt: golden.prompt, max_tokens: 3, temperature: 0 });
    assert.ok(golden.text.startsWith(choices[0].text));
  });
});

test("the AI SDK's client for such servers: text, streams, objects, tools", async () => {
  const provider = createOpenAICompatible({ name: "local", baseURL: url, apiKey: "key", supportsStructuredOutputs: true });
  const model = provider("poet");
  const asked = { model, system: "Be kind.", prompt: "Say it.", maxOutputTokens: 12, temperature: 0 };
  const { text, usage } = await generateText(asked);
  assert.equal(usage.outputTokens, 12);
  assert.equal(await streamText(asked).text, text);
  const { object } = await generateObject({ model, prompt: "Who?", schema: jsonSchema(PERSON) });
  assert.ok(Number.isInteger(object.age));
  const tools = { weather: tool({ description: "The weather.", inputSchema: jsonSchema(PERSON) }) };
  const { toolCalls } = await generateText({ model, prompt: "Rain?", tools, toolChoice: "required", temperature: 0 });
  assert.equal(toolCalls[0].toolName, "weather");
  assert.ok(Number.isInteger(toolCalls[0].input.age));
});

test("LangChain's class for OpenAI: answers, streams, tools, structured output", async () => {
  const model = new ChatOpenAI({ model: "chef", apiKey: "key", temperature: 0, maxTokens: 12, maxRetries: 0, configuration: { baseURL: url } });
  const { content, usage_metadata: usage } = await model.invoke("Say it.");
  assert.equal(usage.output_tokens, 12);
  let text = "";
  for await (const part of await model.stream("Say it.")) text += part.content;
  assert.equal(text, content);
  const open = new ChatOpenAI({ model: "tale", apiKey: "key", temperature: 0, maxRetries: 0, configuration: { baseURL: url } });
  const { tool_calls: [call] } = await open.bindTools([weather], { tool_choice: "weather" }).invoke("Rain?");
  assert.equal(call.name, "weather");
  for (const method of ["jsonSchema", "functionCalling"]) {
    const person = await open.withStructuredOutput(PERSON, { name: "person", method }).invoke("Who?");
    assert.ok(Number.isInteger(person.age), method);
  }
});

describe("plain requests", () => {
  const post = (body, headers = {}) => fetch(`${url}/completions`, { method: "POST", body, headers: { authorization: "Bearer key", "content-type": "application/json", ...headers } });

  test("what is no request is told", async () => {
    const told = async (response) => [response.status, (await response.json()).error.message];
    assert.deepEqual(await told(await post("{}", { "content-type": "text/plain" })), [415, "content-type text/plain, expected application/json"]);
    assert.match((await told(await post("{"))).join(), /^400,body: .*, expected JSON$/);
    assert.deepEqual(await told(await post("[]")), [400, "body: expected a JSON object"]);
    assert.deepEqual((await told(await post(`"${"a".repeat(17 << 20)}"`)))[0], 413);
    assert.equal((await fetch(`${url}/nothing`, { headers: { authorization: "Bearer key" } })).status, 404);
    assert.equal((await fetch(`${url}/completions`, { headers: { authorization: "Bearer key" } })).status, 405);
  });

  test("pages of origins that were named may ask, and no others", async () => {
    const allowed = async (origin) => (await fetch(`${url}/completions`, { method: "OPTIONS", headers: { origin } })).headers.get("access-control-allow-origin");
    assert.equal(await allowed("https://page.example"), "https://page.example");
    assert.equal(await allowed("https://other.example"), null);
  });

  test("by another host's name the server is not reached", async () => {
    const { port } = new URL(url);
    const status = await new Promise((resolve, reject) => {
      httpRequest({ port, host: "127.0.0.1", path: "/v1/models", headers: { host: "evil.example", authorization: "Bearer key" } }, (response) => resolve(response.resume().statusCode)).on("error", reject).end();
    });
    assert.equal(status, 403);
  });
});
