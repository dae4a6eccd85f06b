// Measures the built package beside transformers.js and wllama in one Chromium, on the same weights, in turns.
// Not beside llama.cpp: that is tools/beside_llama_cpp.py. Figures compare with others of the same run alone, ratios with those of other runs.
//
//   npm run bench:peers -- [--rounds 3] [--only PATTERN] [--webgpu] [--hardware] [--json FILE] [--markdown FILE]
//
// The package is dist/: `npm run build` first. What else is needed comes once into .tools/peers/: the peers from npm (470 MB), the Python
// packages that write weights (250 MB), and the weights, random ones of SmolLM2-135M's shape in every engine's format (1.4 GB).
// SmolLM2-135M-Instruct itself is measured where `python3 tools/real_model.py` has put it.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { cpus, homedir, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ISOLATED, serve } from "./serve.mjs";
import { findPip, npmPackages, root, run } from "./setup.mjs";

const PEERS = { "@huggingface/transformers": "4.3.2", "@wllama/wllama": "3.13.0" };
const PYTHON = { gguf: "0.19.0", numpy: "2.4.6", onnx: "1.23.2", onnxruntime: "1.32.0", safetensors: "0.8.0" };
const SHORT = 33; // tokens of a prompt that warms up, and of one under a switched adapter
const PROMPTS = [128, 512]; // SmolLM2 itself has the first alone, for time's sake
const DECODED = 64;
const THREADS = [1, 2];
const LIMIT_S = 300; // for one configuration in one round

const folder = join(root, ".tools/peers");
const weights = join(folder, `weights-${digest("peers/weights.py")}`);
const models = process.env.LORAKEET_MODELS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorakeet-models");
const REAL = "SmolLM2-135M-Instruct.Q4_1.gguf";

const RANDOM = "random";
const lorakeet = (name, threads, more) => ({ name: `Lorakeet ${name}`, engine: "lorakeet", device: "cpu", threads, ...more });
const transformers = (dtype, threads, device = "wasm") => ({ name: `transformers.js ${dtype}`, engine: "transformers", weights: RANDOM, model: "onnx", device, dtype, threads });
const wllama = (name, threads, more) => ({ name: `wllama ${name}`, engine: "wllama", device: "cpu", threads, ...more });
const q8 = { weights: RANDOM, url: "/models/q8_0.gguf" };
const f32 = { weights: RANDOM, url: "/models/safetensors/", dtype: "f32" };
const real = { weights: "SmolLM2-135M-Instruct", url: `/real/${REAL}` };

/** Each is measured in each round; a peer is compared with `against` of as many threads. */
const CONFIGURATIONS = [
  ...THREADS.map((threads) => lorakeet("f32", threads, { ...f32, adapters: threads === 1 })),
  ...THREADS.map((threads) => lorakeet("q8", threads, { ...q8, adapters: threads === 1 })),
  ...THREADS.map((threads) => ({ ...transformers("fp32", threads), against: "Lorakeet f32" })),
  ...THREADS.map((threads) => ({ ...transformers("q8", threads), against: "Lorakeet q8" })),
  ...THREADS.map((threads) => ({ ...wllama("Q8_0", threads, q8), against: "Lorakeet q8" })),
  ...THREADS.map((threads) => lorakeet("Q4_1", threads, real)),
  ...THREADS.map((threads) => ({ ...wllama("Q4_1", threads, real), against: "Lorakeet Q4_1" })),
];
const ON_WEBGPU = [
  lorakeet("f32 on WebGPU", 1, { ...f32, device: "webgpu" }),
  { ...transformers("fp32", 1, "webgpu"), name: "transformers.js fp32 on WebGPU", against: "Lorakeet f32 on WebGPU" },
];

/** What is measured: how it is called, and whether less of it is better. */
const MEASURES = {
  load: ["load, s", true],
  first128: ["first token of 128, s", true],
  first512: ["first token of 512, s", true],
  decode: [`decode of ${DECODED}, tokens/s`, false],
  memory: ["memory, MB", true],
  peak: ["peak, MB", true],
};

