// The page as a reader first meets it: it loads its model, writes, stops, and takes another model.
// What the engine can do besides is api.test.mjs's.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demo, fixtures, ggufs, start } from "./browser.mjs";
import { LOOKS, bring, drop, openPage, ready, sample, says, shots, voices, write, writeVoices, written } from "./reader.mjs";

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
    assert.equal(await page.textContent("#runs-on"), device);
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

test("where the first model does not load it says so, and another one can be chosen", async () => {
  const page = await browser.open("?device=cpu&model=./models/gone/");
  await page.waitForSelector("body[data-model=none]");
  assert.match(await page.textContent("#error"), /^(config|tokenizer)\.json: not found, http/);
  assert.equal(await page.textContent("#runs-on"), "–");
  assert.equal(await page.isDisabled("#generate"), true);
  await page.setInputFiles("#files", [join(llama, "tokenizer.json")]);
  await says(page, "error", "^tokenizer.json is one file of a folder");
  await page.setInputFiles("#folder", llama);
  await ready(page);
  assert.equal(await page.isVisible("#error"), false);
  await page.close();
});

/** Files that are no model, by name, and what the page says of each. */
const NO_MODEL = [
  ["photo.png", Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), /^photo\.png is a picture, expected a model, an adapter or a text\.$/],
  ["scan.pdf", Buffer.from("%PDF-1.7\n1 0 obj"), /^scan\.pdf is a PDF, expected/],
  ["all.zip", Buffer.from("504b030414000000", "hex"), /^all\.zip is an archive, to be unpacked first, expected/],
  ["noise", Buffer.from([1, 0, 2, 0, 255]), /^noise is a file of another kind, expected/],
  ["empty.txt", Buffer.alloc(0), /^empty\.txt is empty, expected/],
  ["adapter_model.safetensors", Buffer.from("0200000000000000{}"), /^adapter_model\.safetensors holds weights alone: choose it together with its adapter_config\.json/],
  ["model.safetensors", Buffer.from("0200000000000000{}"), /^model\.safetensors holds weights alone: choose it together with its config\.json/],
  ["tokenizer.json", Buffer.from("{}"), /^tokenizer\.json is one file of a folder/],
  ["zeros.gguf", Buffer.alloc(5000), /^zeros\.gguf: /],
  ["page.gguf", Buffer.from("<!doctype html><title>Not found</title>"), /^page\.gguf: /],
  ["cut.gguf", readFileSync(join(ggufs, "models/llama-q8_0.gguf")).subarray(0, -1000), /^cut\.gguf: /],
];

test("a file that is no model ends nothing: model, voices, a text and a lesson go on, and the page says what it is", async () => {
  const page = await openPage(browser, "?device=cpu", { view: "teach" });
  const folder = mkdtempSync(join(tmpdir(), "files-"));
  writeVoices(folder, ["fables"]);
  await bring(page, join(folder, "fables"), "fables");
  await page.locator("#lesson").fill("The ferry had one rope, one lantern and one dog.");
  await page.locator("#epochs").fill("100000");
  await page.locator("#learn").click();
  const step = async () => Number(/^Step (\d+)/.exec(await page.textContent("#teach-status"))?.[1] ?? 0);
  await says(page, "teach-status", "^Step");
  for (const [name, bytes, words] of NO_MODEL) {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    const before = await step();
    if (name.endsWith(".png") || name.endsWith(".gguf")) await drop(page, [path]);
    else await page.setInputFiles("#files", [path]);
    await page.waitForFunction((name) => document.getElementById("error").textContent.startsWith(name), name, { timeout: 30_000 }).catch(async (error) => assert.fail(`${name}: ${error.message}: ${await page.textContent("#error")}`));
    assert.match(await page.textContent("#error"), words);
    assert.equal(await page.getAttribute("body", "data-model"), "ready");
    assert.equal(await page.isVisible("#progress"), false);
    assert.equal(await page.textContent("#name"), "demo");
    assert.deepEqual((await voices(page)).slice(0, 2), ["Base", "fables"]);
    await page.waitForFunction((before) => Number(/^Step (\d+)/.exec(document.getElementById("teach-status").textContent)[1]) > before, before);
  }
  // Several at once, none of them of use.
  await page.setInputFiles("#files", ["photo.png", "noise"].map((name) => join(folder, name)));
  await says(page, "error", "^Among these 2 files is no config.json of a model");
  await page.locator("#teach-stop").click();
  await says(page, "teach-status", "^Stopped: me knows");
  await page.locator("#view-write").click();
  await sample(page, { maxTokens: 5 });
  assert.ok((await write(page)).length > 0);
  assert.deepEqual(page.complaints, []);
  await page.close();
  rmSync(folder, { recursive: true });
});

