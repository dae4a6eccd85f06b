// Choosing a model or adapters: dropped folders, dropped files, or one of the buttons.
// Reads names only, and tells the two apart by them; the engine reads the files.

const element = (id) => document.getElementById(id);

/**
 * Calls `onModel` with the files of a model that the reader chooses, `onAdapters` with a list of
 * {name, files}, and `fail` if they cannot be listed.
 */
export function onChosen({ onModel, onAdapters, fail }) {
  const tell = (folders) => {
    const adapters = folders.filter((folder) => has(folder, "adapter_config.json"));
    const isModel = folders.some((folder) => has(folder, "config.json") && !adapters.includes(folder));
    if (adapters.length > 0 && !isModel) onAdapters(adapters);
    else if (folders.length > 0) onModel(folders.flatMap(({ files }) => files));
  };

  for (const id of ["folder", "files", "adapter-folder"]) {
    element(id).addEventListener("change", ({ target }) => {
      const folders = byFolder([...target.files]);
      target.value = ""; // the same choice again is a change too
      tell(folders);
    });
  }

  const dragging = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    dragging(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && dragging(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(false);
    // What was dropped can be asked for only now; reading folders may take its time.
    const { items, files } = event.dataTransfer;
    const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = entries.length > 0 ? foldersOf(entries) : Promise.resolve(byFolder([...files]));
    found.then(tell, fail);
  });
}

const has = ({ files }, name) => files.some((file) => file.name === name);

/** The chosen files by the folder they lie in, which has no name where only files were chosen. */
function byFolder(files) {
  const folders = new Map();
  for (const file of files) {
    const path = file.webkitRelativePath.split("/").slice(0, -1);
    const { files } = folders.get(path.join("/")) ?? folders.set(path.join("/"), { name: path.at(-1) ?? "", files: [] }).get(path.join("/"));
    files.push(file);
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
