// Tools of a chat: what of a request reaches the template and the engine, how calls are given back, and what is refused.
// Which marks are calls is tool-calls.test.mjs's, what a template writes tests/rust/chat.rs's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lorakeet } from "../../dist/api/ai-sdk.js";
import { ChatCompletions } from "../../dist/api/chat.js";
import { Seats } from "../../dist/thread/seats.js";

const QWEN = "{% if tools %}<tool_call>{% endif %}{{ message.tool_calls }}";
const GRANITE = "{{ tools }} {{ documents }} respond only with <|tool_call|>";
const SMOL = "<tools> {# tools #}{{ 'tools}}' }}{% if xml_tools is defined %}{{ xml_tools[:] }} <tool_call>{% endif %}{{ own.tools }}";
const PHI = "{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}";
const CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>';
const ADD = { type: "function", function: { name: "add", description: "Adds.", parameters: { type: "object", properties: { b: {}, a: {} } } } };
const ASKED = [{ role: "user", content: "1 + 2?" }];

/** Chats of a model that answers with `text`, a few letters a step; `seen` is what reached the template and the engine. */
function chats(text, template = QWEN) {
  const seen = {};
  const counts = { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 };
  let steps = [];
  const engine = {
    adapters: () => [],
    prepare: (prompts) => prompts,
    pending: () => 0,
    start(prompts, sampling) {
      seen.sampling = sampling;
      steps = text.match(/[^]{1,5}/g);
      seen.count = prompts.length;
      return 0;
    },
    next() {
      const piece = steps.shift();
      const finish = steps.length === 0 ? "stop" : undefined;
      const deltas = Array.from({ length: seen.count }, (_, index) => ({ index, text: piece, tokens: [], logprobs: [], finish }));
      return { deltas, finished: finish !== undefined, pending: 0 };
    },
    usage: () => counts,
    end() {},
  };
  const manner = {
    adapter: {},
    ends: [],
    source: async (hasTools) => ((seen.hasTools = hasTools), template),
    render: async (json) => ((seen.conversation = JSON.parse(json)), ""),
    encode: async () => [1],
  };
  const turns = { seats: new Seats(4, { maxQueue: 9, streamIdleTimeout: Infinity }), closed: false, take: async (call) => call(engine) };
  return { seen, create: (request) => new ChatCompletions(turns, { model: "model", generationConfig: {} }, { manner: async () => manner }, { of: () => undefined }).create({ messages: ASKED, tools: [ADD], ...request }) };
}

const withoutIds = (calls) => calls.map(({ id, ...call }) => (assert.match(id, /^[a-z0-9]{9}$/), call));
const ADD_CALL = { type: "function", function: { name: "add", arguments: '{"a": 1, "b": 2}' } };

test("an answer has its calls as OpenAI writes them", async () => {
  const { seen, create } = chats(`Let me see.\n${CALL}\n${CALL}`);
  const { choices: [{ message, finish_reason }] } = await create({});
  const { tool_calls, ...rest } = message;
  assert.deepEqual(rest, { role: "assistant", content: "Let me see.", refusal: null });
  assert.deepEqual(withoutIds(tool_calls), [ADD_CALL, ADD_CALL]);
  assert.equal(finish_reason, "tool_calls");
  assert.deepEqual([seen.hasTools, seen.conversation.tools, seen.sampling.shown_tokens], [true, [ADD], ["<tool_call>", "</tool_call>"]]);
  assert.equal(JSON.stringify(seen.conversation.tools), JSON.stringify([ADD]), "keys keep their order");
  assert.deepEqual((await chats(CALL).create({})).choices[0].message.content, null);
  assert.equal((await chats(`${CALL}${CALL}`).create({ parallel_tool_calls: false })).choices[0].message.tool_calls.length, 1);
  const many = await chats(CALL).create({ n: 2 });
  assert.equal(new Set(many.choices.map((choice) => choice.message.tool_calls[0].id)).size, 2);
});

test("a stream gives text first, then each call whole, and no part of a mark", async () => {
  const chunks = [];
  for await (const { choices } of chats(`Let me see.\n${CALL}\n${CALL}`).create({ stream: true })) chunks.push(...choices);
  assert.deepEqual(chunks[0].delta, { role: "assistant", content: "" });
  assert.equal(chunks.map(({ delta }) => delta.content ?? "").join(""), "Let me see.");
  const calls = chunks.flatMap(({ delta }) => delta.tool_calls ?? []);
  assert.deepEqual(withoutIds(calls), [{ index: 0, ...ADD_CALL }, { index: 1, ...ADD_CALL }]);
  assert.deepEqual([chunks.at(-1).delta, chunks.at(-1).finish_reason], [{}, "tool_calls"]);
  assert.deepEqual(chunks.slice(0, -1).map(({ finish_reason }) => finish_reason), chunks.slice(0, -1).map(() => null));
});