test("a text that is dropped or chosen is the lesson, in whichever encoding, and nothing is asked", async () => {
  const page = await openPage(browser);
  const folder = mkdtempSync(join(tmpdir(), "texts-"));
  const text = "Das Mädchen ging über die Brücke.\n– So?";
  const files = { "utf8.txt": Buffer.from(text), "utf16.txt": Buffer.from(`\ufeff${text}`, "utf16le"), "notes.md": Buffer.from(text), "old.txt": Buffer.from("Das M\xe4dchen ging \xfcber die Br\xfccke.\n\x96 So?", "latin1"), plain: Buffer.from(text) };
  for (const [name, bytes] of Object.entries(files)) {
    writeFileSync(join(folder, name), bytes);
    await page.locator("#view-write").click();
    await page.locator("#lesson").evaluate((lesson) => (lesson.value = ""));
    if (name === "utf8.txt" || name === "plain") await drop(page, [join(folder, name)]);
    else await page.setInputFiles("#files", [join(folder, name)]);
    await page.waitForFunction((text) => document.getElementById("lesson").value === text, text);
    assert.equal(await page.isVisible("#panel-teach"), true);
    assert.equal(await page.textContent("#status"), `${name} is the lesson: press Teach to learn it.`);
    assert.equal(await page.textContent("#name"), "demo");
  }
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
  rmSync(folder, { recursive: true });
});

test("the model before goes on until the other is ready; where both do not fit, the reader chooses", async () => {
  const page = await openPage(browser, "?device=cpu", {
    prepare: (page) => page.addInitScript(() => {
      // Memory holds one engine: while there is one, the next ends as the device would have it.
      globalThis.most = Infinity;
      globalThis.living = 0;
      const { Worker } = globalThis;
      globalThis.Worker = class extends Worker {
        constructor(...args) {
          super(...args);
          globalThis.living++;
        }
        postMessage(message, ...more) {
          if (message.path?.[0] === "openEngine" && globalThis.living > globalThis.most) {
            return queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data: { type: "error", id: message.id, kind: "memory", name: "LorakeetError", message: "the weights take 9 bytes more than there are" } })));
          }
          super.postMessage(message, ...more);
        }
        terminate() {
          globalThis.living--;
          super.terminate();
        }
      };
    }),
  });
  await sample(page, { maxTokens: 400 });
  await page.locator("#generate").click();
  await page.waitForFunction(() => document.getElementById("text").textContent.length > 5);
  const before = await page.evaluate(() => (globalThis.most = globalThis.living));
  await page.setInputFiles("#folder", llama);
  await says(page, "error", "^the weights take 9 bytes more than there are");
  assert.equal(await page.textContent("#name"), "demo");
  assert.equal(await page.getAttribute("body", "data-model"), "ready");
  assert.equal(await page.getAttribute("body", "data-writing"), "true", "the text goes on");
  await page.locator("#replace").click();
  await says(page, "name", "^llama$");
  await ready(page);
  assert.equal(await page.isVisible("#replace"), false);
  assert.equal(await page.evaluate(() => globalThis.living), before, "the one before is freed");
  // With room for both, nothing is asked; and the one before is freed too.
  await page.evaluate(() => (globalThis.most = Infinity));
  await page.setInputFiles("#folder", demo);
  await says(page, "name", "^demo$");
  await page.waitForFunction((before) => globalThis.living === before, before);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

for (const [look, options] of Object.entries(LOOKS).filter(([look]) => !look.includes("dark"))) {
  test(`${look}: every view opens unscrolled by its address, and back and a changed address show theirs`, async () => {
    const views = ["", "chat", "write", "blend", "compare", "long", "teach", "mix", "models", "device"];
    for (const view of views) {
      const page = await openPage(browser, "?device=cpu", { view, ...options });
      await page.waitForLoadState("load");
      await page.waitForTimeout(200);
      assert.equal(await page.evaluate(() => scrollY), 0, view);
      assert.equal(await page.isVisible(`#panel-${view || "write"}`), true);
      assert.ok(await page.evaluate(() => document.querySelector("h1").getBoundingClientRect().top >= 0 && document.getElementById("status").getBoundingClientRect().bottom <= innerHeight), `${view}: name and progress are seen`);
      if (view === "teach") {
        await page.reload();
        await ready(page);
        assert.equal(await page.evaluate(() => scrollY), 0, "again");
        await page.locator("#view-blend").click();
        await page.locator("#view-long").click();
        assert.equal(await page.evaluate(() => location.hash), "#long");
        await page.goBack();
        assert.equal(await page.isVisible("#panel-blend"), true);
        await page.goBack();
        assert.equal(await page.isVisible("#panel-teach"), true);
        await page.evaluate(() => (location.hash = "#compare"));
        await page.waitForSelector("#panel-compare:not([hidden])");
        assert.equal(await page.evaluate(() => scrollY), 0);
      }
      await page.close();
    }
  });
}

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
