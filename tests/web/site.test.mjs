// The published folder: what tools/site.mjs writes, at a sub-path, offline, updated, and with a file that comes wrong.
// Not what the page does: that is page.test.mjs's.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { anchor } from "../../tools/manual.mjs";
import { ISOLATED, serve } from "../../tools/serve.mjs";
import { writeSite } from "../../tools/site.mjs";
import { root } from "../../tools/setup.mjs";
import { CHAT_VOICES, MODEL, VOICES } from "../../www/shelf.js";
import { startHub } from "./hub-server.mjs";
import { writeRandomAdapter } from "./random-adapter.mjs";
import { TALKER, ready, sample, write, writeTalker, written } from "./reader.mjs";

const WEIGHTS = MODEL.replace("./", "");

let browser, folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "site-"));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A site of its own on a server of its own, at a sub-path, for one test: `out` is its folder. */
async function published(t, name, www) {
  const out = join(folder, name);
  const site = await writeSite({ out, www });
  const server = await serve({ roots: { "/some/where/": out }, port: 0 });
  t.after(() => server.close());
  return { out, ...site, url: `${server.url}some/where/`, port: Number(new URL(server.url).port), close: server.close };
}

/** A visitor, to whom the address belongs alone. */
async function visit(t, { url }, path = "?device=cpu") {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(url + path);
  return page;
}

/** Takes over from the text that begins by itself: the base is to write, the same each time. */
async function spoken(page) {
  await page.locator("#voice-list label").first().click();
  await sample(page);
}

/** Waits for the worker of this page; whether it is at work. */
const kept = (page) => page.evaluate(async () => (await navigator.serviceWorker.ready).active !== null);
const cached = (page) => page.evaluate(async () => (await caches.keys()).sort());

test("the folder holds what the page needs, with a hash for each file", async () => {
  const out = join(folder, "plain");
  const { version, files } = await writeSite({ out });
  assert.match(version, /^[0-9a-f]{12}$/);
  for (const path of ["index.html", "app.js", "dist/index.js", "dist/wasm/lorakeet_bg.wasm", WEIGHTS, ...VOICES.map((voice) => `${voice.folder.replace("./", "")}adapter_model.safetensors`)]) {
    assert.equal(files[path], createHash("sha256").update(readFileSync(join(out, path))).digest("hex"), path);
  }
  assert.ok(existsSync(join(out, ".nojekyll")));
  const unwanted = Object.keys(files).filter((path) => /\.(md|map|d\.ts|png)$|golden|service-worker/.test(path));
  assert.deepEqual(unwanted, []);
  assert.deepEqual(await writeSite({ out: join(folder, "again") }), { version, files });
  const changed = join(folder, "www");
  cpSync(join(root, "www"), changed, { recursive: true });
  appendFileSync(join(changed, "service-worker.js"), "// another\n");
  mkdirSync(join(changed, "models/spare"));
  writeFileSync(join(changed, "models/spare/config.json"), "{}");
  const other = await writeSite({ out: join(folder, "other"), www: changed });
  assert.notEqual(other.version, version);
  assert.deepEqual(other.files, files); // what is not on the shelf stays behind
  writeFileSync(join(changed, "shelf.js"), 'export const MODEL = "./models/gone/"; export const VOICES = [], CHAT_VOICES = [];');
  await assert.rejects(writeSite({ out: join(folder, "none"), www: changed }), { message: "shelf.js names ./models/gone/, which is not there" });
});

test("while the folder is written it has no list, and never an empty one", async () => {
  const out = join(folder, "again"); // a site, in the place of which another is written
  const list = join(out, "site-files.js");
  let isWritten = false, without = 0;
  const writing = writeSite({ out }).finally(() => (isWritten = true));
  while (!isWritten) {
    if (existsSync(list)) assert.match(readFileSync(list, "utf8"), /"version": "[0-9a-f]{12}"/);
    else without++;
    await new Promise(setImmediate);
  }
  await writing;
  assert.ok(without > 0);
});

