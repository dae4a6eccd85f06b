// Temp-LoRA over whole books: a Markdown table of perplexities with and without it, or of what each option changes.
//
//   node tools/novels.mjs FOLDER/a.txt FOLDER/b.txt … [--model DIR] [--jobs 1] [--vary] [-- options of `temp-lora eval`]
//
// The program is target/release/lorakeet: `cargo build --release --features cli`.

import { spawn } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cleaned, titleOf } from "./temp-lora/books.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const end = process.argv.indexOf("--");
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, end < 0 ? undefined : end),
  allowPositionals: true,
  options: {
    model: { type: "string", default: join(root, "www/models/demo") },
    program: { type: "string", default: join(root, "target/release/lorakeet") },
    jobs: { type: "string", default: "1" },
    vary: { type: "boolean", default: false },
  },
});
const options = end < 0 ? [] : process.argv.slice(end + 1);

// What a book is learned with, unless the command line says otherwise.
const SETTING = { chunk: 128, context: 128, rank: 32, "learning-rate": 1e-3, epochs: 2, "constant-context": true };

/** The options that `--vary` changes, each alone. */
const VARIATIONS = {
  "the setting": {},
  "the paper's rate, 5e-5": { "learning-rate": 5e-5 },
  "the paper's warm-up: the first chunk teaches nothing": { "warmup-chunks": 2 },
  "a warm-up that begins at half": { "warmup-chunks": 2, "warmup-start": 1 },
  "a gradient through the context": { "constant-context": false },
  "one step on each chunk": { epochs: 1 },
  "rank 8": { rank: 8 },
  "feed-forward maps alone": { target: ["gate_proj", "up_proj", "down_proj"] },
  "attention's maps alone": { target: ["q_proj", "k_proj", "v_proj", "o_proj"] },
  "a core alone, variant lora-xs": { variant: "lora-xs" },
  "the same, rank 64, learning rate 5e-4": { variant: "lora-xs", rank: 64, "learning-rate": 5e-4 },
  "a quarter of the context": { context: 32 },
  "rollBack": { "roll-back": [] },
};

/** `{ rank: 8, target: ["a", "b"] }` as arguments, without what the command line gives; an empty list is a flag. */
const asArguments = (setting) =>
  Object.entries(setting)
    .filter(([name]) => !options.includes(`--${name}`))
    .flatMap(([name, value]) => (Array.isArray(value) && value.length === 0 ? [`--${name}`] : [value].flat().flatMap((each) => [`--${name}`, String(each)])));
const most = options.indexOf("--max-tokens");
const limit = most < 0 ? [] : options.slice(most, most + 2);

function program(...args) {
  return new Promise((done, fail) => {
    const child = spawn(values.program, [...args, "--model", values.model, "--json"], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done(JSON.parse(output)) : fail(new Error(`${args[0]} ended with ${code}`))));
  });
}

const number = (value, digits = 2) => value.toFixed(digits);

const learn = (text, variation = {}) => program("temp-lora", "eval", "--text", text, ...asArguments({ ...SETTING, ...variation }), ...options);

async function measure(book) {
  const text = cleaned(book);
  const temp = await learn(text);
  // The same chunks after three times the context, without an adapter: what a longer window would give.
  const context = 4 * temp.chunk;
  const long = await program("perplexity", "--text", text, "--context-length", String(context), "--stride", String(temp.chunk), ...limit);
  const row = { book: titleOf(book), ...temp, long_perplexity: long.perplexity };
  console.error(JSON.stringify(row));
  return row;
}

/** What each variation makes of a book. They take turns, so that their times compare. */
async function vary(book) {
  const text = cleaned(book);
  const rows = [];
  for (const [name, variation] of Object.entries(VARIATIONS)) {
    rows.push(await learn(text, variation));
    console.error(JSON.stringify({ book: basename(book), name, ...rows.at(-1) }));
  }
  return rows;
}

/** `work` of each book, as many at a time as asked for. */
async function each(books, work) {
  const results = [];
  const left = [...books.entries()];
  await Promise.all(Array.from({ length: Number(values.jobs) }, async () => {
    while (left.length > 0) {
      const [i, book] = left.shift();
      results[i] = await work(book);
    }
  }));
  return results;
}

function tableOfOptions(books) {
  console.log(`| | change of perplexity, ${books.length} books | each | time | tensors |`);
  console.log(`|${" --- |".repeat(5)}`);
  const mean = (list) => list.reduce((sum, x) => sum + x) / list.length;
  Object.keys(VARIATIONS).forEach((name, i) => {
    // Of the mean loss: perplexities of books differ too much to be averaged.
    const change = 100 * Math.expm1(mean(books.map((rows) => Math.log(rows[i].perplexity / rows[i].base_perplexity))));
    const all = books.map((rows) => number(rows[i].change_percent, 1)).join(", ");
    const [time, bytes] = ["seconds_per_chunk", "tensor_bytes"].map((key) => mean(books.map((rows) => rows[i][key] / rows[0][key])));
    console.log(`| ${name} | ${number(change, 1)} % | ${all} | ${number(time)} | ${number(bytes)} |`);
  });
}

function tableOfBooks(books) {
  console.log("| book | tokens | base | Temp-LoRA | change | mixed | chunks better | base, longer window | tensors, MB | ms a chunk |");
  console.log(`|${" --- |".repeat(10)}`);
  for (const row of books.sort((a, b) => a.book.localeCompare(b.book))) {
    const chunks = Math.ceil(row.tokens / row.chunk);
    console.log(
      `| ${row.book} | ${row.tokens} | ${number(row.base_perplexity)} | ${number(row.perplexity)} | ${number(row.change_percent, 1)} % | ` +
        `${number(row.mixed_perplexity)} | ${row.improved_chunks} of ${chunks} | ${number(row.long_perplexity)} | ` +
        `${number(row.tensor_bytes / 1e6, 1)} | ${number(1000 * row.seconds_per_chunk, 0)} |`,
    );
  }
}

if (values.vary) tableOfOptions(await each(positionals, vary));
else tableOfBooks(await each(positionals, measure));
