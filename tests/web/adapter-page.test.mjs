// Adapters on the demo page: dropped and chosen, switched, blended, compared and taken out.
// What they do to the text is adapters.test.mjs's.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { adapters, demo, root, start } from "./browser.mjs";
import { writeRandomAdapter } from "./random-adapter.mjs";

const NAMES = ["sea-tales", "fables", "letters", "a-name-much-longer-than-any-chip-should-be"];
const shots = join(root, "test-results");

let browser, shelf;
before(async () => {
  mkdirSync(shots, { recursive: true });
  shelf = mkdtempSync(join(tmpdir(), "adapters-"));
  NAMES.forEach((name, i) => writeRandomAdapter(join(shelf, name), { model: demo, rank: 4 * (i + 1), seed: i + 1 }));
  browser = await start();
});
after(async () => {
  await browser?.close();
  rmSync(shelf, { recursive: true, force: true });
});

async function open(path = "?device=cpu", options) {
  const page = await browser.open(path, options);
  await page.waitForSelector("body[data-model=ready]", { timeout: 30_000 });
  await page.locator("#temperature").fill("0");
  await page.locator("#max-tokens").fill("24");
  return page;
}

const chips = (page) => page.locator("#chips b").allTextContents();
const inUse = (page, value) => page.waitForFunction((value) => document.querySelector("#chips input:checked").value === value, value);

async function add(page, folder, name) {
  await page.setInputFiles("#adapter-folder", folder);
  await inUse(page, name);
  await page.waitForSelector("#switched:visible");
}

/** The text after `click`ing a button. */
async function written(page, button = "#generate") {
  await page.locator(button).click();
  await page.waitForFunction(() => document.getElementById("ended").textContent !== "–" && document.body.dataset.writing === "false", null, { timeout: 60_000 });
  return page.textContent("#text");
}

