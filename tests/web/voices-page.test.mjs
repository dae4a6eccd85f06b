// Voices on the page: dropped and chosen, switched in mid-text, blended, compared and taken out.
// What adapters do to a text is adapters.test.mjs's.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { adapters, demo, ggufs, root, start } from "./browser.mjs";
import { bring, chosen, drop, openPage, ready, routeShelf, sample, says, voices, write, writeVoices, written } from "./reader.mjs";

const NAMES = ["sea-tales", "fables", "letters", "a-name-much-longer-than-any-chip-should-be"];

let browser, shelf;
before(async () => {
  shelf = mkdtempSync(join(tmpdir(), "voices-"));
  writeVoices(shelf, NAMES);
  browser = await start();
});
after(async () => {
  await browser?.close();
  rmSync(shelf, { recursive: true, force: true });
});

async function open(path, options) {
  const page = await openPage(browser, path, options);
  await sample(page);
  return page;
}

/** The page with the first `n` voices, of which the last is on. */
async function openWith(n, path, options) {
  const page = await open(path, options);
  for (const name of NAMES.slice(0, n)) await bring(page, join(shelf, name), name);
  return page;
}

/** What the engine writes greedily on the CPU: `first` under one voice, the rest of `tokens` under another. */
function continued(page, prompt, first, tokens) {
  const folders = NAMES.slice(0, 2).map((name) => [name, ...["adapter_config.json", "adapter_model.safetensors"].map((file) => [...readFileSync(join(shelf, name, file))])]);
  return page.evaluate(async ([prompt, first, tokens, folders]) => {
    const { createEngine } = await import("/dist/index.js");
    const engine = await createEngine("/models/demo/", { device: "cpu" });
    for (const [name, config, weights] of folders) await engine.loadAdapter({ config: new Uint8Array(config), weights: new Uint8Array(weights) }, { name });
    const ids = await engine.tokenize(prompt);
    const end = ids.length + tokens;
    let text = "";
    for await (const { choices: [choice] } of engine.completions.create({ prompt: [...ids], temperature: 0, adapter: folders[0][0], stream: true })) {
      text += choice.text;
      ids.push(...choice.token_ids);
      if (text.length >= first) break;
    }
    const rest = await engine.completions.create({ prompt: ids, max_tokens: end - ids.length, temperature: 0, adapter: folders[1][0] });
    await engine.dispose();
    return [text, rest.choices[0].text];
  }, [prompt, first, tokens, folders]);
}

