// Fuzzes every parser, or those named, and prints how many inputs each was given.
// Needs cargo-fuzz (`cargo install cargo-fuzz`). New inputs that reach new code stay in target/fuzz/;
// a failure leaves its input in tests/fuzz/artifacts/.
//
//   node tools/fuzz.mjs [--runs N] [--keep] [parser ...]
//
// --keep puts the smallest inputs that reach the same code into tests/fuzz/corpus/.

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./setup.mjs";

const CORPUS_FILES = 60; // kept of each parser
const CORPUS_FILE_BYTES = 4096;

const { values, positionals } = parseArgs({ options: { runs: { type: "string", default: "10000000" }, keep: { type: "boolean" } }, allowPositionals: true });
const source = readFileSync(join(root, "tests/fuzz/src/parsers.rs"), "utf8");
const known = [...source.matchAll(/^ {4}\("(\w+)", \w+\),$/gm)].map(([, name]) => name);
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`unknown parser: ${unknown.join(", ")}; there are ${known.join(", ")}`);

/** cargo-fuzz without a sanitizer: what is looked for are panics and memory, and both are seen without. */
function fuzz(parser, folders, flags) {
  const args = ["fuzz", "run", "-s", "none", "--fuzz-dir", "tests/fuzz", "--target-dir", "target/fuzzer", "parser", ...folders, "--", ...flags];
  return spawnSync("cargo", args, { cwd: root, env: { ...process.env, LORAKEET_PARSER: parser }, encoding: "utf8", maxBuffer: 1 << 30 });
}

let failures = 0;
for (const parser of positionals.length > 0 ? positionals : known) {
  const committed = join(root, "tests/fuzz/corpus", parser);
  const found = join(root, "target/fuzz", parser);
  for (const folder of [committed, found]) mkdirSync(folder, { recursive: true });
  const started = performance.now();
  // The first folder is the one that grows.
  const { status, stderr } = fuzz(parser, [found, committed], [`-runs=${values.runs}`, "-timeout=10", "-rss_limit_mb=4096", "-print_final_stats=1"]);
  const executed = stderr.match(/stat::number_of_executed_units: (\d+)/)?.[1] ?? stderr.match(/#(\d+)/g)?.at(-1) ?? "0";
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${parser.padEnd(14)}${executed.padStart(12)} inputs ${seconds.padStart(6)} s  ${status === 0 ? "no failure" : "FAILED"}`);
  if (status !== 0) {
    failures++;
    console.log(stderr.split("\n").filter((line) => /panicked|ERROR|artifact|SUMMARY|expected/.test(line)).slice(-8).join("\n"));
  }
  if (values.keep) keep(parser, committed, found);
}
process.exitCode = failures > 0 ? 1 : 0;

function keep(parser, committed, found) {
  const merged = mkdtempSync(join(tmpdir(), "corpus-"));
  try {
    fuzz(parser, [merged, committed, found], ["-merge=1", `-max_len=${CORPUS_FILE_BYTES}`]);
    const bySize = readdirSync(merged).map((name) => join(merged, name)).sort((a, b) => statSync(a).size - statSync(b).size);
    // Evenly over sizes: the smallest alone would all be broken files.
    const step = Math.max(1, bySize.length / CORPUS_FILES);
    rmSync(committed, { recursive: true });
    mkdirSync(committed);
    for (let i = 0; i < bySize.length; i += step) {
      const file = bySize[Math.floor(i)];
      cpSync(file, join(committed, file.split("/").at(-1)));
    }
  } finally {
    rmSync(merged, { recursive: true, force: true });
  }
}
