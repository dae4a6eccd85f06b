// The tabs: which of the page's views is shown, as WAI-ARIA's tabs pattern has it.
// Work in a hidden view goes on. No panel's id is a fragment: the browser would scroll to it.

import { element } from "./parts.js";

const tabs = [...document.querySelectorAll("#views [role=tab]")];
const named = (name) => tabs.find((tab) => tab.id === `view-${name}`);
const nameOf = (tab) => tab.id.slice("view-".length);
/** Where the address names none. */
let first = named("write");
/** What follows a `?` in the fragment is share.js's. */
const addressed = () => named(location.hash.slice(1).split("?")[0]) ?? first;
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
/** Pixels of a neighbour that are to be seen. */
const PEEK = 28;
let onShow = () => {};

/** Makes the tabs work, and shows the view that the address names, then and whenever it changes. */
export function showViews() {
  for (const tab of tabs) tab.addEventListener("click", () => showView(nameOf(tab)));
  element("views").addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    const at = tabs.indexOf(document.activeElement) + KEYS[event.key];
    const next = Number.isFinite(at) ? tabs.at(at % tabs.length) : tabs.at(at < 0 ? 0 : -1);
    next.focus();
    showView(nameOf(next));
  });
  addEventListener("popstate", () => show(addressed())); // back, forward, or another fragment by hand
  show(addressed());
}

/** `hear` hears the name of the view that is shown, now and whenever it is another. */
export function hearViews(hear) {
  onShow = hear;
  hear(document.body.dataset.view);
}

/** Shows a view; the browser's back button leads to the one before. */
export function showView(name) {
  const isOther = addressed() !== named(name);
  show(named(name));
  if (isOther) history.pushState(null, "", `#${name}`);
}

/** The view for addresses that name none; it is shown if this one does not. */
export function setFirstView(name) {
  first = named(name);
  if (location.hash === "") show(first);
}

function show(chosen) {
  const name = nameOf(chosen);
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    element(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
  // Within their row alone, and so that a piece of the next one shows that there is one: the page stays where it is.
  const row = element("views");
  const left = chosen.offsetLeft - row.offsetLeft;
  row.scrollLeft = Math.min(Math.max(row.scrollLeft, left + chosen.offsetWidth + PEEK - row.clientWidth), left - PEEK);
  // Some views share the prompt; and Enter in a field of the settings submits the view that is seen.
  const panel = element(chosen.getAttribute("aria-controls"));
  panel.querySelector(".prompt-place")?.append(element("prompting"));
  const form = panel.querySelector("form");
  for (const field of document.querySelectorAll("aside [form]")) field.setAttribute("form", form?.id ?? "");
  document.body.dataset.view = name;
  onShow(name);
}
