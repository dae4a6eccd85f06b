// What a model writes that learns what it writes: how much it repeats itself, whether in its last quarter it still knows the
// names and things of the beginning, and how many words there are none. One JSON file a run.
//
//   node tools/temp-lora/stories.mjs GRID.json --out DIR [--jobs 1] [--program PATH]   makes the runs
//   node tools/temp-lora/stories.mjs GRID.json --out DIR --table                       a Markdown table of those that are there
//   node tools/temp-lora/stories.mjs GRID.json --out DIR --check                       fails where the last setting repeats itself more than
//                                                                                     1.5 times as much as the first, or names less
//
// GRID.json, of which stories.json is one: { "model": "DIR or .gguf", "text": "beginning.txt", "paragraphs": 11, "names": ["Marta", …], "things": ["ferry", …],
// "lexicon": ["a.txt", …], "seeds": [1, 2, 3], "options": { "max-tokens": 4000 }, "settings": { "name": { "generated-weight":
// 0.25 }, … } }. The beginning is the first paragraphs of the text; what is in none of the lexicon's books is no word;
// options are those of `temp-lora generate`.

import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { clean } from "./books.mjs";
import { fileOf, makeRuns, readGrid } from "./runs.mjs";

const { values, grid } = readGrid("node tools/temp-lora/stories.mjs GRID.json --out DIR [--table | --check]", { check: { type: "boolean", default: false } });

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

/** Of the last quarter. */
const ending = ({ text }) => text.slice(Math.floor(text.length * 0.75));
/** How often any of some words is said there. */
const said = (report, words) => words.reduce((sum, word) => sum + ending(report).split(new RegExp(`\\b${word}`, "i")).length - 1, 0);

const wordsOf = (text) => text.toLowerCase().match(/[a-z]+/g) ?? [];
/** The share of its words that are none. */
function broken(report, lexicon) {
  const words = wordsOf(ending(report));
  return words.filter((word) => !lexicon.has(word)).length / Math.max(words.length, 1);
}

/** Of the runs of a setting that are there. */
const reportsOf = (name) => runs.filter((run) => run.name === name && existsSync(run.file)).map(({ file }) => JSON.parse(readFileSync(file, "utf8")).report);

function check() {
  const told = [...grid.names, ...grid.things];
  const sums = Object.keys(grid.settings).map((name) => {
    const reports = reportsOf(name);
    if (reports.length < grid.seeds.length) throw new Error(`${name}: ${reports.length} of ${grid.seeds.length} runs are there`);
    const sum = (of) => reports.reduce((total, report) => total + of(report), 0);
    return { name, repetition: sum(({ repetition }) => repetition) / reports.length, told: sum((report) => said(report, told)) };
  });
  for (const { name, repetition, told } of sums) console.log(`${name}: ${percent(repetition)} of the runs of four tokens said again, ${told} names and things of the beginning`);
  const [first, last] = [sums[0], sums.at(-1)];
  if (last.repetition > 1.5 * first.repetition || last.told <= first.told) process.exitCode = 1;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
if (values.check) check();
else if (values.table) {
  const lexicon = new Set([beginning, ...grid.lexicon.map((file) => readFileSync(file, "utf8"))].flatMap(wordsOf));
  console.log("| setting | tokens | runs of four tokens said again | names | things | no words | s |");
  console.log(`|${" --- |".repeat(7)}`);
  for (const name of Object.keys(grid.settings)) {
    const reports = reportsOf(name);
    if (reports.length === 0) continue;
    const list = (of) => reports.map(of).join(", ");
    const cells = [name, list(({ tokens }) => tokens), list(({ repetition }) => percent(repetition)), list((report) => said(report, grid.names)), list((report) => said(report, grid.things)), list((report) => percent(broken(report, lexicon))), list(({ seconds }) => seconds.toFixed(0))];
    console.log(`| ${cells.join(" | ")} |`);
  }
} else {
  await makeRuns(runs, { jobs: Number(values.jobs), program: values.program, env: grid.env }, (report) => `${percent(report.repetition)} said again`);
}
