// The examples with the packed package: no bundler, Vite, webpack, esbuild, an extension, Node.
// Each page loads the demo model in a worker and writes what transformers writes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build as buildByVite, createServer } from "vite";
import webpack from "webpack";
import { launch, launchWithExtension } from "../../tools/chromium.mjs";
import { ISOLATED, serve } from "../../tools/serve.mjs";
import { build, check, example, extensionId, golden, project, serveModel } from "./project.mjs";

let browser;
let model;
before(async () => {
  [browser, model] = await Promise.all([launch(), serveModel()]);
});
after(async () => {
  await browser?.close();
  await model?.close();
});

/** Serves a folder while its page is checked. */
async function checkFolder(folder, headers = {}) {
  const site = await serve({ roots: { "/": folder }, port: 0, headers });
  try {
    await check(browser, `${site.url}index.html`, model.url);
  } finally {
    await site.close();
  }
}

/** The examples use the engine's module alone, but those of threads, chats, grammars and of measuring have to be among what is built. */
function checkModules(out, expected = 5) {
  const modules = readdirSync(out, { recursive: true }).filter((name) => name.endsWith(".wasm"));
  assert.equal(modules.length, expected, modules.join());
}

test("a page without a bundler, under a strict policy", async () => {
  await checkFolder(example("html"), { "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *" });
});

test("a custom element answers, and its engine goes with it", async () => {
  const folder = example("element");
  const template = "{% for m in messages %}&lt;{{ m.role }}> {{ m.content }}\n{% endfor %}&lt;assistant>";
  writeFileSync(join(folder, "test.html"), `<!doctype html>
<script type="importmap">{ "imports": { "lorakeet": "./node_modules/lorakeet/dist/index.js" } }</script>
<script type="module" src="./lorakeet-chat.js"></script>
<lorakeet-chat model="${model.url}" chat-template="${template}"></lorakeet-chat>`);
  const site = await serve({ roots: { "/": folder }, port: 0 });
  const page = await browser.newPage();
  try {
    await page.goto(`${site.url}test.html`);
    for (const [i, text] of ["Who are you?", "And why?"].entries()) {
      await page.getByLabel("Message").fill(text);
      await page.locator("button:enabled").click({ timeout: 60_000 });
      await page.waitForFunction((i) => document.querySelector("lorakeet-chat").shadowRoot.querySelectorAll(".assistant")[i]?.textContent.length > 0, i, { timeout: 60_000 });
    }
    assert.deepEqual(await page.locator(".user, .error").allTextContents(), ["Who are you?", "And why?"]);
    await page.evaluate(() => document.querySelector("lorakeet-chat").remove());
    while (page.workers().length > 0) await new Promise((next) => setTimeout(next, 50));
  } finally {
    await page.close();
    await site.close();
  }
});

test("Vite, in development and built", async () => {
  const folder = example("vite");
  const server = await createServer({ root: folder, logLevel: "error", cacheDir: join(folder, ".vite"), server: { port: 0, host: "localhost" } });
  await server.listen();
  try {
    await check(browser, server.resolvedUrls.local[0], model.url);
  } finally {
    await server.close();
  }
  build(folder);
  checkModules(join(folder, "dist"));
  await checkFolder(join(folder, "dist"));
});

async function buildByWebpack(folder) {
  const out = join(folder, "out");
  const stats = await new Promise((done, failed) => {
    webpack({ mode: "production", context: folder, entry: "./main.js", output: { path: out, filename: "main.js" }, performance: false }, (error, stats) => (error ? failed(error) : done(stats)));
  });
  assert.deepEqual(stats.toJson({ all: false, errors: true, warnings: true }), { errors: [], warnings: [] });
  return out;
}

test("webpack takes the same files", async () => {
  const folder = example("vite", "webpack");
  const out = await buildByWebpack(folder);
  checkModules(out);
  cpSync(join(folder, "index.html"), join(out, "index.html"));
  await checkFolder(out);
});

test("Vite and webpack find what threads need", async () => {
  const folder = project("threads", {
    "index.html": `<script type="module" src="./main.js"></script>`,
    "main.js": `import { createEngine } from "lorakeet";
      const model = new URLSearchParams(location.search).get("model");
      createEngine(model, { device: "cpu", threads: 2 }).then(({ info }) => (document.title = "threads: " + info.threads), ({ message }) => (document.title = message));`,
  });
  await buildByVite({ root: folder, logLevel: "error" });
  const out = await buildByWebpack(folder);
  cpSync(join(folder, "index.html"), join(out, "index.html"));
  for (const built of [join(folder, "dist"), out]) {
    const site = await serve({ roots: { "/": built }, port: 0, headers: ISOLATED });
    const page = await browser.newPage();
    await page.goto(`${site.url}index.html?model=${encodeURIComponent(model.url)}`);
    await page.waitForFunction(() => document.title !== "");
    assert.equal(await page.title(), "threads: 2", built);
    await page.close();
    await site.close();
  }
});

test("esbuild, which has to be told of the worker and the modules", async () => {
  const folder = example("esbuild");
  build(folder);
  checkModules(join(folder, "out"), 3); // a worker of one's own has one thread
  await checkFolder(folder);
});

test("an extension, manifest version 3", async () => {
  const folder = example("extension");
  const context = await launchWithExtension(folder);
  try {
    await check(context, `chrome-extension://${extensionId(folder)}/page.html`, model.url);
  } finally {
    await context.close();
  }
});

/** What the example for Node prints, with the Vulkan drivers that the files `drivers` tell of, or the system's. */
async function inNode(drivers) {
  const env = drivers === undefined ? process.env : { ...process.env, VK_ICD_FILENAMES: drivers };
  // Not synchronously: this process serves the model.
  const child = spawn(process.execPath, ["main.js", model.url, golden.prompt], { cwd: example("node"), env });
  const [out, messages] = await Promise.all([child.stdout.setEncoding("utf8").toArray(), child.stderr.setEncoding("utf8").toArray()]);
  assert.equal(out.join(""), `${golden.text}\n`, messages.join(""));
  return messages.join("");
}

test("Node, on the CPU", async () => {
  assert.match(await inNode("none"), /^on cpu$/m);
});

test("Node, on the GPU", async (t) => {
  const chromium = "/usr/lib/chromium/vk_swiftshader_icd.json"; // Dawn takes this software for a GPU, and not Mesa's
  const messages = await inNode(existsSync(chromium) ? chromium : undefined);
  if (/^on cpu$/m.test(messages) && !process.env.LORAKEET_REQUIRE_GPU) return t.skip("Dawn finds no GPU here");
  assert.match(messages, /^on webgpu$/m);
});
