// What a model writes that learns what it writes: how much it repeats itself, and whether it still knows the names of the
// beginning in the end. One JSON file a run.
//
//   node tools/temp-lora/stories.mjs GRID.json --out DIR [--jobs 1] [--program PATH]   makes the runs
//   node tools/temp-lora/stories.mjs GRID.json --out DIR --table                       a Markdown table of those that are there
//
// GRID.json: { "model": "DIR or .gguf", "text": "beginning.txt", "paragraphs": 11, "names": ["Marta", …], "seeds": [1, 2, 3],
// "options": { "max-tokens": 4000 }, "settings": { "name": { "generated-weight": 0.25 }, … } }. The beginning is the first
// paragraphs of the text; options are those of `temp-lora generate`.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { clean } from "./books.mjs";
import { fileOf, makeRuns } from "./runs.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: "string" },
    jobs: { type: "string", default: "1" },
    program: { type: "string", default: join(root, "target/release/lorakeet") },
    table: { type: "boolean", default: false },
  },
});
if (positionals.length !== 1 || values.out === undefined) throw new Error("usage: node tools/temp-lora/stories.mjs GRID.json --out DIR [--table]");
const grid = JSON.parse(readFileSync(positionals[0], "utf8"));
mkdirSync(values.out, { recursive: true });

const beginning = clean(readFileSync(grid.text, "utf8")).split("\n\n").slice(0, grid.paragraphs).join("\n\n") + "\n\n";
const text = join(mkdtempSync(join(tmpdir(), "stories-")), basename(grid.text));
writeFileSync(text, beginning);

const runs = grid.seeds.flatMap((seed) =>
  Object.entries(grid.settings).map(([name, setting]) => {
    const options = { ...grid.options, ...setting, seed };
    const key = { model: basename(grid.model), beginning, options };
    const args = () => ["temp-lora", "generate", "--model", grid.model, "--text", text, "--go-on", "--json"];
    return { name, title: `${name}, seed ${seed}`, options, key, args, file: fileOf(values.out, key) };
  }),
);

/** Names of the beginning in the last quarter, each time one is said. */
function names(report) {
  const last = report.text.slice(Math.floor(report.text.length * 0.75));
  return grid.names.reduce((sum, name) => sum + last.split(new RegExp(`\\b${name}\\b`)).length - 1, 0);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
if (values.table) {
  console.log("| setting | runs of four tokens said again | names of the beginning in the last quarter | s |");
  console.log(`|${" --- |".repeat(4)}`);
  for (const name of Object.keys(grid.settings)) {
    const reports = runs.filter((run) => run.name === name && existsSync(run.file)).map(({ file }) => JSON.parse(readFileSync(file, "utf8")).report);
    if (reports.length === 0) continue;
    const seconds = reports.reduce((sum, report) => sum + report.seconds, 0) / reports.length;
    console.log(`| ${name} | ${reports.map(({ repetition }) => percent(repetition)).join(", ")} | ${reports.map(names).join(", ")} | ${seconds.toFixed(0)} |`);
  }
} else {
  await makeRuns(runs, { jobs: Number(values.jobs), program: values.program, env: grid.env }, (report) => `${percent(report.repetition)} said again, ${names(report)} names`);
}
