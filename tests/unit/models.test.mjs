// The list of small models: the manual's table says the same, and each family is one that Rust knows.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { models } from "../../dist/index.js";
import { root } from "../../tools/setup.mjs";

test("the manual lists the same models", () => {
  const manual = readFileSync(join(root, "www/manual/models-and-files.md"), "utf8");
  const rows = manual.split("\n").filter((line) => /^\| `[^`]+\/[^`]+` \| [\d,]+ M/.test(line));
  const size = (bytes) => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`);
  const row = ({ id, millions, bytes, licence, use, isTried }) =>
    `| \`${id}\` | ${millions.toLocaleString("en")} M | ${size(bytes)} | ${licence} | ${use}${isTried ? "; tried" : ""} |`;
  assert.deepEqual(rows, models().map(row));
});

test("their families are there, and the caller's copy is the caller's", () => {
  const folder = join(root, "src/model/families");
  const known = readdirSync(folder).flatMap((name) => [...readFileSync(join(folder, name), "utf8").matchAll(/model_type: "(\w+)"/g)].map(([, type]) => type));
  const all = models();
  for (const { id, family, bytes, millions } of all) {
    assert.ok(known.includes(family), `${id}: ${family}`);
    assert.ok(bytes / millions > 1.9e6 && bytes / millions < 4.5e6, `${id}: two to four bytes a number`);
  }
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
  all[0].id = "changed";
  assert.notEqual(models()[0].id, "changed");
});
