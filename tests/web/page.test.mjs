// The demo page as a reader meets it: it loads its model, writes, stops, and takes another model.
// What the engine can do besides is api.test.mjs's.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demo, fixtures, root, start } from "./browser.mjs";

const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));
const shots = join(root, "test-results");
const llama = join(fixtures, "llama");

let browser;
before(async () => {
  mkdirSync(shots, { recursive: true });
  browser = await start();
});
after(() => browser?.close());

/** The page, its model loaded. */
async function open(path, options) {
  const page = await browser.open(path, options);
  await ready(page);
  return page;
}

const ready = (page) => page.waitForSelector("body[data-model=ready]", { timeout: 30_000 });
const ended = (page) => page.waitForFunction(() => document.getElementById("ended").textContent !== "–", null, { timeout: 60_000 });

async function set(page, { temperature, maxTokens, seed = "" }) {
  await page.locator("#temperature").fill(String(temperature));
  await page.locator("#max-tokens").fill(String(maxTokens));
  await page.locator("#seed").fill(String(seed));
}

for (const [path, badge] of [["", "WebGPU"], ["?device=cpu", "CPU"]]) {
  test(`on ${badge}, the page writes what transformers writes`, async () => {
    const page = await open(path);
    assert.equal(await page.textContent("#device"), badge);
    assert.equal(await page.textContent("#name"), "demo");
    assert.match(await page.textContent("#adapter"), badge === "CPU" ? /^the CPU$/ : /\w/);
    assert.match(await page.textContent("#memory"), /^\d+\.\d MB$/);
    await page.locator("#prompt").fill(golden.prompt);
    await set(page, { temperature: 0, maxTokens: golden.ids.length });
    await page.locator("#generate").click();
    await ended(page);
    assert.equal(await page.textContent("#text"), golden.text);
    assert.equal(await page.textContent("#beginning"), golden.prompt);
    assert.equal(await page.textContent("#tokens"), String(golden.ids.length));
    assert.equal(await page.textContent("#ended"), "its length");
    assert.match(await page.textContent("#first"), /^[\d.]+ m?s$/);
    assert.match(await page.textContent("#speed"), /^[\d.]+ tokens\/s$/);
    await page.screenshot({ path: join(shots, `page-${badge.toLowerCase()}.png`) });
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("Stop and Escape end the text, and it can be begun again", async () => {
  const page = await open("");
  await set(page, { temperature: 1, maxTokens: 500, seed: 3 });
  for (const stop of [() => page.locator("#stop").click(), () => page.keyboard.press("Escape")]) {
    await page.locator("#prompt").focus();
    await page.keyboard.press("Control+Enter");
    await page.waitForFunction(() => document.getElementById("text").textContent.length > 10, null, { timeout: 60_000 });
    await stop();
    await ended(page);
    assert.equal(await page.textContent("#ended"), "you");
    assert.ok(Number(await page.textContent("#tokens")) < 500);
    assert.equal(await page.isVisible("#error"), false);
  }
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a chosen folder, and chosen files, take the model's place", async () => {
  const page = await open("?device=cpu");
  await page.setInputFiles("#folder", llama);
  await page.waitForFunction(() => document.getElementById("name").textContent === "llama");
  await ready(page);
  await page.setInputFiles("#files", readdirSync(demo).map((name) => join(demo, name)));
  await page.waitForFunction(() => document.getElementById("name").textContent === "model");
  await ready(page);
  await page.locator("#prompt").fill(golden.prompt);
  await set(page, { temperature: 0, maxTokens: golden.ids.length });
  await page.locator("#generate").click();
  await ended(page);
  assert.equal(await page.textContent("#text"), golden.text);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a dropped folder, and dropped files, take the model's place", async () => {
  const page = await open("?device=cpu");
  const mouse = await page.context().newCDPSession(page);
  const drop = async (files) => {
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await mouse.send("Input.dispatchDragEvent", { type, x: 300, y: 200, data });
      assert.equal(await page.evaluate(() => document.body.classList.contains("dragging")), type === "dragOver");
    }
  };
  for (const [files, vocabulary] of [[[llama], 300], [readdirSync(demo).map((name) => join(demo, name)), 1024]]) {
    await drop(files);
    await page.waitForFunction((text) => document.getElementById("vocabulary").textContent === text, `${vocabulary} tokens`);
    await ready(page);
  }
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("what is no model says so, and another one can be chosen", async () => {
  const page = await open("?device=cpu");
  await page.setInputFiles("#files", [join(llama, "tokenizer.json")]);
  await page.waitForSelector("body[data-model=none]");
  assert.equal(await page.textContent("#error"), "config.json: not among the 1 file given");
  assert.equal(await page.isDisabled("#generate"), true);
  await page.setInputFiles("#folder", llama);
  await ready(page);
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a request that does not fit shows the engine's words", async () => {
  const page = await open("?device=cpu");
  await set(page, { temperature: 1, maxTokens: 9999 });
  await page.locator("#generate").click();
  await ended(page);
  assert.match(await page.textContent("#error"), /^prompt of \d+ tokens and max_tokens 9999 exceed the context of 512$/);
  await page.close();
});

test("dark, and on a phone, everything is in reach", async () => {
  for (const [name, options] of [
    ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
    ["phone", { viewport: { width: 360, height: 740 } }],
  ]) {
    const page = await open("?device=cpu", options);
    await set(page, { temperature: 0.8, maxTokens: 120, seed: 7 });
    await page.locator("#generate").click();
    await ended(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name}: ${wide} pixels too wide`);
    await page.screenshot({ path: join(shots, `page-${name}.png`), fullPage: true });
    await page.close();
  }
});

test("every control has a name, and Tab reaches it", async () => {
  const page = await open("?device=cpu");
  const controls = await page.locator("button, input, textarea").evaluateAll((all) => all.filter((each) => each.checkVisibility()).map((each) => [each.id, each.labels.length > 0 || each.textContent.trim() !== ""]));
  for (const [id, named] of controls) assert.ok(named, `${id} has no name`);
  const reached = new Set();
  for (let i = 0; i < 24; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id));
  }
  for (const [id] of controls) if (id !== "stop") assert.ok(reached.has(id), `${id} is not reached`);
  await page.close();
});
