// Models and adapters by hub id, from a server that redirects to another origin as the hub does: what is
// asked for, who hears the token, and what each refusal says. Not a test of what is in the files.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { adapters, fixtures, openApi, start } from "./browser.mjs";
import { TOKEN, startHub } from "./hub-server.mjs";

let browser, hub, page;
before(async () => {
  browser = await start();
  hub = await startHub({
    "org/llama": { folder: join(fixtures, "llama"), revisions: ["main", "refs/pr/1"] },
    "org/sharded.v2": { folder: join(fixtures, "llama-tied") },
    "org/private": { folder: join(fixtures, "llama"), gated: true },
    "org/terms": { folder: join(fixtures, "llama"), gated: "terms" },
    "org/qv": { folder: join(adapters, "llama/qv"), gated: true },
    "org/adapters": { folder: adapters },
    "org/empty": { folder: join(adapters, "weighted") },
  });
  page = await openApi(browser);
  await page.evaluate(([hubUrl, token]) => {
    globalThis.load = async (id, options = {}) => {
      const engine = await lorakeet.createEngine(id, { device: "cpu", hubUrl, ...options });
      const { info } = engine;
      await engine.dispose();
      return info.model;
    };
    globalThis.token = token;
  }, [hub.url, TOKEN]);
});
after(async () => {
  await browser?.close();
  await hub?.close();
});
beforeEach(() => hub.seen.splice(0));

const files = (server, method = "GET") => hub.seen.filter((each) => each.server === server && each.method === method);

test("a model comes from its id, at the revision named", async () => {
  const names = await page.evaluate(() => Promise.all([load("org/llama"), load("org/llama@refs/pr/1"), load("org/llama", { revision: "refs/pr/1" })]));
  assert.deepEqual(names, ["llama", "llama", "llama"]);
  const paths = new Set(files("hub").map(({ path }) => path));
  const at = (revision) => ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors"].map((name) => `/mirror/org/llama/resolve/${revision}/${name}`);
  assert.deepEqual(paths, new Set([...at("main"), ...at("refs%2Fpr%2F1")]));
  assert.ok(hub.seen.every(({ authorization }) => authorization === undefined));
});

test("shards come from their index", async () => {
  assert.equal(await page.evaluate(() => load("org/sharded.v2")), "sharded.v2");
  const asked = (method) => files("cdn", method).filter(({ path }) => path.endsWith("-of-00002.safetensors")).length;
  assert.deepEqual([asked("HEAD"), asked("GET")], [2, 2]);
});

test("the token goes to the hub, and not to the origin it redirects to", async () => {
  const info = await page.evaluate(async (hubUrl) => {
    const engine = await lorakeet.createEngine("org/private", { device: "cpu", hubUrl, token });
    const info = await engine.loadAdapter("org/qv", { hubUrl, token });
    await engine.dispose();
    return info;
  }, hub.url);
  assert.equal(info.name, "qv");
  const [asked, given] = [files("hub"), files("cdn")];
  assert.ok(asked.length >= 6 && given.length >= 6, `${asked.length} ${given.length}`);
  for (const each of asked) assert.equal(each.authorization, `Bearer ${TOKEN}`, each.path);
  for (const each of given) assert.equal(each.authorization, undefined, each.path);
});

test("a folder in a repository is named by `subfolder`", async () => {
  const [info, missing] = await page.evaluate(async (hubUrl) => {
    const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu" });
    const info = await engine.loadAdapter("org/adapters", { hubUrl, subfolder: "llama/qv" });
    const missing = await failure(() => engine.loadAdapter("org/adapters", { hubUrl, subfolder: "llama" }));
    await engine.dispose();
    return [info, missing];
  }, hub.url);
  assert.deepEqual([info.name, info.rank > 0], ["qv", true]);
  assert.ok(files("hub").some(({ path }) => path === "/mirror/org/adapters/resolve/main/llama/qv/adapter_config.json"));
  assert.equal(missing.kind, "network");
  assert.match(missing.message, /^llama\/adapter\w+\.\w+ of "org\/adapters": not there at revision "main"/);
});

