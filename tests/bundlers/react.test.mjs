// `lorakeet/react`: the example with the packed package, built by Vite, in a browser; and the transport under the AI SDK's
// chat, in Node.

import assert from "node:assert/strict";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import { AbstractChat } from "ai";
import { launch } from "../../tools/chromium.mjs";
import { serve } from "../../tools/serve.mjs";
import { root } from "../../tools/setup.mjs";
import { startHub } from "../web/hub-server.mjs";
import { writeRandomAdapter } from "../web/random-adapter.mjs";
import { build, example, golden, project } from "./project.mjs";

const demo = join(root, "www/models/demo");

test("the example: an app in 60 lines", async (t) => {
  const folder = example("react");
  build(folder);
  for (const [seed, name] of ["poet", "cook"].entries()) writeRandomAdapter(join(folder, name), { model: demo, seed: seed + 1 });
  const hub = await startHub({ "org/demo": { folder: demo }, "org/poet": { folder: join(folder, "poet") }, "org/cook": { folder: join(folder, "cook") } });
  const site = await serve({ roots: { "/": join(folder, "dist") }, port: 0 });
  const browser = await launch();
  t.after(() => Promise.all([browser.close(), site.close(), hub.close()]));
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && !/favicon/.test(message.location().url) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const at = (name) => `${hub.url}/org/${name}/resolve/main/`;
  const query = new URLSearchParams([["device", "cpu"], ["model", at("demo")], ["adapter", `poet=${at("poet")}`], ["adapter", `cook=${at("cook")}`]]);
  await page.goto(`${site.url}index.html?${query}`);

  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  const written = () => page.waitForFunction(() => document.querySelector("output[aria-busy=false]")?.textContent.length > 0);
  const weigh = (name, weight) => page.getByLabel(name, { exact: true }).fill(String(weight));
  const write = async () => {
    await press("Write");
    await written();
    return page.textContent("output");
  };
  await page.getByLabel("Prompt").fill(golden.prompt, { timeout: 60_000 });
  const base = await write();
  assert.ok(golden.text.startsWith(base) && base.length > 100, base);
  await weigh("poet", 1);
  const poet = await write();
  await weigh("cook", 0.5);
  assert.equal(new Set([base, poet, await write()]).size, 3);

  // In mid-sentence: from within, so that no round trip lets the text end first.
  await weigh("cook", 0);
  await weigh("poet", 0);
  const [before, whole] = await page.evaluate(async () => {
    const [output, poet] = [document.querySelector("output"), [...document.querySelectorAll("label")].find((label) => label.textContent === "poet").querySelector("input")];
    const frame = () => new Promise((next) => setTimeout(next));
    [...document.querySelectorAll("button")].find((button) => button.textContent === "Write").click();
    while (output.getAttribute("aria-busy") !== "true" || output.textContent.length < 20) await frame();
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(poet, "1");
    poet.dispatchEvent(new Event("input", { bubbles: true }));
    const before = output.textContent;
    while (output.getAttribute("aria-busy") === "true") await frame();
    return [before, output.textContent];
  });
  assert.ok(whole.startsWith(before) && base.startsWith(before), before);
  assert.notEqual(whole, base, "it ended in another voice");

  await press("Compare");
  await page.waitForFunction(() => document.querySelectorAll("li").length === 3);
  assert.deepEqual(await page.locator("li").allTextContents().then(([first, second]) => [first, second]), [`__base__: ${base}`, `poet: ${poet}`]);

  await press("Learn");
  await page.getByLabel("me too").waitFor({ timeout: 60_000 });
  const points = () => page.getAttribute("polyline", "points").then((all) => all.split(" ").length);
  assert.ok((await points()) >= 3);
  await weigh("poet", 0);
  await weigh("me", 1);
  const me = await write();
  await weigh("me", 0);
  await weigh("me too", 1);
  assert.equal(await write(), me);
  const [download] = await Promise.all([page.waitForEvent("download"), press("Save")]);
  assert.equal(download.suggestedFilename(), "me.zip");

  await press("Long");
  await page.waitForFunction(() => document.querySelectorAll("li").length === 1 && document.querySelector("li").textContent.length > 200, undefined, { timeout: 120_000 });
  await page.waitForFunction(() => document.querySelector("polyline").getAttribute("points").split(" ").length >= 2, undefined, { timeout: 120_000 });
  assert.deepEqual(complaints, []);
  assert.equal(page.workers().length, 1, "StrictMode's first engine is gone");
});

