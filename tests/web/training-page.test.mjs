// The page's long text and its lesson, as a reader meets them: written, learned, kept, taken away, discarded.
// What is learned is training.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root, start } from "./browser.mjs";
import { chosen, openPage, says, voices } from "./reader.mjs";

const story = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8").slice(0, 300);

let browser;
before(async () => {
  browser = await start();
});
after(() => browser?.close());

const open = (view, options) => openPage(browser, "?device=cpu", { view, ...options });
const points = (page, chart, series) => page.locator(`#${chart} circle.${series}`).count();

/** Saves the files that a list offers, by a click on each, as {name: bytes}. */
async function save(page, list) {
  const links = page.locator(`#${list} a`);
  await links.first().waitFor();
  const files = {};
  for (const link of await links.all()) {
    const [file] = await Promise.all([page.waitForEvent("download"), link.click()]);
    files[file.suggestedFilename()] = readFileSync(await file.path());
  }
  return files;
}

/** What dragging a link out of the window hands over. */
const dragged = (link) => link.evaluate((link) => {
  const event = new DragEvent("dragstart", { dataTransfer: new DataTransfer(), bubbles: true });
  link.dispatchEvent(event);
  return event.dataTransfer.getData("DownloadURL");
});

async function grow(page, { tokens = 80, beginning = story, chunk = 32 } = {}) {
  await page.locator("#start").fill(beginning);
  await page.locator("#chunk").fill(String(chunk));
  await page.locator("#max-tokens").fill(String(tokens));
  await page.locator("#seed").fill("5");
  await page.locator("#grow").click();
}

test("a long text is read, written on and kept", async () => {
  const page = await open("long");
  assert.equal(await page.isVisible("#write"), false);
  assert.equal(await page.isDisabled("#long-keep"), true);
  await grow(page);
  await says(page, "long-status", "^80 tokens written");
  assert.equal(await page.textContent("#long-beginning"), story);
  const text = await page.textContent("#long-text");
  assert.ok(text.length > 100, text);
  const read = await points(page, "long-chart", "base");
  assert.ok(read >= 5, `${read} chunks`);
  assert.equal(await points(page, "long-chart", "adapted"), read);
  assert.match(await page.getAttribute("#long-chart", "aria-label"), /^Loss of each chunk: \d+ so far, the last base \d\.\d\d, adapted \d\.\d\d$/);

  assert.equal(await page.textContent("#grow"), "Write on");
  await page.locator("#grow").click();
  await page.waitForFunction((length) => document.getElementById("long-text").textContent.length > length + 100, text.length);
  await says(page, "long-status", "^80 tokens written");
  assert.ok((await page.textContent("#long-text")).startsWith(text));

  await page.locator("#long-export").click();
  const files = await save(page, "long-files");
  assert.equal(JSON.parse(files["adapter_config.json"]).peft_type, "LORA");
  assert.ok(files["adapter_model.safetensors"].length > 10_000);
  await page.locator("#long-name").fill("ferry");
  await page.locator("#long-keep").click();
  await says(page, "long-status", "^Kept as ferry");
  await chosen(page, "ferry");
  assert.deepEqual(await voices(page), ["Base", "ferry"]);
  assert.equal(await page.locator("#long-files a").count(), 0);
  assert.equal(await page.isDisabled("#long-keep"), true);
  assert.equal(await page.isDisabled("#start"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a long text stops, goes on, and is discarded", async () => {
  const page = await open("long");
  await grow(page, { tokens: 5000 });
  await page.waitForFunction(() => document.getElementById("long-text").textContent.length > 20, null, { timeout: 60_000 });
  await page.locator("#long-stop").click();
  await says(page, "long-status", "^Stopped");
  await page.locator("#max-tokens").fill("20");
  await page.locator("#grow").click();
  await says(page, "long-status", "^20 tokens written");
  await page.locator("#long-discard").click();
  await says(page, "long-status", "^Discarded");
  assert.deepEqual(await voices(page), ["Base"]);
  assert.equal(await page.textContent("#grow"), "Read it and write on");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a beginning whose reading was stopped is read again", async () => {
  const page = await open("long");
  await grow(page, { beginning: story.repeat(20), tokens: 8 });
  await says(page, "long-status", "^Chunk 2");
  await page.locator("#long-stop").click();
  await says(page, "long-status", "^Stopped");
  assert.equal(await page.textContent("#grow"), "Read it and write on");
  await grow(page, { tokens: 8 });
  await says(page, "long-status", "^8 tokens written");
  assert.equal(await page.textContent("#long-beginning"), story);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a lesson becomes an adapter, learns more, and can be exported", async () => {
  const page = await open("teach");
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("4");
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Learned: me");
  assert.equal(await points(page, "teach-chart", "loss"), 4);
  assert.deepEqual(await voices(page), ["Base", "me"]);
  await chosen(page, "me");

  await page.locator("#learn").click();
  await says(page, "teach-status", "^Learned: me");
  assert.deepEqual(await voices(page), ["Base", "me"]);
  const files = await save(page, "teach-files");
  assert.equal(JSON.parse(files["adapter_config.json"]).r, 8);
  assert.match(await dragged(page.locator("#teach-files a").first()), /^application\/json:adapter_config\.json:blob:http/);
  assert.match(await dragged(page.locator("#teach-files a").last()), /^application\/octet-stream:adapter_model\.safetensors:blob:http/);

  // What was saved comes back as a voice.
  const folder = mkdtempSync(join(tmpdir(), "saved-"));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  await page.setInputFiles("#files", Object.keys(files).map((name) => join(folder, name)));
  await chosen(page, "adapter 2");
  rmSync(folder, { recursive: true });
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a lesson stops where it is, and a bad one says why", async () => {
  const page = await open("teach");
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("5000");
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Step [2-9] of");
  await page.locator("#teach-stop").click();
  await says(page, "teach-status", "^Stopped: me knows");
  assert.deepEqual(await voices(page), ["Base", "me"]);
  await page.locator("#lesson").fill("x");
  await page.locator("#learn").click();
  await page.waitForSelector("#error:not([hidden])");
  assert.equal(await page.textContent("#error"), "dataset: no text of at least two tokens");
  await page.close();
});
