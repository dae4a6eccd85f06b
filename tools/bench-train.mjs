// Measures a training step on every backend this machine has, beside PyTorch's.
// Not a record: ratios of one run compare with those of other runs, milliseconds do not.
//
//   node tools/bench-train.mjs [--model DIR] [--tokens 256] [--rank 16] [--runs 5] [--python PROGRAM]
//                              [--program target/release/lorakeet]
//
// The package is dist/: `npm run build` first. PyTorch runs where --python names one that has it, with two threads.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "./chromium.mjs";
import { serve } from "./serve.mjs";
import { root } from "./setup.mjs";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, "www/models/demo") },
    program: { type: "string", default: join(root, "target/release/lorakeet") },
    python: { type: "string" },
    tokens: { type: "string", default: "256" },
    rank: { type: "string", default: "16" },
    runs: { type: "string", default: "5" },
  },
});
const shape = ["tokens", "rank", "runs"].flatMap((name) => [`--${name}`, values[name]]);

/** What a program prints as JSON, or why it did not. */
function measured(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? JSON.parse(stdout.trim().split("\n").at(-1)) : { skipped: error?.message ?? stderr.trim().split("\n").at(-1) };
}

/** Median step in a page, and the longest that its thread was not free, both in ms. */
async function inPage(page, device) {
  const text = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8");
  return page.evaluate(async ({ device, text, tokens, rank, runs }) => {
    const { createEngine } = await import("/dist/index.js");
    const engine = await createEngine("/model/", { device, worker: false, batch: 1, contextLength: Math.max(tokens, 64) });
    let [steps, longest, training, last] = [[], 0, true, 0];
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const now = performance.now();
      if (steps.length > 0) longest = Math.max(longest, now - last);
      last = now;
      if (training) port2.postMessage(null);
    };
    port2.postMessage(null);
    for await (const step of engine.trainAdapter({ name: "x", dataset: text, maxLength: tokens, rank, alpha: rank, epochs: runs + 1 })) {
      if (step.tokens === tokens) steps.push((1000 * tokens) / step.tokensPerSecond);
      if (steps.length > runs) break;
    }
    training = false;
    await engine.dispose();
    steps = steps.slice(1).sort((a, b) => a - b); // the first one warms up
    return { step_ms: steps[steps.length >> 1], longest_slice_ms: longest };
  }, { device, text, tokens: Number(values.tokens), rank: Number(values.rank), runs: Number(values.runs) });
}

const results = {};
for (const backend of ["cpu", "gpu"]) {
  results[`native-${backend}`] = measured(values.program, ["bench", "train", ...shape, "--backend", backend, "--model", values.model, "--json"]);
}
if (values.python) results.pytorch = measured(values.python, [join(root, "tools/bench_train.py"), ...shape, "--model", values.model]);
const site = await serve({ roots: { "/dist/": join(root, "dist"), "/model/": resolve(values.model), "/": join(root, "tools") }, port: 0 });
const browser = await launch();
try {
  for (const device of ["cpu", "webgpu"]) {
    const page = await browser.newPage();
    await page.goto(new URL("model/config.json", site.url).href);
    results[`chromium-${device}`] = await inPage(page, device);
    await page.close();
  }
} finally {
  await browser.close();
  await site.close();
}

const [unit, ofWhat] = results.pytorch?.step_ms ? [results.pytorch.step_ms, "PyTorch's"] : [results["native-cpu"].step_ms, "native CPU's"];
console.log(`| backend | step, ms | of ${ofWhat} | longest slice, ms |\n| --- | --- | --- | --- |`);
for (const [backend, { step_ms, longest_slice_ms, skipped }] of Object.entries(results)) {
  const cells = skipped ? [`skipped: ${skipped}`, "", ""] : [step_ms.toFixed(1), (step_ms / unit).toFixed(2), longest_slice_ms?.toFixed(1) ?? ""];
  console.log(`| ${[backend, ...cells].join(" | ")} |`);
}
