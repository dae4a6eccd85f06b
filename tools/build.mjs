// Builds the package into dist/: Rust to WebAssembly, TypeScript to JavaScript and types.
// Prints what a visitor downloads, and writes it to dist/size.json.
//
//   node tools/build.mjs [--install]

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { begin, root, run, setup } from "./setup.mjs";

const dist = join(root, "dist");
/** Modules that are fetched when first used, by what uses them. */
const LATER = { chat: "wasm/lorakeet_chat_bg.wasm", grammar: "wasm/lorakeet_grammar.wasm" };
/** What an engine with threads has in the place of `wasm/lorakeet.js` and its module, and what starts it. */
const THREADED = ["wasm/lorakeet_threads_bg.wasm", "wasm/lorakeet_threads.js", "thread/beginning.js", "thread/pool.js", "thread/pool-thread.js", "worker-threads.js"];

/** The command, the server, React's and the AI SDK's part, and what measures a GPU: no page fetches those for a text. */
const ELSEWHERE = /^(cli|server|react|ai-sdk)[./]|^api\/ai-sdk\.js$|^wasm\/lorakeet_bench|^api\/measure\.js$|^worker-bench\.js$/;

// What rustc lets this target's code use, SIMD from .cargo/config.toml included.
const FEATURES = [
  "bulk-memory", "bulk-memory-opt", "call-indirect-overlong", "multivalue", "mutable-globals",
  "nontrapping-float-to-int", "reference-types", "sign-ext", "simd",
].map((feature) => `--enable-${feature}`);

/** A panic says in which file, not where that was when it was compiled. */
const PATHS = [`--remap-path-prefix=${join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "registry/src")}=`];
/** Memory that threads share, and what wasm-bindgen needs to give each a stack and storage of its own. */
const SHARED = [
  "target-feature=+atomics",
  ...["shared-memory", "import-memory", "max-memory=4294967296"].map((flag) => `link-arg=--${flag}`),
  ...["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map((symbol) => `link-arg=--export=${symbol}`),
].map((flag) => `-C${flag}`);

/**
 * The WebAssembly modules with glue: the engine's; the one of engines with threads; the one that the first chat
 * fetches, with nothing in it that must be fast; and the one that measures a GPU.
 */
const MODULES = [
  { name: "lorakeet", passes: "-O3" },
  { name: "lorakeet_chat", passes: "-Oz", features: ["--features", "chat-module"] },
  { name: "lorakeet_bench", passes: "-O3", features: ["--features", "bench-module"] },
  { name: "lorakeet_threads", passes: "-O3", isThreaded: true },
];

/** Builds everything; throws at the first step that fails. Returns what dist/size.json holds. */
export async function build() {
  const { env, wasmEnv } = setup("build");
  const node = (script, args) => run(process.execPath, [join(root, "node_modules", script), ...args], { env });
  const target = wasmEnv.CARGO_TARGET_DIR ?? join(root, "target");
  const compiled = (target) => join(target, "wasm32-unknown-unknown/wasm");
  const cargo = (what, { flags = PATHS, env = wasmEnv } = {}) => {
    const config = `target.wasm32-unknown-unknown.rustflags = ${JSON.stringify(flags)}`;
    return begin("cargo", ["build", "--lib", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "--config", config, ...what], { env });
  };
  // The standard library that Rust ships has no atomics: it is built anew. That is a nightly option; a variable
  // makes a released compiler allow it. Other flags in the same folder would have everything built anew each time.
  const threads = join(target, "threads");
  const threaded = { flags: [...PATHS, ...SHARED], env: { ...wasmEnv, RUSTC_BOOTSTRAP: "1", CARGO_TARGET_DIR: threads } };
  // Most of the time one thread links: two are compiled at a time.
  const threadedModule = cargo(["-Z", "build-std=std,panic_abort"], threaded);
  threadedModule.catch(() => {}); // heard of where it is waited for
  // A compile error leaves the last good build in place.
  const fresh = join(root, "target/modules");
  rmSync(fresh, { recursive: true, force: true });
  for (const { name, features = [], passes, isThreaded } of MODULES) {
    await (isThreaded ? threadedModule : cargo(features));
    const module = join(compiled(isThreaded ? threads : target), "lorakeet.wasm");
    run("wasm-bindgen", ["--target", "web", "--omit-default-module-path", "--out-name", name, "--out-dir", fresh, module], { env });

    const types = join(fresh, `${name}.d.ts`);
    // Nobody calls it, and in a caller's older library of types there is no such symbol.
    writeFileSync(types, readFileSync(types, "utf8").replaceAll("    [Symbol.dispose](): void;\n", ""));

    const wasm = join(fresh, `${name}_bg.wasm`);
    node("binaryen/bin/wasm-opt", [passes, ...FEATURES, ...(isThreaded ? ["--enable-threads"] : []), wasm, "-o", `${wasm}.opt`]);
    renameSync(`${wasm}.opt`, wasm);
  }
  // The one that the first format fetches has no glue. wasm-opt would make it 2 % larger after gzip.
  await cargo(["--package", "lorakeet-grammar"]);
  const grammar = join(compiled(target), "lorakeet_grammar.wasm");
  node("binaryen/bin/wasm-metadce", [...FEATURES, grammar, "--graph-file", ownExports(grammar), "-o", join(fresh, "lorakeet_grammar.wasm")]);
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  renameSync(fresh, join(dist, "wasm"));
  node("typescript/bin/tsc", ["--project", root]);
  await minify();

  writeFileSync(join(dist, "integrity.json"), `${JSON.stringify(integrity(), null, 2)}\n`);
  const sizes = measure();
  writeFileSync(join(dist, "size.json"), `${JSON.stringify(sizes, null, 2)}\n`);
  print(sizes);
  return sizes;
}

/** A graph for wasm-metadce in which the C functions that llguidance exports, and nobody calls, are not reached. */
function ownExports(wasm) {
  const names = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(wasm))).map(({ name }) => name).filter((name) => !name.startsWith("llg_"));
  const path = `${wasm}.exports.json`;
  writeFileSync(path, JSON.stringify([{ name: "page", root: true, reaches: names }, ...names.map((name) => ({ name, export: name }))]));
  return path;
}

