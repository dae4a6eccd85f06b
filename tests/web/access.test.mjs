// The page for everyone: axe on every view, keyboard, narrow and dark windows, nothing that moves by itself.
// Not what the views do: that is the other page tests'.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import { LOOKS, bring, openPage, routeShelf, sample, says, shots, tooWide, violations, writeVoices, written } from "./reader.mjs";

const NAMES = ["sea-tales", "fables", "a-name-much-longer-than-any-chip-should-be"];
const VIEWS = ["chat", "write", "blend", "compare", "long", "teach", "mix", "models", "device"];

let browser, shelf;
before(async () => {
  mkdirSync(shots, { recursive: true });
  shelf = mkdtempSync(join(tmpdir(), "voices-"));
  writeVoices(shelf, NAMES);
  browser = await start();
});
after(async () => {
  await browser?.close();
  rmSync(shelf, { recursive: true, force: true });
});

/** Puts something of every kind on a view. */
const FILL = {
  async chat(page) {
    await page.locator("#chat-fetch").waitFor(); // this model has no template
  },
  async models(page) {
    await page.locator("#shelf li").first().waitFor();
  },
  async write(page) {
    await page.locator("#generate").click();
    await written(page);
    await page.locator("#voice-list label").first().click();
  },
  async blend(page) {
    await page.locator("#weight-0").fill("0.5");
    await says(page, "blend-text", "\\w");
    await written(page);
  },
  async compare(page) {
    await page.locator("#generate").click();
    await written(page);
  },
  async long(page) {
    await page.locator("#start").fill("The ferry had one rope, one lantern and one dog, and the dog was old. ".repeat(2));
    await page.locator("#chunk").fill("16");
    await page.locator("#long-beside").check();
    await page.locator("#grow").click();
    await says(page, "long-status", "written");
    await page.locator("#long-export").click();
    await page.locator("#long-files a").first().waitFor();
    await page.locator("#long-discard").click();
  },
  async teach(page) {
    await page.locator("#lesson").fill("The ferry had one rope, one lantern and one dog.");
    await page.locator("#epochs").fill("2");
    await page.locator("#learn").click();
    await page.locator("#teach-files a").first().waitFor();
  },
  async mix(page) {
    for (const i of [0, 1]) await page.locator(`#weight-${i}`).fill("0.5");
    await page.locator("#generate").click();
    await page.locator("#mix-files a").first().waitFor();
    await written(page);
  },
  async device(page) {
    await page.locator("#known section").first().waitFor();
    await page.locator("summary").click();
  },
};

