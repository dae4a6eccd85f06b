// Temp-LoRA over whole books: a Markdown table of perplexities with and without it.
//
//   node tools/novels.mjs FOLDER/a.txt FOLDER/b.txt … [--model DIR] [--jobs 1] [-- options of `temp-lora eval`]
//
// Each book is cleaned first (line wraps undone, plain ASCII), so that nothing is learned but words. The program
// is target/release/lorakeet: `cargo build --release --features cli`.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const end = process.argv.indexOf("--");
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, end < 0 ? undefined : end),
  allowPositionals: true,
  options: {
    model: { type: "string", default: join(root, "www/models/demo") },
    program: { type: "string", default: join(root, "target/release/lorakeet") },
    jobs: { type: "string", default: "1" },
  },
});
const options = end < 0 ? [] : process.argv.slice(end + 1);
const most = options.indexOf("--max-tokens");
const limit = most < 0 ? [] : options.slice(most, most + 2);

/** Plain ASCII paragraphs on one line each, as the demo model was trained on. */
function clean(text) {
  const plain = { "—": "--", "–": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', _: "", "\ufeff": "" };
  const ascii = text
    .replace(/[—–…‘’“”_\ufeff]/g, (mark) => plain[mark])
    .normalize("NFKD")
    .replace(/[^\x00-\x7f]/g, "");
  return ascii
    .replace(/\r\n?/g, "\n")
    .split(/\n[ \t]*\n\s*/)
    .map((paragraph) => paragraph.replace(/\s+/g, " ").trim())
    .filter((paragraph) => paragraph !== "")
    .join("\n\n");
}

function program(...args) {
  return new Promise((done, fail) => {
    const child = spawn(values.program, [...args, "--model", values.model, "--json"], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done(JSON.parse(output)) : fail(new Error(`${args[0]} ended with ${code}`))));
  });
}

const folder = mkdtempSync(join(tmpdir(), "novels-"));
const rows = [];

async function measure(book) {
  const text = join(folder, basename(book));
  writeFileSync(text, clean(readFileSync(book, "utf8")));
  const temp = await program("temp-lora", "eval", "--text", text, ...options);
  // The same chunks after three times the context, without an adapter: what a longer window would give.
  const context = 4 * temp.chunk;
  const long = await program("perplexity", "--text", text, "--context-length", String(context), "--stride", String(temp.chunk), ...limit);
  const row = { book: basename(book, ".txt").replaceAll("_", " "), ...temp, long_perplexity: long.perplexity };
  rows.push(row);
  console.error(JSON.stringify(row));
}

const left = [...positionals];
await Promise.all(Array.from({ length: Number(values.jobs) }, async () => {
  while (left.length > 0) await measure(left.shift());
}));

rows.sort((a, b) => a.book.localeCompare(b.book));
const number = (value, digits = 2) => value.toFixed(digits);
console.log("| book | tokens | base | Temp-LoRA | change | mixed | chunks better | base, longer window | tensors, MB | ms a chunk |");
console.log(`|${" --- |".repeat(10)}`);
for (const row of rows) {
  const chunks = Math.ceil(row.tokens / row.chunk);
  console.log(
    `| ${row.book} | ${row.tokens} | ${number(row.base_perplexity)} | ${number(row.perplexity)} | ${number(row.change_percent, 1)} % | ` +
      `${number(row.mixed_perplexity)} | ${row.improved_chunks} of ${chunks} | ${number(row.long_perplexity)} | ` +
      `${number(row.tensor_bytes / 1e6, 1)} | ${number(1000 * row.seconds_per_chunk, 0)} |`,
  );
}
