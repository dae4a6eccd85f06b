// Files of servers that Node keeps on disk: the next load asks for no bytes, and one without a network reads them.
// What is kept when, is tests/web/cache.test.mjs's: the rules are the same.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createEngine } from "../../dist/index.js";
import { root } from "../../tools/setup.mjs";

let home;
let server;
let asked = [];
before(async () => {
  home = mkdtempSync(join(tmpdir(), "disk-cache-"));
  [process.env.XDG_CACHE_HOME, process.env.LOCALAPPDATA] = [home, home];
  server = createServer((request, response) => {
    asked.push(request.method);
    try {
      const bytes = readFileSync(join(root, "tests/fixtures/models/llama", request.url));
      response.writeHead(200, { "content-length": bytes.length, etag: `"${bytes.length}"` }).end(request.method === "HEAD" ? undefined : bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "localhost", listening));
});
after(() => {
  server.close();
  rmSync(home, { recursive: true, force: true });
});

async function ids(url) {
  const engine = await createEngine(url, { cache: "disk" });
  try {
    const { choices: [choice] } = await engine.completions.create({ prompt: [1, 2, 3], max_tokens: 6, temperature: 0 });
    return [choice.token_ids, await engine.cache.list(), await engine.cache.usage(), engine.cache];
  } finally {
    await engine.dispose();
  }
}

test("a model is kept, read again, and let go", async () => {
  const url = `http://localhost:${server.address().port}/`;
  const [first, list, usage] = await ids(url);
  assert.ok(list.length >= 3 && list.every(({ isComplete, bytes, size }) => isComplete && bytes === size), JSON.stringify(list));
  assert.equal(usage.bytes, list.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.ok(asked.includes("GET"));
  asked = [];
  const [again] = await ids(url);
  assert.deepEqual(again, first);
  assert.deepEqual([...new Set(asked)], ["HEAD"], "it is only asked whether they are the same");
  server.close();
  server.closeAllConnections();
  const [offline, , , cache] = await ids(url);
  assert.deepEqual(offline, first);
  assert.ok(readdirSync(join(home, "lorakeet")).length >= 3);
  await cache.delete(url);
  assert.deepEqual(readdirSync(join(home, "lorakeet")), []);
});
