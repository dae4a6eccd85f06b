// Takes the pictures of the page in www/screenshots/, with the model and the voices that ship; those of a chat with SmolLM2, where
// tools/real_model.py has put it; with --examples those of www/examples/ alone. Not a test: look at them.
//
//   node tools/screenshots.mjs [--www FOLDER] [--examples]    a page other than www/

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "./chromium.mjs";
import { smaller } from "./png.mjs";
import { serve } from "./serve.mjs";
import { root } from "./setup.mjs";
import { writeSite } from "./site.mjs";

const MOST_BYTES = 160_000;
/** Of a picture of an example. */
const MOST_EXAMPLE_BYTES = 60_000;
const shots = join(root, "www/screenshots");
const story = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8");
const BEGINNING = "It was a dark night when the captain came down to the shore, and";

/** A model that answers. */
const TALKER = join(process.env.LORAKEET_MODELS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorakeet-models"), "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");

const written = (page) => page.waitForSelector("body[data-writing=false]");
const says = (page, id, words) => page.waitForFunction(([id, words]) => new RegExp(words).test(document.getElementById(id).textContent), [id, words], { timeout: 300_000 });

/** What is done on a view before its picture is taken. */
const SCENES = {
  async chat(page) {
    await page.setInputFiles("#files", TALKER);
    await page.locator("#chat-room").waitFor({ timeout: 120_000 });
    await page.locator("#temperature").fill("0");
    for (const text of ["What is the capital of France?", "Write a short letter to a friend who has moved away."]) {
      await page.locator("#message").fill(text);
      await page.locator("#send").click();
      await page.waitForSelector("body[data-writing=false]", { timeout: 300_000 });
    }
  },
  async models() {},
  async mix(page) {
    await page.locator("#weight-0").fill("0.5");
    await page.locator("#weight-3").fill("0.5");
    await page.locator("#mix-name").fill("buccaneer bard");
    await page.locator("#max-tokens").fill("40");
    await page.locator("#generate").click();
    await page.locator("#mix-files a").first().waitFor();
    await written(page);
  },
  async device(page) {
    await page.locator("#known section").first().waitFor();
  },
  async write(page) {
    const voices = await page.locator("#voice-list input").count();
    // From within: a text of this length is written in less time than round trips take.
    await page.evaluate(async (voices) => {
      const text = document.getElementById("text");
      const choose = (i) => document.querySelectorAll("#voice-list input")[i].click();
      choose(Math.min(1, voices - 1));
      await new Promise((later) => setTimeout(later, 300));
      document.getElementById("generate").click();
      for (let i = 2; i < voices && i < 4; i++) {
        while (text.textContent.length < 200 * (i - 1) && document.body.dataset.writing === "true") await new Promise((next) => setTimeout(next));
        choose(i);
      }
    }, voices);
    await written(page);
  },
  async blend(page) {
    await page.locator("#max-tokens").fill("90");
    await page.evaluate(() => scrollTo(0, 0));
    const { x, y, width, height } = await page.locator(".wheel").boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + 0.83 * width, y + 0.4 * height, { steps: 4 });
    await page.mouse.up();
    await page.waitForTimeout(300);
    await written(page);
  },
  async compare(page) {
    await page.locator("#generate").click();
    await written(page);
  },
  async long(page) {
    await page.locator("#long-beside").check();
    await page.locator("#start").fill(story.slice(0, 2400));
    await page.locator("#max-tokens").fill("150");
    await page.locator("#grow").click();
    await says(page, "long-status", "written");
  },
  async teach(page) {
    await page.locator("#lesson").fill(story);
    await page.locator("#teach-name").fill("ferry");
    await page.locator("#epochs").fill("4");
    await page.locator("#learn").click();
    await page.locator("#teach-result").waitFor({ timeout: 300_000 });
  },
};

const DESK = { viewport: { width: 1280, height: 800 } };
/** For views whose result stands below what it is made of. */
const HIGH = { viewport: { width: 1280, height: 1040 } };
const PICTURES = [
  ...Object.keys(SCENES).filter((view) => view !== "chat" || existsSync(TALKER)).map((view) => ({ name: view, view, look: ["write", "long", "teach"].includes(view) ? HIGH : DESK })),
  { name: "dark", view: "blend", look: { ...DESK, colorScheme: "dark" } },
  { name: "phone", view: "write", look: { viewport: { width: 360, height: 780 }, deviceScaleFactor: 2 } },
  { name: "phone-blend", view: "blend", look: { viewport: { width: 360, height: 780 }, deviceScaleFactor: 2 } },
];

async function take(browser, url, { name, view, look }) {
  const page = await browser.newPage({ ...look, reducedMotion: "reduce" }); // nothing plays by itself
  await page.goto(`${url}?device=cpu`);
  await page.waitForSelector("body[data-model=ready]", { timeout: 60_000 });
  await page.waitForFunction(() => !document.querySelector("#voice-list input:disabled"));
  await page.locator(`#view-${view}`).click();
  await page.evaluate((text) => (document.getElementById("prompt").value = text), BEGINNING);
  await page.locator("#seed").fill("11");
  await SCENES[view](page);
  await page.mouse.move(0, 0);
  await page.evaluate(() => {
    scrollTo(0, 0);
    for (const box of document.querySelectorAll("textarea, .page")) box.scrollTop = 0;
  });
  await page.waitForTimeout(500); // colours fade over
  await shoot(name, page, MOST_BYTES);
}

async function shoot(name, page, most) {
  const png = smaller(await page.screenshot());
  await page.close();
  console.log(`[screenshots] ${name}.png: ${png.length} bytes`);
  if (png.length > most) throw new Error(`${name}.png: ${png.length} bytes, expected at most ${most}`);
  writeFileSync(join(shots, `${name}.png`), png);
}

const at = process.argv.indexOf("--www");
const out = mkdtempSync(join(tmpdir(), "site-"));
await writeSite({ out, ...(at < 0 ? {} : { www: process.argv[at + 1] }) });
mkdirSync(join(shots, "examples"), { recursive: true });
const server = await serve({ roots: { "/": out }, port: 0 });
const browser = await launch();
try {
  if (process.argv.includes("--examples")) {
    const { pictureExamples } = await import("./example-pictures.mjs"); // which wants the packages of tests/bundlers/
    await pictureExamples(browser, (name, page) => shoot(`examples/${name}`, page, MOST_EXAMPLE_BYTES), existsSync(TALKER) ? TALKER : undefined);
  } else for (const picture of PICTURES) await take(browser, server.url, picture);
} catch (error) {
  console.error(`[screenshots] ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  await server.close();
  rmSync(out, { recursive: true });
}
