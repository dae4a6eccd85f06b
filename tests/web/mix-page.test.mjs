// The view of a mix: several voices become one by each way to combine, heard beside its parts, kept, and given out as files.
// That its numbers are PEFT's is adapters.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demo, start } from "./browser.mjs";
import { bring, openPage, ready, sample, says, voices, writeVoices, written } from "./reader.mjs";
import { writeRandomAdapter } from "./random-adapter.mjs";

const NAMES = ["sea-tales", "fables"];

let browser, shelf;
before(async () => {
  shelf = mkdtempSync(join(tmpdir(), "voices-"));
  writeVoices(shelf, NAMES);
  writeRandomAdapter(join(shelf, "letters"), { model: demo, rank: 4, seed: 9 });
  browser = await start();
});
after(async () => {
  await browser?.close();
  rmSync(shelf, { recursive: true, force: true });
});

/** The page with two voices, of ranks 4 and 8, weighed, at the view of a mix. */
async function open({ names = NAMES, ...options } = {}) {
  const page = await openPage(browser, "?device=cpu", { view: "mix", ...options });
  await page.locator("#view-write").click();
  for (const name of names) await bring(page, join(shelf, name), name);
  await sample(page);
  await page.locator("#view-mix").click();
  return page;
}

const weigh = async (page, ...weights) => {
  for (const [i, weight] of weights.entries()) await page.locator(`#weight-${i}`).fill(String(weight));
};

/** Mixes, and gives the texts by their columns' names. */
async function mixed(page, name = "mix") {
  await page.locator("#mix-name").fill(name);
  await page.evaluate(() => (document.getElementById("mix-status").textContent = ""));
  await page.locator("#generate").click();
  await says(page, "mix-status", `^Mixed: ${name} is now among the voices`);
  await written(page);
  return Object.fromEntries(await page.locator("#mix-columns section").evaluateAll((all) => all.map((each) => [each.querySelector("h3").textContent, each.querySelector("p").lastChild.textContent])));
}

test("a mix side by side is the blend, stands beside its parts, and is a voice with files from then on, after a reload too", async () => {
  const context = await browser.newContext();
  const page = await open({ context });
  await page.locator("#view-blend").click();
  await weigh(page, 0.6, 0.4);
  await page.waitForTimeout(400);
  await written(page);
  const blended = await page.textContent("#blend-text");
  await page.getByRole("button", { name: "Make this mix a voice of its own" }).click();
  await page.waitForSelector("#panel-mix:not([hidden])");
  assert.equal(await page.evaluate(() => scrollY), 0);
  const texts = await mixed(page, "both");
  assert.deepEqual(Object.keys(texts), ["both", ...NAMES]);
  assert.equal(texts.both, blended);
  assert.equal(new Set(Object.values(texts)).size, 3);
  assert.deepEqual(await page.locator("#mix-files b").allTextContents(), ["adapter_config.json", "adapter_model.safetensors"]);
  assert.deepEqual(await page.locator("#voice-list output").allTextContents(), ["0.60", "0.40", "0.00"], "the weights stay");
  await page.reload();
  await ready(page);
  await page.waitForFunction(() => document.querySelectorAll("#voice-list .weight").length === 1);
  assert.deepEqual(await voices(page), ["both"]);
  assert.deepEqual(page.complaints, []);
  await context.close();
});

test("every way to combine gives a voice of another text, and says what it does", async () => {
  const page = await open({ names: ["sea-tales", "letters"] });
  await weigh(page, 1, 0.7);
  const seen = new Map();
  const methods = await page.locator("#mix-method option").evaluateAll((all) => all.map(({ value }) => value));
  assert.deepEqual(methods, ["cat", "svd", "linear", "ties", "dare_ties", "dare_linear", "magnitude_prune"]);
  const explained = new Set();
  for (const method of methods) {
    await page.locator("#mix-method").selectOption(method);
    assert.equal(await page.isVisible("#mix-share"), !["cat", "svd", "linear"].includes(method), method);
    explained.add(await page.textContent("#mix-how"));
    seen.set(method, (await mixed(page)).mix);
  }
  assert.equal(explained.size, methods.length);
  assert.ok(new Set(seen.values()).size >= methods.length - 1, JSON.stringify([...seen])); // svd may be near enough to cat
  assert.deepEqual(await voices(page), ["sea-tales", "letters", "mix"]);
  await page.locator("#view-write").click();
  assert.match(await page.locator(".voice", { hasText: "mix" }).textContent(), /rank 4 · /); // of the last one
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("one voice is no mix, a part's name is taken, and what the engine refuses is said", async () => {
  const page = await open();
  await page.locator("#generate").click();
  await says(page, "status", "^Give at least two voices some weight");
  await weigh(page, 0.5, 0.5);
  await page.locator("#mix-name").fill(NAMES[0]);
  await page.locator("#generate").click();
  await says(page, "status", `^${NAMES[0]} is one of the parts`);
  await page.locator("#mix-name").fill("mix");
  await page.locator("#mix-method").selectOption("linear"); // of ranks 4 and 8
  await page.locator("#generate").click();
  await page.waitForSelector("#error[data-kind=argument]:visible");
  assert.match(await page.textContent("#error"), /rank/);
  assert.deepEqual(await voices(page), NAMES);
  assert.deepEqual(page.complaints, []);
  await page.close();
});
