// The page's long text and its lesson, as a reader meets them: written, learned, kept, taken away, discarded.
// What is learned is training.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root, start } from "./browser.mjs";
import { chosen, openPage, ready, sample, says, tooWide, violations, voices, write } from "./reader.mjs";

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
  assert.equal(await page.isVisible("#panel-write"), false);
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

  assert.equal(await page.textContent("#grow"), "Continue");
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
  assert.equal(await page.textContent("#grow"), "Read and continue");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

/** What the demo model writes on its own after `beginning`, presses of the button one after the other, {seen, texts}. */
const alone = (page, beginning, presses) => page.evaluate(async ([beginning, presses]) => {
  const { createEngine } = await import("/dist/index.js");
  const engine = await createEngine("/models/demo/", { device: "cpu" });
  const ids = await engine.tokenize(beginning);
  const texts = [];
  let seen;
  for (const max_tokens of presses) {
    const most = engine.info.contextLength - max_tokens;
    const prompt = ids.length > most ? [...ids.slice(0, 4), ...ids.slice(4 - most)] : ids;
    seen ??= await engine.detokenize(ids.length > most ? prompt.slice(4) : prompt);
    const { choices: [{ text, token_ids }] } = await engine.completions.create({ prompt, max_tokens, temperature: 0, repetition_penalty: 1 });
    texts.push(text);
    ids.push(...token_ids);
  }
  await engine.dispose();
  return { seen, texts };
}, [beginning, presses]);

