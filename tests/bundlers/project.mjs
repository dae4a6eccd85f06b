// Fresh projects that have the package as npm packs it, the examples above all, and a page of theirs in a browser.
// What they are built with is each test's.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { root } from "../../tools/setup.mjs";
import { startHub } from "../web/hub-server.mjs";

const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const demo = join(root, "www/models/demo");
const examples = join(root, "www/examples");
export const golden = read(join(demo, "golden.json"));
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
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return install(folder, { name });
}

/** An example of `www/examples/` in a new folder, with the package installed in it. Returns its path. */
export function example(name, folderName = name) {
  const folder = join(projects, folderName);
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(examples, name), folder, { recursive: true, filter: (path) => basename(path) !== "node_modules" });
  const { dependencies: { lorakeet, ...others }, devDependencies, optionalDependencies, ...manifest } = read(join(folder, "package.json"));
  assert.equal(lorakeet, `^${read(join(root, "package.json")).version}`);
  // The others are those above this folder.
  const installed = read(join(root, "tests/bundlers/package.json")).devDependencies;
  for (const [other, version] of Object.entries({ ...others, ...devDependencies, ...optionalDependencies })) assert.equal(version, installed[other], other);
  return install(folder, manifest);
}

function install(folder, manifest) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module", ...manifest }));
  npm(["install", "--offline", "--no-audit", "--no-fund", "--no-package-lock", pack().archive], folder);
  return folder;
}

/** Runs a script of a project's manifest. */
export function build(folder) {
  npm(["run", "build"], folder);
}

/** Builds and starts the Next example, on a port of its own. */
export async function startNext() {
  const folder = example("next");
  // Next looks for its packages below the project's root, which is here another folder than the project's.
  writeFileSync(join(folder, "next.config.js"), `export default { turbopack: { root: ${JSON.stringify(join(root, "tests/bundlers"))} } };\n`);
  const next = [join(root, "tests/bundlers/node_modules/next/dist/bin/next")];
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1" };
  execFileSync(process.execPath, [...next, "build"], { cwd: folder, env, stdio: ["ignore", "ignore", "inherit"] });
  const server = spawn(process.execPath, [...next, "start", "--port", "0"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  return { url: await address(server), close: () => server.kill() };
}

/** The address that a started server prints, once it listens. Its output stays open: a closed one would end it. */
async function address(server) {
  let text = "";
  for await (const part of server.stdout.iterator({ destroyOnReturn: false })) {
    text += part;
    const [url] = /http:\/\/localhost:\d+/.exec(text) ?? [];
    if (url && text.includes("Ready in")) {
      server.stdout.resume();
      return url;
    }
  }
  throw new Error(`the server did not start: ${text}`);
}

/** The id that Chromium gives the unpacked extension in a folder: it is made of its path. */
export function extensionId(folder) {
  return createHash("sha256").update(folder).digest("hex").slice(0, 32).replace(/./g, (digit) => String.fromCharCode(97 + parseInt(digit, 16)));
}

/** The demo model on a hub of its own, which answers with redirects to another server. */
export async function serveModel() {
  const hub = await startHub({ "org/demo": { folder: demo } });
  return { url: `${hub.url}/org/demo/resolve/main/`, close: hub.close };
}

/** Opens an example's page, and checks that it writes in a worker what transformers writes. */
export async function check(context, url, model) {
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && !/favicon/.test(message.location().url) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  let workers = 0;
  page.on("worker", () => workers++);
  await page.goto(`${url}?model=${encodeURIComponent(model)}`);
  try {
    await page.locator("[name=prompt]").fill(golden.prompt);
    await page.locator("button:enabled").click({ timeout: 60_000 });
    await page.waitForFunction((length) => document.querySelector("output").textContent.length >= length, golden.text.length, { timeout: 60_000 });
  } catch (error) {
    throw new Error(`${error.message}\n${complaints.join("\n")}`);
  }
  assert.equal(await page.textContent("output"), golden.text);
  assert.equal(workers, 1);
  assert.deepEqual(complaints, []);
  await page.close();
}
