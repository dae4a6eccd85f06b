// A model trained elsewhere, judged by another program: 200 greedy tokens as llama2.c's run.c prints them.
// The model lies beside the checkout.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openApi, start, stories, withoutData } from "./browser.mjs";

describe("stories260K", { skip: withoutData }, () => {
  let browser, page;
  before(async () => {
    browser = await start();
    page = await openApi(browser);
  });
  after(() => browser?.close());

  for (const device of ["cpu", "webgpu"]) {
    test(`200 greedy tokens on ${device}`, async () => {
      const golden = readFileSync(join(stories, "golden_greedy_200.txt"), "utf8");
      const text = await page.evaluate(async (device) => {
        const engine = await lorakeet.createEngine("/test/stories", { device });
        const { choices } = await engine.completions.create({ prompt: "", max_tokens: 200, temperature: 0 });
        await engine.dispose();
        return choices[0].text;
      }, device);
      assert.equal(`${text}\n`, golden.trimEnd() + "\n");
    });
  }
});