/** File by file, not into one: bundlers find the worker and the modules by their places. */
async function minify() {
  const { build: esbuild } = await import("esbuild"); // there since set-up
  const entryPoints = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith(".js")).map((name) => join(dist, name));
  await esbuild({ entryPoints, minify: true, sourcemap: true, target: "es2022", outbase: dist, outdir: dist, allowOverwrite: true });
}

/** Of each script and module its hash, as the `integrity` of an import map or a script has it. */
function integrity() {
  const names = readdirSync(dist, { recursive: true }).filter((name) => /\.(js|wasm)$/.test(name)).map((name) => name.replaceAll("\\", "/")).sort();
  return Object.fromEntries(names.map((name) => [name, `sha384-${createHash("sha384").update(readFileSync(join(dist, name))).digest("base64")}`]));
}

/** Raw and gzip bytes of each .wasm and .js file below dist/, and of all together but what not everybody fetches. */
function measure() {
  const files = readdirSync(dist, { recursive: true })
    .filter((name) => name.endsWith(".wasm") || name.endsWith(".js"))
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(dist, name));
      return { name: name.replaceAll("\\", "/"), bytes: bytes.length, gzip_bytes: gzipSync(bytes, { level: 9 }).length };
    });
  const first = files.filter(({ name }) => !Object.values(LATER).includes(name) && !THREADED.includes(name) && !ELSEWHERE.test(name));
  const later = Object.fromEntries(Object.entries(LATER).map(([use, module]) => [use, files.find(({ name }) => name === module)]));
  const sum = (files) => ({
    bytes: files.reduce((total, { bytes }) => total + bytes, 0),
    gzip_bytes: files.reduce((total, { gzip_bytes }) => total + gzip_bytes, 0),
  });
  return { files, ...later, threads: sum(files.filter(({ name }) => THREADED.includes(name))), total: sum(first) };
}

function print({ files, total }) {
  const kb = (bytes) => (bytes / 1000).toFixed(1).padStart(10);
  console.log(`\n${"dist/".padEnd(28)}${"KB".padStart(10)}${"gzip KB".padStart(10)}`);
  for (const file of [...files, { ...total, name: "what everybody fetches" }]) {
    console.log(`${file.name.padEnd(28)}${kb(file.bytes)}${kb(file.gzip_bytes)}`);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await build();
  } catch (error) {
    console.error(`[build] ${error.message}`);
    process.exit(1);
  }
}
