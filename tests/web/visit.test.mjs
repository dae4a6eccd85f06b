// What a visitor meets beside the views: links that carry a text, pictures of it, samples, models to come back to, another language.
// Not the views: those are page.test.mjs's and its neighbours'.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures, start } from "./browser.mjs";
import { TOKEN, startHub } from "./hub-server.mjs";
import { openPage, ready, routeShelf, sample, says, tooWide, violations, voices, write, writeVoices, written } from "./reader.mjs";

const NAMES = ["sea-tales", "fables"];

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

/** The page with two voices that ship. */
async function visit(path = "?device=cpu", { context, ...options } = {}) {
  const page = await browser.open(path, {
    context, ...options,
    prepare: async (page) => {
      await routeShelf(page, NAMES.map((name) => ({ name, title: name, line: "A line", folder: `./voices/${name}/` })));
      await page.route("**/voices/*/*", (route) => route.fulfill({ path: join(shelf, new URL(route.request().url()).pathname.slice("/voices/".length)) }));
    },
  });
  await page.waitForSelector(`#voice-list input[value="${NAMES[1]}"]:enabled, #weight-1:enabled`, { timeout: 30_000 });
  return page;
}

test("a link carries the view, the prompt, and the voices with their weights", async () => {
  const context = await browser.newContext();
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const link = async (page) => {
    // Each message counts: another may take its place before anyone looks.
    const said = page.evaluate(() => new Promise((resolve) => {
      const status = document.getElementById("status");
      status.textContent = "";
      new MutationObserver(() => /^The link is copied/.test(status.textContent) && resolve()).observe(status, { childList: true, characterData: true, subtree: true });
    }));
    await page.locator("#share").click();
    await said;
    return new URL(await page.evaluate(() => navigator.clipboard.readText()));
  };
  const page = await visit("?device=cpu", { context });
  await page.locator("#voice-list label", { hasText: "fables" }).click();
  await page.locator("#prompt").fill("A fox & a crow: 100 % – “so”?");
  const writing = await link(page);
  assert.equal(writing.hash.split("?")[0], "#write");
  await page.locator("#view-blend").click();
  await page.locator("#weight-0").fill("0.7");
  await page.locator("#weight-1").fill("-0.3");
  const blending = await link(page);

  // It begins by itself, in that voice.
  const other = await visit(`${writing.search}${writing.hash}`, { context });
  await says(other, "text", "\\w");
  assert.equal(await other.textContent("#beginning"), "A fox & a crow: 100 % – “so”?");
  assert.equal(await other.getAttribute("#text .part", "data-hue"), "1");
  const third = await visit(`${blending.search}${blending.hash}`, { context });
  await says(third, "blend-text", "\\w");
  assert.deepEqual(await third.locator("#voice-list output").allTextContents(), ["0.70", "-0.30"]);
  assert.equal(await third.inputValue("#prompt"), "A fox & a crow: 100 % – “so”?");
  for (const each of [page, other, third]) assert.deepEqual(each.complaints, []);

  const missing = await visit("?device=cpu#write?voices=gone:1", { context });
  await says(missing, "error", "^The link asks for the voice gone, which is not here\\.");
  const broken = await visit("?device=cpu#write?voices=:,a:b&prompt=%E0%A4%A", { context });
  await ready(broken);
  assert.equal(await broken.isVisible("#error"), false);
  assert.deepEqual(broken.complaints, []);
  await context.close();
});

