// Texts that are to be JSON, of a grammar or of a regular expression: the model that ships, on the CPU, at temperature 1.5.
// A thousand of them: tools/bench-formats.mjs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { lorakeet } from "../../dist/ai-sdk.js";
import { LorakeetError } from "../../dist/index.js";
import { SCHEMAS, fault, open, request } from "./schemas.mjs";

let engine;
before(async () => {
  engine = await open(undefined, { chatTemplate: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:" });
});
after(() => engine?.dispose());

const write = async (options) => (await engine.completions.create({ prompt: "The answer is", seed: 3, temperature: 1.5, max_tokens: 400, ...options })).choices;
const refusal = (options) => write(options).then(() => assert.fail("not refused"), (error) => error);

test("texts parse, and are of their schema", async () => {
  for (const [i, [name, schema]] of Object.entries(SCHEMAS).entries()) {
    const { choices } = await engine.completions.create(request(schema, 100 + i));
    assert.equal(fault(schema, choices[0]), undefined, name);
  }
});

test("texts of one batch go their own ways, with the log probabilities, a seed and a stream", async () => {
  const schema = SCHEMAS.types;
  const asked = { ...request(schema, 5), n: 5, logprobs: 1 };
  const { choices } = await engine.completions.create(asked);
  for (const choice of choices) {
    assert.equal(fault(schema, choice), undefined);
    assert.equal(choice.logprobs.tokens.join(""), choice.text);
  }
  assert.ok(new Set(choices.map(({ text }) => text)).size > 1);
  const streamed = choices.map(() => "");
  for await (const chunk of engine.completions.create({ ...asked, stream: true })) streamed[chunk.choices[0].index] += chunk.choices[0].text;
  assert.deepEqual(streamed, choices.map(({ text }) => text));
});

test("json_object is an object, unless the room ends first", async () => {
  for (const { text, finish_reason: finish } of await write({ n: 4, max_tokens: 150, response_format: { type: "json_object" } })) {
    assert.equal(text[0], "{");
    if (finish === "stop") assert.equal(typeof JSON.parse(text), "object");
    else assert.equal(finish, "length");
  }
  const [cut] = await write({ max_tokens: 3, regex: "[a-z]{40}" });
  assert.deepEqual([cut.finish_reason, /^[a-z]+$/.test(cut.text)], ["length", true]);
});

test("a text may end where its grammar can, and no sooner", async () => {
  for (const { text, finish_reason: finish } of await write({ n: 8, regex: "(ja|nein)( [a-z]{3}){0,2}" })) {
    assert.match(text, /^(ja|nein)( [a-z]{3}){0,2}$/);
    assert.equal(finish, "stop");
  }
  const [{ text }] = await write({ grammar: 'start: "(" sum ")"\nsum: NUMBER ("+" NUMBER)~1..4\nNUMBER: /[1-9][0-9]?/', stop_token_ids: [5], stop: ["no such"] });
  assert.match(text, /^\(\d\d?(\+\d\d?){1,4}\)$/);
  const [quiet] = await write({ regex: "" });
  assert.deepEqual([quiet.text, quiet.finish_reason], ["", "stop"]);
});

test("in chats, with the samplers and where requests wait", async () => {
  const { prompt, ...asked } = request(SCHEMAS.prefixItems, 0);
  const messages = [{ role: "user", content: prompt }];
  const ask = (seed) => engine.chat.completions.create({ ...asked, seed, messages, top_p: 0.9, frequency_penalty: 0.3 });
  const answers = await Promise.all(Array.from({ length: engine.info.batch + 3 }, (_, seed) => ask(seed)));
  for (const { choices: [{ message, finish_reason }] } of answers) assert.equal(fault(SCHEMAS.prefixItems, { text: message.content, finish_reason }), undefined);
});

test("for the AI SDK", async () => {
  const { content, finishReason, warnings } = await lorakeet(engine).doGenerate({
    prompt: [{ role: "user", content: [{ type: "text", text: "Well?" }] }], temperature: 1.5, seed: 4, maxOutputTokens: 400,
    responseFormat: { type: "json", schema: SCHEMAS.types },
  });
  assert.equal(fault(SCHEMAS.types, { text: content[0].text, finish_reason: finishReason.raw }), undefined);
  assert.deepEqual(warnings, []);
});

test("what is wrong is said before anything is written", async () => {
  const schema = (schema) => ({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
  const wrong = [
    [schema({ type: "array", uniqueItems: true }), 'response_format: Unimplemented keys: ["uniqueItems"]'],
    [schema({ $ref: "#/$defs/none" }), "response_format: "],
    [{ regex: "a(b" }, "regex: "],
    [{ grammar: "start: other" }, "grammar: "],
    [{ grammar: "start: /a/", regex: "a" }, "`grammar` and `regex` are both given, expected one of them"],
    [{ response_format: { type: "xml" } }, 'response_format.type "xml", expected `text`, `json_object` or `json_schema`'],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema undefined, expected {name, schema}"],
    [schema("x"), 'response_format.json_schema.schema "x", expected an object'],
    [{ regex: /a/ }, "regex {}, expected a string"],
  ];
  for (const [options, words] of wrong) {
    const error = await refusal(options);
    assert.ok(error instanceof LorakeetError && error.kind === "argument", error);
    assert.ok(error.message.startsWith(words), error.message);
  }
  const [plain] = await write({ max_tokens: 3, response_format: { type: "text" } });
  assert.equal(plain.token_ids.length, 3);
});

/** A schema at which the module panics. */
const TRAP = { response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "number", minimum: `${"é".repeat(99)}x` } } } };

test("a grammar that stops its module ends its request, and no other", async () => {
  const alone = (await write({ max_tokens: 40 }))[0].text;
  const [plain, json, error] = await Promise.all([write({ max_tokens: 40 }), engine.completions.create(request(SCHEMAS.types, 8)), refusal(TRAP)]);
  assert.equal(plain[0].text, alone);
  assert.equal(fault(SCHEMAS.types, json.choices[0]), undefined);
  assert.equal(error.kind, "argument");
  assert.match(error.message, /^response_format: it stopped the module of grammars: /);
  const { choices } = await engine.completions.create(request(SCHEMAS.types, 8));
  assert.equal(choices[0].text, json.choices[0].text);
});
