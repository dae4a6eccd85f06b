// A text without end in bounded memory: what the GPU and the module hold after some chunks is what they hold at the end.
// Plans are made when they are first needed, one for each size of a run: a text of 15 tokens and one of 31 need all of them.
// LORAKEET_TOKENS sets how many tokens; 100,000 take a while.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openApi, start } from "./browser.mjs";

const TOKENS = { cpu: 12_800, webgpu: 720 }; // a software GPU is slow
/** Chunks after which nothing grows. The host's copy of what is learned is first made at the sixteenth, and the heap settles some later: the CPU has a plan for each number of rows, sixteen of a kind. */
const SETTLED = { cpu: 320, webgpu: 19 };
const CHUNK = 32;

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

for (const device of ["cpu", "webgpu"]) {
  const most = Number(process.env.LORAKEET_TOKENS ?? TOKENS[device]);
  test(`${device}: ${most} tokens are written and learned in the memory of the first ${SETTLED[device]} chunks`, async () => {
    const page = await openApi(browser);
    const { tokens, sizes, seconds } = await page.evaluate(async ([device, most, chunkTokens]) => {
      const gpu = { bytes: 0, buffers: 0 };
      const { createBuffer } = globalThis.GPUDevice?.prototype ?? {};
      if (createBuffer) {
        const { destroy } = GPUBuffer.prototype;
        GPUDevice.prototype.createBuffer = function (descriptor) {
          gpu.bytes += descriptor.size;
          gpu.buffers++;
          return createBuffer.call(this, descriptor);
        };
        const gone = new WeakSet();
        GPUBuffer.prototype.destroy = function () {
          if (!gone.has(this)) gpu.bytes -= this.size;
          gone.add(this);
          destroy.call(this);
        };
      }
      const { default: init } = await import("/dist/wasm/lorakeet.js");
      const engine = await lorakeet.createEngine("/test/fixtures/llama", { device, worker: false, batch: 1, contextLength: 4 * chunkTokens });
      const { memory } = await init();
      const temp = await engine.createTempLora({ rank: 4, chunkTokens, contextTokens: chunkTokens, epochs: 1, maxRepetition: 1 });
      const [sizes, began] = [[], performance.now()];
      let tokens = 0;
      for (let seed = 0; tokens < most; seed++) {
        // It ends where the model ends the text, and is then taken up again.
        const first = [chunkTokens / 2 - 1, chunkTokens - 1][seed];
        for await (const part of temp.generate({ max_tokens: first ?? most - tokens, temperature: 1, seed })) {
          tokens += part.token_ids.length;
          if (part.chunk) sizes.push({ gpu: gpu.bytes, buffers: gpu.buffers, wasm: memory.buffer.byteLength });
        }
      }
      const seconds = (performance.now() - began) / 1000;
      await engine.dispose();
      return { tokens, sizes, seconds };
    }, [device, most, CHUNK]);
    const [settled, last] = [sizes[SETTLED[device] - 1], sizes.at(-1)];
    const grown = sizes.findLastIndex(({ gpu, wasm }, i) => i > 0 && (gpu > sizes[i - 1].gpu || wasm > sizes[i - 1].wasm)) + 1;
    console.log(`${device}: ${tokens} tokens in ${seconds.toFixed(0)} s, ${sizes.length} chunks; after ${SETTLED[device]} of them`, settled, "after all", last, `last more in chunk ${grown}`);
    assert.equal(tokens, most);
    assert.ok(sizes.length > 1.15 * SETTLED[device]);
    if (device === "webgpu") assert.ok(settled.gpu > 100_000 && settled.buffers > 10, "nothing was counted");
    assert.deepEqual(last, settled);
    await page.close();
  });
}
