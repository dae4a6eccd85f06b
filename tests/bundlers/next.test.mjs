// The Next example with the packed package: built, started, rendered on the server, and run in the page.
// It takes longer than the other bundlers together.

import { test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { check, serveModel, startNext } from "./project.mjs";

test("Next, built and started", async () => {
  const [server, browser, model] = await Promise.all([startNext(), launch(), serveModel()]);
  try {
    await check(browser, server.url, model.url);
  } finally {
    server.close();
    await browser.close();
    await model.close();
  }
});
