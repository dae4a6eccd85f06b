// The packed package in fresh projects: no bundler, Vite, webpack, esbuild, an extension, Node.
// Each page loads the demo model in a worker and writes the tokens that transformers writes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as esbuild from "esbuild";
import { build, createServer } from "vite";
import webpack from "webpack";
import { launch, launchWithExtension } from "../../tools/chromium.mjs";
import { serve } from "../../tools/serve.mjs";
import { check, copy, golden, html, project, script, serveModel } from "./project.mjs";

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

test("a page without a bundler, under a strict policy", async () => {
  const folder = project("plain", { "index.html": html("./main.js"), "main.js": script({ from: "./node_modules/lorakeet/dist/index.js" }) });
  await checkFolder(folder, { "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *" });
});

test("Vite, in development and built", async () => {
  const folder = project("vite", { "index.html": html("/main.js"), "main.js": script() });
  const config = { root: folder, configFile: false, logLevel: "error", cacheDir: join(folder, ".vite") };
  const server = await createServer({ ...config, server: { port: 0, host: "localhost" } });
  await server.listen();
  try {
    await check(browser, server.resolvedUrls.local[0], model.url);
  } finally {
    await server.close();
  }
  await build({ ...config, base: "./" });
  await checkFolder(join(folder, "dist"));
});

test("webpack", async () => {
  const folder = project("webpack", { "main.js": script() });
  const stats = await new Promise((done, failed) => {
    webpack({ mode: "production", context: folder, entry: "./main.js", output: { path: join(folder, "out"), filename: "main.js" }, performance: false }, (error, stats) => (error ? failed(error) : done(stats)));
  });
  assert.deepEqual(stats.toJson({ all: false, errors: true, warnings: true }), { errors: [], warnings: [] });
  const site = await serve({ roots: { "/": join(folder, "out"), "/page/": project("webpack-page", { "index.html": html("../main.js") }) }, port: 0 });
  await check(browser, `${site.url}page/index.html`, model.url);
  await site.close();
});

test("esbuild, which has to be told of the worker and the modules", async () => {
  const options = 'worker: new Worker(new URL("./worker.js", location.href), { type: "module" }), wasmUrl: "./lorakeet.wasm", chatWasmUrl: "./lorakeet_chat.wasm"';
  const folder = project("esbuild", { "main.js": script({ options }), "engine-worker.js": 'import "lorakeet/worker";\n', "out/index.html": html("./main.js") });
  await esbuild.build({ absWorkingDir: folder, entryPoints: { main: "main.js", worker: "engine-worker.js" }, bundle: true, minify: true, format: "esm", outdir: "out", logLevel: "error" });
  copy(folder, "dist/wasm/lorakeet_bg.wasm", "out/lorakeet.wasm");
  copy(folder, "dist/wasm/lorakeet_chat_bg.wasm", "out/lorakeet_chat.wasm");
  await checkFolder(join(folder, "out"));
});

test("a page of an extension, manifest version 3", async () => {
  const folder = project("extension", {
    "manifest.json": JSON.stringify({ manifest_version: 3, name: "page", version: "1", host_permissions: ["http://localhost/*"], content_security_policy: { extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'" } }),
    "page.html": html("./main.js"),
    "main.js": script({ from: "./node_modules/lorakeet/dist/index.js" }),
  });
  const id = createHash("sha256").update(folder).digest("hex").slice(0, 32).replace(/./g, (digit) => String.fromCharCode(97 + parseInt(digit, 16)));
  const context = await launchWithExtension(folder);
  try {
    await check(context, `chrome-extension://${id}/page.html`, model.url);
  } finally {
    await context.close();
  }
});

test("Node, on the CPU", async () => {
  const main = `${script()}\nconst [model, prompt, n] = process.argv.slice(2);\nconsole.log(JSON.stringify(await generate(model, prompt, Number(n))));\n`;
  const folder = project("node", { "main.js": main });
  // Not synchronously: this process serves the model.
  const child = spawn(process.execPath, ["main.js", model.url, golden.prompt, String(golden.ids.length)], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  for await (const part of child.stdout) out += part;
  assert.deepEqual(JSON.parse(out), golden.ids);
});
