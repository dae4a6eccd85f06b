// The benchmark of adapters runs in Chromium, on a model small enough to wait for.
// Its figures are not judged: another machine has others.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bench, table } from "../../tools/bench.mjs";
import { root } from "./browser.mjs";

const shape = { layers: "1", vocab: "256", rank: "4", tokens: "2", runs: "1" };
const program = ["debug", "release"].map((profile) => join(root, "target", profile, "lorakeet")).find(existsSync);

test("natively and in a page, the same measures", { skip: program ? false : "the terminal program is not built" }, async () => {
  const only = ["native-cpu", "chromium-cpu", "chromium-webgpu"];
  const results = await bench({ only, shape, program });
  assert.deepEqual(Object.keys(results), only);
  const native = results["native-cpu"].measures;
  // A page does not see plans.
  const names = native.filter(({ unit }) => unit !== "steps").map(({ name }) => name);
  for (const backend of only.slice(1)) {
    const { device, measures } = results[backend];
    assert.match(device, backend === "chromium-cpu" ? /^cpu$/ : /./);
    assert.deepEqual(Object.keys(measures), names);
    for (const [name, value] of Object.entries(measures)) assert.ok(value > 0 && Number.isFinite(value), `${backend}, ${name}: ${value}`);
  }
});

test("the table marks what misses its target, and says what was skipped", () => {
  const measures = [
    { name: "decode, one adapter", value: 1.3, unit: "x", floor: 1.04, target: 1.25 },
    { name: "set_adapter", value: 5.25, unit: "us" },
  ];
  const results = {
    "native-cpu": { measures },
    "native-gpu": { skipped: "no adapter" },
    "chromium-cpu": { measures: { "decode, one adapter": 1.2, set_adapter: 9 } },
  };
  const [head, decode, set, skipped] = table(results).split("\n").map((line) => line.trim().split(/\s{2,}/));
  assert.deepEqual(head, ["native-cpu", "chromium-cpu", "floor", "at most"]);
  assert.deepEqual(decode, ["decode, one adapter, x", "!1.300", "1.200", "1.040", "1.25"]);
  assert.deepEqual(set, ["set_adapter, us", "5.3", "9.0"]);
  assert.deepEqual(skipped, ["skipped native-gpu: no adapter"]);
});