for (const [look, options] of Object.entries(LOOKS)) {
  test(`${look}: axe finds nothing serious on any view, and every view fits`, async () => {
    const page = await openPage(browser, "?device=cpu", options);
    for (const name of NAMES) await bring(page, join(shelf, name), name);
    await sample(page, { maxTokens: 16 });
    for (const view of VIEWS) {
      await page.locator(`#view-${view}`).click();
      await FILL[view](page);
      assert.deepEqual(await violations(page), [], `${look}, ${view}`);
      const wide = await tooWide(page);
      assert.ok(wide <= 0, `${look}, ${view}: ${wide} pixels too wide`);
      await page.screenshot({ path: join(shots, `${view}-${look}.png`), fullPage: true });
    }
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("axe finds nothing serious while something is wrong, in the way, under way or held over the page", async () => {
  const none = await browser.open("?device=cpu&model=./models/gone/");
  await none.waitForSelector("body[data-model=none]");
  for (const view of VIEWS) {
    await none.locator(`#view-${view}`).click();
    assert.deepEqual(await violations(none), [], `no model, ${view}`);
  }
  await none.close();

  const page = await openPage(browser, "?device=cpu", { view: "long" });
  await page.locator("#max-tokens").fill("5000");
  await page.locator("#long-beside").check();
  await page.locator("#grow").click();
  await page.waitForFunction(() => ["long-text", "long-base-text"].every((id) => document.getElementById(id).textContent.length > 20));
  assert.deepEqual(await violations(page), [], "it writes");
  await page.locator("#view-teach").click();
  await page.locator("#lesson").fill("The ferry had one rope, one lantern and one dog.");
  await page.locator("#learn").click();
  assert.deepEqual(await violations(page), [], "a long text is in the way");
  await page.locator("#blocked-discard").click();
  await page.locator("#epochs").fill("5000");
  await page.locator("#learn").click();
  await says(page, "teach-status", "^Step");
  assert.deepEqual(await violations(page), [], "it learns");
  await page.locator("#view-long").click();
  await page.locator("#grow").click();
  assert.deepEqual(await violations(page), [], "a lesson is in the way");
  await page.locator("#blocked-stop").click();
  await page.locator("#view-write").click();
  await sample(page, { maxTokens: 9999 });
  await page.locator("#generate").click();
  await page.waitForSelector("#error:visible");
  await page.evaluate(() => document.body.classList.add("dragging"));
  assert.deepEqual(await violations(page), [], "an error, and files above the page");
  await page.close();
});

test("enlarged to 200 and to 400 %, every view fits its width and is not covered", async () => {
  for (const viewport of [{ width: 640, height: 400 }, { width: 320, height: 256 }]) {
    const page = await openPage(browser, "?device=cpu", { viewport });
    await bring(page, join(shelf, NAMES[2]), NAMES[2]);
    for (const view of VIEWS) {
      await page.locator(`#view-${view}`).click();
      const wide = await tooWide(page);
      assert.ok(wide <= 0, `${viewport.width}, ${view}: ${wide} pixels too wide`);
    }
    assert.equal(await page.locator("footer").evaluate((footer) => getComputedStyle(footer).position), "static");
    await page.close();
  }
});

test("axe finds a field without a label and a pale text", async () => {
  const page = await openPage(browser);
  await page.evaluate(() => {
    document.querySelector("label[for=prompt]").remove();
    document.getElementById("blank").style.color = "#ddd";
  });
  const rules = (await violations(page)).map(([rule]) => rule);
  assert.deepEqual([...new Set(rules)].sort(), ["color-contrast", "label"]);
  await page.close();
});

/** Sums what shifts, from the first moment, and notes what it was. Not the words of the text that is being written, which wrap as they come. */
const watchShifts = (page) => page.addInitScript(() => {
  [globalThis.shifts, globalThis.shifted] = [0, []];
  const see = ({ value, sources }) => {
    if (sources.length > 0 && sources.every(({ node }) => document.getElementById("text")?.contains(node))) return;
    globalThis.shifts += value;
    globalThis.shifted.push([value, ...sources.map(({ node }) => node?.id || node?.nodeName)]);
  };
  new PerformanceObserver((list) => list.getEntries().forEach(see)).observe({ type: "layout-shift", buffered: true });
});

for (const look of ["light", "phone"]) {
  test(`${look}: nothing moves while the page loads and writes`, async () => {
    const list = NAMES.map((name) => ({ name, title: name, line: "A line about it", folder: `./voices/${name}/` }));
    const page = await browser.open("?device=cpu", {
      ...LOOKS[look],
      prepare: async (page) => {
        await watchShifts(page);
        await routeShelf(page, list);
        await page.route("**/voices/*/*", (route) => route.fulfill({ path: join(shelf, new URL(route.request().url()).pathname.slice("/voices/".length)) }));
      },
    });
    await page.waitForSelector(`#voice-list input[value="${NAMES.at(-1)}"]:enabled`, { timeout: 30_000 });
    await page.locator("#generate").click();
    await written(page);
    const [shifts, shifted] = await page.evaluate(() => [globalThis.shifts, globalThis.shifted]);
    assert.ok(shifts < 0.05, `layout shift ${shifts}: ${JSON.stringify(shifted)}`);
    // It would have been seen. Again and again: what moves in a frame that scrolls does not count.
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForFunction((before) => {
      const { style } = document.querySelector("main");
      style.marginTop = style.marginTop ? "" : "150px";
      return globalThis.shifts > before + 0.01;
    }, shifts, { polling: 300 });
    await page.close();
  });
}

test("the tabs are one stop for Tab, and arrows, Home and End go between them", async () => {
  const page = await openPage(browser, "?device=cpu", { view: "compare" });
  const shown = () => page.locator("[role=tabpanel]:not([hidden])").evaluateAll((all) => all.map(({ id }) => id.replace(/^panel-/, "")));
  assert.deepEqual(await shown(), ["compare"]);
  await page.locator("#view-compare").focus();
  for (const [key, view] of [["ArrowRight", "long"], ["ArrowRight", "teach"], ["ArrowRight", "mix"], ["ArrowRight", "models"], ["ArrowRight", "device"], ["ArrowRight", "chat"], ["ArrowLeft", "device"], ["Home", "chat"], ["End", "device"]]) {
    await page.keyboard.press(key);
    assert.deepEqual(await shown(), [view]);
    assert.equal(await page.evaluate(() => document.activeElement.id), `view-${view}`);
    assert.deepEqual(await page.locator("[aria-selected=true]").evaluateAll((all) => all.map(({ id }) => id)), [`view-${view}`]);
  }
  await page.keyboard.press("Tab");
  assert.notEqual(await page.evaluate(() => document.activeElement.getAttribute("role")), "tab");
  await page.close();
});

test("Tab reaches every control of every view", async () => {
  const page = await openPage(browser);
  await bring(page, join(shelf, NAMES[0]), NAMES[0]);
  for (const view of VIEWS) {
    await page.locator(`#view-${view}`).click();
    const controls = await page.locator("button:enabled, input:enabled, textarea:enabled").evaluateAll((all) =>
      all.filter((each) => each.checkVisibility() && each.tabIndex >= 0 && (each.type !== "radio" || each.checked)).map((each) => each.outerHTML));
    const reached = new Set();
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement.outerHTML));
    }
    for (const html of controls) assert.ok(reached.has(html), `${view}: ${html} is not reached`);
  }
  await page.close();
});

test("the live region speaks of what begins and ends, not of every token", async () => {
  const page = await openPage(browser);
  await sample(page, { maxTokens: 60 });
  await page.evaluate(() => {
    globalThis.said = [];
    new MutationObserver(() => globalThis.said.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true });
  });
  await page.locator("#generate").click();
  await written(page);
  await page.waitForFunction(() => globalThis.said.length >= 2);
  assert.deepEqual(await page.evaluate(() => globalThis.said), ["Writing.", "Wrote 60 tokens."]);
  assert.deepEqual(await page.locator("[aria-live], [role=status], [role=alert]").evaluateAll((all) => all.map(({ id }) => id)), ["status", "error"]);
  await page.close();
});

test("who asks for less motion gets none", async () => {
  const page = await openPage(browser, "?device=cpu", { reducedMotion: "reduce" });
  const moving = () => page.evaluate(() => {
    document.body.dataset.writing = "true";
    return document.getAnimations().length;
  });
  assert.equal(await moving(), 0);
  await page.emulateMedia({ reducedMotion: "no-preference" });
  assert.ok((await moving()) > 0);
  await page.close();
});
