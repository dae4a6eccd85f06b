// The view of the machine: what is known of it at once, a whole report on a small model, and stopped on the way.
// The figures are not judged: another machine has others.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import { openPage, says, violations, written } from "./reader.mjs";

let browser;
before(async () => {
  browser = await start();
});
after(() => browser?.close());

/** What the page would have the clipboard hold. */
async function copied(page) {
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { configurable: true, value: { writeText: (text) => ((globalThis.copied = text), Promise.resolve()) } }));
  await page.locator("#copy").click();
  await says(page, "status", "^The report is copied");
  return JSON.parse(await page.evaluate("copied"));
}

const told = (page) => page.locator("#known div").evaluateAll((rows) => Object.fromEntries(rows.map((row) => [`${row.closest("section").querySelector("h3").textContent}: ${row.querySelector("dt").textContent}`, row.querySelector("dd").textContent])));

test("what is known of the machine stands there at once, and is the report", async () => {
  const page = await openPage(browser, "", { view: "device" });
  await page.waitForFunction(() => /demo/.test(document.getElementById("known").textContent));
  const facts = await told(page);
  const report = await copied(page);
  assert.equal(facts["Graphics: Name"], report.gpu.name);
  assert.match(report.gpu.name, /swiftshader/i);
  assert.match(facts["Graphics: Largest binding"], /^[\d.]+ [MG]B$/);
  assert.equal(report.gpu.limits.maxStorageBufferBindingSize >= 2 ** 27, true);
  assert.equal(facts["Processor: Threads"], String(report.processor.threads));
  assert.equal(facts["Processor: Isolated"], "no: the CPU has one thread");
  assert.equal(facts["Model: Runs on"], "WebGPU");
  assert.match(facts["Model: Memory now"], /^[\d.]+ MB$/);
  assert.equal(report.model.model, "demo");
  assert.match(facts["Storage: Free"], /^[\d.]+ [MG]B$/);
  assert.match(report.browser, /Chrome/);
  assert.equal(report.measured, undefined);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("where the page has no WebGPU it says so, and of the CPU its threads", async () => {
  const page = await openPage(browser, "?device=cpu", { view: "device", prepare: (page) => page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined })) });
  await page.waitForFunction(() => /demo/.test(document.getElementById("known").textContent));
  const facts = await told(page);
  assert.equal(facts["Graphics: Name"], "no WebGPU: the CPU computes");
  assert.equal(facts["Model: Runs on"], "the CPU, threads: 1");
  assert.equal((await copied(page)).gpu, undefined);
  assert.deepEqual(await violations(page), []);
  await page.close();
});

test("measures a small model, is stopped and begun again, and the report holds the measures", async () => {
  const page = await browser.open("bench/"); // the address it had
  await page.waitForSelector("#panel-device:not([hidden])");
  await page.waitForSelector("body[data-model=ready]", { timeout: 120_000 });
  await page.locator("summary").click();
  for (const [id, value] of Object.entries({ layers: 1, vocab: 256, runs: 1 })) await page.locator(`#${id}`).fill(String(value));
  await page.locator("#measure").click();
  await says(page, "status", "^Measuring the GPU");
  await says(page, "measure-status", "\\w");
  assert.deepEqual(await violations(page), [], "it measures");
  await page.locator("#measure-stop").click();
  await says(page, "measure-status", "^Stopped");
  assert.equal(await page.evaluate(() => document.activeElement.id), "measure");
  await page.locator("#measure").click();
  await page.waitForFunction(() => document.getElementById("measure-status").textContent === "Measured.", null, { timeout: 600_000 });
  assert.match(await page.textContent("#measured-what"), /^1 layers, vocabulary 256, q8; the GPU's numbers are right\.$/);
  assert.deepEqual(await violations(page), [], "it has measured");
  const { measured } = await copied(page);
  const names = measured.measures.map(({ name }) => name);
  for (const part of ["memory", "multiply-adds", "attention", "linear_vec", "prompt of 127", "prompt of 512, adapter", "decode, sampled", "8 adapters", "step of training, 256"]) {
    assert.ok(names.some((name) => name.includes(part)), `${part} in ${names}`);
  }
  for (const { name, value } of measured.measures) assert.ok(Number.isFinite(value) && value >= 0, `${name}: ${value}`);
  assert.equal(await page.locator("#measures tr").count(), names.length);
  assert.equal(measured.lanes, 1);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("what is being written is not measured along", async () => {
  const page = await openPage(browser);
  await page.locator("#max-tokens").fill("480");
  await page.locator("#generate").click();
  await page.waitForSelector("body[data-writing=true]");
  await page.locator("#view-device").click();
  await page.locator("#measure").click();
  assert.match(await page.textContent("#measure-status"), /^Something is being written or learned/);
  await page.keyboard.press("Escape");
  await written(page);
  await page.close();
});
