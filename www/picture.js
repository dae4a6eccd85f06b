// A text of the page as a picture, in the colours of its voices, for the reader to keep or send.
// Not a screenshot: it is set anew, on a sheet of its own.

import { saveFile } from "./files-out.js";
import { element } from "./parts.js";
import { attempt, say } from "./speech.js";
import { t } from "./words.js";

const [WIDTH, MARGIN, SIZE, LINE, MOST_LINES] = [1080, 72, 34, 52, 60];
/** What of a view is its text; each of `APART` stands on a line of its own. */
const TEXTS = ".beginning, .part, #blend-text, .columns h3, .mine p, .answers h3, .md";
const APART = "h3, .mine p, .md, .columns .beginning";

/** Makes the button work. */
export function offerPicture() {
  element("picture").addEventListener("click", () => attempt(async () => {
    const runs = runsOf(document.querySelector("[role=tabpanel]:not([hidden])"));
    if (runs.every(({ text }) => text.trim() === "")) return say(t("picture.none"));
    saveFile(new File([await paint(runs)], "lorakeet.png", { type: "image/png" }));
    say(t("picture.saved"));
  }));
}

/** The text of a panel in runs of one colour, {text, colour, isBold}. */
function runsOf(panel) {
  return [...panel.querySelectorAll(TEXTS)].filter((it) => it.checkVisibility()).flatMap((it) => {
    const run = { text: it.textContent, colour: getComputedStyle(it).color, isBold: it.matches("h3, .mine p") };
    return it.matches(APART) ? [{ ...run, text: `\n${run.text}${it.matches(".beginning") ? "" : "\n"}` }] : [run];
  });
}

async function paint(runs) {
  const style = getComputedStyle(document.body);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const family = style.getPropertyValue("--serif");
  const font = (isBold) => `${isBold ? "700 " : ""}${SIZE}px ${family}`;
  const lines = [[]];
  let x = 0;
  for (const { text, colour, isBold } of runs) {
    context.font = font(isBold);
    for (const word of text.match(/\n|[^\S\n]+|\S+/g) ?? []) {
      const width = word === "\n" ? 0 : context.measureText(word).width;
      if (word === "\n" || (x + width > WIDTH - 2 * MARGIN && word.trim() !== "")) {
        if (word !== "\n" || lines.at(-1).length > 0) lines.push([]);
        x = 0;
      }
      if (word === "\n" || (x === 0 && word.trim() === "")) continue;
      lines.at(-1).push({ word, x, colour, isBold });
      x += width;
    }
  }
  const shown = lines.slice(0, MOST_LINES);
  if (lines.length > MOST_LINES) shown.push([{ word: "…", x: 0, colour: style.color, isBold: false }]);
  canvas.width = WIDTH;
  canvas.height = 2 * MARGIN + (shown.length + 2) * LINE;
  context.fillStyle = getComputedStyle(document.querySelector(".sheet")).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "top";
  for (const [i, line] of shown.entries()) {
    for (const { word, x, colour, isBold } of line) {
      context.font = font(isBold);
      context.fillStyle = colour;
      context.fillText(word, MARGIN + x, MARGIN + i * LINE);
    }
  }
  context.font = `italic ${0.7 * SIZE}px ${family}`;
  context.fillStyle = getComputedStyle(document.querySelector(".name p")).color;
  context.fillText(`Lorakeet · ${element("name").textContent}`, MARGIN, canvas.height - MARGIN - SIZE);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error(t("picture.failed")))), "image/png"));
}
