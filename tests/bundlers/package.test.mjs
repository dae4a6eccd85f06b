// The package as npm packs it: what is in it, what its manifest promises, and its types.
// That it runs, bundlers.test.mjs shows.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../tools/setup.mjs";
import { pack, project } from "./project.mjs";

const here = join(root, "tests/bundlers");

/** Runs a program of npm's and gives its output, also where it fails. */
function output(program, args, cwd) {
  try {
    return { ok: true, text: execFileSync(process.execPath, [program, ...args], { cwd, encoding: "utf8" }) };
  } catch (error) {
    return { ok: false, text: error.stdout + error.stderr };
  }
}

test("it holds the code, its types, the licences, and nothing else", () => {
  const { files } = pack();
  const others = files.filter((path) => !/^dist\/(((api|cli|files|react|server|thread)\/)?[\w-]+|wasm\/lorakeet(_bench|_chat|_threads)?)\.(js|js\.map|d\.ts)$/.test(path)).sort();
  assert.deepEqual(others, ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/integrity.json", "dist/wasm/lorakeet_bench_bg.wasm", "dist/wasm/lorakeet_bench_bg.wasm.d.ts", "dist/wasm/lorakeet_bg.wasm", "dist/wasm/lorakeet_bg.wasm.d.ts", "dist/wasm/lorakeet_chat_bg.wasm", "dist/wasm/lorakeet_chat_bg.wasm.d.ts", "dist/wasm/lorakeet_grammar.wasm", "dist/wasm/lorakeet_threads_bg.wasm", "dist/wasm/lorakeet_threads_bg.wasm.d.ts", "package.json"]);
  for (const name of ["index", "worker", "worker-threads", "ai-sdk", "tabs", "server", "react", "cli/main"]) assert.ok(files.includes(`dist/${name}.js`), name);
});

test("the hashes in it are those of its files", () => {
  const hashes = JSON.parse(readFileSync(join(root, "dist/integrity.json"), "utf8"));
  const files = pack().files.filter((path) => /^dist\/.*\.(js|wasm)$/.test(path));
  assert.deepEqual(Object.keys(hashes), files.map((path) => path.slice("dist/".length)).sort());
  for (const [name, hash] of Object.entries(hashes)) {
    assert.equal(hash, `sha384-${createHash("sha384").update(readFileSync(join(root, "dist", name))).digest("base64")}`, name);
  }
});

test("publint and attw find nothing wrong", () => {
  for (const [program, args] of [["publint/src/cli.js", ["run", pack().archive, "--strict"]], ["@arethetypeswrong/cli/dist/index.js", [pack().archive, "--profile", "esm-only", "--exclude-entrypoints", "lorakeet.wasm", "lorakeet_threads.wasm", "lorakeet_bench.wasm", "lorakeet_chat.wasm", "lorakeet_grammar.wasm"]]]) {
    const { ok, text } = output(join(here, "node_modules", program), args, here);
    assert.ok(ok, text);
  }
});

const TYPES = `
import { createEngine, LorakeetError, type Engine, type EngineOptions } from "lorakeet";
import { lorakeet } from "lorakeet/ai-sdk";
import { chatTransport, useCompletion, useEngine } from "lorakeet/react";
import { createHandler } from "lorakeet/server";
import { shareEngine } from "lorakeet/tabs";
import { generateText, streamText, type ChatTransport, type UIMessage } from "ai";

export async function use(files: FileList): Promise<string> {
  const options: EngineOptions = { worker: true, device: "cpu", onProgress: ({ loaded, total }) => loaded / total };
  const engine: Engine = await shareEngine("demo", () => createEngine(files, options));
  const { choices } = await engine.completions.create({ prompt: "a" });
  for await (const chunk of engine.completions.create({ prompt: "a", stream: true })) chunk.choices[0]?.text;
  for await (const { loss } of engine.trainAdapter({ name: "me", dataset: "a" })) loss.toFixed();
  const stream = engine.chat.completions.create({ messages: [{ role: "developer", content: "a" }], stream: true });
  await stream.setAdapter({ sql: 0.7 });
  for await (const { choices } of stream) choices[0]?.delta.content;
  const handler: (request: Request) => Promise<Response> = createHandler(engine);
  const transport: ChatTransport<UIMessage> = chatTransport(engine, { max_tokens: 9 });
  const hooks = () => useCompletion(useEngine("org/name", { adapters: { sql: files } }).engine).complete("a");
  void [handler, chatTransport, hooks];
  const model = lorakeet(engine, { adapter: { sql: 0.7 } });
  const { text } = await generateText({ model, prompt: "a" });
  for await (const part of streamText({ model, prompt: "a" }).textStream) part.trim();
  if (new Error() instanceof LorakeetError) throw new Error();
  return text + choices[0]!.text;
}
`;

test("strict TypeScript takes its types, and refuses what they forbid", () => {
  const config = { compilerOptions: { strict: true, noEmit: true, target: "ES2022", module: "ES2022", moduleResolution: "Bundler", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [] }, files: ["use.ts"] };
  const check = (name, text, change = {}) => {
    const options = { ...config, compilerOptions: { ...config.compilerOptions, ...change } };
    const folder = project(name, { "use.ts": text, "tsconfig.json": JSON.stringify(options) });
    return output(join(root, "node_modules/typescript/bin/tsc"), ["-p", "."], folder);
  };
  // The SDK's own declarations need types that it does not bring.
  const good = check("types", TYPES, { skipLibCheck: true });
  assert.ok(good.ok, good.text);
  const alone = TYPES.split("\n").filter((line) => !/"ai"|ai-sdk|model|Text|ChatTransport</.test(line)).join("\n").replace("return text +", "return");
  const whole = check("types-alone", alone);
  assert.ok(whole.ok, whole.text);
  const bad = check("types-bad", alone.replace('device: "cpu"', 'device: "tpu"'));
  assert.match(bad.text, /TS2322.*"tpu"/);
});
