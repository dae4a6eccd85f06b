// Files that the page made, for the reader to save by a click or to drag out of the window.
// Not an upload: they go to the reader's disk.

import { bytes, make } from "./parts.js";

/** Offers files in a list, in the place of those it offered before; none empties it. */
export function offerFiles(list, files) {
  for (const { href } of list.querySelectorAll("a")) URL.revokeObjectURL(href);
  list.replaceChildren(...files.map((file) => make("li", {}, link(file))));
}

/** Saves a file at once. */
export function saveFile(file) {
  const href = URL.createObjectURL(file);
  make("a", { href, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser may still ask where to
}

function link(file) {
  const href = URL.createObjectURL(file);
  const it = make("a", { href, download: file.name, draggable: true }, make("b", { textContent: file.name }), make("small", { textContent: bytes(file.size) }));
  it.addEventListener("dragstart", ({ dataTransfer }) => {
    // Browsers that know this type drop the file itself; others its address.
    dataTransfer.setData("DownloadURL", `${file.type || "application/octet-stream"}:${file.name}:${href}`);
    dataTransfer.effectAllowed = "copy";
  });
  return it;
}
