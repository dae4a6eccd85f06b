// What the bird says: one live region for the whole page, and the errors beside it.
// Not measurements: numbers that change with every token would chatter.

import { element } from "./parts.js";

/** The same words twice are said once. */
export function say(words) {
  if (element("status").textContent !== words) element("status").textContent = words;
}

/** Says it, and writes it on a line of its own. */
export function tell(line, words) {
  element(line).textContent = words;
  say(words);
}

/** The engine's own words; null takes them away. `wayOut`, {words, act}, is what the reader can do about it. */
export function showError(error, wayOut) {
  element("way-out").hidden = wayOut === undefined;
  element("replace").textContent = wayOut?.words ?? "";
  element("replace").onclick = wayOut?.act ?? null;
  element("error").hidden = error === null;
  element("error").textContent = error === null ? "" : error.message;
  if (error) element("error").dataset.kind = error.kind ?? "";
}

/** Does `work`, and shows the error it may end in. */
export async function attempt(work) {
  showError(null);
  try {
    return await work();
  } catch (error) {
    showError(error);
  }
}
