// The pictures of www/examples/: each example with the packed package, built as its README says, in a browser, at work on what ships.
// Not a test: those are tests/bundlers/.

import { writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { build, example, extensionId, startNext } from "../tests/bundlers/project.mjs";
import { startHub } from "../tests/web/hub-server.mjs";
import { launchWithExtension } from "./chromium.mjs";
import { serve } from "./serve.mjs";
import { root } from "./setup.mjs";

const PROMPT = "The captain of the ship";
const LOOK = { viewport: { width: 560, height: 150 }, deviceScaleFactor: 1.5 };
const VOICES = ["pirate", "king-james"];

/** `shoot(name, page)` hears of each example that has a picture; that of a chat has one if there is `talker`, the path of a model that answers. */
export async function pictureExamples(browser, shoot, talker) {
  const shipped = ["models/novels", ...VOICES.map((name) => `adapters/${name}`)].map((path) => [path, join(root, "www", path)]);
  const folders = [...shipped, ...(talker ? [["models/talker", dirname(talker)]] : [])];
  const hub = await startHub(Object.fromEntries(folders.map(([id, folder]) => [id, { folder }])));
  const at = (path) => `${hub.url}/${path.split("/").slice(0, 2).join("/")}/resolve/main/${path.split("/").slice(2).join("/")}`;
  const query = new URLSearchParams({ model: at("models/novels/novels-q8_0.gguf") });

  /** The examples of one field and one text. */
  const write = async (name, url, context = browser) => {
    const page = await context.newPage(LOOK);
    await page.setViewportSize(LOOK.viewport);
    await page.goto(`${url}?${query}`);
    await page.locator("[name=prompt]").fill(PROMPT);
    await page.locator("button:enabled").click({ timeout: 180_000 });
    await page.waitForFunction(() => document.querySelector("output").textContent.length > 150, null, { timeout: 180_000 });
    await page.waitForTimeout(2000); // its end
    await shoot(name, page);
  };
  const served = async (folder, work) => {
    const site = await serve({ roots: { "/": folder }, port: 0 });
    await work(`${site.url}index.html`).finally(site.close);
  };

  try {
    await served(example("html"), (url) => write("html", url));
    for (const [name, out] of [["vite", "dist"], ["esbuild", ""]]) {
      const folder = example(name);
      build(folder);
      await served(join(folder, out), (url) => write(name, url));
    }
    const extension = example("extension");
    const context = await launchWithExtension(extension);
    await write("extension", `chrome-extension://${extensionId(extension)}/page.html`, context).finally(() => context.close());

    const react = example("react");
    const adapted = new URLSearchParams([["device", "cpu"], ...query]);
    build(react);
    for (const voice of VOICES) adapted.append("adapter", `${voice}=${at(`adapters/${voice}/`)}`);
    await served(join(react, "dist"), async (url) => {
      const page = await browser.newPage({ viewport: { width: 560, height: 340 }, deviceScaleFactor: 1.25 });
      await page.goto(`${url}?${adapted}`);
      await page.getByLabel("Prompt").fill(PROMPT, { timeout: 180_000 });
      await page.getByLabel(VOICES[0], { exact: true }).fill("1");
      await page.getByRole("button", { name: "Write" }).click();
      await page.waitForFunction(() => document.querySelector("output[aria-busy=false]")?.textContent.length > 0, null, { timeout: 180_000 });
      await page.getByRole("button", { name: "Compare" }).click();
      await page.locator("li").nth(VOICES.length).waitFor({ timeout: 180_000 });
      await shoot("react", page);
    });

    if (talker) {
      const element = example("element");
      writeFileSync(join(element, "index.html"), `<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<script type="importmap">{ "imports": { "lorakeet": "./node_modules/lorakeet/dist/index.js" } }</script>
<script type="module" src="./lorakeet-chat.js"></script>
<lorakeet-chat model="${at(`models/talker/${basename(talker)}`)}"></lorakeet-chat>`);
      await served(element, async (url) => {
        const page = await browser.newPage(LOOK);
        await page.goto(url);
        await page.getByLabel("Message").fill("What is the capital of France?");
        await page.locator("button:enabled").click({ timeout: 120_000 });
        await page.evaluate(() => new Promise((done) => document.querySelector("lorakeet-chat").addEventListener("answer", done)));
        await shoot("element", page);
      });
    }
    // Last, because it takes the longest.
    const next = await startNext();
    await write("next", next.url).finally(next.close);
  } finally {
    await hub.close();
  }
}
