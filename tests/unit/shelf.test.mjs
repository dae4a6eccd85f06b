// The voices of the model that talks, as they ship: their size, their files, and cards that say what the table says.
// Not what they write: their cards have figures of that.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CHAT_MODEL, CHAT_VOICES } from "../../www/shelf.js";

const www = join(import.meta.dirname, "../../www");
const MOST_BYTES = 1.5e6;
const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());
/** The rows of a table that begins with `head`, as lists of cells. */
const table = (text, head) => text.slice(text.indexOf(head)).split("\n\n")[0].split("\n").slice(2).filter(Boolean).map(cells);

const rows = Object.fromEntries(table(readFileSync(join(www, "adapters/smollm2/README.md"), "utf8"), "| adapter |").map(([name, ...row]) => [name.replaceAll("`", ""), row]));

test("each voice has its own folder and is in the table", () => {
  assert.ok(CHAT_VOICES.length > 0);
  assert.deepEqual(CHAT_VOICES.map(({ name }) => name).sort(), Object.keys(rows).sort());
  for (const { name, folder } of CHAT_VOICES) assert.equal(folder, `./adapters/smollm2/${name}/`);
});

for (const { name, folder } of CHAT_VOICES) {
  test(`${name}: a small PEFT folder of that model, better than its base by the figures of its card`, () => {
    const path = join(www, folder);
    const [, base, reached, before, after, bytes] = rows[name];
    const size = statSync(join(path, "adapter_model.safetensors")).size;
    assert.ok(size <= MOST_BYTES, `${size} bytes`);
    assert.equal(Number(bytes.replaceAll(",", "")), size);
    const config = JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8"));
    assert.equal(config.base_model_name_or_path, CHAT_MODEL);
    const card = readFileSync(join(path, "README.md"), "utf8");
    assert.ok(card.includes(`base_model: ${CHAT_MODEL}\n`));
    assert.deepEqual(table(card, "| | base |").map(([, ...figures]) => figures), [[base, reached], [before, after]]);
    assert.ok(parseFloat(reached) > parseFloat(base), `${base} to ${reached}`);
    assert.ok(Number(after) < Number(before), `${before} to ${after}`);
  });
}
