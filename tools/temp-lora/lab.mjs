// A laboratory for Temp-LoRA: what each of many settings makes of each of many books, one JSON file a run.
//
//   node tools/temp-lora/lab.mjs GRID.json --out DIR [--jobs 1] [--program PATH]   makes the runs
//   node tools/temp-lora/lab.mjs GRID.json --out DIR --table                       a Markdown table of those that are there, by setting; of one by book
//   node tools/temp-lora/lab.mjs GRID.json --out DIR --plot gain.svg               gain along the book; gain against time
//
// GRID.json: { "model": "DIR or .gguf", "books": ["a.txt", …], "options": { "max-tokens": 4096 }, "settings": { "name":
// { "rank": 32, "roll-back": [] }, … } }. Options are those of `temp-lora eval`, whose program is target/release/lorakeet
// (`cargo build --release --features cli`); an empty list is a flag. `env` of a grid is added to the program's environment.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { cleaned, titleOf } from "./books.mjs";
import { plot } from "./plot.mjs";
import { fileOf, makeRuns, readGrid } from "./runs.mjs";

const { values, grid } = readGrid("node tools/temp-lora/lab.mjs GRID.json --out DIR [--table | --plot FILE.svg]", { plot: { type: "string" } });

/** Every run of the grid, books first, so that settings can be compared early. */
const runs = grid.books.flatMap((book) =>
  Object.entries(grid.settings).map(([name, setting]) => {
    const options = { ...grid.options, ...setting };
    const key = { model: basename(grid.model), book: basename(book), options };
    const args = () => ["temp-lora", "eval", "--model", grid.model, "--text", cleaned(book), "--chunks", "--json"];
    return { name, title: `${name}, ${titleOf(book)}`, book, options, key, args, file: fileOf(values.out, key) };
  }),
);

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

/** A row a book. */
function books([{ results }]) {
  console.log("| book | base | Temp-LoRA | change | mixed | chunks better | s a chunk |");
  console.log(`|${" --- |".repeat(7)}`);
  const row = (cells) => console.log(`| ${cells.join(" | ")} |`);
  for (const { book, report } of results) {
    const mixed = 100 * (report.mixed_perplexity / report.base_perplexity - 1);
    row([titleOf(book), report.base_perplexity.toFixed(2), report.perplexity.toFixed(2), `${report.change_percent.toFixed(1)} %`, `${mixed.toFixed(1)} %`, `${report.improved_chunks} of ${report.chunks.length}`, report.seconds_per_chunk.toFixed(1)]);
  }
  row(["all", "", "", `${change(results).toFixed(1)} %`, `${change(results, "mixed_perplexity").toFixed(1)} %`, "", ""]);
}

if (values.table) Object.keys(grid.settings).length > 1 ? table() : books(made());
else if (values.plot) writeFileSync(values.plot, plot(made(), change));
else await makeRuns(runs, { jobs: Number(values.jobs), program: values.program, env: grid.env }, (report) => `${report.change_percent.toFixed(2)} %`);
