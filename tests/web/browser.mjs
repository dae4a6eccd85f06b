// What the browser tests share: one Chromium with a software GPU, and the servers it talks to.
// Not a framework: tests open pages and speak Playwright.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { launch } from "../../tools/chromium.mjs";
import { SOURCES, serve } from "../../tools/serve.mjs";
import { root } from "../../tools/setup.mjs";

export { root };
export const demo = join(root, "www/models/demo");
export const fixtures = join(root, "tests/fixtures/models");
export const adapters = join(root, "tests/fixtures/adapters");
export const ggufs = join(root, "tests/fixtures/gguf");
/** A trained model that is not part of the repository. */
export const stories = join(root, "../shared/data/models/stories260K");
/** Adapters trained on it, and not part of the repository either. */
/** Why a test does not run whose data lie beside the checkout; they are missed only where `npm test -- beside` asks for them. */
export const withoutData = existsSync(stories) || process.env.LORAKEET_REQUIRE_DATA ? false : "its data lie beside the checkout: `npm test -- beside`";
export const shared = join(root, "../shared/data/adapters");

/**
 * A browser and the site: `www/` at `/`, the models and adapters above below `/test/`.
 * `open(path)` gives a page whose console errors and uncaught exceptions gather in `page.complaints`;
 * `prepare` has it before it is anywhere. Pages share storage if they are opened in one `newContext()`.
 * `roots` are folders to serve instead, with `headers`.
 */
export async function start(roots = sources(), headers = {}) {
  const site = await serve({ roots, port: 0, headers });
  const browser = await launch();
  const open = async (path = "", { prepare, context, ...options } = {}) => {
    const page = await (context ? context.newPage() : browser.newPage(options));
    page.complaints = [];
    page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
    page.on("pageerror", (error) => page.complaints.push(String(error)));
    await prepare?.(page);
    await page.goto(new URL(path, site.url).href);
    return page;
  };
  const close = async () => {
    await browser.close();
    await site.close();
  };
  /** Every WebGPU device of the browser is lost. */
  const crashGpu = async () => (await browser.newBrowserCDPSession()).send("Browser.crashGpuProcess").catch(() => {});
  return { url: site.url, open, newContext: () => browser.newContext(), close, crashGpu };
}

/** The folders that `start` serves. */
export function sources() {
  const roots = { ...SOURCES, "/test/fixtures/": fixtures, "/test/adapters/": adapters, "/test/gguf/": ggufs };
  if (existsSync(shared)) roots["/test/shared/"] = shared;
  if (existsSync(stories)) roots["/test/stories/"] = stories;
  return roots;
}

/**
 * A page with nothing on it but the package, as `lorakeet`; `failure(work)` gives the kind and words of
 * the error that `work` ends in, and throws if it ends well.
 */
export async function openApi(browser, context) {
  const page = await browser.open("test/fixtures/llama/config.json", { context });
  await page.evaluate(async () => {
    globalThis.lorakeet = await import("/dist/index.js");
    globalThis.failure = async (work) => {
      let value;
      try {
        value = await work();
      } catch (error) {
        if (!(error instanceof lorakeet.LorakeetError)) throw error;
        return { kind: error.kind, message: error.message };
      }
      throw new Error(`no failure, but ${JSON.stringify(value)}`);
    };
  });
  return page;
}
