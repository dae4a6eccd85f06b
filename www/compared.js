// Which adapters stand side by side: check boxes, of which a few can be on.
// Only the choice: the sheet shows the texts.

import { chip } from "./chips.js";

const element = (id) => document.getElementById(id);
let most = 4;

/** Offers the base and `names`, at most `room` at once; what was on stays on, new ones are on if they can. */
export function offerCompared(names, room) {
  most = room;
  const boxes = [...element("compared").querySelectorAll("input")];
  const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
  let on = 0;
  const chips = ["", ...names].map((value) => {
    const checked = !off.has(value) && on++ < most;
    return chip({ type: "checkbox", group: "compared", name: value || "Base", value, checked });
  });
  element("compared").replaceChildren(element("compared").firstElementChild, ...chips);
  element("compared").hidden = element("compare").hidden = names.length === 0 || most < 2;
  limit();
}

/** What is on, as `adapter_names` wants it. */
export function readCompared() {
  return [...element("compared").querySelectorAll("input:checked")].map((box) => box.value || "__base__");
}

function limit() {
  const boxes = [...element("compared").querySelectorAll("input")];
  const full = boxes.filter((box) => box.checked).length >= most;
  for (const box of boxes) box.disabled = full && !box.checked;
}

element("compared").addEventListener("change", limit);