test("a link that asks for a model which is not here asks before it is fetched", async (t) => {
  const hub = await startHub({ "org/tiny": { folder: join(fixtures, "llama") } });
  t.after(() => hub.close());
  const page = await openPage(browser, "?device=cpu&model=org/tiny", { hubUrl: hub.url });
  await says(page, "error", "^The link asks for the model org/tiny, which is not in this browser yet\\.$");
  assert.equal(await page.textContent("#name"), "demo");
  assert.equal(hub.seen.length, 0);
  await page.getByRole("button", { name: "Download it" }).click();
  await says(page, "name", "^tiny$");
  assert.equal(await page.isVisible("#error"), false);
  await page.reload();
  await says(page, "name", "^tiny$");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a text becomes a picture in the colours of its voices", async () => {
  const page = await openPage(browser);
  await page.locator("#picture").click();
  await says(page, "status", "^There is no text to make a picture of yet");
  await sample(page, { maxTokens: 30 });
  await write(page);
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#picture").click()]);
  assert.equal(file.suggestedFilename(), "lorakeet.png");
  const bytes = readFileSync(await file.path());
  assert.deepEqual([...bytes.subarray(1, 4)], [..."PNG"].map((letter) => letter.charCodeAt(0)));
  const colours = await page.evaluate(async (bytes) => {
    const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add(`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`);
    return [".beginning", ".part", ".sheet"].map((it) => getComputedStyle(document.querySelector(it))[it === ".sheet" ? "backgroundColor" : "color"]).map((colour) => seen.has(colour));
  }, [...bytes]);
  assert.deepEqual(colours, [true, true, true]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("the first text plays by itself in changing voices; not for who asks for less motion", async () => {
  const page = await visit();
  await page.waitForFunction(() => document.querySelectorAll("#text .part").length >= 3);
  await page.keyboard.press("Escape");
  await written(page);
  await page.close();
  const still = await visit("?device=cpu", { reducedMotion: "reduce" });
  await still.waitForTimeout(1000);
  assert.equal(await still.textContent("#text"), "");
  assert.equal(await still.isVisible("#blank"), true);
  await still.close();
});

test("samples fill the fields", async () => {
  const page = await openPage(browser);
  const sampled = (id, i) => page.locator(`.samples[data-for="${id}"] button`).nth(i).click();
  await sampled("prompt", 1);
  assert.match(await page.inputValue("#prompt"), /^It was a dark night when .+ and$/);
  for (const [view, id] of [["long", "start"], ["teach", "lesson"]]) {
    await page.locator(`#view-${view}`).click();
    await sampled(id, 1);
    await page.waitForFunction((id) => document.getElementById(id).value.startsWith("The ferry at Osselby"), id);
  }
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("every view says what it is for, with a link to the manual", async () => {
  const page = await openPage(browser);
  for (const tab of await page.locator("#views [role=tab]").all()) {
    await tab.click();
    const about = page.locator("[role=tabpanel]:not([hidden]) .about");
    assert.match(await about.textContent(), /^\S.{60,}\. (How|Where) [\w -]+$/);
    assert.match(await about.locator("a").getAttribute("href"), /^manual\/[\w-]+\.html(#[\w-]+)?$/);
  }
  await page.close();
});

test("the reader's own models are on the shelf, and each is a click away", async (t) => {
  const hub = await startHub({ "org/tiny": { folder: join(fixtures, "llama") }, "org/voice": { folder: join(fixtures, "../adapters/llama/qv") } });
  t.after(() => hub.close());
  const page = await openPage(browser, "?device=cpu", { view: "models", hubUrl: hub.url });
  const use = (name) => page.getByRole("button", { name: `Use ${name}`, exact: true }).click();
  await page.setInputFiles("#folder", join(fixtures, "qwen3"));
  await says(page, "name", "^qwen3$");
  await page.locator("#source").fill("org/tiny");
  await page.getByRole("button", { name: "Load as the model" }).click();
  await says(page, "name", "^tiny$");
  assert.equal(new URL(page.url()).searchParams.get("model"), "org/tiny");
  await page.locator("#source").fill("org/voice");
  await page.getByRole("button", { name: "Load as a voice" }).click();
  await says(page, "status", "^Speaking as voice");
  assert.deepEqual(await voices(page), ["Base", "voice"]);
  await page.locator("#source").fill("org/none");
  await page.getByRole("button", { name: "Load as a voice" }).click();
  await says(page, "error", "no such repository");
  assert.equal(await page.textContent("#status"), "That voice did not load.");
  await use("qwen3");
  await says(page, "name", "^qwen3$");
  assert.equal(new URL(page.url()).searchParams.has("model"), false);
  await use("demo");
  await says(page, "name", "^demo$");
  await use("tiny");
  await says(page, "name", "^tiny$");
  assert.equal(await page.locator("#shelf li").filter({ hasText: "yours, from earlier" }).count(), 2);
  assert.match(await page.locator("#shelf li.here").textContent(), /^tiny.*In use$/);
  assert.deepEqual(await violations(page), []);
  await page.close();
});

test("a gated model asks for a token, which goes to the hub alone and is kept nowhere", async (t) => {
  const hub = await startHub({ "google/gemma-3-270m": { folder: join(fixtures, "gemma3"), gated: true } });
  t.after(() => hub.close());
  const page = await openPage(browser, "?device=cpu", { view: "models", hubUrl: hub.url });
  const use = page.getByRole("button", { name: "Use Gemma 3 270M, base", exact: true });
  assert.match(await page.locator("#shelf li", { has: use }).textContent(), /needs an access token/);
  await use.click();
  await says(page, "status", "^Gemma 3 270M, base needs an access token");
  assert.equal(await page.evaluate(() => document.activeElement.id), "token");
  assert.deepEqual(hub.seen, []);
  await page.locator("#token").fill(TOKEN);
  await use.click();
  await says(page, "name", "^gemma-3-270m$");
  assert.ok(hub.seen.some(({ server, authorization }) => server === "hub" && authorization === `Bearer ${TOKEN}`));
  assert.ok(hub.seen.some(({ server }) => server === "cdn"));
  assert.ok(hub.seen.every(({ server, authorization }) => server === "hub" || authorization === undefined));
  assert.equal(page.url().includes(TOKEN), false);
  assert.deepEqual(page.complaints, []);
  await page.reload();
  await says(page, "error", "pass the option `token`"); // the hub asks for it again
  assert.equal(await page.inputValue("#token"), "");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.equal(kept.includes(TOKEN), false);
  await page.close();
});

test("the page speaks German to who asks for it, and what is chosen stays", async () => {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
    const page = await openPage(browser, "?device=cpu", { locale: "de-AT", viewport });
    assert.equal(await page.getAttribute("html", "lang"), "de");
    assert.equal(await page.textContent("#generate"), "Fortsetzen");
    assert.equal(await page.textContent("#status"), "Bereit. Gib mir einen Anfang, und wähl eine Stimme.");
    for (const tab of await page.locator("#views [role=tab]").all()) {
      await tab.click();
      assert.ok((await tooWide(page)) <= 0, await tab.textContent());
    }
    assert.deepEqual(await violations(page), []);
    await page.locator("#language").selectOption("en");
    await page.waitForFunction(() => document.documentElement.lang === "en" && document.body.dataset.model === "ready");
    await page.reload();
    assert.equal(await page.textContent("#view-write"), "Write");
    assert.deepEqual(page.complaints, []);
    await page.close();
  }
});

test("how far the engine's own module has come is told", async () => {
  const page = await browser.open("?device=cpu", {
    prepare: async (page) => {
      await routeShelf(page);
      await page.addInitScript(() => {
        const { fetch } = globalThis;
        globalThis.fetch = (url) => {
          if (!String(url).endsWith("lorakeet_bg.wasm")) return fetch(url);
          const body = new ReadableStream({ start: (stream) => stream.enqueue(new Uint8Array(400_000)) });
          return Promise.resolve(new Response(body, { headers: { "content-length": "1000000" } }));
        };
        globalThis.Worker = class extends Worker {
          postMessage() {} // so that nothing comes after it
        };
      });
    },
  });
  await says(page, "status", "^Fetching the engine of 1\\.0 MB: 40 %$");
  assert.equal(await page.locator("#progress").evaluate((bar) => bar.value), 0.4);
  assert.deepEqual(await violations(page), []);
  await page.close();
});
