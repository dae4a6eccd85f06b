// What a reader does with the page, for the tests of it: opens it, brings voices, writes, waits.
// Not assertions: those are the tests'.

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { demo, fixtures, root } from "./browser.mjs";
import { writeRandomAdapter } from "./random-adapter.mjs";

/** Pictures for people who look at a failed run. */
export const shots = join(root, "test-results");

/** Widths and colour schemes in which every view has to work. */
export const LOOKS = {
  light: { viewport: { width: 1280, height: 800 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 360, height: 740 } },
  "phone-dark": { colorScheme: "dark", viewport: { width: 360, height: 740 } },
};

/** Folders of random voices for the demo model in `shelf`, one for each name. */
export function writeVoices(shelf, names) {
  names.forEach((name, i) => writeRandomAdapter(join(shelf, name), { model: demo, rank: 4 * (i + 1), seed: i + 1 }));
}

/** The id of the model that talks, and the chat template of the one that stands for it. */
export const TALKER = "HuggingFaceTB/SmolLM2-135M-Instruct";
export const TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/** Writes a small random model with a chat template into `folder`. */
export function writeTalker(folder) {
  cpSync(join(fixtures, "llama"), folder, { recursive: true });
  const config = join(folder, "tokenizer_config.json");
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, "utf8")), chat_template: TEMPLATE }));
}

/** Answers for shelf.js: the demo model, with these voices, a hub that `hubUrl` names, and those of its model that talks. */
export function routeShelf(page, voices = [], hubUrl, chatVoices = []) {
  const told = { MODEL: "./models/demo/", MODEL_TITLE: "demo", MODEL_BYTES: 1e6, CHAT_MODEL: TALKER, HUB: hubUrl ? { hubUrl } : {}, VOICES: voices, CHAT_VOICES: chatVoices };
  const body = Object.entries(told).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};`).join("\n");
  return page.route("**/shelf.js", (route) => route.fulfill({ contentType: "text/javascript", body }));
}

/** The page on the demo model without voices, whatever ships. `view` is the one to be shown. */
export async function openPage(browser, path = "?device=cpu", { view = "write", hubUrl, chatVoices, prepare, ...options } = {}) {
  const page = await browser.open(`${path}#${view}`, {
    ...options,
    prepare: async (page) => {
      await routeShelf(page, [], hubUrl, chatVoices);
      await prepare?.(page);
    },
  });
  await ready(page);
  return page;
}

export const ready = (page) => page.waitForSelector("body[data-model=ready]", { timeout: 30_000 });

/** Fields of the sampling card; text is comparable from run to run by default. */
export async function sample(page, { temperature = 0, maxTokens = 24, seed = "", penalty = 1 } = {}) {
  for (const [id, value] of Object.entries({ temperature, "max-tokens": maxTokens, seed, penalty })) await page.locator(`#${id}`).fill(String(value));
}

/** Voices of the list, by their titles. */
export const voices = (page) => page.locator("#voice-list b, #voice-list .weight label").allTextContents();

/** Waits until that voice is the chosen one; "" is the base. */
export const chosen = (page, name) => page.waitForFunction((name) => document.querySelector("#voice-list input:checked")?.value === name, name);

/** Brings a folder, and waits until its voice is on. */
export async function bring(page, folder, name) {
  await page.setInputFiles("#folder", folder);
  await chosen(page, name);
  await page.waitForFunction(() => document.getElementById("switch-time").textContent !== "–");
}

/** Waits for the end of what is being written. */
export const written = (page) => page.waitForSelector("body[data-writing=false]", { timeout: 60_000 });

/** The text that one press of the button gives. */
export async function write(page) {
  await page.locator("#generate").click();
  await written(page);
  return page.textContent("#text");
}

/** Drops files or folders in the middle of the page. */
export async function drop(page, files) {
  const mouse = await page.context().newCDPSession(page);
  const data = { items: [], files, dragOperationsMask: 1 };
  const seen = [];
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await mouse.send("Input.dispatchDragEvent", { type, x: 600, y: 300, data });
    seen.push(await page.evaluate(() => document.body.classList.contains("dragging")));
  }
  return seen;
}

const axe = readFileSync(join(root, "node_modules/axe-core/axe.min.js"), "utf8");

/** What axe finds that is serious or critical: [rule, element]. */
export async function violations(page) {
  await page.waitForTimeout(400); // colours fade over to those of the voice
  await page.evaluate(axe); // as the devtools do: the page's policy stays as it is
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html, any }) => [id, html, any[0]?.message]));
}

/** Pixels by which the page is wider than its window. */
export const tooWide = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Waits until an element's text matches. */
export function says(page, id, words) {
  return page.waitForFunction(([id, words]) => new RegExp(words).test(document.getElementById(id).textContent), [id, words], { timeout: 60_000 });
}
