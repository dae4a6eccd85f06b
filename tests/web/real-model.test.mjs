// A real model in a page: SmolLM2-135M-Instruct, the GGUF file of Q4_1 and Q8_0 that people have.
// What it computes is judged natively, logit by logit; here it answers a question and stops.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openApi, root, start } from "./browser.mjs";

// Where tools/real_model.py puts it.
const home = process.env.LORAKEET_MODELS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorakeet-models");
const folder = join(home, "smollm2");
const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
const skip = existsSync(join(folder, NAME)) || process.env.LORAKEET_REQUIRE_MODELS ? false : "no SmolLM2; `python3 tools/real_model.py` fetches it";

let browser, page;
before(async () => {
  if (skip) return;
  browser = await start({ "/test/models/": folder, "/test/fixtures/": join(root, "tests/fixtures/models"), "/dist/": join(root, "dist") });
  page = await openApi(browser);
});
after(() => browser?.close());

for (const device of ["cpu", "webgpu"]) {
  test(`it answers and stops, on ${device}`, { skip }, async () => {
    const { info, choice, usage } = await page.evaluate(
      async ({ url, device }) => {
        const engine = await lorakeet.createEngine(url, { device, contextLength: 256, batch: 1, cache: false });
        const messages = [{ role: "user", content: "What is the capital of France?" }];
        const { choices, usage } = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 40 });
        await engine.dispose();
        return { info: engine.info, choice: choices[0], usage };
      },
      { url: `/test/models/${NAME}`, device },
    );
    assert.equal(choice.message.content, "The capital of France is Paris.");
    assert.equal(choice.finish_reason, "stop");
    assert.equal(usage.prompt_tokens, 37);
    assert.equal(info.device, device);
    assert.equal(info.dtype, "q4_1");
    assert.deepEqual(info.warnings, []);
  });
}