function digest(script) {
  return createHash("sha256").update(readFileSync(join(root, "tools", script))).update(JSON.stringify(PYTHON)).digest("hex").slice(0, 8);
}

/** Fetches and makes what is missing, or says what the machine lacks. */
function prepare() {
  if (!existsSync(join(root, "dist/index.js"))) throw new Error("there is no package in dist/: `npm run build` makes it");
  npmPackages(process.env);
  mkdirSync(folder, { recursive: true });
  const manifest = `${JSON.stringify({ private: true, dependencies: PEERS }, null, 2)}\n`;
  const installed = join(folder, "node_modules/.bench");
  if (!existsSync(installed) || readFileSync(installed, "utf8") !== manifest) {
    writeFileSync(join(folder, "package.json"), manifest);
    // Their install scripts fetch what Node alone needs.
    run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder, why: "the peers, once" });
    writeFileSync(installed, manifest);
  }
  if (existsSync(weights)) return;
  const python = findPip(process.env);
  if (python === null) throw new Error("Python with pip is missing, which writes the weights. On Debian: `apt-get install python3-pip`");
  const packages = join(folder, "python");
  const pinned = Object.entries(PYTHON).map(([name, version]) => `${name}==${version}`);
  run(python, ["-m", "pip", "install", "--quiet", "--upgrade", "--disable-pip-version-check", "--root-user-action=ignore", "--target", packages, ...pinned], { why: "what writes the weights, once" });
  for (const name of readdirSync(folder)) if (name.startsWith("weights-")) rmSync(join(folder, name), { recursive: true });
  const half = join(folder, "half");
  rmSync(half, { recursive: true, force: true });
  run(python, [join(root, "tools/peers/weights.py"), half], { env: { ...process.env, PYTHONPATH: packages }, why: "the weights, once" });
  renameSync(half, weights);
}

/** A prompt that looks random, the same for the same seed; its text is that of the tokens of weights.py. */
function random(length, seed) {
  const ids = Array.from({ length }, (_, i) => ((i + 1) * 7919 + seed * 104729) % 49000 + 100);
  const letters = (id) => [17576, 676, 26, 1].map((place) => String.fromCharCode(97 + Math.floor(id / place) % 26)).join("");
  return { ids, text: ids.map((id) => ` ${letters(id)}`).join("") };
}

/** Prompts of each kind of weights: a short one, one of 128 tokens, and one of 512 where that is measured. */
async function prompts(site, browser, chosen) {
  const made = { [RANDOM]: [SHORT, ...PROMPTS].map(random) };
  if (!chosen.some(({ weights }) => weights === real.weights)) return made;
  const story = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8");
  const page = await open(site, browser);
  made[real.weights] = await page.evaluate(async ({ configuration, story, lengths }) => {
    await (await import("/peers/page.mjs")).load(configuration);
    const tokens = await engine.lorakeet.tokenize(story);
    // From where on so many tokens are those of their text.
    const cut = async (length, from) => {
      const ids = tokens.slice(from, from + length);
      const text = await engine.lorakeet.detokenize(ids);
      const again = await engine.lorakeet.tokenize(text);
      return String(again) === String(ids) ? { ids, text } : cut(length, from + 1);
    };
    return [await cut(lengths[0], 100), await cut(lengths[1], 300)];
  }, { configuration: lorakeet("", 1, real), story, lengths: [SHORT, PROMPTS[0]] });
  await page.context().close();
  return made;
}

async function open(site, browser) {
  const context = await browser.newContext(); // and with it processes of its own
  const page = await context.newPage();
  await page.goto(new URL("peers/page.mjs", site.url).href);
  return page;
}

