// The packed package in a Next project: built, started, rendered on the server, and run in the page.
// It takes longer than the other bundlers together.

import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { root } from "../../tools/setup.mjs";
import { check, project, script, serveModel } from "./project.mjs";

const PAGE = `"use client";

import "../generate.js";

export default function Page() {
  return <p>page</p>;
}
`;
const LAYOUT = `export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>;
}
`;

test("Next, built and started", async () => {
  const folder = project("next", {
    "next.config.js": `export default { turbopack: { root: ${JSON.stringify(join(root, "tests/bundlers"))} } };\n`,
    "app/page.js": PAGE,
    "app/layout.js": LAYOUT,
    "generate.js": script(),
  });
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

/** The address that a started server prints. */
async function address(server) {
  let text = "";
  for await (const part of server.stdout) {
    text += part;
    const [url] = /http:\/\/localhost:\d+/.exec(text) ?? [];
    if (url) return url;
  }
  throw new Error(`the server did not start: ${text}`);
}