test("what is no call is the answer, and without tools nothing is a call", async () => {
  const broken = await chats("<tool_call>add(1, 2)</tool_call>").create({});
  assert.deepEqual([broken.choices[0].message.content, broken.choices[0].finish_reason], ["<tool_call>add(1, 2)</tool_call>", "stop"]);
  for (const request of [{ tool_choice: "none" }, { tools: [] }, { tools: null }]) {
    const { seen, create } = chats(CALL);
    const { choices: [{ message }] } = await create(request);
    assert.deepEqual(message, { role: "assistant", content: CALL, refusal: null });
    assert.deepEqual([seen.conversation.tools, seen.sampling.shown_tokens, seen.hasTools], [undefined, [], undefined]);
  }
});

test("calls and their results go on to the template", async () => {
  const { seen, create } = chats("Three.");
  const call = { id: "abc", ...ADD_CALL };
  const messages = [...ASKED, { role: "assistant", content: null, tool_calls: [call], refusal: null }, { role: "tool", tool_call_id: "abc", content: "3" }];
  await create({ messages, documents: undefined });
  assert.deepEqual(seen.conversation.messages, [
    ...ASKED, { role: "assistant", content: "", tool_calls: [call] }, { role: "tool", content: "3", name: "add", tool_call_id: "abc" },
  ]);
});

test("a template that shows no calls is given them as text, and its tools where it looks for them", async () => {
  const messages = [...ASKED, { role: "assistant", content: "Hm. ", tool_calls: [{ id: "abc", ...ADD_CALL }] }, { role: "tool", tool_call_id: "abc", content: "3" }];
  const granite = chats('<|tool_call|>[{"name": "add", "arguments": {}}]', GRANITE);
  const { choices } = await granite.create({ messages, documents: [{ doc_id: 1, text: "a" }] });
  assert.equal(choices[0].finish_reason, "tool_calls");
  assert.deepEqual(granite.seen.conversation.messages[1], { role: "assistant", content: 'Hm. <|tool_call|>[{"name": "add", "arguments": {"a": 1, "b": 2}}]' });
  assert.deepEqual(granite.seen.conversation.documents, [{ doc_id: 1, text: "a" }]);
  const smol = chats("x", SMOL);
  await smol.create({ messages, chat_template_kwargs: { enable_thinking: false } });
  assert.equal(smol.seen.conversation.messages[1].content, `Hm. ${CALL}`);
  assert.deepEqual(smol.seen.conversation.variables, { xml_tools: [ADD.function], enable_thinking: false });
  const phi = chats("x", PHI);
  await phi.create({});
  assert.deepEqual(phi.seen.conversation.messages, [{ role: "system", content: "", tools: JSON.stringify([ADD.function]) }, ...ASKED]);
  await phi.create({ messages: [{ role: "system", content: "s" }, ...ASKED] });
  assert.deepEqual(phi.seen.conversation.messages.map(({ role, content }) => [role, content]), [["system", "s"], ["user", "1 + 2?"]]);
});

