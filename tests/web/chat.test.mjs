// Chats, log probabilities, several choices and embeddings through the package.
// What a template renders is tests/rust/chat.rs's, what a model computes tests/rust/hidden.rs's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openApi, start } from "./browser.mjs";

const TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
const MESSAGES = [
  { role: "system", content: "Be brief." },
  { role: "user", content: [{ type: "text", text: "Who" }, { type: "text", text: "are you?" }] },
];
const PROMPT = "<system> Be brief.\n<user> Who\nare you?\n<assistant>";

let browser, page;
before(async () => {
  browser = await start();
  page = await openApi(browser);
  await page.evaluate(async (template) => {
    const files = { config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" };
    const parts = Object.fromEntries(Object.entries(files).map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    globalThis.engine = await lorakeet.createEngine({ ...parts, chatTemplate: new TextEncoder().encode(template) }, { device: "cpu", contextLength: 128 });
    globalThis.plain = await lorakeet.createEngine(parts, { device: "cpu", contextLength: 128 });
  }, TEMPLATE);
});
after(() => browser?.close());

test("a conversation is the template's prompt, and an answer OpenAI's", async () => {
  const [answer, text] = await page.evaluate(async ([messages, prompt]) => [
    await engine.chat.completions.create({ messages, max_completion_tokens: 12, temperature: 0 }),
    await engine.completions.create({ prompt: [...(await engine.tokenize(prompt))], max_tokens: 12, temperature: 0 }),
  ], [MESSAGES, PROMPT]);
  assert.equal(answer.object, "chat.completion");
  assert.match(answer.id, /^chatcmpl-[0-9a-f]{16}$/);
  assert.equal(answer.choices.length, 1);
  const { message, finish_reason, logprobs } = answer.choices[0];
  assert.deepEqual({ ...message, content: undefined }, { role: "assistant", content: undefined, refusal: null });
  assert.equal(message.content, text.choices[0].text);
  assert.ok(message.content.length > 0);
  assert.deepEqual([finish_reason, logprobs], [text.choices[0].finish_reason, null]);
  assert.equal(answer.usage.prompt_tokens, text.usage.prompt_tokens);
});

test("conversations teach their answers, each after what came before it", async () => {
  const [steps, expected, all, errors, alike] = await page.evaluate(async (messages) => {
    const losses = async (options) => {
      const losses = [];
      for await (const { loss } of engine.trainAdapter({ name: "taught", rank: 2, epochs: 1, batch: 2, maxLength: 128, ...options })) losses.push(loss);
      await engine.deleteAdapter("taught");
      return losses;
    };
    const nats = async (text, given) => {
      const ids = await engine.tokenize(text);
      const first = given === undefined ? 1 : (await engine.tokenize(given)).length;
      const logits = await engine.logits(ids);
      return ids.slice(first).map((id, i) => {
        const row = logits[first + i - 1];
        const most = Math.max(...row);
        return most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - row[id];
      });
    };
    const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
    const asked = "<user> Who are you?\n<assistant>";
    const [one, two] = [asked + " A fox.\n", `${asked} A fox.\n<user> Why?\n<assistant> Foxes are born.\n`];
    const dataset = [{ messages }];
    const errors = [
      await failure(() => losses({ dataset: [{ messages: messages.slice(0, 1) }] })),
      await failure(() => losses({ dataset: [{ messages: [{ role: "fox", content: "yip" }] }] })),
      await failure(() => losses({ dataset, maxLength: 8 })),
    ];
    const turns = messages.map(({ role, content }) => ({ from: role === "user" ? "human" : "gpt", value: content }));
    const forms = [{ id: "a_0", source: "b", conversations: turns }, { id: 1, conversations: messages, system: null }];
    const alike = [];
    for (const form of forms) alike.push(await losses({ dataset: [form] }));
    errors.push(await failure(() => losses({ dataset: [{ conversations: turns, system: "Be brief." }] })));
    errors.push(await failure(() => losses({ dataset: [{ conversations: [{ role: "fox", content: "yip" }] }] })));
    const answers = [...(await nats(one, asked)), ...(await nats(two, two.slice(0, two.lastIndexOf(" Foxes"))))];
    return [await losses({ dataset }), mean(answers), [await losses({ dataset, completionOnly: false }), mean(await nats(two))], errors, alike];
  }, [{ role: "user", content: "Who are you?" }, { role: "assistant", content: "A fox." }, { role: "user", content: "Why?" }, { role: "assistant", content: "Foxes are born." }]);
  assert.equal(steps.length, 1);
  assert.ok(Math.abs(steps[0] - expected) < 1e-4, `${steps[0]}, expected ${expected}`);
  assert.equal(all[0].length, 1);
  assert.ok(Math.abs(all[0][0] - all[1]) < 1e-4, `${all[0][0]}, expected ${all[1]}`);
  assert.ok(Math.abs(all[1] - expected) > 1e-3, "the two are alike");
  assert.deepEqual(alike, [steps, steps]); // ShareGPT's form, and messages in it
  assert.deepEqual(errors.map(({ kind }) => kind), ["argument", "unsupported", "argument", "argument", "unsupported"]);
  assert.equal(errors[3].message, "dataset[0].system: unknown, expected conversations");
  assert.match(errors[4].message, /^dataset\[0\]\.conversations\[0\]: role `fox` is not supported/);
  assert.equal(errors[0].message, "dataset[0].messages: no answer, expected a message of role assistant");
  assert.match(errors[2].message, /^dataset\[0\]\.messages\[1\]: a prompt of \d+ tokens, expected fewer than maxLength 8$/);
});

test("half a character in a message is what it is in a prompt", async () => {
  const [chat, text] = await page.evaluate(async () => {
    const messages = [{ role: "user", content: "\ud83d odd \udc00\u0004" }];
    return [
      await engine.chat.completions.create({ messages, max_tokens: 4, temperature: 0 }),
      await engine.completions.create({ prompt: "<user> \ud83d odd \udc00\u0004\n<assistant>", max_tokens: 4, temperature: 0 }),
    ];
  });
  assert.equal(chat.choices[0].message.content, text.choices[0].text);
  assert.equal(chat.usage.prompt_tokens, text.usage.prompt_tokens);
});

test("a stream adds up to the answer, and the next turn takes this one from the cache", async () => {
  const [chunks, answer, next] = await page.evaluate(async (messages) => {
    const request = { messages, max_tokens: 10, temperature: 0, seed: 1 };
    const chunks = [];
    for await (const chunk of engine.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    const answer = await engine.chat.completions.create(request);
    const more = [...messages, answer.choices[0].message, { role: "user", content: "Go on." }];
    return [chunks, answer, await engine.chat.completions.create({ ...request, messages: more })];
  }, MESSAGES);
  assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
  const text = chunks.flatMap(({ choices }) => choices).map(({ delta }) => delta.content ?? "").join("");
  assert.equal(text, answer.choices[0].message.content);
  assert.equal(chunks.flatMap(({ choices }) => choices).at(-1).finish_reason, answer.choices[0].finish_reason);
  assert.equal(chunks.at(-1).usage.completion_tokens, answer.usage.completion_tokens);
  assert.ok(next.usage.prompt_tokens_details.cached_tokens >= answer.usage.prompt_tokens, JSON.stringify(next.usage));
});

test("log probabilities add up to at most one, and several choices draw for themselves", async () => {
  const [chat, text, many] = await page.evaluate(async (messages) => [
    await engine.chat.completions.create({ messages, max_tokens: 5, temperature: 0, logprobs: true, top_logprobs: 3 }),
    await engine.completions.create({ prompt: "The fox", max_tokens: 5, temperature: 0, logprobs: 2 }),
    await engine.completions.create({ prompt: ["The fox", "A cow"], n: 2, max_tokens: 8, temperature: 1.5, seed: 4 }),
  ], MESSAGES);
  const { content } = chat.choices[0].logprobs;
  assert.equal(content.length, chat.usage.completion_tokens);
  for (const { token, logprob, top_logprobs } of content) {
    assert.equal(top_logprobs.length, 3);
    assert.deepEqual([top_logprobs[0].token, top_logprobs[0].logprob], [token, logprob]); // greedy
    assert.ok(top_logprobs.reduce((sum, each) => sum + Math.exp(each.logprob), 0) <= 1 + 1e-6);
  }
  const lists = text.choices[0].logprobs;
  for (const list of Object.values(lists)) assert.equal(list.length, text.choices[0].token_ids.length);
  assert.equal(lists.text_offset[0], 0);
  assert.deepEqual(many.choices.map(({ index }) => index), [0, 1, 2, 3]);
  assert.equal(new Set(many.choices.map(({ text }) => text)).size, 4);
  assert.ok(many.usage.completion_tokens > 16);
});

test("embeddings have length one, whole or cut, and tell texts apart", async () => {
  const [all, cut, ids] = await page.evaluate(async () => [
    await engine.embeddings.create({ input: ["a fox", "a fox", "the sea at night"] }),
    await engine.embeddings.create({ input: "a fox", dimensions: 8, pooling: "last" }),
    await engine.embeddings.create({ input: [5, 90, 17], layer: 1, pooling: "cls" }),
  ]);
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const [a, b, c] = all.data.map(({ embedding }) => embedding);
  assert.ok(Math.abs(dot(a, b) - 1) < 1e-5 && dot(a, c) < 0.999);
  assert.equal(cut.data[0].embedding.length, 8);
  assert.ok(Math.abs(dot(cut.data[0].embedding, cut.data[0].embedding) - 1) < 1e-5);
  assert.equal(ids.usage.prompt_tokens, 3);
});

test("what is not to be had is refused by name", async () => {
  const errors = await page.evaluate(async (messages) => {
    const chat = (request) => failure(() => engine.chat.completions.create({ messages, ...request }));
    return [
      await chat({ tools: [{ type: "function", function: { name: "f" } }] }),
      await chat({ response_format: { type: "xml" } }),
      await chat({ messages: [] }),
      await chat({ messages: [{ role: "fox", content: "x" }] }),
      await chat({ messages: [{ role: "user", content: [{ type: "image_url" }] }] }),
      await chat({ top_logprobs: 2 }),
      await chat({ model: "another" }),
      await failure(() => engine.embeddings.create({ input: "x", dimensions: 5000 })),
      await failure(() => plain.chat.completions.create({ messages })),
      await failure(async () => {
        const abort = new AbortController();
        for await (const _ of engine.chat.completions.create({ messages, stream: true, signal: abort.signal })) abort.abort();
      }),
    ];
  }, MESSAGES);
  assert.deepEqual(errors.map(({ kind }) => kind), [
    "unsupported", "argument", "argument", "unsupported", "unsupported", "argument", "argument", "argument", "unsupported", "cancelled",
  ]);
  for (const [i, words] of [[0, "tools"], [1, "response_format"], [2, "messages"], [3, "fox"], [4, "image_url"], [5, "top_logprobs"], [6, "another"], [7, "dimensions"], [8, "template"]]) {
    assert.ok(errors[i].message.includes(words), errors[i].message);
  }
});

test("the module of chats is fetched for the first of them, can be elsewhere, and its absence is no end", async () => {
  const fresh = await openApi(browser);
  const { before, error, kind, after, usage } = await fresh.evaluate(async ([template, messages]) => {
    const files = { config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" };
    const parts = Object.fromEntries(Object.entries(files).map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    const source = { ...parts, chatTemplate: new TextEncoder().encode(template) };
    const open = (options) => lorakeet.createEngine(source, { device: "cpu", contextLength: 128, worker: false, ...options });
    const fetched = () => performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("lorakeet_chat_bg.wasm")).length;
    const lost = await open({ chatWasmUrl: "/nowhere.wasm" });
    const engine = await open({ chatWasmUrl: "../../../dist/wasm/lorakeet_chat_bg.wasm" });
    await engine.completions.create({ prompt: "a", max_tokens: 1 });
    const before = fetched();
    const error = await failure(() => lost.chat.completions.create({ messages }));
    const { usage } = await engine.chat.completions.create({ messages, max_tokens: 1 });
    await lost.chat.completions.create({ messages, max_tokens: 1 }); // the page has it now
    const { kind } = await failure(() => open({ chatWasmUrl: "http://" }));
    return { before, error, kind, after: fetched(), usage };
  }, [TEMPLATE, MESSAGES]);
  assert.deepEqual([before, after], [0, 1]);
  assert.deepEqual(error, { kind: "network", message: `the WebAssembly module of chats: HTTP 404, ${browser.url}nowhere.wasm` });
  assert.equal(kind, "argument");
  assert.ok(usage.prompt_tokens > 0);
  await fresh.close();
});

test("a template that exhausts the module of chats stops that module alone", async () => {
  const own = await openApi(browser);
  const [error, again, text] = await own.evaluate(async (messages) => {
    const files = { config: "config.json", tokenizer: "tokenizer.json", weights: "model.safetensors" };
    const source = Object.fromEntries(Object.entries(files).map(([role, name]) => [role, new URL(`/test/fixtures/llama/${name}`, location.href)]));
    source.chatTemplate = new TextEncoder().encode("{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}");
    const engine = await lorakeet.createEngine(source, { device: "cpu", contextLength: 128 });
    const answer = () => failure(() => engine.chat.completions.create({ messages, max_tokens: 4 }));
    return [await answer(), await answer(), (await engine.completions.create({ prompt: [5, 90], max_tokens: 4, temperature: 0 })).choices[0].text];
  }, MESSAGES);
  assert.equal(error.kind, "device");
  assert.match(error.message, /stopped: Maximum call stack size exceeded; reload the page$/);
  assert.deepEqual(again, error);
  assert.ok(text.length > 0);
  await own.close();
});

test("a chat template comes with any model, and a chat ends at a token that nothing marks", async () => {
  const own = await openApi(browser);
  const { wholes, text, drawn, stopped } = await own.evaluate(async ([template, messages]) => {
    const folder = async (name) => new File([await (await fetch(`/test/fixtures/llama/${name}`)).blob()], name);
    const files = await Promise.all(["config.json", "tokenizer.json", "model.safetensors"].map(folder));
    const encoded = new TextEncoder().encode(template);
    const options = { device: "cpu", contextLength: 128, worker: true };
    const request = { messages, max_tokens: 12, temperature: 0 };
    const url = URL.createObjectURL(new Blob([template]));
    const wholes = [];
    const answer = async (source, options) => {
      const engine = await lorakeet.createEngine(source, options);
      const it = (await engine.chat.completions.create(request)).choices[0].message.content;
      await engine.dispose();
      return it;
    };
    for (const chatTemplate of [template, encoded, new Blob([encoded]), new URL(url)]) wholes.push(await answer(files, { ...options, chatTemplate }));
    wholes.push(await answer("/test/fixtures/llama/", { ...options, chatTemplate: template }));
    wholes.push(await answer([...files, new File([JSON.stringify({ chat_template: template })], "chat_template.json")], options));
    wholes.push(await answer([...files, new File([JSON.stringify({ chat_template: "other" })], "tokenizer_config.json")], { ...options, chatTemplate: template }));
    const [config, tokenizer, weights] = files;
    wholes.push(await answer({ config, tokenizer, weights, chatTemplate: template }, options));

    const engine = await lorakeet.createEngine(files, { ...options, chatTemplate: template });
    const prompt = messages.map(({ role, content }) => `<${role}> ${content}\n`).join("") + "<assistant>";
    const { choices } = await engine.completions.create({ prompt: await engine.tokenize(prompt), max_tokens: 12, temperature: 0 });
    const drawn = choices[0].token_ids;
    const parsed = JSON.parse(await tokenizer.text());
    const spelled = (id) => Object.entries(parsed.model.vocab).find(([, of]) => of === id)[0];
    const at = drawn.findIndex((id, i) => i > 1 && !drawn.slice(0, i).includes(id) && !prompt.includes(spelled(id)));
    const content = spelled(drawn[at]);
    parsed.added_tokens.push({ id: drawn[at], content, special: false, single_word: false, lstrip: false, rstrip: false, normalized: false });
    const ended = template.replace("{{ m.content }}\n", `{{ m.content }}{{ ${JSON.stringify(content)} if m.role == "assistant" else "" }}\n`);
    const marked = await lorakeet.createEngine([config, new File([JSON.stringify(parsed)], "tokenizer.json"), weights], { ...options, chatTemplate: ended });
    const stopped = (await marked.chat.completions.create(request)).choices[0];
    const before = await engine.completions.create({ prompt: await engine.tokenize(prompt), max_tokens: 12, temperature: 0, stop_token_ids: [drawn[at]] });
    return { wholes, text: choices[0].text, drawn: before.choices[0].text, stopped };
  }, [TEMPLATE, [{ role: "user", content: "Who are you?" }]]);
  assert.deepEqual(wholes, Array(8).fill(text));
  assert.deepEqual([stopped.message.content, stopped.finish_reason], [drawn, "stop"]);
  await own.close();
});

test("a template that came with an adapter is used under it", async () => {
  const own = await openApi(browser);
  const { tokens, want, errors } = await own.evaluate(async () => {
    const fetched = async (path, name = path.split("/").at(-1)) => new File([await (await fetch(`/test/${path}`)).blob()], name);
    const adapter = await Promise.all(["adapter_config.json", "adapter_model.safetensors"].map((name) => fetched(`adapters/llama/qv/${name}`)));
    const jinja = (text) => new File([text], "chat_template.jinja");
    const inConfig = (text) => new File([JSON.stringify({ chat_template: text, bos_token: "<b>" })], "tokenizer_config.json");
    const inJson = (text) => new File([JSON.stringify({ chat_template: text })], "chat_template.json");
    const messages = [{ role: "user", content: "Who are you?" }];
    const engine = await lorakeet.createEngine("/test/fixtures/llama/", { device: "cpu", contextLength: 128 });
    const templates = { a: "zqzqzq {{ messages[0].content }}", b: "{{ bos_token }} zqzqzqzqzq {{ messages[0].content }}", c: "{{ messages[0].content }} zqzqzqzqzqzqzqzqzqzqzq" };
    const chat = async (engine, request) => (await engine.chat.completions.create({ messages, max_tokens: 1, ...request })).usage.prompt_tokens;
    const count = async (text) => (await engine.tokenize(text)).length;
    const want = {};
    for (const [name, text] of Object.entries(templates)) want[name] = await count(text.replace("{{ messages[0].content }}", "Who are you?").replace("{{ bos_token }}", "<b>"));
    want.base = await count("Base: Who are you?");

    await engine.loadAdapter([...adapter, jinja(templates.a)], { name: "a" });
    await engine.loadAdapter([...adapter, inConfig(templates.b)], { name: "b" });
    await engine.loadAdapter([...adapter, inJson("unused")], { name: "c", chatTemplate: templates.c });
    await engine.loadAdapter([...adapter, jinja(templates.a)], { name: "alike" });
    await engine.loadAdapter("/test/adapters/llama/qv/", { name: "plain" });
    const errors = [await failure(() => chat(engine)), await failure(() => chat(engine, { adapter: "plain" })), await failure(() => chat(engine, { adapter: "nobody" }))];
    const tokens = {};
    for (const name of ["a", "b", "c"]) tokens[name] = await chat(engine, { adapter: name });
    await engine.setAdapter("b");
    tokens.chosen = await chat(engine);
    tokens.model = await chat(engine, { model: "llama:c" });
    await engine.setAdapter({ a: 0.4, plain: 0.6 });
    tokens.withPlain = await chat(engine);
    tokens.agreeing = await chat(engine, { adapter: { a: 0.2, alike: 0.8 } });
    tokens.largest = await chat(engine, { adapter: { a: 0.2, b: -0.8 } });
    await engine.disableAdapters();
    await engine.mergeAdapter("a");
    tokens.merged = await chat(engine);
    await engine.unmergeAdapter();
    await engine.addWeightedAdapter("both", { c: 0.5, a: 0.5 }, { combinationType: "linear" });
    tokens.combined = await chat(engine, { adapter: "both" });
    await engine.deleteAdapter("a");
    await engine.loadAdapter("/test/adapters/llama/qv/", { name: "a" });
    errors.push(await failure(() => chat(engine, { adapter: "a" })));
    await engine.loadAdapter([...adapter, jinja("{% if %}")], { name: "broken" });
    errors.push(await failure(() => chat(engine, { adapter: "broken" })));
    errors.push(await failure(() => engine.loadAdapter(adapter, { name: "d", chatTemplate: 5 })));

    const based = await lorakeet.createEngine("/test/fixtures/llama/", { device: "cpu", contextLength: 128, chatTemplate: "Base: {{ messages[0].content }}" });
    await based.loadAdapter([...adapter, jinja(templates.a)], { name: "a" });
    await based.loadAdapter([...adapter, inConfig(templates.b)], { name: "b" });
    tokens.base = await chat(based);
    tokens.over = await chat(based, { adapter: "a" });
    tokens.disagreeing = await chat(based, { adapter: { a: 0.2, b: 0.8 } });
    return { tokens, want, errors };
  });
  assert.equal(new Set(Object.values(want)).size, 4, "they can be told apart");
  const { a, b, c, base } = want;
  assert.deepEqual(tokens, {
    a, b, c, chosen: b, model: c, withPlain: a, agreeing: a, largest: b, merged: a, combined: c, base, over: a, disagreeing: base,
  });
  assert.deepEqual(errors.map(({ kind }) => kind), ["unsupported", "unsupported", "argument", "unsupported", "unsupported", "argument"]);
  for (const [i, words] of ["`chatTemplate`", "`chatTemplate`", "`nobody` is not loaded", "`chatTemplate`", "adapter `broken`: chat template line 1", "chatTemplate 5, expected a template"].entries()) {
    assert.ok(errors[i].message.includes(words), errors[i].message);
  }
  await own.close();
});
