// The arrows between the rooms of src/js: each file imports from its own room and those before it, and no circle is left.
// Types count too: what only names a type of another room knows that room.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { root } from "../../tools/setup.mjs";

const source = join(root, "src/js");
/** Room -> rooms it may import from, beside itself. `all` are the files that every room uses, `doors` what users import. */
const MAY_USE = {
  all: [],
  thread: ["all"],
  files: ["all", "thread"],
  api: ["all", "thread", "files"],
  react: ["all", "files", "api"],
  server: ["all", "api"],
  cli: ["all", "api", "server"],
  doors: ["all", "thread", "files", "api", "react", "server"],
};
const ALL = ["error.ts", "options.ts", "page.ts", "program.ts"];
const DOORS = ["ai-sdk.ts", "index.ts", "react.ts", "server.ts", "tabs.ts", "worker-bench.ts", "worker-threads.ts", "worker.ts"];

const room = (path) => (path.includes("/") ? path.split("/")[0] : ALL.includes(path) ? "all" : "doors");

/** Files that a text imports or re-exports from, relative to `source`; wasm-bindgen's apart. */
function imports(path, text) {
  const found = text.matchAll(/^(?:import|export|\})[^;\n]*? from "(\.[^"]+)\.js";$/gm);
  return Array.from(found, ([, target]) => join(dirname(path), `${target}.ts`)).filter((target) => !target.startsWith("wasm/"));
}

/** A circle of files, if there is one. */
function circle(graph) {
  const done = new Set();
  const visit = (file, trail) => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const found = visit(next, [...trail, file]);
      if (found) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const found = visit(file, []);
    if (found) return found;
  }
  return undefined;
}

const files = readdirSync(source, { recursive: true }).filter((path) => path.endsWith(".ts"));
const graph = new Map(files.map((path) => [path, imports(path, readFileSync(join(source, path), "utf8"))]));

test("every arrow points to a room that may be used", () => {
  let seen = 0;
  for (const [file, targets] of graph) {
    for (const target of targets) {
      seen++;
      assert.ok(graph.has(target), `${file} imports ${target}, which is not there`);
      assert.ok([room(file), ...MAY_USE[room(file)]].includes(room(target)), `${file} (${room(file)}) uses ${target} (${room(target)})`);
    }
  }
  assert.ok(seen > 150, `${seen} arrows found`);
});

test("no file imports itself by way of others", () => {
  assert.equal(circle(graph)?.join(" -> "), undefined);
});

test("every file is in a room, and at most 400 lines long", () => {
  const alone = files.filter((path) => !path.includes("/")).sort();
  assert.deepEqual(alone, [...ALL, ...DOORS].sort());
  for (const path of files) {
    assert.ok(Object.hasOwn(MAY_USE, room(path)), path);
    const lines = readFileSync(join(source, path), "utf8").split("\n").length - 1;
    assert.ok(lines <= 400, `${path}: ${lines} lines`);
  }
});

test("a circle and an import over several lines are seen", () => {
  assert.deepEqual(imports("api/a.ts", 'import {\n  b,\n} from "../files/b.js";\nexport type { C } from "./c.js";\n'), ["files/b.ts", "api/c.ts"]);
  assert.deepEqual(circle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])), ["b", "c", "b"]);
});