for (const [path, badge] of [["", "WebGPU"], ["?device=cpu", "CPU"]]) {
  test(`on ${badge}, chips switch the text, and back`, async () => {
    const page = await open(path);
    assert.equal(await page.textContent("#device"), badge);
    assert.match(await page.textContent("#adapter-hint"), /^Drop a PEFT folder .+adapter_config\.json.+adapter_model\.safetensors/);
    assert.equal(await page.isVisible("#blending"), false);
    const base = await written(page);
    await add(page, join(shelf, NAMES[0]), NAMES[0]);
    await add(page, join(shelf, NAMES[1]), NAMES[1]);
    assert.deepEqual(await chips(page), ["Base", NAMES[0], NAMES[1]]);
    assert.deepEqual(await page.locator("#chips small").allTextContents(), ["rank 4 · 35.8 kB", "rank 8 · 71.7 kB"]);
    assert.equal(await page.isVisible("#adapter-hint"), false);
    assert.match(await page.textContent("#switch-time"), /^(\d+\.\d|under 0\.1) ms$/);
    const second = await written(page);
    await page.locator("#chips label", { hasText: NAMES[0] }).click();
    const first = await written(page);
    await page.locator("#chips input:checked").focus();
    await page.keyboard.press("ArrowLeft");
    await inUse(page, "");
    assert.equal(await written(page), base);
    assert.equal(new Set([base, first, second]).size, 3);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("a shelf of dropped folders gives a chip each, and × takes one out", async () => {
  const page = await open();
  const base = await written(page);
  const mouse = await page.context().newCDPSession(page);
  const data = { items: [], files: [shelf], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await mouse.send("Input.dispatchDragEvent", { type, x: 300, y: 200, data });
  await page.waitForFunction((n) => document.querySelectorAll("#chips input").length === n, NAMES.length + 1);
  assert.deepEqual((await chips(page)).sort(), ["Base", ...NAMES].sort());
  assert.equal(await page.textContent("#name"), "demo");
  await page.locator("#chips label", { hasText: NAMES[2] }).click();
  await page.getByLabel(`Remove ${NAMES[2]}`).click();
  await inUse(page, "");
  assert.equal((await chips(page)).includes(NAMES[2]), false);
  assert.equal(await written(page), base);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("sliders blend: one alone is its adapter, none is the base", async () => {
  const page = await open();
  const base = await written(page);
  await add(page, join(shelf, NAMES[0]), NAMES[0]);
  const first = await written(page);
  await add(page, join(shelf, NAMES[1]), NAMES[1]);
  await page.locator("#blend").check();
  const weigh = (...weights) => Promise.all(weights.map((weight, i) => page.locator(`#weight-${i}`).fill(String(weight))));
  assert.deepEqual(await page.locator("#mix output").allTextContents(), ["0.00", "1.00"]);
  await weigh(1, 0);
  assert.equal(await written(page), first);
  await weigh(0.8, -0.6);
  assert.equal([base, first].includes(await written(page)), false);
  await page.screenshot({ path: join(shots, "adapters-blend.png"), fullPage: true });
  await weigh(0, 0);
  assert.equal(await written(page), base);
  await page.locator("#blend").uncheck();
  assert.equal(await page.isVisible("#mix"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("side by side, each adapter writes what it writes alone", async () => {
  const page = await open("");
  const alone = { Base: await written(page) };
  for (const name of NAMES) {
    await add(page, join(shelf, name), name);
    alone[name] = await written(page);
  }
  const boxes = page.locator("#compared input");
  assert.deepEqual(await boxes.evaluateAll((all) => all.map((box) => [box.checked, box.disabled])), [...Array(4).fill([true, false]), [false, true]]);
  await boxes.nth(1).focus();
  await page.keyboard.press("Space");
  await boxes.nth(4).check();
  await written(page, "#compare");
  const columns = await page.locator("#columns section").evaluateAll((all) => all.map((each) => [each.querySelector("h3").textContent, each.querySelector("p").lastChild.textContent]));
  assert.deepEqual(columns, ["Base", ...NAMES.slice(1)].map((name) => [name, alone[name]]));
  assert.equal(await page.textContent("#tokens"), String(4 * 24));
  assert.equal(await page.isVisible("#page"), false);
  await page.screenshot({ path: join(shots, "adapters-compare.png"), fullPage: true });
  assert.equal(await written(page), alone[NAMES.at(-1)]);
  assert.equal(await page.isVisible("#columns"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

/** Every visible control has a name, and Tab reaches one of each group. */
async function tabs(page) {
  const controls = await page.locator("button:enabled, input:enabled, textarea").evaluateAll((all) =>
    all.filter((each) => each.checkVisibility() && (each.type !== "radio" || each.checked)).map((each) => [each.outerHTML, each.labels.length > 0 || each.textContent.trim() !== ""]));
  for (const [html, named] of controls) assert.ok(named, `${html} has no name`);
  const reached = new Set();
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.outerHTML));
  }
  for (const [html] of controls) assert.ok(reached.has(html), `${html} is not reached`);
}

test("an adapter of another model shows the engine's words, and another model has none", async () => {
  const page = await open();
  await page.setInputFiles("#adapter-folder", join(adapters, "llama/qv"));
  await page.waitForSelector("#error[data-kind=mismatch]:visible");
  assert.deepEqual(await chips(page), ["Base"]);
  await add(page, join(shelf, NAMES[0]), NAMES[0]);
  assert.equal(await page.isVisible("#error"), false);
  await tabs(page);
  await page.setInputFiles("#folder", demo);
  await page.waitForFunction(() => document.querySelectorAll("#chips input").length === 1);
  await page.waitForSelector("body[data-model=ready]");
  assert.equal(await page.isVisible("#compare"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("dark, and on a phone, every adapter is in reach", async () => {
  for (const [name, options] of [
    ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
    ["phone", { viewport: { width: 360, height: 740 } }],
  ]) {
    const page = await open("?device=cpu", options);
    for (const each of NAMES) await add(page, join(shelf, each), each);
    await page.locator("#blend").check();
    await written(page, "#compare");
    assert.equal(await page.isVisible("#switched"), true);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name}: ${wide} pixels too wide`);
    await page.screenshot({ path: join(shots, `adapters-${name}.png`), fullPage: true });
    await page.close();
  }
});
