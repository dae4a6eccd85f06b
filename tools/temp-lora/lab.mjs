// A laboratory for Temp-LoRA: what each of many settings makes of each of many books, one JSON file a run. A run that is
// there is not made again, so that a grid may be stopped and gone on with, or grow.
//
//   node tools/temp-lora/lab.mjs GRID.json --out DIR [--jobs 1] [--program PATH]   makes the runs
//   node tools/temp-lora/lab.mjs GRID.json --out DIR --table                       a Markdown table of those that are there
//   node tools/temp-lora/lab.mjs GRID.json --out DIR --plot gain.svg               gain along the book; gain against time
//
// GRID.json: { "model": "DIR or .gguf", "books": ["a.txt", …], "options": { "max-tokens": 4096 }, "settings": { "name":
// { "rank": 32, "roll-back": [] }, … } }. Options are those of `temp-lora eval`, whose program is target/release/lorakeet
// (`cargo build --release --features cli`); an empty list is a flag. `env` of a grid is the program's environment.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cleaned, titleOf } from "./books.mjs";
import { plot } from "./plot.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: "string" },
    jobs: { type: "string", default: "1" },
    program: { type: "string", default: join(root, "target/release/lorakeet") },
    table: { type: "boolean", default: false },
    plot: { type: "string" },
  },
});
if (positionals.length !== 1 || values.out === undefined) throw new Error("usage: node tools/temp-lora/lab.mjs GRID.json --out DIR [--table | --plot FILE.svg]");
const grid = JSON.parse(readFileSync(positionals[0], "utf8"));
mkdirSync(values.out, { recursive: true });

/** Every run of the grid, books first, so that settings can be compared early. */
const runs = grid.books.flatMap((book) =>
  Object.entries(grid.settings).map(([name, setting]) => {
    const options = { ...grid.options, ...setting };
    const key = { model: basename(grid.model), book: basename(book), options };
    const hash = createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 16);
    return { name, book, options, key, file: join(values.out, `${hash}.json`) };
  }),
);

const asArguments = (options) =>
  Object.entries(options).flatMap(([name, value]) => (Array.isArray(value) && value.length === 0 ? [`--${name}`] : [value].flat().flatMap((each) => [`--${name}`, String(each)])));

function evaluated({ book, options }) {
  const args = ["temp-lora", "eval", "--model", grid.model, "--text", cleaned(book), "--chunks", "--json", ...asArguments(options)];
  return new Promise((done, fail) => {
    const child = spawn(values.program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...grid.env } });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done(JSON.parse(output)) : fail(new Error(`${args.join(" ")}: ended with ${code}`))));
  });
}

/** Makes the runs that are not there; one that fails stops no other. */
async function make() {
  const left = runs.filter(({ file }) => !existsSync(file));
  console.error(`${runs.length} runs, ${left.length} to make`);
  const work = async () => {
    for (let run = left.shift(); run !== undefined; run = left.shift()) {
      const began = performance.now();
      try {
        const report = await evaluated(run);
        // Whole or not there at all.
        writeFileSync(`${run.file}.part`, JSON.stringify({ ...run.key, name: run.name, report }));
        renameSync(`${run.file}.part`, run.file);
        console.error(`${run.name}, ${titleOf(run.book)}: ${report.change_percent.toFixed(2)} %, ${((performance.now() - began) / 1000).toFixed(0)} s`);
      } catch (error) {
        process.exitCode = 1;
        console.error(`${run.name}, ${titleOf(run.book)}: ${error.message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
}

/** {name, results: [{book, report}]} for every setting that has runs. */
function made() {
  const settings = Object.keys(grid.settings).map((name) => {
    const results = runs.filter((run) => run.name === name && existsSync(run.file)).map(({ book, file }) => ({ book, report: JSON.parse(readFileSync(file, "utf8")).report }));
    return { name, results };
  });
  return settings.filter(({ results }) => results.length > 0);
}

const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
/** Of the mean losses: perplexities of books differ too much to be averaged. */
const change = (results, key = "perplexity") => 100 * Math.expm1(mean(results.map(({ report }) => Math.log(report[key] / report.base_perplexity))));

function table() {
  const settings = made();
  console.log("| setting | change | mixed | each book | chunks better | s a chunk | tensors, MB |");
  console.log(`|${" --- |".repeat(7)}`);
  for (const { name, results } of settings) {
    const each = results.map(({ report }) => report.change_percent.toFixed(1)).join(", ");
    const better = results.reduce((sum, { report }) => sum + report.improved_chunks, 0);
    const chunks = results.reduce((sum, { report }) => sum + report.chunks.length, 0);
    const seconds = mean(results.map(({ report }) => report.seconds_per_chunk));
    const bytes = mean(results.map(({ report }) => report.tensor_bytes)) / 1e6;
    console.log(`| ${name} | ${change(results).toFixed(1)} % | ${change(results, "mixed_perplexity").toFixed(1)} % | ${each} | ${better} of ${chunks} | ${seconds.toFixed(2)} | ${bytes.toFixed(0)} |`);
  }
  console.log(`\nBooks: ${[...new Set(settings.flatMap(({ results }) => results.map(({ book }) => titleOf(book))))].join(", ")}.`);
}

if (values.table) table();
else if (values.plot) writeFileSync(values.plot, plot(made(), change));
else await make();
