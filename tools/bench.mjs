// Measures what adapters cost on every backend this machine has: natively, and in Chromium through the API.
// Not a record: figures of a run compare with each other, ratios with those of other runs.
//
//   node tools/bench.mjs [--layers N] [--vocab V] [--rank R] [--tokens N] [--runs N]
//                        [--only native-cpu,native-gpu,chromium-cpu,chromium-webgpu] [--hardware] [--json FILE]

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { serve } from "./serve.mjs";
import { root, run, setup } from "./setup.mjs";

const BACKENDS = ["native-cpu", "native-gpu", "chromium-cpu", "chromium-webgpu"];
const DIGITS = { x: 3, ms: 2, us: 1, bytes: 0, steps: 0 };

/** Runs the benchmark on the backends named; the result by backend, as `--json` writes it. */
export async function bench({ only = BACKENDS, shape = {}, hardware = false, program = nativeProgram() } = {}) {
  const args = Object.entries(shape).flatMap(([name, value]) => [`--${name}`, value]);
  const results = {};
  for (const backend of only.filter((each) => each.startsWith("native-"))) {
    results[backend] = native(program, [...args, "--backend", backend.slice("native-".length)]);
  }
  const pages = only.filter((each) => each.startsWith("chromium-"));
  if (pages.length > 0) {
    const files = join(root, "target/bench");
    run(program, ["bench", "adapters", ...args, "--write", files]);
    const { tokens = 16, runs = 7 } = shape;
    for (const backend of pages) {
      const request = { device: backend.slice("chromium-".length), tokens: Number(tokens), runs: Number(runs) };
      results[backend] = await inChromium(files, request, hardware);
    }
  }
  return results;
}

/** The terminal program, built now. */
function nativeProgram() {
  run("cargo", ["build", "--release", "--features", "cli"]);
  return join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release", process.platform === "win32" ? "lorakeet.exe" : "lorakeet");
}

/** What the terminal program measures, or why it does not. Throws if a batch draws other tokens than its rows. */
function native(program, args) {
  const { status, stdout, stderr } = spawnSync(program, ["bench", "adapters", "--json", ...args], { cwd: root, encoding: "utf8" });
  if (status === 0) return JSON.parse(stdout);
  const reason = stderr.trim().split("\n").at(-1);
  if (/^error \(unsupported\)/.test(reason)) return { skipped: reason };
  throw new Error(`${args.join(" ")}: ${reason}`);
}

async function inChromium(files, request, hardware) {
  const { launch } = await import("./chromium.mjs"); // once set-up has fetched what it imports
  // Isolated pages have the finer clock.
  const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  const roots = { "/": join(root, "tools"), "/dist/": join(root, "dist"), "/bench/": files };
  const site = await serve({ roots, port: 0, headers });
  const browser = await launch({ hardware });
  try {
    const page = await browser.newPage();
    await page.goto(new URL("bench/model/config.json", site.url).href);
    return await page.evaluate(async (request) => {
      const { measure } = await import("/bench-page.mjs");
      return measure({ folder: "/bench", ...request });
    }, request);
  } finally {
    await browser.close();
    await site.close();
  }
}

/** One line a measure, one column a backend. Floors and targets are the native program's: the model is the same. */
export function table(results) {
  const columns = Object.entries(results).filter(([, result]) => !result.skipped);
  const natives = columns.map(([, { measures }]) => measures).filter(Array.isArray);
  // Without a native column there is nothing to tell units and targets by.
  const bare = columns.flatMap(([, { measures }]) => (Array.isArray(measures) ? [] : Object.keys(measures))).map((name) => ({ name, unit: "x" }));
  const list = natives.length > 0 ? natives.flat() : bare;
  const known = [...new Map(list.toReversed().map((measure) => [measure.name, measure])).values()].reverse();
  const value = ({ measures }, name) => (Array.isArray(measures) ? measures.find((each) => each.name === name)?.value : measures[name]);
  const rows = known.map(({ name, unit, floor, target }) => {
    const cells = columns.map(([, result]) => {
      const measured = value(result, name);
      const missed = target !== undefined && measured > target ? "!" : "";
      return measured === undefined ? "" : `${missed}${measured.toFixed(DIGITS[unit])}`;
    });
    return [`${name}, ${unit}`, ...cells, floor?.toFixed(3) ?? "", target?.toFixed(2) ?? ""];
  });
  const head = ["", ...columns.map(([backend]) => backend), "floor", "at most"];
  const lines = [head, ...rows].map(([name, ...cells]) => name.padEnd(40) + cells.map((cell) => cell.padStart(17)).join(""));
  const skipped = Object.entries(results).filter(([, result]) => result.skipped).map(([backend, result]) => `skipped ${backend}: ${result.skipped}`);
  return [...lines, ...skipped].join("\n");
}

async function main() {
  const text = { type: "string" };
  const shape = { layers: text, vocab: text, rank: text, tokens: text, runs: text };
  const { values } = parseArgs({ options: { ...shape, only: text, json: text, hardware: { type: "boolean" } } });
  const { only = BACKENDS.join(), json, hardware, ...flags } = values;
  const chosen = only.split(",");
  const unknown = chosen.filter((each) => !BACKENDS.includes(each));
  if (unknown.length > 0) throw new Error(`unknown backend: ${unknown.join(", ")}; there are ${BACKENDS.join(", ")}`);
  if (chosen.some((each) => each.startsWith("chromium-"))) {
    setup("build");
    await build();
  }
  const results = await bench({ only: chosen, shape: flags, hardware });
  if (json) writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`\n${table(results)}`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    console.error(`[bench] ${error.message}`);
    process.exitCode = 1;
  });
}
