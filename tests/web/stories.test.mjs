// A model trained elsewhere, judged by another program: 200 greedy tokens as llama2.c's run.c prints them.
// The model is not part of the repository; where it is missing this says so.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openApi, start, stories } from "./browser.mjs";

if (!existsSync(stories)) {
  console.log("skipped: stories260K is not beside the repository");
} else {
  const golden = readFileSync(join(stories, "golden_greedy_200.txt"), "utf8");
  let browser, page;
  before(async () => {
    browser = await start();
    page = await openApi(browser);
  });
  after(() => browser?.close());

  for (const device of ["cpu", "webgpu"]) {
    test(`200 greedy tokens on ${device}`, async () => {
      const text = await page.evaluate(async (device) => {
        const engine = await lorakeet.createEngine("/test/stories", { device });
        const { choices } = await engine.completions.create({ prompt: "", max_tokens: 200, temperature: 0 });
        await engine.dispose();
        return choices[0].text;
      }, device);
      assert.equal(`${text}\n`, golden.trimEnd() + "\n");
    });
  }
}
