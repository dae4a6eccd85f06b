// What was taught here, kept in the browser's private file system until it is taken out: each adapter's two files, by model and name.
// Not the voices a reader has brought: those are on the reader's disk.

const FOLDER = "lorakeet-voices";

/** Keeps an adapter of the engine, in the place of one of that name. */
export async function keep(engine, name) {
  const files = await engine.exportAdapter(name);
  const folder = await (await ofModel(engine)).getDirectoryHandle(folderName(name), { create: true });
  for (const file of files) {
    const writable = await (await folder.getFileHandle(file.name, { create: true })).createWritable();
    await writable.write(file);
    await writable.close(); // only now the file has its bytes
  }
}

/** What is kept for the engine's model, {name, files}, the newest last; nothing where the browser keeps none. */
export async function kept(engine) {
  const found = [];
  try {
    for await (const [name, folder] of (await ofModel(engine)).entries()) {
      const files = [];
      for await (const handle of folder.values()) files.push(await handle.getFile());
      if (files.length === 2) found.push({ name: decodeURIComponent(name.slice(1)), files });
    }
  } catch {
    return [];
  }
  const age = ({ files }) => Math.max(...files.map(({ lastModified }) => lastModified));
  return found.sort((a, b) => age(a) - age(b));
}

/** Takes an adapter out, if it is there. */
export async function letGo(engine, name) {
  try {
    await (await ofModel(engine)).removeEntry(folderName(name), { recursive: true });
  } catch {
    // it was never kept
  }
}

/** Another model of the same name is told apart by its vocabulary, or else refuses what does not fit it. */
async function ofModel({ info }) {
  const all = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  return all.getDirectoryHandle(folderName(`${info.model} ${info.vocabSize}`), { create: true });
}

/** Any name is that of a folder so. */
function folderName(name) {
  return `=${encodeURIComponent(name)}`;
}
