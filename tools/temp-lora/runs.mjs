// Runs of the terminal program, each kept as one JSON file, so that a grid may be stopped and gone on with, or grow.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The command line of a tool that makes runs of a grid, GRID.json --out DIR and `options` of its own: {values, grid}. */
export function readGrid(usage, options = {}) {
  const known = { out: { type: "string" }, jobs: { type: "string", default: "1" }, program: { type: "string", default: join(root, "target/release/lorakeet") }, table: { type: "boolean", default: false } };
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { ...known, ...options } });
  if (positionals.length !== 1 || values.out === undefined) throw new Error(`usage: ${usage}`);
  mkdirSync(values.out, { recursive: true });
  return { values, grid: JSON.parse(readFileSync(positionals[0], "utf8")) };
}

/** The file of a run in a folder, by what makes it what it is. */
export const fileOf = (out, key) => join(out, `${createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 16)}.json`);

/** Options of a grid as arguments: an empty list is a flag. */
const asArguments = (options) =>
  Object.entries(options).flatMap(([name, value]) => (Array.isArray(value) && value.length === 0 ? [`--${name}`] : [value].flat().flatMap((each) => [`--${name}`, String(each)])));

function answered(program, args, env) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done(JSON.parse(output)) : fail(new Error(`${args.join(" ")}: ended with ${code}`))));
  });
}

/**
 * Makes the runs that are not there, so many at a time; one that fails stops no other. A run is its `title`, `name`, `file`,
 * `key`, the program's `args` and its `options`; `said` is a line about its report.
 */
export async function makeRuns(runs, { jobs, program, env }, said) {
  const left = runs.filter(({ file }) => !existsSync(file));
  console.error(`${runs.length} runs, ${left.length} to make`);
  const work = async () => {
    for (let run = left.shift(); run !== undefined; run = left.shift()) {
      const began = performance.now();
      try {
        const report = await answered(program, [...run.args(), ...asArguments(run.options)], env);
        // Whole or not there at all.
        writeFileSync(`${run.file}.part`, JSON.stringify({ ...run.key, name: run.name, report }));
        renameSync(`${run.file}.part`, run.file);
        console.error(`${run.title}: ${said(report)}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
      } catch (error) {
        process.exitCode = 1;
        console.error(`${run.title}: ${error.message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
}
