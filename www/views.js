// The tabs: which of the page's views is shown, as WAI-ARIA's tabs pattern has it.
// Work in a hidden view goes on.

import { element } from "./parts.js";

const tabs = [...document.querySelectorAll("#views [role=tab]")];
const named = (name) => tabs.find((tab) => tab.id === `view-${name}`);
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** Makes the tabs work, and shows the view that the address names; `onShow` hears the name of each that is shown. */
export function showViews(onShow) {
  for (const tab of tabs) tab.addEventListener("click", () => show(tab, onShow));
  element("views").addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    const at = tabs.indexOf(document.activeElement) + KEYS[event.key];
    const next = Number.isFinite(at) ? tabs.at(at % tabs.length) : tabs.at(at < 0 ? 0 : -1);
    next.focus();
    show(next, onShow);
  });
  show(named(location.hash.slice(1)) ?? tabs[0], onShow);
}

function show(chosen, onShow) {
  const name = chosen.id.slice("view-".length);
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    element(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
  chosen.scrollIntoView({ block: "nearest", inline: "nearest" });
  // Some views share the prompt; and Enter in a field of the settings submits the view that is seen.
  element(name).querySelector(".prompt-place")?.append(element("prompting"));
  const form = element(name).querySelector("form");
  for (const field of document.querySelectorAll("aside [form]")) field.setAttribute("form", form.id);
  document.body.dataset.view = name;
  history.replaceState(null, "", `#${name}`);
  onShow(name);
}
