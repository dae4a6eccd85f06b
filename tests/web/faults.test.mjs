// Servers that fail: each failure ends in the right kind of error, and the next load succeeds.
// Files that are whole but wrong are loading.test.mjs's.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures, openApi, start } from "./browser.mjs";
import { startFaults } from "./fault-server.mjs";

let browser, server, page;
before(async () => {
  browser = await start();
  server = await startFaults(join(fixtures, "llama"));
  page = await openApi(browser);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const load = (fault) => page.evaluate((url) => failure(() => lorakeet.createEngine(url, { device: "cpu" })), server.url + fault);

async function loads(fault) {
  const text = await page.evaluate(async (url) => {
    const progress = [];
    const engine = await lorakeet.createEngine(url, { device: "cpu", onProgress: (each) => progress.push(each) });
    const { choices } = await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 3, temperature: 0 });
    await engine.dispose();
    return [choices[0].token_ids.length, progress.at(-1)];
  }, server.url + fault);
  assert.deepEqual(text, [3, { loaded: 239104, total: 239104, phase: "ready" }]);
}

const CUT = "model.safetensors: * after # of 239104 bytes, URL";
const SHORT = "model.safetensors: the file ends after # of 239104 bytes: a download that was cut short";

// [fault, kind, message]; `*` stands for the browser's own words, `#` for how far it came.
const FAILURES = [
  ["cut", "network", CUT],
  ["cut-header", "network", CUT],
  ["cut-chunked", "network", "model.safetensors: *, URL"],
  ["lying", "format", SHORT],
  ["truncated", "format", SHORT],
  ["truncated-header", "format", "model.safetensors: the file ends after 100 of # bytes: a download that was cut short"],
  ["empty", "format", "model.safetensors: an empty file"],
  ["huge-header", "format", "model.safetensors: safetensors header: 18446744073709551615 bytes, expected at most 16777216"],
  ["broken", "network", "model.safetensors: HTTP 500, URL"],
  ["broken-config", "network", "config.json: HTTP 503, URL"],
  ["no-tokenizer", "network", "tokenizer.json: not found, URL"],
  ["cut-tokenizer", "network", "tokenizer.json: *, URL"],
  ["no-weights", "network", "model.safetensors: not found, URL"],
];

for (const [fault, kind, message] of FAILURES) {
  test(`${fault} is ${kind}, and the next load succeeds`, async () => {
    const error = await load(fault);
    const escaped = message.replace(/[.[\]]/g, "\\$&").replace("*", ".+?").replace("#", "\\d+").replace("URL", `${server.url}${fault}/[a-z_]+\\.[a-z]+`);
    assert.match(error.message, new RegExp(`^${escaped}$`));
    assert.equal(error.kind, kind);
    await loads("good");
  });
}

test("a server that is not there is network", async () => {
  const error = await page.evaluate(() => failure(() => lorakeet.createEngine("http://localhost:1/model")));
  assert.equal(error.kind, "network");
  assert.match(error.message, /^(config|tokenizer|generation_config)\.json: .+, http:\/\/localhost:1\/model\/\w+\.json$/);
});

test("a stalled download can be cancelled, and the next load succeeds", async () => {
  const error = await page.evaluate((url) => failure(() => {
    const abort = new AbortController();
    return lorakeet.createEngine(url, {
      device: "cpu",
      signal: abort.signal,
      // The rest never comes: what is heard last is heard before the stall.
      onProgress: ({ loaded }) => loaded > 80_000 && abort.abort(),
    });
  }), `${server.url}stalled`);
  assert.deepEqual(error, { kind: "cancelled", message: "loading the model was cancelled" });
  await loads("good");
});

for (const fault of ["chunked", "gzip", "gzip-json", "page-for-missing"]) {
  test(`${fault} is no fault`, () => loads(fault));
}
