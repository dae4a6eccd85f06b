// What a link carries: the view, the prompt, the voices and their weights, and the model where it has an address.
// All in the fragment, which no server sees, but the model.

import { element } from "./parts.js";
import { attempt, say } from "./speech.js";
import { t } from "./words.js";

/** The link's {prompt, voices}, each undefined if it says nothing of it; `voices` are weights by name. */
export function readLink() {
  const said = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const voices = said.get("voices")?.split(",").filter(Boolean).map((each) => {
    const at = each.lastIndexOf(":");
    return [decodeURIComponent(each.slice(0, at)), Number(each.slice(at + 1))];
  });
  const isWhole = voices?.every(([name, weight]) => name !== "" && Number.isFinite(weight));
  return { prompt: said.get("prompt") ?? undefined, voices: isWhole ? Object.fromEntries(voices) : undefined };
}

/** Lets the reader copy a link; `state()` is {view, prompt, voices} as they are then. */
export function offerLink(state) {
  element("share").addEventListener("click", () => attempt(async () => {
    const { view, prompt, voices } = state();
    const said = new URLSearchParams();
    if (prompt) said.set("prompt", prompt);
    const weights = Object.entries(voices).map(([name, weight]) => `${encodeURIComponent(name)}:${weight}`);
    if (weights.length > 0) said.set("voices", weights.join());
    const link = new URL(location.href);
    link.hash = said.size > 0 ? `${view}?${said}` : view;
    await navigator.clipboard.writeText(link.href);
    say(t("share.copied"));
  }));
}