test("next to a long text stands what the model writes on its own, if that is wanted", async () => {
  const page = await open("long");
  const base = () => page.textContent("#long-base-text");
  await page.setViewportSize({ width: 1280, height: 800 });
  await sample(page);
  assert.equal(await page.isVisible("#long-base"), false);
  assert.equal(await page.isVisible("#long-title"), false);
  await page.locator("#long-beside").focus();
  await page.keyboard.press("Space");
  assert.equal(await page.textContent("#long-title:visible"), "With what it has learned");
  assert.equal(await page.textContent("#long-base-title:visible"), "On its own, nothing learned");
  await grow(page, { tokens: 40 });
  assert.equal(await page.isDisabled("#long-beside"), true);
  await says(page, "long-status", "^40 tokens written");
  const { seen, texts: [first, second] } = await alone(page, story, [40, 24]);
  assert.equal(seen, story);
  assert.equal(await page.textContent("#long-base-beginning"), story);
  assert.equal(await base(), first);
  const text = await page.textContent("#long-text");
  assert.ok(text.length > 50 && text !== first, text);
  const writeOn = async (tokens) => {
    await page.locator("#max-tokens").fill(String(tokens));
    await page.locator("#grow").click();
    await says(page, "long-status", `^${tokens} tokens written`);
  };
  await writeOn(24);
  assert.equal(await base(), first + second);

  // Side by side, or on a phone one below the other.
  const places = async () => {
    const [left, right] = await Promise.all(["#long-page", "#long-base-page"].map((id) => page.locator(id).boundingBox()));
    return [right.x >= left.x + left.width, right.y >= left.y + left.height];
  };
  assert.deepEqual(await places(), [true, false]);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual(await places(), [false, true]);
  assert.ok((await tooWide(page)) <= 0);

  // Without it there is one text; with it again it begins where the text is then.
  await page.locator("#long-beside").uncheck();
  assert.equal(await page.isVisible("#long-base"), false);
  assert.equal(await page.isVisible("#long-title"), false);
  await writeOn(25);
  assert.equal(await base(), first + second);
  const place = story + (await page.textContent("#long-text"));
  await page.locator("#long-beside").check();
  await writeOn(26);
  assert.equal(await page.textContent("#long-base-beginning"), place);
  assert.ok((await base()).length > 20 && !(await base()).startsWith(first));

  // An option that is wrong is told once, and mended.
  const before = await base();
  await page.locator("#penalty").evaluate((field) => (field.min = "0"));
  await page.locator("#penalty").fill("0");
  await page.locator("#grow").click();
  await says(page, "error", "^repetition_penalty 0, expected above 0$");
  assert.equal(await base(), before);
  await page.locator("#penalty").fill("1");
  await writeOn(27);
  assert.ok((await base()).length > before.length);
  await page.locator("#long-discard").click();
  await says(page, "long-status", "^Discarded");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("of a text that does not fit the model on its own sees the end, and a stop ends both", async () => {
  const page = await open("long");
  await sample(page);
  await page.locator("#long-beside").check();
  const book = story.repeat(12);
  await grow(page, { beginning: book, tokens: 16, chunk: 64 });
  await says(page, "long-status", "^16 tokens written");
  const { seen, texts } = await alone(page, book, [16]);
  assert.ok(seen.length < book.length, "the book is longer than the context");
  assert.equal(await page.textContent("#long-base-beginning"), `… ${seen}`);
  assert.equal(await page.textContent("#long-base-text"), texts[0]);

  const lengths = () => page.evaluate(() => ["long-text", "long-base-text"].map((id) => document.getElementById(id).textContent.length));
  const [learned, base] = await lengths();
  await page.locator("#max-tokens").fill("5000");
  await page.locator("#grow").click();
  await page.waitForFunction(([learned, base]) => document.getElementById("long-text").textContent.length > learned + 20 && document.getElementById("long-base-text").textContent.length > base + 20, [learned, base], { timeout: 60_000 });
  await page.locator("#long-stop").click();
  await says(page, "long-status", "^Stopped");
  const stopped = await lengths();
  await page.waitForTimeout(500);
  assert.deepEqual(await lengths(), stopped);
  assert.equal(await page.isDisabled("#long-beside"), false);
  await page.locator("#long-discard").click();
  await says(page, "long-status", "^Discarded");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("where the batch has no room for both, the model writes on its own afterwards", async () => {
  const engines = 'export * from "./index.js?all"; import { createEngine as create } from "./index.js?all"; export const createEngine = (source, options) => create(source, { ...options, batch: 3 });';
  const page = await open("long", { prepare: (page) => page.route(/dist\/index\.js$/, (route) => route.fulfill({ contentType: "text/javascript", body: engines })) });
  await sample(page);
  await page.locator("#long-beside").check();
  await page.evaluate(() => {
    globalThis.sizes = [];
    const size = (id) => document.getElementById(id).textContent.length;
    new MutationObserver(() => globalThis.sizes.push([size("long-text"), size("long-base-text")])).observe(document.getElementById("panel-long"), { childList: true, subtree: true });
  });
  await grow(page, { tokens: 40 });
  await says(page, "long-status", "^Writing on its own: \\d+ tokens");
  await says(page, "long-status", "^40 tokens written");
  assert.equal(await page.textContent("#long-base-text"), (await alone(page, story, [40])).texts[0]);
  const whole = (await page.textContent("#long-text")).length;
  const sizes = await page.evaluate(() => globalThis.sizes);
  assert.deepEqual(sizes.filter(([learned, base]) => base > 0 && learned < whole), []);
  await page.locator("#max-tokens").fill("5000");
  await page.locator("#grow").click();
  await page.waitForFunction((whole) => document.getElementById("long-text").textContent.length > whole + 20, whole, { timeout: 60_000 });
  await page.locator("#long-stop").click();
  await says(page, "long-status", "^Stopped");
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a book is read with a stop on the way, to its end or as far as it was read", async () => {
  const page = await open("long");
  for (const end of ["long-skip", "grow"]) {
    await grow(page, { beginning: story.repeat(end === "grow" ? 8 : 20), tokens: 8 });
    await says(page, "long-status", "% read");
    await page.locator("#long-stop").click();
    await says(page, "long-status", "^Stopped at \\d+ %");
    assert.equal(await page.textContent("#grow"), "Read on");
    const before = await points(page, "long-chart", "base");
    await page.locator(`#${end}`).click();
    await says(page, "long-status", "^8 tokens written");
    const after = await points(page, "long-chart", "base");
    if (end === "grow") assert.ok(after > before + 1, `${before} chunks, then ${after}`);
    else assert.ok(after <= before + 1, `${before} chunks, then ${after}`);
    assert.equal(await page.isVisible("#long-skip"), false);
    await page.locator("#long-discard").click();
    await says(page, "long-status", "^Discarded");
  }
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

test("a lesson that can spare its end says what it has done: the loss of that end and a sample, with the voice and without", async () => {
  const page = await open("teach");
  const [lesson, words] = [readFileSync(join(root, "www/samples/lighthouse.txt"), "utf8"), /^The end of the lesson was held back: it surprises the model (\d+) % less with the voice \(loss ([\d.]+)\) than without it \(([\d.]+)\)\.$/];
  await page.locator('.samples[data-for="lesson"] button').first().click();
  await page.waitForFunction((text) => document.getElementById("lesson").value === text, lesson.trim());
  await page.locator("#epochs").fill("2");
  await page.locator("#seed").fill("5"); // another may end its sample at once
  await page.locator("#learn").click();
  await page.waitForSelector("#teach-result:not([hidden])", { timeout: 120_000 });
  const [, percent, learned, without] = words.exec(await page.textContent("#teach-gain"));
  assert.equal(Number(percent), Math.round(100 * (1 - learned / without)));
  // Judged by the engine itself, over the same tokens.
  const held = await page.evaluate(async (text) => (await import("/lesson-verdict.js")).holdBack(text).held, lesson.trim());
  assert.ok(held.length > 100 && lesson.trim().endsWith(held) && /^[A-Z]/.test(held), held);
  const expected = await page.evaluate(async (text) => {
    const { createEngine } = await import("/dist/index.js");
    const engine = await createEngine("/models/demo/", { device: "cpu" });
    const ids = (await engine.tokenize(text)).slice(0, 96);
    const temp = await engine.createTempLora({ chunkTokens: 200, contextTokens: 1 });
    const { basePerplexity } = await temp.evaluate(await engine.detokenize(ids));
    await engine.dispose();
    return Math.log(basePerplexity);
  }, held);
  assert.ok(Math.abs(expected - without) < 0.05, `${expected} ${without}`);
  const [before, after] = [await page.textContent("#teach-before"), await page.textContent("#teach-after")];
  assert.ok(before.length > 40 && after.length > 40 && before !== after);
  assert.ok(before.startsWith(held.split(/\s+/).slice(0, 5).join(" ")), before);
  assert.deepEqual(await violations(page), []);
  await page.locator("#lesson").fill(story);
  await page.locator("#learn").click();
  await page.waitForFunction(() => /^The lesson is too short/.test(document.getElementById("teach-gain").textContent));
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("who leaves while it learns is asked, and a refresh goes on with the lesson from its checkpoint", async () => {
  const page = await open("teach");
  const asked = [];
  page.on("dialog", (dialog) => {
    asked.push(dialog.type());
    dialog.accept();
  });
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("400");
  await page.locator("#learn").click();
  await page.waitForFunction(() => Number(/^Step (\d+)/.exec(document.getElementById("teach-status").textContent)?.[1]) > 21, null, { timeout: 60_000 });
  await page.reload();
  assert.deepEqual(asked, ["beforeunload"]);
  await says(page, "teach-status", "^Step");
  const step = Number(/^Step (\d+) of 400/.exec(await page.textContent("#teach-status"))[1]);
  assert.ok(step > 20, `${step}`);
  assert.equal(await page.inputValue("#lesson"), story);
  await page.locator("#teach-stop").click();
  await says(page, "teach-status", "^Stopped: me knows");
  // Now there is nothing to go on with, and nothing to ask.
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input").length === 2, null, { timeout: 60_000 });
  assert.deepEqual(asked, ["beforeunload"]);
  assert.equal(await page.isDisabled("#teach-stop"), true);
  assert.deepEqual(await page.evaluate(async () => Array.fromAsync((await (await navigator.storage.getDirectory()).getDirectoryHandle("lorakeet-checkpoints")).keys())), []);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

/** The engine's own view of an adapter, by the text it gives. */
const spoken = async (page, name) => {
  await page.locator("#view-write").click();
  await page.locator("#voice-list label", { hasText: name }).click();
  await sample(page);
  return write(page);
};

test("what was taught is there again after a refresh, for its model alone, and is gone once it is taken out", async () => {
  const page = await open("teach");
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("4");
  const names = ["me", "../a b/ü?", "."];
  for (const name of names) {
    await page.locator("#view-teach").click();
    await page.locator("#teach-name").fill(name);
    await page.locator("#learn").click();
    await page.waitForFunction((name) => document.getElementById("teach-status").textContent.startsWith(`Learned: ${name} `), name, { timeout: 60_000 });
  }
  const text = await spoken(page, "me");
  const base = await spoken(page, "Base");
  assert.notEqual(text, base);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input").length === 4, null, { timeout: 60_000 });
  assert.deepEqual(await voices(page), ["Base", ...names]);
  assert.equal(await spoken(page, "me"), text);
  // Its files can still be taken away.
  const saved = [];
  page.on("download", (file) => saved.push(file.suggestedFilename()));
  await page.getByLabel("Save the files of me", { exact: true }).click();
  await says(page, "status", "^The files of me are saved");
  while (saved.length < 2) await page.waitForTimeout(50);
  assert.deepEqual(saved.sort(), ["adapter_config.json", "adapter_model.safetensors"]);
  // Another model has none of them, and they are there when theirs comes back.
  await page.setInputFiles("#folder", join(root, "tests/fixtures/models/llama"));
  await says(page, "name", "^llama$");
  assert.deepEqual(await voices(page), ["Base"]);
  await page.setInputFiles("#folder", join(root, "www/models/demo"));
  await says(page, "name", "^demo$");
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input").length === 4, null, { timeout: 60_000 });
  for (const name of names) {
    await page.getByLabel(`Remove ${name}`, { exact: true }).click();
    await page.waitForFunction((name) => ![...document.querySelectorAll("#voice-list b")].some((b) => b.textContent === name), name);
  }
  await page.reload();
  await ready(page);
  await page.waitForTimeout(500);
  assert.deepEqual(await voices(page), ["Base"]);
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("where nothing can be kept a lesson is learned all the same, and the page says so", async () => {
  const page = await open("teach", { prepare: (page) => page.addInitScript(() => (StorageManager.prototype.getDirectory = async () => { throw new DOMException("no", "SecurityError"); })) });
  await page.locator("#lesson").fill(story);
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Learned: me");
  assert.deepEqual(await voices(page), ["Base", "me"]);
  assert.match(await page.textContent("#error"), /^me could not be kept in this browser/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a lesson that another model's coming ends is kept as far as it came", async () => {
  const page = await open("teach");
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("5000");
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Step [2-9] of");
  await page.setInputFiles("#folder", join(root, "tests/fixtures/models/llama"));
  await says(page, "name", "^llama$");
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input").length === 2, null, { timeout: 60_000 });
  assert.deepEqual(await voices(page), ["Base", "me"]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

for (const way of ["keep", "discard"]) {
  test(`after a long text, Teach says what is in the way, and one can ${way} it`, async () => {
    const page = await open("long");
    assert.equal(await page.isVisible("#teach-blocked"), false);
    await grow(page, { tokens: way === "keep" ? 8 : 5000 });
    if (way === "keep") await says(page, "long-status", "^8 tokens written");
    else await page.waitForFunction(() => document.getElementById("long-text").textContent.length > 5, null, { timeout: 60_000 }); // it is still being written
    await page.locator("#view-teach").click();
    assert.match(await page.textContent("#teach-blocked"), /^The long text is still open/);
    await page.locator("#lesson").fill(story);
    await page.locator("#learn").click();
    await says(page, "teach-status", "^The long text is in the way: keep what it has learned, or discard it\\.$");
    assert.equal(await page.evaluate(() => document.activeElement.id), "blocked-keep");
    assert.equal(await page.isVisible("#error"), false);
    await page.locator(`#blocked-${way}`).click();
    await page.waitForSelector("#teach-blocked", { state: "hidden" });
    await page.locator("#learn").click();
    await says(page, "teach-status", "^Learned: me");
    assert.deepEqual(await voices(page), way === "keep" ? ["Base", "story", "me"] : ["Base", "me"]);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("during a lesson, the long text says what is in the way, and one can stop it", async () => {
  const page = await open("teach");
  await page.locator("#lesson").fill(story);
  await page.locator("#epochs").fill("5000");
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Step [2-9] of");
  await page.locator("#view-long").click();
  await page.locator("#grow").click();
  await says(page, "long-status", "^A lesson is in the way");
  assert.equal(await page.isVisible("#error"), false);
  await page.locator("#blocked-stop").click();
  await page.waitForSelector("#long-blocked", { state: "hidden" });
  await grow(page, { tokens: 8 });
  await says(page, "long-status", "^8 tokens written");
  assert.deepEqual(await voices(page), ["Base", "me"]);
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
