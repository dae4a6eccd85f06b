// Calls in what models write: each family's marks, however the text is cut, and what is no call.
// Not what a model writes: none is asked here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CallParser, callMarks, markTokens, written } from "../../dist/api/tool-calls.js";

/** What stands in the templates of these families. */
const TEMPLATES = {
  qwen: "return a json object within <tool_call></tool_call> XML tags",
  mistral: "{{- '[TOOL_CALLS][' }}",
  granite: "respond only with <|tool_call|> followed by a JSON list of tools used",
  phi: "{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}",
  functools: "functools[{\"name\": [function name], \"arguments\": [function arguments as JSON]}, ...]",
  gemma: "{{ '<start_function_call>call:' }}",
  llama: "Respond in the format {\"name\": function name, \"parameters\": dictionary of argument name and its value}.",
};
const NAMES = ["f", "get_weather"];

/** The text and calls of an answer that comes in parts; every part but the last shows that nothing is taken back. */
function read(family, parts) {
  const parser = new CallParser(callMarks(TEMPLATES[family]), NAMES);
  const found = [...parts.map((part) => parser.push(part)), parser.end()];
  const calls = found.flatMap((each) => each.calls);
  return {
    text: found.map((each) => each.text).join(""),
    calls: calls.map(({ type, function: own }) => (assert.equal(type, "function"), [own.name, own.arguments])),
    ids: calls.map(({ id }) => id),
  };
}

/** The same for every way to cut the text in two, and for all its characters one by one. */
function readAll(family, text) {
  const { ids, ...whole } = read(family, [text]);
  assert.equal(new Set(ids).size, ids.length);
  ids.forEach((id) => assert.match(id, /^[A-Za-z0-9]{9}$/));
  const cuts = [[...text], ...Array.from(text, (_, at) => [text.slice(0, at), text.slice(at)])];
  for (const parts of cuts) assert.deepEqual({ ...read(family, parts), ids: undefined }, { ...whole, ids: undefined }, JSON.stringify(parts));
  return [whole.text, ...whole.calls];
}

const F = ["f", '{"a": 1}'];

test("calls are found by the marks of their family", () => {
  const one = '{"name": "f", "arguments": {"a": 1}}';
  const two = '{"name": "get_weather", "arguments": {"city": "Paris }]\\" </tool_call>"}}';
  const W = ["get_weather", '{"city": "Paris }]\\" </tool_call>"}'];
  for (const [family, text, ...expected] of [
    ["qwen", `<tool_call>\n${one}\n</tool_call>`, "", F],
    ["qwen", `<think>\nhm\n</think>\n\nI look.\n<tool_call>\n${one}\n</tool_call>\n<tool_call>\n${two}\n</tool_call>`, "<think>\nhm\n</think>\n\nI look.", F, W],
    ["qwen", `<tool_call>${one}</tool_call> and\n<tool_call>${two}</tool_call> so.\n`, " and so.", F, W],
    ["qwen", `<tool_call>[${one}, ${two}]</tool_call>`, "", F, W], // SmolLM2
    ["qwen", `a <tool_call>\n${one}`, "a", F], // the end token took the place of the mark
    ["qwen", `<tool_call>\n${one}\n</tool_c`, "", F],
    ["mistral", `[TOOL_CALLS][${one}, ${two}]`, "", F, W],
    ["mistral", `[TOOL_CALLS] [${one}]`, "", F],
    ["mistral", `Well. [TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{}`, "Well.", F, ["get_weather", "{}"]],
    ["granite", `<|tool_call|>[${one}, ${two}]`, "", F, W],
    ["granite", `<|tool_call|> ${one}\nOr so.`, "\nOr so.", F],
    ["phi", `<|tool_call|>[${one}]<|/tool_call|>`, "", F],
    ["phi", `functools[${one}]`, "", F],
    ["functools", `Sure. functools[${one}, ${two}]`, "Sure.", F, W],
    ["gemma", "<start_function_call>call:f{a: 1}<end_function_call>", "", F],
    ["gemma", "Hm.<start_function_call>call:get_weather{city:<escape>a:b, \"c\"<escape>,in:{days:[1,2],as:<escape><escape>}}<end_function_call>", "Hm.",
      ["get_weather", '{"city":"a:b, \\"c\\"","in":{"days":[1,2],"as":""}}']],
    ["llama", '{"name": "f", "parameters": {"a": 1}}', "", F],
    ["llama", '\n<|python_tag|>{"type": "function", "name": "f", "parameters": {"a": 1}}', "", F],
    ["llama", '{"name": "f", "parameters": {"a": 1}}; {"name": "get_weather", "parameters": {}}', "", F, ["get_weather", "{}"]],
    ["llama", 'Hm. <|python_tag|>{"name": "f", "parameters": {"a": 1}}', "Hm.", F],
  ]) assert.deepEqual(readAll(family, text), expected, text);
});

