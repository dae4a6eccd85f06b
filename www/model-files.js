// Choosing a model: a dropped folder, dropped files, or one of the two buttons.
// Reads names only; the engine reads the files.

const element = (id) => document.getElementById(id);

/** Calls `load` with the files of a model that the reader chooses, `fail` if they cannot be listed. */
export function onModelChosen(load, fail) {
  for (const id of ["folder", "files"]) {
    element(id).addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = ""; // the same choice again is a change too
      if (files.length > 0) load(files);
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
    const found = entries.length > 0 ? filesOf(entries) : Promise.resolve([...files]);
    found.then((all) => all.length > 0 && load(all), fail);
  });
}

/** The files among the entries, and those in their folders, but none deeper: models are flat. */
async function filesOf(entries) {
  const lists = await Promise.all(entries.map((entry) => (entry.isDirectory ? list(entry) : [entry])));
  const files = lists.flat().filter((entry) => entry.isFile);
  return Promise.all(files.map((entry) => new Promise((found, failed) => entry.file(found, failed))));
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
