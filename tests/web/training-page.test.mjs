// The demo page's long text and its lesson, as a reader meets them: written, learned, kept, exported, discarded.
// What is learned is training.test.mjs's.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root, start } from "./browser.mjs";

const story = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8").slice(0, 300);
const shots = join(root, "test-results");

let browser;
before(async () => {
  mkdirSync(shots, { recursive: true });
  browser = await start();
});
after(() => browser?.close());

/** The page, its model loaded, with one of its sheets shown. */
async function open(view, options) {
  const page = await browser.open("?device=cpu", options);
  await page.waitForSelector("body[data-model=ready]", { timeout: 30_000 });
  await page.locator(`#view-${view}`).click();
  return page;
}

const says = (page, id, words) => page.waitForFunction(([id, words]) => new RegExp(words).test(document.getElementById(id).textContent), [id, words], { timeout: 60_000 });
const points = (page, chart, series) => page.locator(`#${chart} circle.${series}`).count();
const chips = (page) => page.locator("#chips b").allTextContents();
const chosen = (page) => page.locator("#chips input:checked").getAttribute("value");

/** Downloads by one click, as {name: bytes}. */
async function downloads(page, button) {
  const got = [];
  const both = new Promise((done) => page.on("download", (file) => got.push(file) === 2 && done()));
  await page.locator(button).click();
  await both;
  const files = await Promise.all(got.map(async (file) => [file.suggestedFilename(), readFileSync(await file.path())]));
  return Object.fromEntries(files);
}

async function grow(page, { tokens = 80, beginning = story, chunk = 32 } = {}) {
  await page.locator("#start").fill(beginning);
  await page.locator("#chunk").fill(String(chunk));
  await page.locator("#max-tokens").fill(String(tokens));
  await page.locator("#seed").fill("5");
  await page.locator("#grow").click();
}

test("a long text is read, written on and kept", async () => {
  const page = await open("long");
  assert.equal(await page.isVisible("#writing"), false);
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
  await page.screenshot({ path: join(shots, "long.png"), fullPage: true });

  assert.equal(await page.textContent("#grow"), "Write on");
  await page.locator("#grow").click();
  await page.waitForFunction((length) => document.getElementById("long-text").textContent.length > length + 100, text.length);
  await says(page, "long-status", "^80 tokens written");
  assert.ok((await page.textContent("#long-text")).startsWith(text));

  const files = await downloads(page, "#long-export");
  assert.equal(JSON.parse(files["story-adapter_config.json"]).peft_type, "LORA");
  assert.ok(files["story-adapter_model.safetensors"].length > 10_000);
  await page.locator("#long-name").fill("ferry");
  await page.locator("#long-keep").click();
  await says(page, "long-status", "^Kept as ferry");
  await page.waitForFunction(() => document.querySelector("#chips input:checked").value === "ferry");
  assert.deepEqual(await chips(page), ["Base", "ferry"]);
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
  assert.deepEqual(await chips(page), ["Base"]);
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
  assert.deepEqual(await chips(page), ["Base", "me"]);
  assert.equal(await chosen(page), "me");
  await page.screenshot({ path: join(shots, "teach.png"), fullPage: true });

  await page.locator("#learn").click();
  await says(page, "teach-status", "^Step 1 of 4|^Learned");
  await says(page, "teach-status", "^Learned: me");
  assert.deepEqual(await chips(page), ["Base", "me"]);
  const files = await downloads(page, "#teach-export");
  assert.equal(JSON.parse(files["me-adapter_config.json"]).r, 8);
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
  assert.deepEqual(await chips(page), ["Base", "me"]);
  await page.locator("#lesson").fill("x");
  await page.locator("#learn").click();
  await page.waitForSelector("#error:not([hidden])");
  assert.equal(await page.textContent("#error"), "dataset: no text of at least two tokens");
  await page.close();
});

test("on a phone and in the dark the sheets fit, and every control has a name", async () => {
  for (const [name, options] of [
    ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
    ["phone", { viewport: { width: 360, height: 740 } }],
  ]) {
    const page = await open("long", options);
    await grow(page, { tokens: 8, beginning: story.slice(0, 100) });
    await says(page, "long-status", "^8 tokens written");
    for (const view of ["long", "teach"]) {
      await page.locator(`#view-${view}`).click();
      assert.equal(await page.getAttribute(`#view-${view}`, "aria-pressed"), "true");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name}, ${view}: ${wide} pixels too wide`);
      const nameless = await page.locator("button, input, textarea").evaluateAll((all) =>
        all.filter((each) => each.checkVisibility() && each.labels.length === 0 && each.textContent.trim() === "").map((each) => each.id));
      assert.deepEqual(nameless, []);
      await page.screenshot({ path: join(shots, `${view}-${name}.png`), fullPage: true });
    }
    await page.close();
  }
});
