// Runs every test, or the stages named: `npm test`, `npm test -- native web`.
// A failing stage does not stop the later ones: one run shows all that is wrong.

import { spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inCi, npmPackages, root, setup } from "./setup.mjs";

// Generous: a hung browser must not hang the run for ever.
const COMMAND_LIMIT_MINUTES = 40;
const DOWNLOAD_LIMIT_BYTES = 900_000; // gzip, WebAssembly and JavaScript together, without the modules that only chats, formats and threads fetch
const WASM = ["--target", "wasm32-unknown-unknown"];
// By itself: what it asks of serde_json would be the others', too, which then read JSON in another order than users' do.
const GRAMMAR = ["--package", "lorakeet-grammar"];
const PACKAGES = ["--workspace", "--exclude", "lorakeet-grammar"];

// Without a GPU or a real model, tests that need one are skipped on a developer's machine and fail in CI.
// Test code in the browser cannot see the environment: there the variable counts at compile time.
const strict = inCi ? { LORAKEET_REQUIRE_GPU: "1", LORAKEET_REQUIRE_MODELS: "1" } : {};

/**
 * Each stage: what it needs from set-up, and what it does; `run` returns the number of failures. One that is
 * `isOnRequest` runs only where it is named.
 */
const STAGES = {
  lint: {
    needs: ["npm"],
    async run({ env, wasmEnv, wasmFromDebian, problems }) {
      const clippy = (...args) => ["clippy", ...args, "--", "-D", "warnings"];
      let failures = await command("cargo", ["fmt", "--check"], env);
      failures += await command("cargo", clippy(...GRAMMAR, "--all-targets"), env);
      // Any library in the place of libFuzzer's own: checking links nothing, and building that takes a C++ compiler.
      const fuzz = ["check", "--quiet", "--manifest-path", "tests/fuzz/Cargo.toml", "--target-dir", "target/fuzz-check"];
      failures += await command("cargo", fuzz, { ...env, CUSTOM_LIBFUZZER_PATH: process.execPath });
      failures += await command("cargo", clippy(...PACKAGES, "--all-targets", "--features", "cli"), env);
      if (wasmFromDebian || problems.has("wasm")) {
        console.log("skipped: clippy for wasm32, whose target here is not rustup's");
      } else {
        for (const module of [[], ["--features", "chat-module"], ["--features", "bench-module"], GRAMMAR]) failures += await command("cargo", clippy("--lib", ...module, ...WASM), wasmEnv);
      }
      return failures;
    },
  },
  native: {
    needs: inCi ? ["vulkan", "models"] : [],
    async run({ env }) {
      // Each test has a thread, and glibc would keep what each thread's devices took: 8 GB at the end, not 4.
      const memory = { MALLOC_ARENA_MAX: "2" };
      const failures = await command("cargo", ["test", "--no-fail-fast", ...PACKAGES, "--features", "cli"], { ...env, ...strict, ...memory });
      return failures + await command("cargo", ["test", ...GRAMMAR], env);
    },
  },
  kernels: {
    needs: ["wasm", "bindgen", "chromium", "chromedriver"],
    run: ({ wasmEnv, chromedriver }) => command("cargo", ["test", ...WASM, "--test", "rust"], {
      ...wasmEnv,
      ...strict,
      CHROMEDRIVER: chromedriver,
      WASM_BINDGEN_USE_BROWSER: "1",
      WASM_BINDGEN_TEST_TIMEOUT: "1800", // seconds; a software GPU is slow
      WASM_BINDGEN_TEST_DRIVER_TIMEOUT: "60",
    }),
  },
  build: {
    needs: ["wasm", "bindgen", "npm"],
    async run({ env }) {
      if (await command(process.execPath, ["tools/build.mjs"], env)) return 1;
      const { total, chat, grammar, threads } = JSON.parse(readFileSync(join(root, "dist/size.json"), "utf8"));
      const verdict = `download: ${total.gzip_bytes} bytes of ${DOWNLOAD_LIMIT_BYTES} allowed (gzip)`;
      if (total.gzip_bytes > DOWNLOAD_LIMIT_BYTES) return failure(verdict);
      console.log(`${verdict}; the first chat: ${chat.gzip_bytes} more, the first format: ${grammar.gzip_bytes}, threads: ${threads.gzip_bytes}`);
      return 0;
    },
  },
  unit: {
    needs: [],
    run({ env }) {
      if (!existsSync(join(root, "dist/index.js"))) return failure("dist/ is not built: `npm run build` first");
      return command(process.execPath, ["--test", "--test-timeout=60000", "--test-reporter=spec", ...nodeTests("tests/unit")], env);
    },
  },
  web: {
    needs: ["npm", "chromium", ...(inCi ? ["firefox", "models"] : [])],
    async run({ env, chromium }) {
      if (!existsSync(join(root, "dist/index.js"))) return failure("dist/ is not built: `npm run build` first");
      // A trap in WebAssembly can leave a promise that never settles: the limit is per test, in milliseconds.
      const node = (concurrency, files) => {
        const flags = ["--test", `--test-concurrency=${concurrency}`, "--test-timeout=900000", "--test-reporter=spec"];
        return command(process.execPath, [...flags, ...files], { ...env, ...strict, CHROMIUM: chromium });
      };
      // Two at a time, since a browser waits much; what measures time runs alone.
      const timed = ["tests/web/shipped.test.mjs"];
      const failures = await node(2, nodeTests("tests/web").filter((file) => !timed.includes(file)));
      return failures + await node(1, timed);
    },
  },
  formats: {
    isOnRequest: true,
    needs: [],
    run: ({ env }) => command(process.execPath, ["tools/bench-formats.mjs"], env),
  },
  stories: {
    isOnRequest: true,
    needs: [],
    async run({ env }) {
      rmSync(join(root, "target/stories"), { recursive: true, force: true }); // of another build
      const tool = (...flags) => command(process.execPath, ["tools/temp-lora/stories.mjs", "tools/temp-lora/stories.json", "--out", "target/stories", ...flags], env);
      const failures = await command("cargo", ["build", "--release", "--features", "cli"], env) + await tool();
      return failures + await tool("--check");
    },
  },
  beside: {
    isOnRequest: true,
    needs: ["chromium"],
    async run({ env, chromium }) {
      const data = { ...env, LORAKEET_REQUIRE_DATA: "1", CHROMIUM: chromium };
      const failures = await command("cargo", ["test", "--no-fail-fast", "--features", "cli", "--tests", "--", "--ignored"], data);
      const tests = ["stories", "shared-adapters", "gguf"].map((name) => `tests/web/${name}.test.mjs`);
      return failures + await command(process.execPath, ["--test", "--test-concurrency=1", "--test-timeout=900000", ...tests], data);
    },
  },
  bundlers: {
    needs: ["npm", "chromium", ...(inCi ? ["vulkan"] : [])],
    async run({ env, chromium }) {
      if (!existsSync(join(root, "dist/index.js"))) return failure("dist/ is not built: `npm run build` first");
      npmPackages(env, join(root, "tests/bundlers"));
      const flags = ["--test", "--test-concurrency=1", "--test-timeout=300000", "--test-reporter=spec"];
      return command(process.execPath, [...flags, ...nodeTests("tests/bundlers")], { ...env, ...strict, CHROMIUM: chromium });
    },
  },
};

