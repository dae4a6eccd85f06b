// The first text: it begins by itself, and its voice changes, until the reader takes over. Who asks for less motion is not shown it.
// Not the writing: that is write.js's.

import { element } from "./parts.js";

/** Characters that a voice writes before the next one's turn. */
const TURN = 110;

/** Begins to write, if nobody has done anything yet; `voices` change as soon as there are some. */
export function playOverture(write, voices) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const over = new AbortController();
  for (const type of ["pointerdown", "keydown", "submit", "popstate"]) addEventListener(type, () => over.abort(), { capture: true, once: true, signal: over.signal });
  let written = 0;
  const observer = new MutationObserver(() => {
    const { length } = element("text").textContent;
    if (length < written) written = 0;
    if (length - written < TURN) return;
    const names = voices.all.map(({ name }) => name).filter((name) => name !== "");
    if (names.length === 0) return;
    written = length;
    voices.choose(names[(names.indexOf(voices.speaking.name) + 1) % names.length], true);
  });
  observer.observe(element("text"), { childList: true, subtree: true, characterData: true });
  over.signal.addEventListener("abort", () => observer.disconnect());
  write(element("prompt").value).finally(() => over.abort());
}