for (const [path, device] of [["", "WebGPU"], ["?device=cpu", "CPU"]]) {
  test(`on ${device}, the list switches the text, and back`, async () => {
    const page = await open(path);
    assert.equal(await page.textContent("#runs-on"), device);
    assert.match(await page.textContent("#voices-hint"), /^None yet: drop an adapter folder/);
    const base = await write(page);
    await bring(page, join(shelf, NAMES[0]), NAMES[0]);
    await bring(page, join(shelf, NAMES[1]), NAMES[1]);
    assert.deepEqual(await voices(page), ["Base", NAMES[0], NAMES[1]]);
    assert.deepEqual(await page.locator("#voice-list small").allTextContents(), ["the model's own voice", "rank 4 · 38.4 kB", "rank 8 · 74.2 kB"]);
    assert.match(await page.textContent("#switch-time"), /^(\d+(\.\d)?|< 0\.1) ms$/);
    assert.equal(await page.textContent("#status"), `Speaking as ${NAMES[1]}.`);
    const second = await write(page);
    assert.equal(await page.getAttribute("#text .part", "data-hue"), "1");
    await page.locator("#voice-list label", { hasText: NAMES[0] }).click();
    const first = await write(page);
    await page.locator("#voice-list input:checked").focus();
    await page.keyboard.press("ArrowUp");
    await chosen(page, "");
    assert.equal(await page.evaluate(() => document.activeElement.value), "");
    assert.equal(await write(page), base);
    assert.equal(new Set([base, first, second]).size, 3);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

/** Begins a text, and switches to a voice when some of it stands there. Gives what each voice wrote. */
async function switchedTo(page, voice) {
  // From within, so that no round trip lets the text end first.
  const before = await page.evaluate(async (voice) => {
    const text = document.getElementById("text");
    text.replaceChildren(); // of the text before
    document.getElementById("generate").click();
    while (text.textContent.length < 40) await new Promise((next) => setTimeout(next));
    document.querySelector(`#voice-list input[value="${voice}"]`).click();
    return text.textContent;
  }, voice);
  await written(page);
  const parts = await page.locator("#text .part").evaluateAll((all) => all.map((part) => [part.dataset.hue, part.dataset.voice ?? "", part.textContent]));
  assert.deepEqual(parts.map(([hue, name]) => [hue, name]), [["0", ""], ["1", voice]]);
  const [[, , first], [, , second]] = parts;
  assert.ok(first.startsWith(before), "what stood there stays");
  return [first, second];
}

test("a switch in mid-text takes effect at once and loses nothing", async () => {
  const page = await openWith(2);
  await sample(page, { maxTokens: 150 });
  await page.locator("#voice-list label", { hasText: NAMES[0] }).click();
  const prompt = await page.inputValue("#prompt");
  const [first, second] = await switchedTo(page, NAMES[1]);
  assert.ok(second.length > 100, second);
  assert.deepEqual([first, second], await continued(page, prompt, first.length, 150));
  assert.equal(await page.textContent("#status"), "Wrote 150 tokens.");
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("on WebGPU too, and the first voice's part is what it writes alone", async () => {
  const page = await openWith(2, "");
  await sample(page, { maxTokens: 60 });
  await page.locator("#voice-list label", { hasText: NAMES[0] }).click();
  const alone = await write(page);
  const [first, second] = await switchedTo(page, NAMES[1]);
  assert.equal(alone.slice(0, first.length), first);
  assert.notEqual(alone, first + second);
  assert.equal(await page.textContent("#status"), "Wrote 60 tokens.");
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a shelf of dropped folders gives a voice each, and × takes one out", async () => {
  const page = await open();
  const base = await write(page);
  await drop(page, [shelf]);
  await page.waitForFunction((n) => document.querySelectorAll("#voice-list input").length === n, NAMES.length + 1);
  assert.deepEqual((await voices(page)).sort(), ["Base", ...NAMES].sort());
  assert.equal(await page.textContent("#name"), "demo");
  await page.locator("#voice-list label", { hasText: NAMES[2] }).click();
  await page.getByLabel(`Remove ${NAMES[2]}`).click();
  await chosen(page, "");
  assert.equal((await voices(page)).includes(NAMES[2]), false);
  assert.equal(await write(page), base);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("what ships is listed at once and loads after the model; one that is broken says so", async () => {
  const page = await browser.open("?device=cpu", {
    prepare: async (page) => {
      const list = [
        { name: "sea-tales", title: "Sea tales", line: "Salt and rope", folder: "./voices/sea-tales/" },
        { name: "gone", title: "Gone", line: "Never came", folder: "./voices/gone/" },
        { name: "fables", title: "Fables", line: "Beasts that talk", folder: "./voices/fables/" },
      ];
      await routeShelf(page, list);
      await page.route("**/voices/*/*", (route) => {
        const path = new URL(route.request().url()).pathname.slice("/voices/".length);
        return path.startsWith("gone/") ? route.fulfill({ status: 404, body: "" }) : route.fulfill({ path: join(shelf, path) });
      });
    },
  });
  await page.waitForSelector("#voice-list b");
  assert.deepEqual(await voices(page), ["Base", "Sea tales", "Gone", "Fables"]);
  await page.waitForSelector("#voice-list input[value=fables]:enabled");
  assert.equal(await page.isEnabled("#voice-list input[value=sea-tales]"), true);
  assert.equal(await page.isEnabled("#voice-list input[value=gone]"), false);
  assert.match(await page.textContent("#error"), /^adapter_config\.json: not found, http.+gone\/adapter_config\.json$/);
  assert.equal(await page.locator("#voice-list button").count(), 0);
  await page.close();
});

/** The text of a blend when the last move is through. */
async function blended(page) {
  await page.waitForTimeout(400); // from a move to its text there is a moment in which nothing is written
  await written(page);
  return page.textContent("#blend-text");
}

test("sliders blend: one alone is its voice, none is the base", async () => {
  const page = await open();
  const base = await write(page);
  await bring(page, join(shelf, NAMES[0]), NAMES[0]);
  const first = await write(page);
  await bring(page, join(shelf, NAMES[1]), NAMES[1]);
  await page.locator("#view-blend").click();
  const weigh = async (...weights) => {
    for (const [i, weight] of weights.entries()) await page.locator(`#weight-${i}`).fill(String(weight));
    return blended(page);
  };
  assert.deepEqual(await page.locator("#voice-list output").allTextContents(), ["0.00", "0.00"]);
  assert.equal(await weigh(1, 0), first);
  assert.equal([base, first].includes(await weigh(0.8, -0.6)), false);
  assert.equal(await weigh(0, 0), base);
  assert.match(await page.textContent("#switch-time"), /ms$/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("more voices than a blend holds leave the text as it is, and say so", async () => {
  const names = ["one", "two", "three", "four", "five", "six"];
  const more = join(shelf, "..", `${basename(shelf)}-more`);
  writeVoices(more, names);
  const page = await open();
  await drop(page, [more]);
  await page.waitForFunction((n) => document.querySelectorAll("#voice-list input").length === n, names.length + 1);
  await page.locator("#view-blend").click();
  for (let i = 0; i < 5; i++) await page.locator(`#weight-${i}`).fill("0.3");
  const text = await blended(page);
  await page.locator("#weight-5").fill("0.3");
  await page.waitForSelector("#error[data-kind=argument]:visible");
  assert.match(await page.textContent("#error"), /6|six/);
  assert.equal(await page.textContent("#blend-text"), text);
  await page.locator("#weight-5").fill("0");
  await page.waitForSelector("#error", { state: "hidden" });
  assert.deepEqual(page.complaints, []);
  await page.close();
  rmSync(more, { recursive: true });
});

test("the pad's rim is a voice alone, its middle the base, and the text follows the puck", async () => {
  const page = await openWith(3, "?device=cpu");
  const third = await write(page);
  await page.locator("#view-blend").click();
  const wheel = await page.locator(".wheel").boundingBox();
  const at = (turn, radius) => [
    wheel.x + (wheel.width / 2) * (1 + radius * Math.sin(2 * Math.PI * turn)),
    wheel.y + (wheel.height / 2) * (1 - radius * Math.cos(2 * Math.PI * turn)),
  ];
  const weights = () => page.locator("#voice-list output").allTextContents();
  await page.mouse.move(...at(1 / 6, 0.8));
  await page.mouse.down();
  await says(page, "blend-text", "\\w");
  const [a, b, c] = (await weights()).map(Number);
  assert.ok(Math.abs(a - 0.4) < 0.03 && Math.abs(b - 0.4) < 0.03 && c === 0, `${a} ${b} ${c}`);
  await page.mouse.move(...at(2 / 3, 1.3), { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction((text) => document.getElementById("blend-text").textContent === text, third);
  assert.deepEqual(await weights(), ["0.00", "0.00", "1.00"]);
  await page.mouse.click(...at(0, 0));
  await page.waitForFunction((text) => document.body.dataset.writing === "false" && document.getElementById("blend-text").textContent !== text, third);
  assert.deepEqual(await weights(), ["0.00", "0.00", "0.00"]);
  assert.equal(await page.getAttribute("body", "data-hue"), "base");
  await page.locator("#view-write").click();
  await page.waitForFunction(() => document.body.dataset.hue === "2");
  assert.equal(await write(page), third);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("side by side, each voice writes what it writes alone", async () => {
  const page = await open("");
  const alone = { Base: await write(page) };
  for (const name of NAMES) {
    await bring(page, join(shelf, name), name);
    alone[name] = await write(page);
  }
  await page.locator("#view-compare").click();
  const boxes = page.locator("#voice-list input");
  assert.deepEqual(await boxes.evaluateAll((all) => all.map((box) => [box.type, box.checked])), Array(5).fill(["checkbox", true]));
  await boxes.nth(1).focus();
  await page.keyboard.press("Space");
  await page.locator("#generate").click();
  await written(page);
  const columns = await page.locator("#columns section").evaluateAll((all) => all.map((each) => [each.querySelector("h3").textContent, each.querySelector("p").lastChild.textContent]));
  assert.deepEqual(columns, ["Base", ...NAMES.slice(1)].map((name) => [name, alone[name]]));
  assert.equal(await page.textContent("#status"), `Wrote ${4 * 24} tokens.`);
  for (let i = 0; i < 5; i++) if (i !== 1) await boxes.nth(i).uncheck();
  await page.locator("#generate").click();
  await says(page, "status", "^Tick at least one voice");
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("an adapter of another model shows the engine's words, and another model has none", async () => {
  const page = await open();
  await page.setInputFiles("#folder", join(adapters, "llama/qv"));
  await page.waitForSelector("#error[data-kind=mismatch]:visible");
  assert.deepEqual(await voices(page), ["Base"]);
  await bring(page, join(shelf, NAMES[0]), NAMES[0]);
  assert.equal(await page.isVisible("#error"), false);
  await page.setInputFiles("#folder", demo);
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input").length === 1);
  await ready(page);
  assert.equal(await page.getAttribute("body", "data-hue"), "base");
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a GGUF LoRA is an adapter, and bare PEFT files are one without a name", async () => {
  const page = await open();
  await page.setInputFiles("#folder", join(root, "tests/fixtures/models/llama"));
  await says(page, "name", "^llama$");
  await ready(page);
  await page.setInputFiles("#files", [join(ggufs, "llama-f16.gguf")]);
  await chosen(page, "llama-f16");
  await page.setInputFiles("#files", ["adapter_config.json", "adapter_model.safetensors"].map((name) => join(adapters, "llama/qv", name)));
  await chosen(page, "adapter 2");
  assert.deepEqual(page.complaints, []);
  await page.close();
});
