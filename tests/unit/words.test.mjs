// The page's words: every language has all of them, the page says what the English file says, and no key is missing or unused.
// Not how they sound.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const www = join(dirname(fileURLToPath(import.meta.url)), "../../www");
/** Outside a package Node would not know a file for a module. */
const words = async (code) => (await import(`data:text/javascript,${encodeURIComponent(readFileSync(join(www, `words/${code}.js`), "utf8"))}`)).default;
const html = readFileSync(join(www, "index.html"), "utf8");
const en = await words("en");
const holes = (text) => [...text.matchAll(/\{\w+\}/g)].map(([hole]) => hole).sort();
const plain = (text) => text.replaceAll("&amp;", "&");

/** What of index.html has a key: [key, its words there]. */
function written() {
  const texts = [...html.matchAll(/<\w+(?=[^>]*\sdata-t="([^"]+)")[^>]*>([^<]*)</g)].map(([, key, text]) => [key, text]);
  const attributes = [["label", "aria-label"], ["placeholder", "placeholder"]].flatMap(([data, name]) => {
    return [...html.matchAll(new RegExp(`<(?=[^>]*\\sdata-t-${data}="([^"]+)")[^>]*\\s${name}="([^"]+)"`, "g"))].map(([, key, text]) => [key, text]);
  });
  return [...texts, ...attributes];
}

test("the page says in English what the English file says", () => {
  const all = written();
  assert.equal(all.length, [...html.matchAll(/\sdata-t(-\w+)?="/g)].length);
  for (const [key, text] of all) assert.equal(plain(text), en[key], key);
});

for (const file of readdirSync(join(www, "words")).filter((name) => name !== "en.js")) {
  test(`${file} has every word, with the same places for names and numbers`, async () => {
    const other = await words(file.replace(".js", ""));
    assert.deepEqual(Object.keys(other).sort(), Object.keys(en).sort());
    for (const [key, text] of Object.entries(en)) assert.deepEqual(holes(other[key]), holes(text), key);
  });
}

test("every key that the page's modules name is there, and none is there that nobody names", () => {
  const code = readdirSync(www).filter((name) => name.endsWith(".js")).map((name) => readFileSync(join(www, name), "utf8")).join("\n");
  for (const [, key] of code.matchAll(/\bt\("([^"]+)"/g)) assert.ok(Object.hasOwn(en, key), key);
  const named = new Set([...written().map(([key]) => key), ...[...code.matchAll(/"([a-z][\w.-]*)"/g)].map(([, key]) => key)]);
  const made = (key) => /^(sample|blend|compare)\.\w+$/.test(key); // made of a name
  const unused = Object.keys(en).filter((key) => !named.has(key.replace(/\.one$/, "")) && !named.has(key) && !made(key));
  assert.deepEqual(unused, []);
});
