// The published folder: what tools/site.mjs writes, at a sub-path, offline, updated, and with a file that comes wrong.
// Not what the page does: that is page.test.mjs's.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { serve } from "../../tools/serve.mjs";
import { writeSite } from "../../tools/site.mjs";
import { root } from "../../tools/setup.mjs";
import { MODEL, VOICES } from "../../www/shelf.js";
import { ready, sample, write } from "./reader.mjs";

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

/** A site of its own on a server of its own, at a sub-path: `out` is its folder. */
async function published(name) {
  const out = join(folder, name);
  const site = await writeSite({ out });
  const server = await serve({ roots: { "/some/where/": out }, port: 0 });
  return { out, ...site, url: `${server.url}some/where/`, port: Number(new URL(server.url).port), close: server.close };
}

/** A visitor, to whom the address belongs alone. */
async function visit({ url }, path = "?device=cpu") {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url + path);
  return page;
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
  writeFileSync(join(changed, "shelf.js"), 'export const MODEL = "./models/gone/"; export const VOICES = [];');
  await assert.rejects(writeSite({ out: join(folder, "none"), www: changed }), { message: "shelf.js names ./models/gone/, which is not there" });
});

test("no file of the page names an address outside it", async () => {
  const { files } = await writeSite({ out: join(folder, "links") });
  for (const path of Object.keys(files).filter((name) => /^[^/]+\.(html|js|css|svg)$/.test(name))) {
    const text = readFileSync(join(folder, "links", path), "utf8");
    const outside = [...text.matchAll(/\bhttps?:\/\/[^\s"'`)]+|\b(?:src|href)="\/[^"]*"/g)].map(([it]) => it).filter((it) => !it.startsWith("http://www.w3.org/2000/svg"));
    assert.deepEqual(outside, [], path);
  }
});

test("after one visit the page works with the network gone", async () => {
  const site = await published("offline");
  const page = await visit(site);
  await ready(page);
  assert.equal(await kept(page), true);
  await sample(page);
  const online = await write(page);
  await site.close();
  await page.goto(`${site.url}?device=cpu`);
  await ready(page);
  await sample(page);
  assert.equal(await write(page), online);
  assert.equal(await page.evaluate(() => fetch("nothing-here.txt").then(() => "came", () => "failed")), "failed");
  await page.context().close();
});

test("a new version waits until it is asked for, and takes the place of the old one whole", async () => {
  const site = await published("update");
  const page = await visit(site);
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
  await page.context().close();
  await site.close();
});

test("a version of which one file comes wrong is not kept, and the one before stays", async () => {
  const site = await published("wrong");
  const page = await visit(site);
  await ready(page);
  await kept(page);
  const before = await cached(page);

  const www = join(folder, "www-wrong");
  cpSync(join(root, "www"), www, { recursive: true });
  appendFileSync(join(www, "app.js"), "// newer\n");
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
  await page.context().close();
  await site.close();
});

test("a page served from its sources keeps nothing", async () => {
  const server = await serve({ port: 0 });
  const page = await visit(server);
  await ready(page);
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
  await page.context().close();
  await server.close();
});