/** The SDK's chat without a framework. */
class Chat extends AbstractChat {
  constructor(options) {
    const state = {
      status: "ready", error: undefined, messages: options.messages ?? [],
      pushMessage: (message) => void (state.messages = [...state.messages, message]),
      popMessage: () => void (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => void (state.messages = state.messages.with(index, message)),
      snapshot: (value) => structuredClone(value),
    };
    super({ ...options, state });
  }
}

test("the transport: the AI SDK's chat answers, is stopped, and has tools called", async (t) => {
  const folder = project("chat-transport", {});
  const at = (name) => import(pathToFileURL(join(folder, "node_modules/lorakeet/dist", name)).href);
  const [{ createEngine }, { chatTransport }] = [await at("index.js"), await at("react.js")];
  const model = join(folder, "demo");
  cpSync(demo, model, { recursive: true });
  writeFileSync(join(model, "chat_template.jinja"), "{% if tools %}{{ tools | tojson }}<tool_call>\n{% endif %}{% for m in messages %}<{{ m.role }}> {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}\n{% endfor %}<assistant>");
  const engine = await createEngine(model, { device: "cpu" });
  t.after(() => engine.dispose());
  const sampling = { max_tokens: 12, temperature: 0 };
  const text = ({ parts }) => parts.filter(({ type }) => type === "text").map((part) => part.text).join("");

  const chat = new Chat({ transport: chatTransport(engine, sampling) });
  await chat.sendMessage({ text: "Say it." });
  const messages = [{ role: "user", content: "Say it." }];
  const { choices: [{ message }] } = await engine.chat.completions.create({ messages, ...sampling });
  assert.deepEqual([chat.status, chat.messages.length, text(chat.messages[1])], ["ready", 2, message.content]);
  await chat.sendMessage({ text: "Again." }, { body: { max_tokens: 3 } });
  const next = await engine.chat.completions.create({ messages: [...messages, message, { role: "user", content: "Again." }], temperature: 0, max_tokens: 3 });
  assert.equal(text(chat.messages[3]), next.choices[0].message.content);

  const endless = new Chat({ transport: chatTransport(engine, { overflow: "slide", max_tokens: 1e6 }) });
  const answer = endless.sendMessage({ text: "Say it." });
  while (endless.status !== "streaming") await new Promise((next) => setTimeout(next, 5));
  await endless.stop();
  await answer;
  assert.equal(endless.status, "ready");
  assert.equal((await engine.completions.create({ prompt: golden.prompt, ...sampling })).choices.length, 1, "its place is free again");

  const parameters = { type: "object", required: ["age"], properties: { age: { type: "integer", minimum: 0, maximum: 9 } }, additionalProperties: false };
  const request = { tools: [{ type: "function", function: { name: "weather", parameters } }], tool_choice: "required", temperature: 0 };
  const heard = [];
  const caller = new Chat({ transport: chatTransport(engine, request), onToolCall: ({ toolCall }) => heard.push(toolCall) });
  await caller.sendMessage({ text: "Rain?" });
  assert.equal(caller.error, undefined);
  assert.equal(heard[0].toolName, "weather");
  await caller.addToolOutput({ tool: "weather", toolCallId: heard[0].toolCallId, output: "rain" });
  await caller.sendMessage({ text: "And now?" });
  assert.equal(heard.length, 2);

  const failing = new Chat({ transport: chatTransport(engine, { temperature: -1 }) });
  await failing.sendMessage({ text: "Say it." });
  assert.equal(failing.error.kind, "argument");
});