/** Proportional set size of this program's children, the browser, in MB; null where there is no /proc. */
function memory() {
  if (!existsSync("/proc/self/smaps_rollup")) return null;
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`);
    if (stat) parents.set(Number(pid), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const isOurs = (pid) => pid !== undefined && pid > 1 && (parents.get(pid) === process.pid || isOurs(parents.get(pid)));
  const kb = [...parents.keys()].filter(isOurs).map((pid) => Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0));
  return kb.reduce((sum, each) => sum + each, 0) / 1000;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended
  }
}

/** One configuration in a fresh page. */
async function measure(site, browser, configuration, asked) {
  const page = await open(site, browser);
  const blank = memory();
  let peak = blank;
  const sample = () => { peak = blank && Math.max(peak, memory()); };
  const sampling = setInterval(sample, 1000);
  try {
    const measured = await within(LIMIT_S, requests(page, configuration, asked));
    sample();
    return { blank, peak, ...measured };
  } finally {
    clearInterval(sampling);
    await page.context().close();
  }
}

async function requests(page, configuration, [short, prompt, long]) {
  const call = (name, ...args) => page.evaluate(async ({ name, args }) => (await import("/peers/page.mjs"))[name](...args), { name, args });
  const load = await call("load", configuration);
  await call("draw", short, 1); // to warm up
  const { first: first128, decode, count, ...tokens } = await call("draw", prompt, DECODED + 1);
  if (count <= DECODED) throw new Error(`${count} tokens came, expected ${DECODED + 1}`);
  const first512 = long && (await call("draw", long, 1)).first;
  const held = memory();
  const adapters = configuration.adapters && (await call("adapters", prompt, short, DECODED + 1));
  return { load, first128, first512, decode, memory: held, tokens, adapters };
}

function within(limit, work) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`not done after ${limit} s`)), 1000 * limit); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** How many of our tokens are theirs before one differs. */
function same(ours, theirs) {
  if (theirs.ids) return leading(ours.ids, (id, i) => id === theirs.ids[i]);
  let text = "";
  return leading(ours.pieces, (piece) => theirs.text.startsWith((text += piece)));
}

function leading(list, holds) {
  const at = list.findIndex((each, i) => !holds(each, i));
  return at < 0 ? list.length : at;
}

/** Least, median, most. */
function spread(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return sorted.length === 0 ? null : [sorted[0], (low + high) / 2, sorted.at(-1)];
}

function shown(range) {
  if (range === null) return "";
  const [least, median, most] = range.map((value) => Number(value.toPrecision(3)));
  return least === most ? `${median}` : `${median} (${least}-${most})`;
}

function markdown(rows) {
  return rows.map((row, i) => `| ${row.join(" | ")} |${i === 0 ? `\n|${" --- |".repeat(row.length)}` : ""}`).join("\n");
}

/** Tables of what was measured, of ratios, and of adapters. A ratio is taken in each round, in which the two ran near each other. */
function report({ versions, rounds, load, results }) {
  const names = Object.keys(MEASURES);
  const key = ({ name, threads }) => `${name}, ${threads} thread${threads > 1 ? "s" : ""}`;
  const done = results.filter(({ runs }) => runs.length > 0);
  const measured = done.map(({ configuration, runs }) => [
    configuration.weights, key(configuration), ...names.map((name) => shown(spread(runs.map((run) => run[name])))),
  ]);
  const ratios = [];
  for (const { configuration, runs } of done) {
    const ours = done.find((each) => each.configuration.name === configuration.against && each.configuration.threads === configuration.threads);
    if (!ours) continue;
    const pairs = runs.flatMap((run) => ours.runs.filter(({ round }) => round === run.round).map((our) => [our, run]));
    const ratio = (name) => spread(pairs.map(([our, run]) => (MEASURES[name][1] ? run[name] / our[name] : our[name] / run[name])));
    const agree = pairs.map(([our, run]) => same(our.tokens, run.tokens));
    ratios.push([`${ours.configuration.name} / ${key(configuration)}`, ...names.map((name) => shown(ratio(name))), `${shown(spread(agree))} of ${DECODED + 1}`]);
  }
  const adapters = done.filter(({ runs }) => runs[0].adapters).map(({ configuration, runs }) => {
    const of = (value) => shown(spread(runs.map((run) => value(run.adapters, run))));
    return [configuration.name, of(({ load }) => load), of(({ on }, base) => on.first / base.first128), of(({ on }, base) => base.decode / on.decode),
      of((a) => 1e6 * a.switch), of((a) => 1e3 * a.same), of((a) => 1e3 * a.switched)];
  });
  const parts = [
    `${versions}. ${rounds} round${rounds > 1 ? "s" : ""} in turns; median (least-most). Load average before ${load[0].toFixed(1)}, after ${load[1].toFixed(1)}. Memory is that of the whole browser (proportional set size) after the requests; a blank page is ${shown(spread(done.flatMap(({ runs }) => runs.map(({ blank }) => blank))))} MB of it.`,
    markdown([["weights", "engine", ...names.map((name) => MEASURES[name][0])], ...measured]),
    "Ratios; above 1 Lorakeet is ahead.",
    markdown([["", ...names.map((name) => MEASURES[name][0].replace(/,[^,]*$/, "")), "greedy tokens the same"], ...ratios]),
    markdown([["adapters of rank 16 on every map", "load, s", "first token of 128, on / off", "ms a token, on / off", "switch, µs", `request of one token after ${SHORT}, same adapter, ms`, "the same, other adapter, ms"], ...adapters]),
    ...results.flatMap(({ configuration, failures }) => failures.map((reason) => `Failed: ${key(configuration)}: ${reason}`)),
  ];
  return `${parts.join("\n\n")}\n`;
}

async function main() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const { values } = parseArgs({ options: { rounds: { ...text, default: "3" }, only: text, webgpu: flag, hardware: flag, json: text, markdown: text } });
  const rounds = Number(values.rounds);
  if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error(`--rounds ${values.rounds}, expected a number from 1 on`);
  prepare();
  const hasReal = existsSync(join(models, "smollm2", REAL));
  if (!hasReal) console.log(`skipped: no ${REAL}; \`python3 tools/real_model.py\` fetches it`);
  const chosen = [...CONFIGURATIONS, ...(values.webgpu ? ON_WEBGPU : [])]
    .filter(({ weights }) => hasReal || weights !== real.weights)
    .filter(({ name, threads }) => new RegExp(values.only ?? "", "i").test(`${name} ${threads}`));
  if (chosen.length === 0) throw new Error(`--only ${values.only}: no configuration has such a name`);
  const results = chosen.map((configuration) => ({ configuration, runs: [], failures: [] }));

  // Isolated pages may have threads, and have the finer clock.
  const roots = { "/peers/": join(root, "tools/peers"), "/dist/": join(root, "dist"), "/packages/": folder, "/models/": weights, "/real/": join(models, "smollm2") };
  const site = await serve({ roots, port: 0, headers: ISOLATED });
  const { launch } = await import("./chromium.mjs"); // there since `prepare`
  const browser = await launch(values);
  const started = Date.now();
  const load = [loadavg()[0]];
  try {
    const asked = await prompts(site, browser, chosen);
    for (let round = 1; round <= rounds; round++) {
      for (const { configuration, runs, failures } of round % 2 === 1 ? results : results.toReversed()) {
        const began = Date.now();
        const name = `round ${round} of ${rounds}: ${configuration.name}, ${configuration.threads} thread(s)`;
        try {
          runs.push({ round, ...(await measure(site, browser, configuration, asked[configuration.weights])) });
          const { first128, decode } = runs.at(-1);
          console.log(`${name}: first token ${first128.toFixed(2)} s, ${decode.toFixed(1)} tokens/s; ${Math.round((Date.now() - began) / 1000)} s in all`);
        } catch (error) {
          failures.push(error.message.split("\n")[0]);
          console.log(`${name}: failed: ${error.message}`);
        }
      }
    }
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const peers = Object.entries(PEERS).map(([name, version]) => `${name} ${version}`);
    const versions = [`Lorakeet ${version}`, ...peers, `Chromium ${browser.version()}`, `${cpus().length} x ${cpus()[0]?.model.trim()}`].join(", ");
    load.push(loadavg()[0]);
    const result = { versions, date: new Date().toISOString(), rounds, load, seconds: Math.round((Date.now() - started) / 1000), results };
    const table = report(result);
    if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
    if (values.markdown) writeFileSync(values.markdown, table);
    console.log(`\n${table}\n${result.seconds} s`);
    if (results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
  } finally {
    await browser.close();
    await site.close();
  }
}

main().catch((error) => {
  console.error(`[bench:peers] ${error.message}`);
  process.exitCode = 1;
});
