// The packed package in Deno and Bun, where their npm packages brought them: a model and an adapter from paths, texts, a
// stream that changes its adapter, a server's answer, in Node what serve.test.mjs tests. And threads in all three.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../tools/setup.mjs";
import { writeRandomAdapter } from "../web/random-adapter.mjs";
import { golden, project } from "./project.mjs";

const demo = join(root, "www/models/demo");
const at = (path) => join(root, "tests/bundlers/node_modules", path);
const RUNTIMES = { Deno: [at("@deno/linux-x64-glibc/deno"), "run", "-A"], Bun: [at("@oven/bun-linux-x64/bin/bun"), "run"] };

const PROGRAM = `
import { createEngine } from "lorakeet";
import { createHandler } from "lorakeet/server";

const [model, prompt] = process.argv.slice(2);
const engine = await createEngine(model, { device: "cpu", threads: 1 });
await engine.loadAdapter("./poet");
const request = { prompt, max_tokens: 16, temperature: 0 };
const { choices: [base] } = await engine.completions.create(request);
const stream = engine.completions.create({ ...request, adapter: "poet", stream: true });
let text = "";
await stream.setAdapter(null);
for await (const { choices: [choice] } of stream) text += choice.text;
const response = await createHandler(engine)(new Request("http://localhost/v1/models"));
console.log(JSON.stringify([base.text, text, (await response.json()).data.map(({ id }) => id)]));
await engine.dispose();
`;

/** How often an engine takes over the threads of one that has ended. */
const TIMES = 12;

/** Texts by two threads, by the one that is left, and by two again; then by one, where the others' script is not there. */
const THREADS = `
import { renameSync } from "node:fs";
import { createEngine } from "lorakeet";

const [model, prompt, isBroken] = process.argv.slice(2);
if (isBroken) renameSync("node_modules/lorakeet/dist/thread/pool-thread.js", "node_modules/lorakeet/dist/thread/gone.js");
const open = () => createEngine(model, { device: "cpu", threads: 2 });
const told = async (engine) => {
  const { choices: [{ text }] } = await engine.completions.create({ prompt: prompt.repeat(40), max_tokens: 16, temperature: 0 });
  return [engine.info.threads, text];
};
const first = await open();
const second = await open();
const texts = [await told(first), await told(second)];
const counts = [];
let third = first;
for (let i = 0; i < ${TIMES}; i++) {
  await third.dispose(); // the other thread may still be on its way back
  third = await open();
  counts.push(third.info.threads);
}
console.log(JSON.stringify([...texts, await told(third), counts]));
`;

for (const [name, [program, ...args]] of Object.entries({ Node: [process.execPath], ...RUNTIMES })) {
  test(`threads in ${name}`, (t) => {
    if (!existsSync(program)) return t.skip(`${name}'s npm package is not here`);
    const folder = project(`threads-${name.toLowerCase()}`, { "main.mjs": THREADS });
    const run = (...more) => JSON.parse(execFileSync(program, [...args, "main.mjs", demo, golden.prompt, ...more], { cwd: folder, encoding: "utf8" }));
    const [[two, text], [one, alone], [again, after], counts] = run();
    assert.deepEqual([two, one, again, ...counts], [2, 1, 2, ...counts.map(() => 2)]);
    assert.ok(text.length > 10 && text === alone && text === after, text);
    assert.deepEqual(run("broken"), [[1, text], [1, text], [1, text], counts.map(() => 1)]);
  });
}

for (const [name, [program, ...args]] of Object.entries(RUNTIMES)) {
  test(name, (t) => {
    if (!existsSync(program)) return t.skip(`${name}'s npm package is not here`);
    const folder = project(name.toLowerCase(), { "main.mjs": PROGRAM });
    writeRandomAdapter(join(folder, "poet"), { model: demo });
    const [base, text, models] = JSON.parse(execFileSync(program, [...args, "main.mjs", demo, golden.prompt], { cwd: folder, encoding: "utf8" }));
    assert.ok(golden.text.startsWith(base) && base.length > 30, base);
    assert.equal(text, base);
    assert.deepEqual(models, ["demo", "demo:poet"]);
  });
}