test("the package is few files, whose workers find their scripts and modules", async (t) => {
  const out = join(folder, "workers");
  const { files } = await writeSite({ out });
  const scripts = Object.keys(files).filter((path) => /^dist\/.*\.js$/.test(path));
  assert.ok(scripts.length < 20, scripts.join());
  const server = await serve({ roots: { "/some/where/": out }, port: 0, headers: ISOLATED });
  const page = await browser.newPage();
  t.after(() => Promise.all([page.close(), server.close()]));
  await page.goto(`${server.url}some/where/site-files.js`);
  const told = await page.evaluate(async (model) => {
    const { benchGpu, createEngine } = await import("/some/where/dist/index.js");
    const threads = [];
    for (const asked of [1, 2]) {
      const engine = await createEngine(model, { device: "cpu", threads: asked, cache: false });
      threads.push(engine.info.threads);
      await engine.dispose();
    }
    // It has begun: device-page.test.mjs measures to the end.
    const stop = new AbortController();
    const parts = [];
    const onProgress = (part) => (parts.push(part), stop.abort());
    const ended = await benchGpu({ layers: 1, vocab: 256, runs: 1, signal: stop.signal, onProgress }).catch(({ kind }) => kind);
    return { threads, parts, ended };
  }, `/some/where/${WEIGHTS}`);
  assert.deepEqual(told, { threads: [1, 2], parts: ["the device"], ended: "cancelled" });
});

test("the manual is part of the site, and every link in it leads somewhere", async () => {
  const out = join(folder, "manual");
  const { files } = await writeSite({ out });
  const pages = Object.keys(files).filter((path) => /^manual\/.*\.html$/.test(path));
  assert.ok(pages.length >= 10, pages.join());
  for (const path of pages) {
    const html = readFileSync(join(out, path), "utf8");
    for (const [, href] of html.matchAll(/<a href="([^"]*)"/g)) {
      if (href.startsWith("https:")) continue;
      const { pathname, hash } = new URL(href, `file:///${path}`);
      const file = join(out, pathname);
      assert.ok(existsSync(file), `${path}: ${href}`);
      if (hash) assert.ok(readFileSync(file, "utf8").includes(`id="${hash.slice(1)}"`), `${path}: ${href}`);
    }
  }
});

test("every link of the repository's own papers leads to a file, and to a heading of it", () => {
  const papers = ["README.md", "CONTRIBUTING.md", "tests/RESULTS.md", ...readdirSync(join(root, "www/manual")).filter((name) => name.endsWith(".md")).map((name) => `www/manual/${name}`)];
  for (const paper of papers) {
    const text = readFileSync(join(root, paper), "utf8");
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [file, heading] = link.split("#");
      const path = file ? join(root, dirname(paper), file) : join(root, paper);
      assert.ok(existsSync(path), `${paper}: ${link}`);
      if (!heading) continue;
      const anchors = [...readFileSync(path, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, title]) => anchor(title));
      assert.ok(anchors.includes(heading), `${paper}: ${link}`);
    }
  }
});

