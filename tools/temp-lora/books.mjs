// Books as they are learned: line wraps undone, plain ASCII, so that nothing is learned but words.

import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** Plain ASCII paragraphs on one line each, as the demo model was trained on. */
export function clean(text) {
  const plain = { "—": "--", "–": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', _: "", "\ufeff": "" };
  const ascii = text
    .replace(/[—–…‘’“”_\ufeff]/g, (mark) => plain[mark])
    .normalize("NFKD")
    .replace(/[^\x00-\x7f]/g, "");
  return ascii
    .replace(/\r\n?/g, "\n")
    .split(/\n[ \t]*\n\s*/)
    .map((paragraph) => paragraph.replace(/\s+/g, " ").trim())
    .filter((paragraph) => paragraph !== "")
    .join("\n\n");
}

let folder;

/** The path of a book's clean text. */
export function cleaned(book) {
  folder ??= mkdtempSync(join(tmpdir(), "novels-"));
  const text = join(folder, basename(book));
  writeFileSync(text, clean(readFileSync(book, "utf8")));
  return text;
}

/** `Burnett Garden 1911` */
export const titleOf = (book) => basename(book, ".txt").replaceAll("_", " ");
