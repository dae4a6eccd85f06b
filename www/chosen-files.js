// Choosing a model, adapters or a text: dropped folders, dropped files, or one of the buttons.
// Which it is, is told by file-kinds.js; the engine reads the files.

import { apart, refusal, textOf } from "./file-kinds.js";
import { element } from "./parts.js";

/**
 * Calls `onModel` with the files of a model that the reader chooses, `onAdapters` with a list of
 * {name, files}, `onText` with a text and its name, and `fail` with what is none of them, or cannot be read.
 */
export function onChosen({ onModel, onAdapters, onText, fail }) {
  const tell = async (chosen) => {
    const folders = (await Promise.all(chosen.map(apart))).flat();
    const files = folders.flatMap((folder) => folder.files);
    const adapters = folders.filter(({ kind }) => kind === "adapter");
    if (folders.some(({ kind }) => kind === "model")) onModel(files);
    else if (adapters.length > 0) onAdapters(adapters);
    else if (folders.length > 0 && folders.every(({ kind }) => kind === "text")) {
      const texts = await Promise.all(files.map(textOf));
      onText(texts.join("\n\n"), files.map(({ name }) => name).join(", "));
    } else if (files.length > 0) fail(await refusal(files));
  };

  for (const id of ["folder", "files"]) {
    element(id).addEventListener("change", ({ target }) => {
      const folders = byFolder([...target.files]);
      target.value = ""; // the same choice again is a change too
      tell(folders).catch(fail);
    });
  }

  const dragging = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    dragging(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && dragging(false));
  addEventListener("drop", (event) => {
    dragging(false);
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    // What was dropped can be asked for only now; reading folders may take its time.
    const { items, files } = event.dataTransfer;
    const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = entries.length > 0 ? foldersOf(entries) : Promise.resolve(byFolder([...files]));
    found.then(tell).catch(fail);
  });
}

/** The chosen files by the folder they lie in, which has no name where only files were chosen. */
function byFolder(files) {
  const folders = new Map();
  for (const file of files) {
    const path = file.webkitRelativePath.split("/").slice(0, -1);
    const key = path.join("/");
    if (!folders.has(key)) folders.set(key, { name: path.at(-1) ?? "", files: [] });
    folders.get(key).files.push(file);
  }
  return [...folders.values()];
}

/** The dropped files as one folder; every dropped folder; and those in it where it is only their shelf. */
async function foldersOf(entries) {
  const folders = await Promise.all(entries.filter((entry) => entry.isDirectory).map(async (entry) => {
    const inside = await list(entry);
    const own = await folder(entry.name, inside);
    if (own.files.length > 0) return [own];
    return Promise.all(inside.filter((each) => each.isDirectory).map(async (each) => folder(each.name, await list(each))));
  }));
  return [await folder("", entries), ...folders.flat()].filter(({ files }) => files.length > 0);
}

async function folder(name, entries) {
  const files = entries.filter((entry) => entry.isFile);
  return { name, files: await Promise.all(files.map((entry) => new Promise((found, failed) => entry.file(found, failed)))) };
}

/** `readEntries` gives at most a hundred at a time, and none at the end. */
async function list(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (some.length === 0) return entries;
    entries.push(...some);
  }
}