test("no file of the page names an address outside it", async () => {
  const { files } = await writeSite({ out: join(folder, "links") });
  for (const path of Object.keys(files).filter((name) => /^[^/]+\.(html|js|css|svg)$/.test(name))) {
    const text = readFileSync(join(folder, "links", path), "utf8");
    const outside = [...text.matchAll(/\bhttps?:\/\/[^\s"'`)]+|\b(?:src|href)="\/[^"]*"/g)].map(([it]) => it).filter((it) => !it.startsWith("http://www.w3.org/2000/svg"));
    assert.deepEqual(outside, [], path);
  }
});

test("after one visit the page works with the network gone", async (t) => {
  const site = await published(t, "offline");
  const page = await visit(t, site);
  await ready(page);
  assert.equal(await kept(page), true);
  await spoken(page);
  const online = await write(page);
  await site.close();
  await page.goto(`${site.url}?device=cpu`);
  await ready(page);
  await spoken(page);
  await page.waitForSelector("#offline:visible");
  assert.equal(await write(page), online);
  assert.equal(await page.evaluate(() => fetch("nothing-here.txt").then(() => "came", () => "failed")), "failed");
});

test("the model that talks and its voices work with the network gone, once one of them has spoken", async (t) => {
  const model = join(folder, "talker");
  writeTalker(model);
  const hub = await startHub({ [TALKER]: { folder: model } });
  t.after(() => hub.close());
  // The page as it is, but for the hub's address, and for voices that fit the small model.
  const www = join(folder, "www-talker");
  cpSync(join(root, "www"), www, { recursive: true });
  CHAT_VOICES.forEach(({ folder }, i) => writeRandomAdapter(join(www, folder), { model, rank: 4, seed: i + 1 }));
  const shelf = readFileSync(join(www, "shelf.js"), "utf8");
  writeFileSync(join(www, "shelf.js"), shelf.replace("HUB = {}", `HUB = ${JSON.stringify({ hubUrl: hub.url })}`));

  const site = await published(t, "talker-site", www);
  const page = await visit(t, site, "?device=cpu#chat");
  const all = async () => {
    await page.waitForFunction((n) => document.querySelectorAll("#voice-list input:enabled").length === n, 1 + CHAT_VOICES.length, { timeout: 30_000 });
    await page.waitForSelector("#chat-room:not([hidden])");
    await sample(page, { maxTokens: 12 });
  };
  const answer = async (name) => {
    await page.locator(`#voice-list input[value="${name}"]`).check();
    await page.locator("#message").fill("Who are you?");
    await page.locator("#send").click();
    await written(page);
    const text = await page.locator("#turns .md").last().textContent();
    await page.locator("#chat-clear").click();
    return text;
  };
  await page.locator("#chat-fetch").click();
  await all();
  const first = await answer(CHAT_VOICES[0].name);
  const base = await answer("");
  assert.notEqual(first, base);
  assert.equal(await kept(page), true);
  await Promise.all([site.close(), hub.close()]);

  // At the address the page has had since, and from its first one by a click.
  await page.reload();
  await all();
  assert.deepEqual(await page.locator("#voice-list b").allTextContents(), ["Base", ...CHAT_VOICES.map(({ title }) => title)]);
  assert.equal(await answer(CHAT_VOICES[0].name), first);
  const others = [];
  for (const { name } of CHAT_VOICES.slice(1)) others.push(await answer(name));
  assert.equal(new Set([base, first, ...others]).size, 1 + CHAT_VOICES.length);
  await page.goto(`${site.url}?device=cpu#chat`);
  await page.locator("#chat-fetch").click();
  await all();
  assert.equal(await answer(CHAT_VOICES[0].name), first);
  assert.equal(await answer(""), base);
  assert.equal(await page.isVisible("#error"), false);
});

test("a new version waits until it is asked for, and takes the place of the old one whole", async (t) => {
  const site = await published(t, "update");
  const page = await visit(t, site);
  await ready(page);
  await kept(page);
  await page.reload();
  await ready(page);
  const [first] = await cached(page);
  assert.ok(first.endsWith(site.version), first);
  assert.equal(await page.isVisible("#update"), false);

  const www = join(folder, "www-new");
  cpSync(join(root, "www"), www, { recursive: true });
  writeFileSync(join(www, "index.html"), readFileSync(join(www, "index.html"), "utf8").replace("<h1>Lorakeet</h1>", "<h1>Lorakeet II</h1>"));
  const { version } = await writeSite({ out: site.out, www });
  await page.reload();
  assert.equal(await page.textContent("h1"), "Lorakeet"); // from the old version, to the last file
  await page.waitForSelector("#update:visible", { timeout: 30_000 });
  await page.locator("#update").click();
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Lorakeet II");
  await ready(page);
  const now = await cached(page);
  assert.equal(now.length, 1);
  assert.ok(now[0].endsWith(version), now[0]);
});

test("a version of which one file comes wrong is not kept, and the one before stays", async (t) => {
  const site = await published(t, "wrong");
  const page = await visit(t, site);
  await ready(page);
  await kept(page);
  const before = await cached(page);

  const www = join(folder, "www-wrong");
  cpSync(join(root, "www"), www, { recursive: true });
  appendFileSync(join(www, "app.js"), "globalThis.newer = true;\n");
  await writeSite({ out: site.out, www });
  const weights = join(site.out, WEIGHTS);
  const whole = readFileSync(weights);
  // The files that stayed the same are taken from the version before: a changed one is cut.
  const app = readFileSync(join(site.out, "app.js"));
  writeFileSync(join(site.out, "app.js"), app.subarray(0, app.length / 2));
  writeFileSync(weights, whole.subarray(0, 1000));
  const failed = await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const ended = new Promise((done) => registration.addEventListener("updatefound", () => {
      const { installing } = registration;
      installing.addEventListener("statechange", () => done(installing.state));
    }));
    await registration.update();
    return ended;
  });
  assert.equal(failed, "redundant");
  assert.deepEqual(await cached(page), before);
  await page.reload();
  await ready(page);
  const bytes = await page.evaluate(async (path) => (await (await fetch(path)).arrayBuffer()).byteLength, WEIGHTS);
  assert.equal(bytes, whole.length);

  writeFileSync(join(site.out, "app.js"), app); // it comes whole now; the weights are had already
  await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
  await page.waitForSelector("#update:visible", { timeout: 30_000 });
});

test("a page served from its sources keeps nothing", async (t) => {
  const server = await serve({ port: 0 });
  t.after(() => server.close());
  const page = await visit(t, server);
  await ready(page);
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
});
