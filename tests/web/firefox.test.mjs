// The page and the API in a stock Firefox, on the device it offers: WebGPU, or the CPU.
// What they do in detail is the other tests', in Chromium.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launchFirefox } from "../../tools/firefox.mjs";
import { serve } from "../../tools/serve.mjs";
import { findFirefox } from "../../tools/setup.mjs";
import { demo } from "./browser.mjs";

const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));
const program = findFirefox(process.env);

describe("Firefox", { skip: program ? false : "there is no Firefox", timeout: 300_000 }, () => {
  let site, browser, page;
  before(async () => {
    site = await serve({ port: 0 });
    browser = await launchFirefox(program);
    page = await browser.open(site.url);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
  });

  const press = (id) => page.evaluate((id) => document.getElementById(id).click(), id);
  const written = () => page.until(() => document.body.dataset.writing === "false" && document.getElementById("text").textContent);

  test("the page opens with its model, writes, and switches to a voice", async () => {
    await page.until(() => document.body.dataset.model === "ready");
    await page.until(() => document.querySelector("#voice-list input[value=pirate]:enabled") !== null);
    const device = await page.evaluate(async () => ((await navigator.gpu?.requestAdapter()) ? "WebGPU" : "CPU"));
    console.log(`[firefox] computes on: ${device}`);
    assert.equal(await page.evaluate(() => document.getElementById("runs-on").textContent), device);
    await page.evaluate(() => {
      for (const [id, value] of Object.entries({ temperature: 0, "max-tokens": 24 })) document.getElementById(id).value = value;
    });
    const texts = [];
    for (const voice of ["", "pirate"]) {
      await page.evaluate((voice) => document.querySelector(`#voice-list input[value="${voice}"]`).click(), voice);
      await press("generate");
      texts.push(await written());
    }
    assert.ok(texts.every((text) => text.length > 20), texts.join(" | "));
    assert.notEqual(texts[0], texts[1]);
    assert.deepEqual(page.complaints, []);
  });

  test("an engine in a worker writes what transformers writes, and keeps the model in OPFS", async () => {
    const { ids, kind, files, workers } = await page.evaluate(async ({ prompt, n }) => {
      const { createEngine } = await import("./dist/index.js");
      const started = [];
      globalThis.Worker = class extends Worker {
        constructor(...args) {
          super(...args);
          started.push(this);
        }
      };
      const engine = await createEngine("./models/demo/");
      const { choices } = await engine.completions.create({ prompt, max_tokens: n, temperature: 0 });
      const files = await engine.cache.list();
      const kind = await engine.cache.kind();
      await engine.dispose();
      return { ids: choices[0].token_ids, kind, files, workers: started.length };
    }, { prompt: golden.prompt, n: golden.ids.length });
    assert.deepEqual(ids, golden.ids);
    assert.equal(workers, 1);
    assert.equal(kind, "opfs");
    const weights = files.find(({ key }) => key.endsWith("/model.safetensors"));
    assert.ok(weights?.isComplete, JSON.stringify(files));
    assert.deepEqual(page.complaints, []);
  });

  test("complaints would have been heard", async () => {
    await page.evaluate(async () => {
      console.error("said");
      setTimeout(() => { throw new Error("thrown"); });
      await new Promise((done) => setTimeout(done, 50));
    });
    assert.equal(page.complaints.length, 2);
    assert.match(page.complaints.join(), /said.*thrown/);
  });
});
