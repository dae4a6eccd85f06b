// What a caller passed as a model or an adapter, and the bytes at hand: which folder that is. No file is fetched.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Hub } from "../../dist/files/hub.js";
import { adapterFolder, modelFolder, settled, settledTemplate } from "../../dist/files/source.js";

const none = { open: () => assert.fail("nothing is to be read"), size: () => assert.fail("nothing is to be read") };
const model = (source, hub = {}) => modelFolder(source, new Hub(hub), none);
const adapter = (source, hub = {}) => adapterFolder(source, new Hub(hub), none);
const file = (path) => Object.defineProperty(new File(["{}"], path.split("/").at(-1)), "webkitRelativePath", { value: path.includes("/") ? path : "" });
const refused = (work, words) => assert.throws(work, (error) => error.kind === "argument" && error.message.includes(words), words);

test("a hub id is a folder of the hub, at a revision", () => {
  const at = (source, hub) => ((folder) => [folder.url.href, folder.name, folder.id, folder.gguf])(model(source, hub));
  assert.deepEqual(at("org/name"), ["https://huggingface.co/org/name/resolve/main/", "name", "org/name", undefined]);
  assert.deepEqual(at("org/name@v1", { subfolder: "a b/c" }), ["https://huggingface.co/org/name/resolve/v1/a%20b/c/", "c", "org/name", undefined]);
  assert.deepEqual(at("org/name/x.gguf", { revision: "r/1", hubUrl: "https://m.example/hf" }), ["https://m.example/hf/org/name/resolve/r%2F1/", "x", "org/name", "x.gguf"]);
});

test("a URL is a folder, with or without its slash, or a GGUF file in one", () => {
  const at = (source) => ((folder) => [folder.url.href, folder.name, folder.gguf])(model(source));
  assert.deepEqual(at("https://a.example/models/demo"), ["https://a.example/models/demo/", "demo", undefined]);
  assert.deepEqual(at("https://a.example/org/m/resolve/main/"), ["https://a.example/org/m/resolve/main/", "m", undefined]);
  assert.deepEqual(at(new URL("https://a.example/m/q.gguf?token=1")), ["https://a.example/m/?token=1", "q", "q.gguf"]);
});

test("where there is no page, what begins like a path is one", () => {
  assert.equal(model("./a b#1").url.href, `${pathToFileURL(resolve("a b#1"))}/`);
  assert.equal(model("/models/demo/q.gguf").url.href, `${pathToFileURL("/models/demo")}/`);
});

test("what is neither is refused with what was expected", () => {
  refused(() => model("demo"), 'model "demo", expected a hub id');
  refused(() => model(5), "model 5, expected a hub id, a URL, files, or {config, tokenizer, weights}");
  refused(() => adapter({ config: "a" }), "expected a hub id, a URL, files, or {config, weights}");
  refused(() => model("org/name@a", { revision: "b" }), 'revision "b" is another');
  refused(() => model("https://a.example/m", { revision: "b" }), "the model is no hub id");
});

test("of files of one name those nearest the top are meant", async () => {
  const folder = model(["m/onnx/config.json", "m/config.json", "m/model.safetensors"].map(file));
  assert.equal((await folder.find("config.json")).blob.webkitRelativePath, "m/config.json");
  assert.equal(folder.name, "m");
  assert.equal(folder.missing("tokenizer.json").message, "tokenizer.json: not among the 3 files given");
});

test("one GGUF among files is the model, unless its weights lie beside it", () => {
  assert.equal(model([file("m/a.gguf"), file("m/tokenizer.json")]).gguf, "a.gguf");
  assert.equal(model([file("m/a.gguf"), file("m/model.safetensors")]).gguf, undefined);
  refused(() => model([file("a.gguf"), file("b.gguf")]), "2 GGUF files, expected one model at a time: a.gguf, b.gguf");
});

test("an adapter is one folder of those given, without its neighbours", async () => {
  const folder = adapter(["runs/sql/adapter_config.json", "runs/sql/adapter_model.safetensors", "runs/README.md"].map(file));
  assert.equal(folder.name, "sql");
  assert.equal(await folder.find("README.md"), undefined);
  refused(() => adapter(["r/a/adapter_config.json", "r/b/adapter_config.json"].map(file)), "2 files adapter_config.json, expected one adapter at a time: a, b");
});

test("bytes, streams and URLs in the page become files", async () => {
  const gguf = new TextEncoder().encode("GGUF\x03\0\0\0\0");
  const [one] = await settled("model", gguf);
  assert.equal(one.name, "model.gguf");
  const parts = await settled("model", { config: "data:,{}", tokenizer: new Response("{}").body, weights: [new Uint8Array(3)] });
  assert.deepEqual([await parts.config.text(), await parts.tokenizer.text(), parts.weights[0].size], ["{}", "{}", 3]);
  await assert.rejects(settled("model", new Blob(['{"a":1}'])), { kind: "argument", message: /^model: one file of a folder, expected all of them/ });
});

test("a text with braces is a template, any other string its URL", async () => {
  assert.equal(await (await settledTemplate("{{ messages }}")).text(), "{{ messages }}");
  assert.equal((await settledTemplate("https://a.example/t.jinja")).href, "https://a.example/t.jinja");
});
