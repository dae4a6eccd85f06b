// Fresh projects that have the package as npm packs it, and a page of theirs in a browser.
// What each bundler is told is its own test's.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { serve } from "../../tools/serve.mjs";
import { root } from "../../tools/setup.mjs";

const demo = join(root, "www/models/demo");
export const golden = JSON.parse(readFileSync(join(demo, "golden.json"), "utf8"));
/** Below this folder, so that they find the bundlers. */
const projects = join(root, "tests/bundlers/projects");
const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", shell: process.platform === "win32" });

let packed;

/** The package as `npm pack` makes it: the path of the archive, and the files in it. */
export function pack() {
  if (packed) return packed;
  mkdirSync(projects, { recursive: true });
  const [{ filename, files }] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", projects], root));
  packed = { archive: join(projects, filename), files: files.map(({ path }) => path) };
  return packed;
}

/** A new folder with `files`, and the package installed. Returns its path. */
export function project(name, files) {
  const folder = join(projects, name);
  rmSync(folder, { recursive: true, force: true });
  const all = { "package.json": JSON.stringify({ name, private: true, type: "module" }), ...files };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  npm(["install", "--offline", "--no-audit", "--no-fund", "--no-package-lock", pack().archive], folder);
  return folder;
}

/** The demo model on a server of its own. */
export function serveModel() {
  return serve({ roots: { "/": demo }, port: 0, headers: { "access-control-allow-origin": "*" } });
}

/** A script that generates; `from` is where the package is, `options` more of `createEngine`'s. */
export function script({ from = "lorakeet", options = "" } = {}) {
  return `
import { createEngine } from ${JSON.stringify(from)};

export async function generate(model, prompt, max_tokens) {
  const engine = await createEngine(model, { device: "cpu", ${options} });
  const { choices } = await engine.completions.create({ prompt, max_tokens, temperature: 0 });
  // The demo has no chat template: it takes the module of chats to say so.
  const refused = await engine.chat.completions.create({ messages: [{ role: "user", content: "a" }] }).catch(({ message }) => message);
  if (!/^chat: the model has no template/.test(refused)) throw new Error("chat: " + refused);
  await engine.dispose();
  return choices[0].token_ids;
}

globalThis.generate = generate;
`;
}

export const html = (src) => `<!doctype html>\n<meta charset="utf-8">\n<title>page</title>\n<script type="module" src="${src}"></script>\n`;

/** Opens a page that runs `script`, and checks that it writes in a worker what transformers writes. */
export async function check(context, url, model) {
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && !/favicon|chat_template/.test(message.location().url) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  let workers = 0;
  page.on("worker", () => workers++);
  await page.goto(url);
  await page.waitForFunction(() => globalThis.generate, null, { timeout: 60_000 }).catch((error) => {
    throw new Error(`${error.message}\n${complaints.join("\n")}`);
  });
  const ids = await page.evaluate(([model, prompt, n]) => globalThis.generate(model, prompt, n), [model, golden.prompt, golden.ids.length]);
  assert.deepEqual(ids, golden.ids);
  assert.equal(workers, 1);
  assert.deepEqual(complaints, []);
  await page.close();
}

/** Copies a file of the installed package. */
export function copy(folder, from, to) {
  cpSync(join(folder, "node_modules/lorakeet", from), join(folder, to));
}
