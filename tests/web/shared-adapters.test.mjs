// Adapters that PEFT wrote, in the browser on both devices: logits as PEFT computes them, or the refusal
// that is right. Trained ones beside the checkout; the fixtures of every kind.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { adapters, openApi, shared, start, withoutData } from "./browser.mjs";

const TOLERANCE = { cpu: 1e-4, webgpu: 1e-3 };
/** Folders of trained adapters that must be refused, and the words that tell why. */
const REFUSED = { "pissa-UNCONVERTED-needs-residual-base": /they fit only|it fits only|fit only the base/, "old-bin-format": /pickled weight file/ };
const NOT_YET = /is not supported yet$/;
/** Folders that were equal, and how far the worst logit was off, by device and source. */
const tallies = {};

let browser, page;
before(async () => {
  browser = await start();
  page = await openApi(browser);
  await page.evaluate(() => {
    /** Raw tensors of a safetensors file, by name: f32, or integers as numbers. */
    globalThis.tensors = async (url) => {
      const bytes = await (await fetch(url)).arrayBuffer();
      const length = Number(new DataView(bytes).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
      const views = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array };
      const read = ({ dtype, data_offsets: [start, end] }) => new views[dtype](bytes.slice(8 + length + start, 8 + length + end));
      return Object.fromEntries(Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, info]) => [name, read(info)]));
    };
    /** How far rows of logits are from those wanted, at most; infinite where there are more, fewer or none. */
    globalThis.distance = (rows, want) => {
      const got = rows.flatMap((row) => [...row]);
      if (got.length !== want.length) return Infinity;
      return got.reduce((most, value, i) => (Math.abs(value - want[i]) <= most ? most : Math.abs(value - want[i])), 0);
    };
    /** Loads a folder and compares; {refused} or the distances {adapted, base, moved}. */
    globalThis.judge = async (engine, folder, [adapted, baseUrl, base]) => {
      let error;
      try {
        await engine.loadAdapter(folder, { name: "x" });
      } catch (thrown) {
        error = thrown;
      }
      if (error) return { refused: `${error.kind}: ${error.message}` };
      const reference = await tensors(`${folder}/reference.safetensors`);
      const ids = Array.from(reference.input_ids, Number);
      const on = await engine.logits(ids, { adapter: "x" });
      const off = await engine.logits(ids);
      const want = baseUrl ? (await tensors(baseUrl))[base] : reference[base];
      await engine.deleteAdapter("x");
      return { adapted: distance(on, reference[adapted]), base: distance(off, want), moved: distance(on, want) };
    };
  });
});
after(() => browser?.close());

function equal({ refused, adapted, base, moved }, device, source) {
  assert.equal(refused, undefined);
  assert.ok(adapted <= TOLERANCE[device], `adapted: off by ${adapted}`);
  assert.ok(base <= TOLERANCE[device], `base: off by ${base}`);
  // The comparer can fail: under the adapter the base's logits are not what they were.
  assert.ok(moved > 10 * TOLERANCE[device], `the adapter moves logits by ${moved}`);
  const tally = (tallies[`${source} on ${device}`] ??= { equal: 0, worst: 0 });
  tally.equal += 1;
  tally.worst = Math.max(tally.worst, adapted, base);
}

/** Refusals of what is to come must not hide what is there. */
function checkTally(name, least) {
  const { equal, worst } = tallies[name];
  console.log(`${name}: ${equal} equal to PEFT, off by ${worst.toExponential(1)} at most`);
  assert.ok(equal >= least, `${equal}, expected ${least}`);
}

for (const device of ["cpu", "webgpu"]) {
  const open = (model) => page.evaluate(async ([model, device]) => void (globalThis.engine = await lorakeet.createEngine(model, { device, batch: 1 })), [model, device]);
  const close = () => page.evaluate(() => engine.dispose());

  describe(`trained adapters on ${device}`, { skip: withoutData }, () => {
    if (withoutData) return;
    before(() => open("/test/stories"));
    after(close);
    const folders = readdirSync(shared, { withFileTypes: true }).filter((each) => each.isDirectory() && each.name !== "real");
    assert.ok(folders.length > 10, `${folders.length} folders`);
    for (const { name } of folders) {
      test(name, async () => {
        const verdict = await page.evaluate((folder) => judge(engine, folder, ["adapter_logits", null, "base_logits"]), `/test/shared/${name}`);
        if (REFUSED[name]) assert.match(verdict.refused ?? "loaded", REFUSED[name]);
        else if (verdict.refused) assert.match(verdict.refused, NOT_YET);
        else equal(verdict, device, "trained adapters");
      });
    }
    test("most of them are equal", () => checkTally(`trained adapters on ${device}`, 12));
  });

  for (const model of ["llama", "qwen2", "gpt2"]) {
    describe(`fixtures of ${model} on ${device}`, () => {
      before(() => open(`/test/fixtures/${model}`));
      after(close);
      const index = JSON.parse(readFileSync(join(adapters, "index.json"), "utf8"));
      for (const { path, expects } of index.filter((entry) => entry.model === model)) {
        test(path, async () => {
          const verdict = await page.evaluate(([folder, base]) => judge(engine, folder, ["logits", base, "logits"]), [`/test/adapters/${path}`, `/test/adapters/${model}/base.safetensors`]);
          if (expects === "refusal") {
            assert.match(verdict.refused ?? "loaded", /^(unsupported|format|mismatch): /);
            assert.doesNotMatch(verdict.refused, NOT_YET);
          } else if (verdict.refused) assert.match(verdict.refused, NOT_YET);
          else equal(verdict, device, `fixtures of ${model}`);
        });
      }
      test("most of them are equal", () => checkTally(`fixtures of ${model} on ${device}`, { llama: 20, qwen2: 7, gpt2: 8 }[model]));
    });
  }
}
