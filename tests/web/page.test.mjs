// The page as a reader first meets it: it loads its model, writes, stops, and takes another model.
// What the engine can do besides is api.test.mjs's.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demo, fixtures, start } from "./browser.mjs";
import { drop, openPage, ready, sample, says, shots, write, written } from "./reader.mjs";

const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));
const llama = join(fixtures, "llama");
const demoFiles = readdirSync(demo).map((name) => join(demo, name));

let browser;
before(async () => {
  mkdirSync(shots, { recursive: true });
  browser = await start();
});
after(() => browser?.close());

for (const [path, device] of [["", "WebGPU"], ["?device=cpu", "CPU"]]) {
  test(`on ${device}, the page writes what transformers writes`, async () => {
    const page = await openPage(browser, path);
    assert.equal(await page.textContent("#device"), device);
    assert.equal(await page.textContent("#name"), "demo");
    assert.match(await page.textContent("#adapter"), device === "CPU" ? /^the CPU$/ : /\w/);
    assert.match(await page.textContent("#memory"), /^\d+\.\d MB$/);
    await page.locator("#prompt").fill(golden.prompt);
    await sample(page, { maxTokens: golden.ids.length });
    assert.equal(await write(page), golden.text);
    assert.equal(await page.textContent("#beginning"), golden.prompt);
    assert.equal(await page.textContent("#status"), `Wrote ${golden.ids.length} tokens.`);
    assert.match(await page.textContent("#first"), /^[\d.]+ m?s$/);
    assert.match(await page.textContent("#speed"), /^[\d.]+ tok\/s$/);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("Stop and Escape end the text, and it can be begun again", async () => {
  const page = await openPage(browser, "");
  await sample(page, { temperature: 1, maxTokens: 500, seed: 3 });
  for (const stop of [() => page.locator("#stop").click(), () => page.keyboard.press("Escape")]) {
    await page.locator("#prompt").focus();
    await page.keyboard.press("Control+Enter");
    await page.waitForFunction(() => document.getElementById("text").textContent.length > 10, null, { timeout: 60_000 });
    assert.equal(await page.getAttribute("body", "data-writing"), "true");
    await stop();
    await written(page);
    const [, tokens] = /^Stopped after (\d+) tokens\.$/.exec(await page.textContent("#status"));
    assert.ok(Number(tokens) > 0 && Number(tokens) < 500, tokens);
    assert.equal(await page.isVisible("#error"), false);
  }
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a chosen folder, and chosen files, take the model's place", async () => {
  const page = await openPage(browser);
  await page.setInputFiles("#folder", llama);
  await says(page, "name", "^llama$");
  await ready(page);
  await page.setInputFiles("#files", demoFiles);
  await says(page, "name", "^model$");
  await ready(page);
  await page.locator("#prompt").fill(golden.prompt);
  await sample(page, { maxTokens: golden.ids.length });
  assert.equal(await write(page), golden.text);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a dropped folder, and dropped files, take the model's place", async () => {
  const page = await openPage(browser);
  for (const [files, vocabulary] of [[[llama], 300], [demoFiles, 1024]]) {
    assert.deepEqual(await drop(page, files), [false, true, false]);
    await says(page, "vocabulary", `^${vocabulary} tokens`);
    await ready(page);
  }
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("what is no model says so, and another one can be chosen", async () => {
  const page = await openPage(browser);
  await page.setInputFiles("#files", [join(llama, "tokenizer.json")]);
  await page.waitForSelector("body[data-model=none]");
  assert.equal(await page.textContent("#error"), "config.json: not among the 1 file given");
  assert.equal(await page.textContent("#device"), "–");
  assert.equal(await page.isDisabled("#generate"), true);
  await page.setInputFiles("#folder", llama);
  await ready(page);
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a request that does not fit shows the engine's words", async () => {
  const page = await openPage(browser);
  await sample(page, { maxTokens: 9999 });
  await write(page);
  assert.match(await page.textContent("#error"), /^prompt of \d+ tokens and max_tokens 9999 exceed the context of 512$/);
  await page.close();
});

test("the policy lets nothing out", async () => {
  const page = await openPage(browser);
  const refused = await page.evaluate(() => fetch("https://example.org/").then(() => false, () => true));
  assert.equal(refused, true);
  assert.match(page.complaints.join(), /Content Security Policy/);
  await page.close();
});
