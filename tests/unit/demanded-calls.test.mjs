// Answers that have to be calls: the model that ships, which was never taught one, on the CPU, at temperature 1.5.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lorakeet } from "../../dist/ai-sdk.js";
import { fault, open } from "./schemas.mjs";

const city = { type: "string", pattern: "^[A-Z][a-z]{2,8}$" };
const weather = { type: "object", properties: { city, days: { type: "integer", minimum: 1, maximum: 7 } }, required: ["city", "days"], additionalProperties: false };
const route = { type: "object", $defs: { city }, properties: { from: { $ref: "#/$defs/city" }, to: { $ref: "#/$defs/city" } }, required: ["from", "to"], additionalProperties: false };
const nothing = { type: "object", properties: {}, additionalProperties: false };
const tool = (name, parameters) => ({ type: "function", function: { name, ...(parameters ? { parameters } : {}) } });
const TOOLS = [tool("weather", weather), tool("route", route), tool("now")];
const SCHEMAS = { weather, route, now: nothing };

/** What each kind of template teaches, and how a call of it begins. */
const TEMPLATES = {
  Qwen: ["<tool_call>", "<tool_call>\n{"],
  Mistral: ["[TOOL_CALLS]", "[TOOL_CALLS][{"],
  "Mistral since 2025": ["[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]weather[ARGS]{"],
  "Phi-4-mini": ["<|tool|> <|/tool_call|>", "<|tool_call|>[{"],
  functools: ["functools[", "functools[{"],
  "Llama 3": ["<|python_tag|>", "{"],
};

const messages = [{ role: "user", content: "How will it be in Rome?" }];
const template = (taught) => `{{ tools | tojson }}{{ ${JSON.stringify(taught)} }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:`;

test("the answer is a call of a tool, its arguments of the schema, as each template teaches", async () => {
  for (const [name, [taught]] of Object.entries(TEMPLATES)) {
    const other = await open(undefined, { chatTemplate: template(taught) });
    const ask = (tool_choice, seed) => other.chat.completions.create({ messages, tools: TOOLS, tool_choice, seed, temperature: 1.5, max_tokens: 300 });
    const called = new Set();
    for (let seed = 0; seed < 6; seed++) {
      const { choices: [{ message, finish_reason }] } = await ask(seed < 4 ? "required" : { type: "function", function: { name: "route" } }, seed);
      assert.equal(finish_reason, "tool_calls", `${name}: ${JSON.stringify(message)}`);
      assert.equal(message.content, null, name);
      const [call, ...more] = message.tool_calls;
      assert.deepEqual(more, [], name);
      assert.equal(fault(SCHEMAS[call.function.name], { text: call.function.arguments, finish_reason: "stop" }), undefined, name);
      if (seed >= 4) assert.equal(call.function.name, "route", name);
      called.add(call.function.name);
    }
    assert.ok(called.size > 1, `${name}: ${[...called]}`);
    await other.dispose();
  }
});

test("it is written as the model would write it", async () => {
  for (const [name, [taught, begins]] of Object.entries(TEMPLATES)) {
    const other = await open(undefined, { chatTemplate: template(taught) });
    const { choices: [{ logprobs }] } = await other.chat.completions.create({
      messages, tools: TOOLS, tool_choice: { type: "function", function: { name: "weather" } }, temperature: 1.5, seed: 1, max_tokens: 300, logprobs: true,
    });
    const text = logprobs.content.map(({ token }) => token).join("");
    assert.ok(text.startsWith(begins), `${name}: ${text}`);
    await other.dispose();
  }
});

test("a session of it is what the next request begins with", async () => {
  const [one, other] = await Promise.all([0, 1].map(() => open(undefined, { chatTemplate: template("<tool_call>{% for m in messages %}{{ m.tool_calls }}{% endfor %}") })));
  const asked = { tools: TOOLS, temperature: 1.5, max_tokens: 300 };
  const { choices: [{ message }] } = await one.chat.completions.create({ ...asked, messages, tool_choice: "required", seed: 3 });
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "fine" };
  const conversation = [...messages, message, result];
  const restored = await other.restoreSession(await one.saveSession(conversation, { tools: TOOLS }));
  const { usage } = await other.chat.completions.create({ ...asked, messages: conversation, max_tokens: 1 });
  // The last token is computed again, for what follows it.
  assert.ok(usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens <= 1, JSON.stringify(usage));
  assert.ok(restored.length >= usage.prompt_tokens - 1);
  await Promise.all([one.dispose(), other.dispose()]);
});

test("for the AI SDK; refused where no call is taught, or schemas share a name for two things", async () => {
  const other = await open(undefined, { chatTemplate: template("<tool_call>") });
  const tools = [{ type: "function", name: "weather", inputSchema: weather }];
  const prompt = [{ role: "user", content: [{ type: "text", text: "Rome?" }] }];
  const { content } = await lorakeet(other).doGenerate({ prompt, tools, toolChoice: { type: "tool", toolName: "weather" }, temperature: 1.5, seed: 2, maxOutputTokens: 300 });
  assert.deepEqual(content.map(({ type, toolName }) => [type, toolName]), [["tool-call", "weather"]]);
  const twice = [TOOLS[1], tool("way", { ...route, $defs: { city: { type: "string" } } })];
  const clash = other.chat.completions.create({ messages, tools: twice, tool_choice: "required" });
  await assert.rejects(clash, { kind: "argument", message: /^tools: `\$defs\/city` is not the same in all schemas/ });
  await other.dispose();
  const untaught = await open(undefined, { chatTemplate: template("") });
  const asked = { messages, tools: TOOLS, tool_choice: "required" };
  await assert.rejects(untaught.chat.completions.create(asked), { kind: "unsupported", message: /^tool_choice: how this model writes calls is not known/ });
  await untaught.dispose();
});