test("arguments are as they were written, an object or a string of one", () => {
  const call = (inner) => readAll("qwen", `<tool_call>${inner}</tool_call>`)[1];
  assert.deepEqual(call('{"arguments": {"n": 1.0, "id": 12345678901234567890},"name":"f"}'), ["f", '{"n": 1.0, "id": 12345678901234567890}']);
  assert.deepEqual(call('{"name": "f", "arguments": "{\\"a\\": 1}"}'), F);
  assert.deepEqual(call('{"name": "f"}'), ["f", "{}"]);
  assert.deepEqual(call('{"name": "f", "arguments": null}'), ["f", "{}"]);
  assert.deepEqual(call('{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}'), F);
  assert.deepEqual(call('{"name": "\\u00e9", "arguments": {}}'), ["é", "{}"]);
});

test("an id that Mistral's templates take stays", () => {
  const ids = (id) => read("mistral", [`[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "${id}"}]`]).ids;
  assert.deepEqual(ids("a1B2c3D4e"), ["a1B2c3D4e"]);
  assert.match(ids("call-1")[0], /^[a-z0-9]{9}$/);
  assert.deepEqual(read("mistral", ["[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{}"]).ids, ["abcdefghi"]);
});

test("what is no call is text, and nothing of it is lost", () => {
  for (const [family, text] of [
    ["qwen", "Plain text.\n\n"],
    ["qwen", "a < b, <tool, <tool_ca"],
    ["qwen", "<tool_call>\nf(1)\n</tool_call>"],
    ["qwen", '<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call> x'],
    ["qwen", '<tool_call>{"name": "f", "arguments": {"a": 1,}}</tool_call>'],
    ["qwen", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'],
    ["qwen", '<tool_call>{"name": 5, "arguments": {}}</tool_call>'],
    ["qwen", '<tool_call>{"arguments": {}}</tool_call>'],
    ["qwen", '<tool_call>[]</tool_call>'],
    ["qwen", '<tool_call>{"name": "f", "arguments": {"a": "never'],
    ["qwen", " <tool_call>"],
    ["mistral", "[TOOL_CALLS]f and more"],
    ["mistral", "[TOOL_CALLS]f[ARGS]5"],
    ["mistral", "[TOOL_CALLS]f[ARGS"],
    ["granite", "<|tool_call|>[1]"],
    ["gemma", "<start_function_call>call:f{a:}<end_function_call> so"],
    ["gemma", "<start_function_call>call:f{a:1"],
    ["phi", "import functools\nfunctools.reduce(f, [1])"],
    ["llama", '{"name": "Ann", "parameters": {}}'],
    ["llama", '{"name": "f", "parameters": {}'],
    ["llama", "<|python_tag|>print(1)"],
    ["llama", 'The answer is {"name": "f", "parameters": {}}'],
    ["llama", " { a set }"],
  ]) assert.deepEqual(readAll(family, text), [text], text);
});

test("a call after one that is broken is found", () => {
  const broken = '<tool_call>{"name": "f", "arguments": {"a": "x}</tool_call>';
  assert.deepEqual(readAll("qwen", `${broken}\n<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>`), [broken, F]);
});

test("text is given as soon as it can be no mark, and nothing of a mark before", () => {
  const parser = new CallParser(callMarks(TEMPLATES.qwen), NAMES);
  const texts = ["Hel", "lo <", "b> ", "\n<tool", "_call>", '\n{"name": "f", ', '"arguments": {}}', "\n</tool_call>"].map((part) => parser.push(part));
  assert.deepEqual(texts.map(({ text }) => text), ["Hel", "lo", " <b>", "", "", "", "", ""]);
  assert.deepEqual(texts.map(({ calls }) => calls.length), [0, 0, 0, 0, 0, 0, 0, 1]);
});

test("the tokens of marks are named, and templates of no known kind have none", () => {
  assert.deepEqual(markTokens(callMarks(TEMPLATES.qwen)), ["<tool_call>", "</tool_call>"]);
  assert.deepEqual(markTokens(callMarks(TEMPLATES.mistral)), ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]);
  assert.deepEqual(markTokens(callMarks(TEMPLATES.llama)), ["<|python_tag|>"]);
  assert.deepEqual(callMarks("{% for tool in tools %}{{ tool }}{% endfor %}"), []);
});

test("calls are written as they are read", () => {
  const calls = [{ id: "a", type: "function", function: { name: "f", arguments: '{"a": 1}' } }];
  for (const [family, expected] of [
    ["granite", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 1}}]'],
    ["phi", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 1}}]<|/tool_call|>'],
    ["qwen", ['<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'].flatMap((each) => [each, each]).join("\n")],
  ]) {
    const text = written([...calls, ...calls], callMarks(TEMPLATES[family])[0]);
    assert.equal(text, expected);
    assert.deepEqual(readAll(family, text), ["", F, F]);
  }
});
