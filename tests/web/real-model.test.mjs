// A real model in a page: SmolLM2-135M-Instruct, the GGUF file of Q4_1 and Q8_0 that people have.
// What it computes is judged natively, logit by logit; here it answers a question and stops.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { SOURCES } from "../../tools/serve.mjs";
import { openApi, root, start } from "./browser.mjs";
import { startHub } from "./hub-server.mjs";
import { openPage, sample, written } from "./reader.mjs";

// Where tools/real_model.py puts it.
const home = process.env.LORAKEET_MODELS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorakeet-models");
const folder = join(home, "smollm2");
const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
const skip = existsSync(join(folder, NAME)) || process.env.LORAKEET_REQUIRE_MODELS ? false : "no SmolLM2; `python3 tools/real_model.py` fetches it";

let browser, page;
before(async () => {
  if (skip) return;
  browser = await start({ ...SOURCES, "/test/models/": folder, "/test/fixtures/": join(root, "tests/fixtures/models") });
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

test("on the page it is a click away, and answers", { skip }, async (t) => {
  const hub = await startHub({ "HuggingFaceTB/SmolLM2-135M-Instruct": { files: { [NAME]: join(folder, NAME) } } });
  t.after(() => hub.close());
  const page = await openPage(browser, "?device=cpu", { view: "chat", hubUrl: hub.url });
  await page.locator("#chat-fetch").click();
  await page.waitForSelector("#chat-room:not([hidden])", { timeout: 120_000 });
  await sample(page, { maxTokens: 40 });
  await page.locator("#message").fill("What is the capital of France?");
  await page.locator("#send").click();
  await written(page);
  assert.equal(await page.textContent("#turns .md"), "The capital of France is Paris.");
  assert.match(await page.textContent("#status"), /^Wrote 7 tokens/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a text that is learned while it is written never stops for long", { skip }, async () => {
  const longest = await page.evaluate(async (url) => {
    const engine = await lorakeet.createEngine(url, { device: "cpu", contextLength: 512, batch: 3, cache: false });
    const stop = async (options, tokens, mix) => {
      const temp = await engine.createTempLora(options);
      let [longest, chunks] = [0, 0];
      // Where the model ends its text, it is asked to go on.
      for (let prompt = "The ferry at Osselby had one rope,", left = tokens; left > 0; prompt = undefined) {
        let last;
        for await (const { token_ids, chunk } of temp.generate({ prompt, max_tokens: left, seed: left, mix })) {
          if (chunk) chunks++;
          if (token_ids.length === 0) continue;
          left -= token_ids.length;
          const now = performance.now();
          longest = Math.max(longest, now - (last ?? now));
          last = now;
        }
      }
      await temp.dispose();
      return { longest, chunks };
    };
    const between = await stop({}, 140, false);
    const beside = await stop({ overlap: true, kv: "stale" }, 270, true); // as the page writes
    const pauses = { tempLora: engine.info.tempLora, between, beside };
    await engine.dispose();
    return pauses;
  }, `/test/models/${NAME}`);
  const { tempLora, between, beside } = longest;
  console.log(`[real-model] the text's longest stop: ${beside.longest.toFixed(0)} ms where it is learned beside (0: below 300), ${between.longest.toFixed(0)} ms between two chunks`);
  assert.deepEqual(tempLora, { rank: 32, learningRate: 6e-4, epochs: 2, chunkTokens: 128, contextTokens: 128 });
  assert.ok(between.chunks >= 1 && beside.chunks >= 2, JSON.stringify(longest));
  assert.ok(beside.longest < between.longest / 4, `${beside.longest} ms, ${between.longest} ms`);
});