test("the token goes to no other server that is asked directly", async () => {
  const name = await page.evaluate((hubUrl) => load("/test/fixtures/llama", { hubUrl, token }), hub.url);
  assert.equal(name, "llama");
  assert.equal(hub.seen.length, 0);
  const error = await page.evaluate(([url, hubUrl]) => failure(() => load(url, { hubUrl, token })), [`${hub.cdn}nothing`, hub.url]);
  assert.equal(error.kind, "network");
  const asked = files("cdn");
  assert.ok(asked.length > 0 && asked.every(({ authorization }) => authorization === undefined));
});

// [id, options, what follows the file's name and the id]
const REFUSALS = [
  ["org/private", {}, "HTTP 401: no such repository, or a private one: check the id; pass the option `token`"],
  ["org/absent", {}, "HTTP 401: no such repository, or a private one: check the id; pass the option `token`"],
  ["org/absent", { token: TOKEN }, "HTTP 404: no such repository, or a private one: check the id; the token may not read it"],
  ["org/private", { token: "hf_other" }, "HTTP 401: no such repository, or a private one: check the id; the token may not read it"],
  ["org/terms", { token: TOKEN }, "HTTP 403: access is restricted: accept its terms on its page; the token may not read it"],
  ["org/llama@v9", {}, 'HTTP 404: there is no revision "v9"'],
  ["busy/model", {}, "HTTP 429: too many requests: wait 60 s, or pass the option `token`"],
];

for (const [id, options, words] of REFUSALS) {
  test(`${id} ${JSON.stringify(options)} is refused, and says what to do`, async () => {
    const error = await page.evaluate(([id, options]) => failure(() => load(id, options)), [id, options]);
    const bare = id.split("@")[0];
    assert.equal(error.kind, "network");
    // Without a token it may be a path that looks like an id.
    const hint = words.startsWith("HTTP 401") && !options.token ? `; if a path is meant, write \`./${id}\`` : "";
    assert.equal(error.message.replace(/^\w+\.json/, "FILE"), `FILE of "${bare}": ${words}, ${hub.url}/${bare}${hint}`);
    assert.ok(!error.message.includes("hf_"));
  });
}

test("a file that is not there is named with its repository", async () => {
  const errors = await page.evaluate(() => Promise.all(["org/empty", "org/empty@main"].map((id) => failure(() => load(id)))));
  for (const error of errors) {
    assert.equal(error.kind, "network");
    const words = `of "org/empty": not there at revision "main": check the id and the revision, ${hub.url}/org/empty`;
    assert.equal(error.message.replace(/^\w+\.json /, ""), words);
  }
});

test("wrong ids and options are arguments, and no message shows a token", async () => {
  await new Promise((done) => setTimeout(done, 500)); // what an interrupted load before this had asked for
  hub.seen.length = 0;
  const errors = await page.evaluate(async () => {
    const calls = [
      () => load("org/name/extra"),
      () => load("../x@y", { revision: "main" }),
      () => load("org/llama@main", { revision: "dev" }),
      () => load("org/llama", { revision: "" }),
      () => load("org/llama", { subfolder: "../other" }),
      () => load("./llama", { subfolder: "a" }),
      () => load("org/llama", { token: "secret\nword" }),
      () => load("org/llama", { hubUrl: "http://" }),
    ];
    const errors = [];
    for (const call of calls) errors.push(await failure(call));
    return errors;
  });
  const hint = "expected a hub id (`org/name`, `org/name@revision`, `org/name/file.gguf` or, of a model, `org/name:Q4_K_M`; the option `subfolder` names a folder in it), or a URL that begins with `./`, `/` or `https:`";
  assert.deepEqual(errors.map(({ message }) => message), [
    `model "org/name/extra", ${hint}`,
    'revision "main": the model is no hub id',
    'model "org/llama@main": revision "dev" is another',
    'revision "", expected a branch, tag or commit',
    'subfolder "../other", expected a folder\'s path without `/` at its ends',
    'subfolder "a": the model is no hub id',
    "token: expected a string of visible ASCII characters",
    'hubUrl "http://", expected a URL',
  ]);
  assert.ok(errors.every(({ kind }) => kind === "argument"));
  assert.equal(hub.seen.length, 0);
});
