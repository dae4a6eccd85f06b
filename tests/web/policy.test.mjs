// Under a strict policy, with the default worker: what an engine does there, and every request of the browser meanwhile.
// That pages which bundlers built run under it too, tests/bundlers shows.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { serve } from "../../tools/serve.mjs";
import { demo, root } from "./browser.mjs";
import { writeVoices } from "./reader.mjs";

const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));

let browser, shelf, models;
before(async () => {
  shelf = mkdtempSync(join(tmpdir(), "policy-"));
  writeVoices(shelf, ["poet"]);
  browser = await launch();
  models = await serve({ roots: { "/demo/": demo, "/": shelf }, port: 0, headers: { "access-control-allow-origin": "*" } });
});
after(async () => {
  await browser?.close();
  await models?.close();
  rmSync(shelf, { recursive: true, force: true });
});

/** A page under a policy that lets it connect to `servers`: what `work` gives there, and what was asked for. */
async function under(servers, work, argument) {
  const policy = `default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src ${servers}`;
  const site = await serve({ roots: { "/": demo, "/dist/": join(root, "dist") }, port: 0, headers: { "content-security-policy": policy } });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${site.url}config.json`);
  const asked = new Set();
  context.on("request", (request) => asked.add(request.url().replace(site.url, "site/").replace(models.url, "models/")));
  const value = await page.evaluate(work, argument);
  await context.close();
  await site.close();
  return { value, asked: [...asked].sort() };
}

for (const device of ["cpu", "webgpu"]) {
  test(`on ${device} it needs the package, the model's server, and nothing else`, async () => {
    const { value, asked } = await under(`'self' ${models.url}`, async ({ url, device, prompt, n }) => {
      const { createEngine } = await import("/dist/index.js");
      const engine = await createEngine(`${url}demo/`, { device });
      await engine.loadAdapter(`${url}poet/`);
      const { choices: [{ token_ids }] } = await engine.completions.create({ prompt, max_tokens: n, temperature: 0 });
      await engine.completions.create({ prompt, max_tokens: 4, adapter: "poet" });
      let steps = 0;
      for await (const _ of engine.trainAdapter({ name: "me", dataset: "The fox ran home.", rank: 2, epochs: 1 })) steps++;
      const names = (await engine.listAdapters()).map(({ name }) => name);
      await engine.dispose();
      return { ids: token_ids, steps, names, device: engine.device };
    }, { url: models.url, device, prompt: golden.prompt, n: golden.ids.length });
    assert.deepEqual(value.ids, golden.ids);
    assert.ok(value.steps > 0);
    assert.deepEqual([value.names, value.device], [["poet", "me"], device]);
    const files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
    const others = asked.filter((url) => !/^site\/dist\/((wasm|api|files|thread)\/)?[\w-]+\.js$/.test(url));
    console.log(`[policy] ${asked.length} addresses, among them ${others.join(", ")}`);
    assert.deepEqual(others, [
      ...files.map((name) => `models/demo/${name}`), "models/poet/adapter_config.json", "models/poet/adapter_model.safetensors", "site/dist/wasm/lorakeet_bg.wasm",
    ]);
  });
}

test("a policy that leaves the model's server out is heard of as an error", async () => {
  const { value } = await under("'self'", async (url) => {
    const { createEngine } = await import("/dist/index.js");
    return createEngine(`${url}demo/`, { device: "cpu" }).then(() => "no error", ({ kind }) => kind);
  }, models.url);
  assert.equal(value, "network");
});
