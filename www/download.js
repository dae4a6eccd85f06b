// Gives the reader files that the page made.
// Not an upload: they go to the reader's disk.

/** Saves files, each with `prefix` in front of its name. */
export function download(files, prefix) {
  for (const file of files) {
    const url = URL.createObjectURL(file);
    Object.assign(document.createElement("a"), { href: url, download: `${prefix}-${file.name}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be reading
  }
}
