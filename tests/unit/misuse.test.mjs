// What people do wrong: each mistake has a typed error, in words that say what to do, or a sensible success; and the
// engine answers as before after every one. In Node, on the CPU. What goes wrong with files is fault-table.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createEngine, saveAdapter } from "../../dist/index.js";
import { root } from "../../tools/setup.mjs";
import { writeRandomAdapter } from "../web/random-adapter.mjs";

const model = join(root, "www/models/demo");
const chatTemplate = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}<assistant>";
const PROMPT = "Once upon a time";
const hi = [{ role: "user", content: "Hi" }];

let folder;
let engine;
let text;
let server;
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "misuse-"));
  for (const [seed, name] of ["poet", "cook"].entries()) writeRandomAdapter(join(folder, name), { model, seed: seed + 1 });
  server = createServer((request, response) => {
    if (request.url.startsWith("/hangs")) return;
    response.writeHead(request.url.startsWith("/page") ? 200 : 404, { "content-type": "text/html" }).end("<!doctype html>");
  });
  await new Promise((listening) => server.listen(0, "localhost", listening));
  engine = await createEngine(model, { batch: 1, contextLength: 64, chatTemplate });
  await engine.loadAdapter(join(folder, "poet"));
  text = await again();
});
after(async () => {
  await engine?.dispose();
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

const again = async () => (await engine.completions.create({ prompt: PROMPT, max_tokens: 8, temperature: 0 })).choices[0].text;
const complete = (request) => () => engine.completions.create({ prompt: PROMPT, max_tokens: 2, ...request });
const chat = (request) => () => engine.chat.completions.create({ messages: hi, max_tokens: 2, ...request });
const train = (options) => async () => {
  for await (const _ of engine.trainAdapter({ name: "me", dataset: "A text to learn.", epochs: 1, rank: 2, ...options }));
};
const at = (path) => `http://localhost:${server.address().port}/${path}`;
const files = (change) => {
  const [config, weights] = ["adapter_config.json", "adapter_model.safetensors"].map((name) => new Uint8Array(readFileSync(join(folder, "cook", name))));
  return change({ config, weights });
};
/** Reads no further than the first part, and does something. */
const within = (request, work) => async () => {
  const stream = engine.completions.create({ prompt: PROMPT, stream: true, ...request });
  await stream.next();
  try {
    return await work(stream);
  } finally {
    await stream.return();
  }
};

/** What is done, and what comes of it: a kind and the words of an error, or what is given. */
const TABLE = [
  // Requests
  ["no request", () => engine.completions.create(), "argument", /request undefined, expected an object/],
  ["an empty prompt", complete({ prompt: [] }), "argument", /^prompt \[\], expected a string, token ids/],
  ["a prompt that is a number", complete({ prompt: 7 }), "argument", /^prompt 7/],
  ["prompts of two kinds with nothing in one", complete({ prompt: ["a", []] }), "argument", /^prompt/],
  ["a token outside the vocabulary", complete({ prompt: [99_999] }), "argument", /99999/],
  ["a prompt longer than the context", complete({ prompt: Array(65).fill(5) }), "argument", /65 tokens .* context of 64/],
  ["more tokens than the context holds", complete({ max_tokens: 999 }), "argument", /max_tokens 999 exceed the context of 64/],
  ["max_tokens 0", complete({ max_tokens: 0 }), "argument", /^max_tokens 0, expected a whole number, at least 1$/],
  ["max_tokens -1", complete({ max_tokens: -1 }), "argument", /^max_tokens -1, expected a whole number, at least 1$/],
  ["max_tokens 1.5", complete({ max_tokens: 1.5 }), "argument", /at least 1$/],
  ["max_tokens NaN", complete({ max_tokens: NaN }), "argument", /^max_tokens NaN/],
  ["max_tokens \"5\"", complete({ max_tokens: "5" }), "argument", /^max_tokens "5"/],
  ["max_tokens without end", complete({ max_tokens: Infinity }), "argument", /^max_tokens Infinity, expected at most/],
  ["temperature NaN", complete({ temperature: NaN }), "argument", /temperature NaN, expected 0 or more/],
  ["temperature -1", complete({ temperature: -1 }), "argument", /temperature -1/],
  ["temperature as a text", complete({ temperature: "hot" }), "argument", /temperature "hot", expected a number/],
  ["top_p 0", complete({ top_p: 0 }), "argument", /top_p 0, expected above 0/],
  ["top_p 7", complete({ top_p: 7 }), "argument", /top_p 7/],
  ["top_k -1", complete({ top_k: -1 }), "argument", /top_k -1/],
  ["min_p 2", complete({ min_p: 2 }), "argument", /min_p 2/],
  ["a seed of the wrong kind", complete({ seed: -1 }), "argument", /seed -1/],
  ["repetition_penalty 0", complete({ repetition_penalty: 0 }), "argument", /repetition_penalty 0/],
  ["n 0", complete({ n: 0 }), "argument", /^n 0/],
  ["n 3 with one sequence", async () => (await complete({ n: 3 })()).choices.length, 3],
  ["logprobs 99", complete({ logprobs: 99 }), "argument", /logprobs 99/],
  ["an empty stop string", complete({ stop: "" }), "argument", /^stop "", expected .* none of them empty/],
  ["an empty stop string among others", complete({ stop: ["a", ""] }), "argument", /none of them empty/],
  ["a stop of the wrong kind", complete({ stop: 5 }), "argument", /^stop 5/],
  ["stop tokens of the wrong kind", complete({ stop_token_ids: ["a"] }), "argument", /stop_token_ids/],
  ["logit_bias of a word", complete({ logit_bias: { the: 1 } }), "argument", /token id/],
  ["logit_bias past its range", complete({ logit_bias: { 5: 999 } }), "argument", /999/],
  ["a penalty past its range", complete({ presence_penalty: 9 }), "argument", /presence_penalty 9/],
  ["echo", complete({ echo: true }), "unsupported", /^option `echo` is not supported/],
  ["best_of", complete({ best_of: 3 }), "unsupported", /best_of/],
  ["a suffix", complete({ suffix: "the end" }), "unsupported", /suffix/],
  ["both adapter and adapter_names", complete({ adapter: "poet", adapter_names: ["poet"] }), "argument", /both given/],
  ["names for other prompts than there are", complete({ adapter_names: ["poet", "poet"] }), "argument", /of 2 entries, expected 1/],
  ["an adapter that is not there", complete({ adapter: "pirat" }), "argument", /`pirat`/],
  ["weights that are no numbers", complete({ adapter: { poet: "much" } }), "argument", /`poet` "much", expected a number/],
  ["a weight that is no number of mathematics", complete({ adapter: { poet: NaN } }), "argument", /poet/],
  ["another model's name", complete({ model: "gpt-4" }), "argument", /"gpt-4"/],
  ["a signal that is none", complete({ signal: {} }), "argument", /signal \{\}, expected an AbortSignal/],
  ["onPrompt that is no function", complete({ onPrompt: 1 }), "argument", /onPrompt 1/],
  // Dialects
  ["camel case", complete({ maxTokens: 3 }), "argument", /unknown, did you mean `max_tokens`\?/],
  ["camel case of a penalty", complete({ presencePenalty: 1 }), "argument", /did you mean `presence_penalty`\?/],
  ["a slip", complete({ temprature: 1 }), "argument", /did you mean `temperature`\?/],
  ["llama.cpp's name", complete({ n_predict: 3 }), "argument", /^option `n_predict`: unknown, expected one of/],
  ["transformers' name", complete({ max_new_tokens: 3 }), "argument", /^option `max_new_tokens`: unknown/],
  ["what is unsupported is not among what is expected", complete({ colour: 1 }), "argument", /^(?!.*(echo|suffix|best_of))/],
  ["an engine's option in another spelling", () => createEngine(model, { context_length: 64 }), "argument", /did you mean `contextLength`\?/],
  ["an unknown dtype", () => createEngine(model, { dtype: "fp16" }), "argument", /fp16/],
  ["an unknown device", () => createEngine(model, { device: "tpu" }), "argument", /tpu/],
  // Chats
  ["no messages", chat({ messages: [] }), "argument", /^messages \[\]/],
  ["a message without a role", chat({ messages: [{ content: "a" }] }), "argument", /role/],
  ["an unknown role", chat({ messages: [{ role: "robot", content: "a" }] }), "unsupported", /role `robot`/],
  ["OpenAI's newer name of a role", async () => (await chat({ messages: [{ role: "developer", content: "Be kind." }, ...hi] })()).choices.length, 1],
  ["an image", chat({ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }] }), "unsupported", /image_url/],
  ["a prompt in a chat", chat({ prompt: "a" }), "argument", /option `prompt`: unknown/],
  ["tools for a template that shows none", chat({ tools: [{ type: "function", function: { name: "f" } }] }), "unsupported", /tools/],
  ["a tool choice without tools", chat({ tool_choice: "required" }), "argument", /`tools`/],
  ["a format that is none", chat({ response_format: "json" }), "argument", /response_format/],
  ["top_logprobs alone", chat({ top_logprobs: 3 }), "argument", /`logprobs: true`/],
  ["a chat of a model without a template", async () => {
    const plain = await createEngine(model, { contextLength: 64 });
    try {
      await plain.chat.completions.create({ messages: hi });
    } finally {
      await plain.dispose();
    }
  }, "unsupported", /template/],
  // Interruption
  ["aborted before it begins", complete({ signal: AbortSignal.abort() }), "cancelled", /^the completion was cancelled$/],
  ["out of time", complete({ max_tokens: 1e6, overflow: "slide", signal: AbortSignal.timeout(30) }), "cancelled", /was cancelled: its time was up$/],
  ["aborted, then asked again at once", async () => {
    const controller = new AbortController();
    const first = complete({ max_tokens: 1e6, overflow: "slide", signal: controller.signal })();
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(first, { name: "AbortError", kind: "cancelled" });
    return again();
  }, () => text],
  ["a second request while one runs", async () => (await Promise.all([again(), again(), again()])).join("|"), () => [text, text, text].join("|")],
  ["a stream that is not read on, and more", async () => {
    const busy = await createEngine(model, { batch: 1, contextLength: 64, streamIdleTimeout: 20 });
    try {
      const stream = busy.completions.create({ prompt: PROMPT, overflow: "slide", stream: true });
      await stream.next();
      await busy.completions.create({ prompt: PROMPT, max_tokens: 2 });
      await stream.next();
    } finally {
      await busy.dispose();
    }
  }, "argument", /^nobody read this stream for 20 ms/],
  ["one request more than may wait", async () => {
    const strict = await createEngine(model, { batch: 1, contextLength: 64, maxQueue: 0 });
    try {
      const stream = strict.completions.create({ prompt: PROMPT, stream: true });
      await stream.next();
      await strict.completions.create({ prompt: PROMPT }).finally(() => stream.return());
    } finally {
      await strict.dispose();
    }
  }, "argument", /`maxQueue`/],
  // Sources
  ["no source", () => createEngine(), "argument", /^model undefined/],
  ["a source of the wrong kind", () => createEngine(7), "argument", /^model 7/],
  ["a word", () => createEngine("demo"), "argument", /^model "demo", expected a hub id/],
  ["a path without ./", () => createEngine("models/x", { hubUrl: at("") }), "network", /config\.json.*"models\/x"/],
  ["a path without ./, and no hub", () => createEngine("models/x/y.gguf", { hubUrl: "http://localhost:1" }), "network", /if a path is meant, write `\.\/models\/x\/y\.gguf`$/],
  ["a page in place of files", () => createEngine(at("page/")), "network", /^(config|tokenizer)\.json: not found/],
  ["a server that has none", () => createEngine(at("none/")), "network", /not found/],
  ["a server that is not there", () => createEngine("http://localhost:1/"), "network", /localhost:1/],
  ["a server that hangs", () => createEngine(at("hangs/"), { signal: AbortSignal.timeout(50) }), "cancelled", /loading the model was cancelled: its time was up/],
  ["a URL that is none", () => createEngine("http://"), "argument", /URL/],
  ["files that are no model", () => createEngine([new File(["a"], "notes.txt")]), "argument", /not among the 1 file given/],
  ["zeros for a GGUF", () => createEngine(new File([new Uint8Array(64)], "zero.gguf")), "format", /GGUF/],
  ["no WebGPU", () => createEngine(model, { device: "webgpu" }), "unsupported", /^no WebGPU/],
  ["a token that is none", () => createEngine("org/x", { token: "a b" }), "argument", /^token/],
  // Adapters
  ["an adapter's config that is no JSON", () => engine.loadAdapter(files(({ weights }) => ({ config: new TextEncoder().encode("{"), weights })), { name: "cook" }), "format", /adapter_config\.json/],
  ["an adapter cut short", () => engine.loadAdapter(files(({ config, weights }) => ({ config, weights: weights.subarray(0, -5) })), { name: "cook" }), "format", /adapter_model\.safetensors/],
  ["an adapter of zeros", () => engine.loadAdapter(files(({ config }) => ({ config, weights: new Uint8Array(64) })), { name: "cook" }), "format", /safetensors/],
  ["another rank than its config's", () => engine.loadAdapter(files(({ config, weights }) => ({ config: new TextEncoder().encode(new TextDecoder().decode(config).replace('"r":8', '"r":4')), weights })), { name: "cook" }), "mismatch", /4/],
  ["an adapter of another model", () => engine.loadAdapter(files(({ config, weights }) => ({ config: new TextEncoder().encode(new TextDecoder().decode(config).replace("{", '{"base_model_name_or_path":"org/other",').replace('"r":8', '"r":4')), weights })), { name: "cook" }), "mismatch", /^this adapter was made for `org\/other`: /],
  ["a strict tool that nothing keeps to its schema", chat({ tools: [{ type: "function", function: { name: "f", strict: true } }] }), "unsupported", /^tools\[0\]: `strict` needs `tool_choice`/],
  ["the same name twice", async () => (await engine.loadAdapter(join(folder, "poet"))).name, "poet"],
  ["a name that is reserved", () => engine.loadAdapter(join(folder, "cook"), { name: "__base__" }), "argument", /__base__/],
  ["files without a name", () => engine.loadAdapter(files((parts) => parts)), "argument", /option `name`/],
  ["an unknown adapter switched on", () => engine.setAdapter("pirat"), "argument", /`pirat`/],
  ["an unknown adapter taken out", () => engine.deleteAdapter("pirat"), "argument", /`pirat`/],
  ["an unknown adapter exported", () => engine.exportAdapter("pirat"), "argument", /`pirat`/],
  ["an adapter taken out that writes", within({ adapter: "poet" }, () => engine.deleteAdapter("poet")), "argument", /in use/],
  ["an unknown adapter for a stream", within({}, (stream) => stream.setAdapter("pirat")), "argument", /`pirat`/],
  ["another adapter for a stream", within({}, async (stream) => (await stream.setAdapter("poet"), (await stream.next()).done)), false],
  ["saving outside of a page", () => saveAdapter(engine, "poet"), "unsupported", /no page/],
  ["merging into quantised weights", async () => {
    const small = await createEngine(model, { contextLength: 64, dtype: "q8" });
    try {
      await small.loadAdapter(join(folder, "poet"));
      await small.mergeAdapter("poet");
    } finally {
      await small.dispose();
    }
  }, "unsupported", /held as q8, .* expected f32$/],
  // Training
  ["a training of nothing", train({ dataset: "" }), "argument", /dataset|tokens|text/],
  ["an empty dataset", train({ dataset: [] }), "argument", /^dataset \[\]/],
  ["a dataset of numbers", train({ dataset: [7] }), "argument", /dataset\[0\]/],
  ["rank 0", train({ rank: 0 }), "argument", /^rank 0, expected a whole number, at least 1/],
  ["rank 100000", train({ rank: 100_000 }), "argument", /rank 100000.*expected rank 1 to 65536/],
  ["a learning rate that is none", train({ learningRate: NaN }), "argument", /learningRate NaN/],
  ["a learning rate of a slipped digit", train({ learningRate: 1e9 }), "argument", /learningRate 1000000000, expected 0 to 1/],
  ["a negative learning rate", train({ learningRate: -1 }), "argument", /learningRate -1/],
  ["PEFT's spellings", async () => {
    await train({ name: "peft", rank: undefined, r: 2, lora_alpha: 4, target_modules: ["q_proj"] })();
    const { config } = await engine.getAdapter("peft");
    await engine.deleteAdapter("peft");
    return `${config.r} ${config.lora_alpha} ${config.target_modules.every((name) => name.endsWith("q_proj"))}`;
  }, "2 4 true"],
  ["both spellings", train({ r: 4 }), "argument", /^`rank` and `r` are both given/],
  ["transformers' spelling", train({ learning_rate: 1e-3 }), "argument", /did you mean `learningRate`\?/],
  ["modules that are not there", train({ targetModules: ["nothing"] }), "argument", /nothing/],
  ["a name that is taken", train({ name: "poet" }), "argument", /`poet`/],
  ["a training that is aborted", train({ signal: AbortSignal.abort() }), "cancelled", /^the training was cancelled/],
  ["two temporary adapters", async () => {
    const temp = await engine.createTempLora({ rank: 2, chunkTokens: 8, contextTokens: 8 });
    await engine.createTempLora({ name: "other" }).finally(() => temp.dispose());
  }, "argument", /`temp` is being trained.*`dispose` or `keepAs`$/],
  ["a window larger than the context", () => engine.createTempLora({ chunkTokens: 60, contextTokens: 60 }), "argument", /context of 64/],
  // The rest of the engine
  ["logits of nothing", () => engine.logits([]), "argument", /token/],
  ["embeddings of nothing", () => engine.embeddings.create({ input: [] }), "argument", /^input \[\]/],
  ["a text of ids that are none", () => engine.detokenize(["a"]), "argument", /^ids/],
  ["a text that is none", () => engine.tokenize(7), "argument", /7/],
  ["a session that is none", () => engine.restoreSession(new Uint8Array(64)), "format", /session/],
  ["an engine that is disposed", async () => {
    const gone = await createEngine(model, { contextLength: 64 });
    const stream = gone.completions.create({ prompt: PROMPT, overflow: "slide", stream: true });
    await stream.next();
    await gone.dispose();
    await gone.dispose();
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, { kind: "argument", message: "the engine is disposed" });
    await gone.completions.create({ prompt: PROMPT });
  }, "argument", /^the engine is disposed$/],
];

for (const [name, work, ...end] of TABLE) {
  test(name, async () => {
    const [result, error] = await work().then((value) => [value], (thrown) => [undefined, thrown]);
    if (end.length === 1) {
      assert.ifError(error);
      assert.equal(result, typeof end[0] === "function" ? end[0]() : end[0]);
    } else {
      const [kind, words] = end;
      assert.ok(error, `no error, but ${JSON.stringify(result)?.slice(0, 80)}`);
      assert.deepEqual([error.name, error.kind], [kind === "cancelled" ? "AbortError" : "LorakeetError", kind], error.stack);
      assert.match(error.message, words);
    }
    assert.equal(await again(), text, "the engine answers as before");
    assert.deepEqual(unhandled, []);
  });
}
