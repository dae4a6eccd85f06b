// The Next example with the packed package: built, started, rendered on the server, and run in the page.
// It takes longer than the other bundlers together.

import { execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { root } from "../../tools/setup.mjs";
import { check, example, serveModel } from "./project.mjs";

test("Next, built and started", async () => {
  const folder = example("next");
  // Next looks for its packages below the project's root, which is here another folder than the project's.
  writeFileSync(join(folder, "next.config.js"), `export default { turbopack: { root: ${JSON.stringify(join(root, "tests/bundlers"))} } };\n`);
  const next = [join(root, "tests/bundlers/node_modules/next/dist/bin/next")];
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1" };
  execFileSync(process.execPath, [...next, "build"], { cwd: folder, env, stdio: ["ignore", "ignore", "inherit"] });
  const server = spawn(process.execPath, [...next, "start", "--port", "0"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  const [browser, model] = await Promise.all([launch(), serveModel()]);
  try {
    await check(browser, await address(server), model.url);
  } finally {
    server.kill();
    await browser.close();
    await model.close();
  }
});

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
