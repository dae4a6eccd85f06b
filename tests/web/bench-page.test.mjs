// The page that measures a GPU: a whole report on a small model, and stopped on the way.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";

let browser;
before(async () => {
  browser = await start();
});
after(() => browser?.close());

const say = (page, text) => page.locator("#status", { hasText: text }).waitFor({ timeout: 240_000 });

test("measures a small model, and copies the report", async () => {
  const page = await browser.open("bench/");
  await page.locator("#layers").fill("1");
  await page.locator("#vocab").fill("256");
  await page.locator("#runs").fill("1");
  await page.locator("#start").click();
  await say(page, "Measuring");
  await page.locator("#stop").click();
  await say(page, "Stopped");
  await page.locator("#start").click();
  await say(page, "Measured");
  assert.match(await page.locator("#answer").textContent(), /1 layers, vocabulary 256, q8; its numbers are right/);
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: { writeText: (text) => ((globalThis.copied = text), Promise.resolve()) } }));
  await page.locator("#copy").click();
  await say(page, "Copied");
  const report = JSON.parse(await page.evaluate("copied"));
  const names = report.measures.map(({ name }) => name);
  for (const part of ["memory", "multiply-adds", "attention", "linear_vec", "prompt of 127", "prompt of 512, adapter", "decode, sampled", "8 adapters", "step of training, 256"]) {
    assert.ok(names.some((name) => name.includes(part)), `${part} in ${names}`);
  }
  for (const { name, value } of report.measures) assert.ok(Number.isFinite(value) && value >= 0, `${name}: ${value}`);
  assert.equal(report.lanes, 1);
  assert.match(report.browser, /Chrome/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});