test("what is wrong with tools is said", async () => {
  const named = (name) => ({ type: "function", function: { name } });
  const result = { role: "tool", content: "3", tool_call_id: "a" };
  for (const [request, kind, words, template] of [
    [{ tools: 5 }, "argument", "tools 5, expected an array of tools"],
    [{ tools: [{ function: { name: "f" } }] }, "argument", 'tools[0]: type undefined, expected "function"'],
    [{ tools: [{ type: "web_search" }] }, "unsupported", "tools[0]: a tool of type `web_search` is not supported"],
    [{ tools: [{ type: "function" }] }, "argument", "tools[0]: function undefined, expected {name, description, parameters}"],
    [{ tools: [named("a b")] }, "argument", 'tools[0]: name "a b", expected 1 to 64 letters'],
    [{ tools: [named()] }, "argument", "tools[0]: name undefined"],
    [{ tools: [named("f"), named("f")] }, "argument", "tools: `f` is there twice"],
    [{ tools: [{ type: "function", function: { name: "f", parameters: [] } }] }, "argument", "tools[0]: parameters [], expected a JSON schema"],
    [{ tools: [{ type: "function", function: { name: "f", parameters: { type: "array" } } }] }, "argument", 'tools[0]: parameters.type "array"'],
    [{ tools: [{ type: "function", function: { name: "f", description: 5 } }] }, "argument", "tools[0]: description 5"],
    [{ tools: [{ type: "function", function: { name: "f", strict: true } }] }, "unsupported", "tools[0]: `strict` needs `tool_choice`"],
    [{ tools: [{ type: "function", function: { name: "f", schema: {} } }] }, "argument", "option `schema`: unknown"],
    [{ tool_choice: "always" }, "argument", 'tool_choice "always", expected "none", "auto"'],
    [{ tool_choice: "required", regex: "a" }, "argument", "`tool_choice` and `regex` are both given, expected one of them"],
    [{ tool_choice: named("sub") }, "argument", 'tool_choice "sub", expected one of the tools add'],
    [{ tool_choice: "required", tools: [] }, "argument", "`tool_choice` is given, expected `tools` with it"],
    [{ parallel_tool_calls: 1 }, "argument", "parallel_tool_calls 1"],
    [{ documents: [5] }, "argument", "documents[0] 5, expected an object such as {title, text}"],
    [{ documents: [{ text: "a" }] }, "unsupported", "documents: the chat template shows none"],
    [{}, "unsupported", "tools: the chat template shows none", "{{ messages.tools }} the tools"],
    [{ messages: [{ ...result, tool_call_id: undefined }] }, "argument", "messages[0]: tool_call_id undefined, expected the id of the call"],
    [{ messages: [{ ...result, role: "user" }] }, "argument", "messages[0]: tool_call_id"],
    [{ messages: [{ role: "user", content: "a", tool_calls: [{ id: "a", ...ADD_CALL }] }] }, "argument", 'messages[0]: role "user", expected assistant'],
    [{ messages: [{ role: "assistant", tool_calls: [{ ...ADD_CALL }] }] }, "argument", "messages[0]: tool_calls[0]: id undefined"],
    [{ messages: [{ role: "assistant", tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: {} } }] }] }, "argument", "arguments {}, expected a string of JSON"],
    [{ messages: [{ role: "assistant", content: null }] }, "argument", "messages[0]: content null"],
    [{ messages: [{ role: "assistant", tool_calls: [{ id: "a", ...ADD_CALL }] }], tools: [] }, "unsupported", "messages[0]: the chat template shows no `tool_calls`", "{{ messages }}"],
  ]) {
    const error = await chats("x", template).create(request).then(() => assert.fail(words), (error) => error);
    assert.deepEqual([error.kind, error.message.includes(words)], [kind, true], `${error.message}, expected ${words}`);
  }
});

test("the AI SDK's tools, calls and results are the same", async () => {
  const { seen, create } = chats(`So:\n${CALL}`);
  const model = lorakeet({ info: { model: "model" }, chat: { completions: { create: ({ tools = [], ...request }) => create({ tools, ...request }) } } });
  const tools = [
    { type: "function", name: "add", description: "Adds.", inputSchema: ADD.function.parameters },
    { type: "provider", id: "x.search", name: "search", args: {} },
  ];
  const prompt = [
    { role: "user", content: [{ type: "text", text: "1 + 2?" }] },
    { role: "assistant", content: [{ type: "text", text: "So:" }, { type: "tool-call", toolCallId: "abc", toolName: "add", input: { a: 1, b: 2 } }] },
    { role: "tool", content: [{ type: "tool-result", toolCallId: "abc", toolName: "add", output: { type: "json", value: { sum: 3 } } }] },
  ];
  const whole = await model.doGenerate({ prompt, tools });
  assert.deepEqual(seen.conversation.tools, [ADD]);
  assert.deepEqual(seen.conversation.messages.slice(1), [
    { role: "assistant", content: "So:", tool_calls: [{ id: "abc", type: "function", function: { name: "add", arguments: '{"a":1,"b":2}' } }] },
    { role: "tool", content: '{"sum":3}', name: "add", tool_call_id: "abc" },
  ]);
  const call = { type: "tool-call", toolName: "add", input: '{"a": 1, "b": 2}' };
  assert.deepEqual(whole.content.map(({ toolCallId, ...part }) => part), [{ type: "text", text: "So:" }, call]);
  assert.deepEqual(whole.finishReason, { unified: "tool-calls", raw: "tool_calls" });
  assert.deepEqual(whole.warnings, [{ type: "unsupported", feature: "tool search" }]);

  const parts = [];
  for await (const part of (await model.doStream({ prompt, tools })).stream) parts.push(part);
  assert.deepEqual(parts.map(({ type }) => type).filter((type) => type !== "text-delta"), [
    "stream-start", "response-metadata", "text-start", "tool-call", "text-end", "finish",
  ]);
  assert.equal(parts.filter(({ type }) => type === "text-delta").map(({ delta }) => delta).join(""), "So:");
  assert.deepEqual({ ...parts.at(-3), toolCallId: undefined }, { ...call, toolCallId: undefined });
  assert.equal(parts.at(-1).finishReason.unified, "tool-calls");

  await model.doGenerate({ prompt, tools, toolChoice: { type: "none" } });
  assert.equal(seen.conversation.tools, undefined);
});