/** The files of a folder that Node's test runner takes: at least one. */
function nodeTests(folder) {
  const tests = readdirSync(join(root, folder)).filter((name) => name.endsWith(".test.mjs")).map((name) => `${folder}/${name}`);
  if (tests.length === 0) throw new Error(`no ${folder}/*.test.mjs`);
  return tests;
}

function failure(message) {
  console.error(`failed: ${message}`);
  return 1;
}

/** Runs one command with its output shown; 0 if it succeeded, else 1. */
function command(program, args, env) {
  console.log(`$ ${program === process.execPath ? "node" : program} ${args.join(" ")}`);
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    const timer = setTimeout(() => {
      failure(`no end after ${COMMAND_LIMIT_MINUTES} minutes`);
      child.kill("SIGKILL");
    }, COMMAND_LIMIT_MINUTES * 60_000);
    const end = (failures) => {
      clearTimeout(timer);
      done(failures);
    };
    child.on("error", (error) => end(failure(`\`${program}\` did not start: ${error.message}`)));
    child.on("close", (code) => end(code === 0 ? 0 : 1));
  });
}

const named = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const unknown = named.filter((name) => !Object.hasOwn(STAGES, name));
if (unknown.length > 0) {
  console.error(`unknown stage: ${unknown.join(", ")}; there are ${Object.keys(STAGES).join(", ")}`);
  process.exit(2);
}
const chosen = named.length > 0 ? Object.keys(STAGES).filter((name) => named.includes(name)) : Object.keys(STAGES).filter((name) => !STAGES[name].isOnRequest);
const ready = setup("test");
const results = [];
for (const name of chosen) {
  console.log(`\n== ${name} ==`);
  const started = performance.now();
  const lacking = STAGES[name].needs.filter((need) => ready.problems.has(need));
  for (const need of lacking) failure(ready.problems.get(need));
  let outcome = 1;
  try {
    if (lacking.length === 0) outcome = await STAGES[name].run(ready);
  } catch (error) {
    failure(error.message);
  }
  const verdict = outcome === 0 ? "passed" : "FAILED";
  results.push({ name, verdict, seconds: (performance.now() - started) / 1000 });
}

console.log("\n== summary ==");
for (const { name, verdict, seconds } of results) {
  console.log(`${name.padEnd(10)}${verdict.padEnd(10)}${seconds.toFixed(1).padStart(8)} s`);
}
const count = (verdict) => results.filter((result) => result.verdict === verdict).length;
console.log(`${count("passed")} passed, ${count("FAILED")} failed`);
process.exitCode = count("FAILED") > 0 ? 1 : 0;
