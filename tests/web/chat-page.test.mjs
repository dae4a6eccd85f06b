// Conversations on the page: a model that answers is fetched at a click; turns, stop, again, edit, two voices, what is kept.
// The model is a small random one with a chat template, from an imitation of the hub; a real one is real-model.test.mjs's.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import { startHub } from "./hub-server.mjs";
import { writeRandomAdapter } from "./random-adapter.mjs";
import { TALKER, TEMPLATE, bring, openPage, ready, sample, says, violations, voices, writeTalker, written } from "./reader.mjs";

let browser, folder, model, hub;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "chat-"));
  model = join(folder, "talker");
  writeTalker(model);
  writeRandomAdapter(join(folder, "gruff"), { model, rank: 4, seed: 1 });
  hub = await startHub({ [TALKER]: { folder: model } });
  browser = await start();
});
after(async () => {
  await browser?.close();
  await hub?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The page with a model that answers. */
async function openChat(options) {
  const page = await openPage(browser, "?device=cpu", { view: "chat", ...options });
  await page.setInputFiles("#folder", model);
  await page.waitForSelector("#chat-room:not([hidden])");
  await sample(page, { maxTokens: 12 });
  return page;
}

async function ask(page, text) {
  await page.locator("#message").fill(text);
  await page.locator("#send").click();
  await written(page);
}

const mine = (page) => page.locator("#turns .mine p").allTextContents();
const answers = (page) => page.locator("#turns .md").evaluateAll((all) => all.map((each) => each.textContent));

test("a model that answers is one click away, its size said, and is there again without a network; and so is the one before", async (t) => {
  const hub = await startHub({ [TALKER]: { folder: model } });
  t.after(() => hub.close());
  const page = await openPage(browser, "?device=cpu", { view: "chat", hubUrl: hub.url });
  await page.waitForSelector("#chat-offer:not([hidden])");
  assert.equal(await page.textContent("#chat-fetch"), "Chat with SmolLM2 135M");
  assert.match(await page.textContent("#chat-size"), /^269 MB to download once, Apache-2\.0/);
  assert.deepEqual(await violations(page), []);
  await page.locator("#chat-fetch").click();
  await page.waitForSelector("#chat-room:not([hidden])");
  assert.equal(await page.textContent("#name"), "SmolLM2-135M-Instruct");
  assert.equal(new URL(page.url()).searchParams.get("model"), TALKER);
  await sample(page, { maxTokens: 8 });
  await ask(page, "Who are you?");
  const [first] = await answers(page);
  assert.ok(first.length > 0);
  await hub.close();
  await page.reload();
  await page.waitForSelector("#chat-room:not([hidden])");
  assert.deepEqual(await mine(page), ["Who are you?"]);
  assert.deepEqual(await answers(page), [first]);

  // Chat is the first view of this model, for addresses that name none.
  await page.evaluate(() => history.replaceState(null, "", location.pathname + location.search));
  await page.reload();
  await page.waitForSelector("#panel-chat:not([hidden])");
  await page.locator("#view-models").click();
  const card = (name) => page.locator("#shelf li", { hasText: name }).first();
  await page.waitForFunction(() => /kept in this browser \(/.test(document.getElementById("shelf").textContent));
  assert.match(await card("SmolLM2 135M").textContent(), /answers · Apache-2\.0 · about \d+ MB of memory · kept in this browser \([\d.]+ kB\), works offlineIn use/);
  await card("demo").getByRole("button").click();
  await says(page, "name", "^demo$");
  await page.waitForFunction(() => !new URLSearchParams(location.search).has("model"));
  await card("SmolLM2 135M").getByLabel("Remove SmolLM2 135M from this browser").click();
  await says(page, "status", "^SmolLM2 135M is removed: [\\d.]+ kB freed");
  await page.waitForFunction(() => !/kept in this browser/.test(document.getElementById("shelf").textContent));
  assert.match(await card("SmolLM2 135M").textContent(), /269 MB to download/);
  assert.equal(page.complaints.filter((each) => !/Failed to load resource|ERR_CONNECTION_REFUSED/.test(each)).length, 0, page.complaints.join());
  await page.close();
});

test("the model of the offer comes with voices of its own, and an answer can be in one of them", async () => {
  const chatVoices = ["calm", "stern"].map((name) => ({ name, title: `A ${name} one`, line: "A line", folder: `./voices/${name}/` }));
  chatVoices.forEach(({ name }, i) => writeRandomAdapter(join(folder, name), { model, rank: 4, seed: i + 2 }));
  const page = await openPage(browser, "?device=cpu", {
    view: "chat",
    hubUrl: hub.url,
    chatVoices,
    prepare: (page) => page.route("**/voices/*/*", (route) => {
      const path = join(folder, ...new URL(route.request().url()).pathname.split("/").slice(-2));
      return route.fulfill(existsSync(path) ? { path } : { status: 404 });
    }),
  });
  assert.deepEqual(await voices(page), ["Base"]);
  await page.locator("#chat-fetch").click();
  await page.waitForFunction(() => document.querySelectorAll("#voice-list input:enabled").length === 3);
  assert.deepEqual(await voices(page), ["Base", "A calm one", "A stern one"]);
  await sample(page, { maxTokens: 12 });
  const said = [];
  for (const name of ["", "calm", "stern"]) {
    await page.locator(`#voice-list input[value="${name}"]`).check();
    await page.waitForSelector("#chat-room:not([hidden])");
    await ask(page, "Who are you?");
    said.push(...(await answers(page)));
    await page.locator("#chat-clear").click();
  }
  assert.equal(new Set(said).size, 3, said.join(" | "));
  // They are that model's alone.
  await page.setInputFiles("#folder", model);
  await says(page, "name", "^talker$");
  assert.deepEqual(await voices(page), ["Base"]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("turns stream, stop, are answered again, edited, saved as a file and cleared", async () => {
  const page = await openChat();
  assert.equal(await page.isVisible("#panel-chat"), true);
  assert.deepEqual(await violations(page), []);
  await ask(page, "Who are you?");
  await ask(page, "And at night?");
  assert.deepEqual(await mine(page), ["Who are you?", "And at night?"]);
  const [first, second] = await answers(page);
  assert.ok(first.length > 0 && second.length > 0);
  assert.equal(await page.textContent("#status"), "Wrote 12 tokens.");
  // What was said before is part of what is asked: without it the answer is another.
  const expected = await page.evaluate(async ([messages, url]) => {
    const { createEngine } = await import("/dist/index.js");
    const engine = await createEngine("/test/fixtures/llama/", { device: "cpu", chatTemplate: new TextEncoder().encode(url) });
    const { choices } = await engine.chat.completions.create({ messages, max_tokens: 12, temperature: 0, repetition_penalty: 1 });
    await engine.dispose();
    return choices[0].message.content;
  }, [[{ role: "user", content: "Who are you?" }, { role: "assistant", content: await kept(page, 0) }, { role: "user", content: "And at night?" }], TEMPLATE]);
  assert.equal(await kept(page, 1), expected);

  await page.getByRole("button", { name: "Answer again" }).click();
  await written(page);
  assert.deepEqual(await answers(page), [first, second]);

  await sample(page, { maxTokens: 60 });
  await page.locator("#message").fill("Go on for long");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#turns .md")[2]?.textContent.length > 3);
  await page.locator("#chat-stop").click();
  await says(page, "status", "^(Stopped after|Wrote) \\d+ tokens");
  assert.equal((await answers(page)).length, 3);

  await page.getByLabel("Edit: And at night?").click();
  assert.equal(await page.inputValue("#message"), "And at night?");
  assert.deepEqual(await violations(page), []);
  await page.locator("#chat-unedit").click();
  assert.equal(await page.inputValue("#message"), "");
  await page.getByLabel("Edit: And at night?").click();
  await ask(page, "And by day?");
  assert.deepEqual(await mine(page), ["Who are you?", "And by day?"]);

  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#chat-export").click()]);
  assert.equal(file.suggestedFilename(), "conversation.json");
  const { messages } = JSON.parse(readFileSync(await file.path(), "utf8"));
  assert.deepEqual(messages.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  await page.reload();
  await ready(page);
  await page.setInputFiles("#folder", model);
  await page.waitForSelector("#chat-room:not([hidden])");
  assert.deepEqual(await mine(page), ["Who are you?", "And by day?"]);
  await page.locator("#chat-clear").click();
  assert.deepEqual(await mine(page), []);
  assert.equal(await page.evaluate(() => localStorage.getItem("lorakeet conversation")), null);
  assert.equal(await page.isVisible("#chat-clear"), false);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

/** The text of the first answer to a turn, as it is kept. */
const kept = (page, turn) => page.evaluate((turn) => JSON.parse(localStorage.getItem("lorakeet conversation"))[turn].answers[0].text, turn);

test("two voices answer side by side, and the conversation goes on from the one that is chosen", async () => {
  const page = await openChat();
  assert.match(await page.textContent("#one-voice"), /^This model has one voice so far/);
  await bring(page, join(folder, "gruff"), "gruff");
  assert.equal(await page.isVisible("#one-voice"), false);
  await page.locator("#second-voice").selectOption("__base__");
  await ask(page, "Who are you?");
  const [gruff, base] = await answers(page);
  assert.notEqual(gruff, base);
  assert.deepEqual(await page.locator("#turns h3").allTextContents(), ["gruff", "Base"]);
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Continue from this one" }).click();
  assert.deepEqual(await page.locator("#turns [aria-pressed]").evaluateAll((all) => all.map((each) => each.getAttribute("aria-pressed"))), ["false", "true"]);
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#chat-export").click()]);
  assert.equal(JSON.parse(readFileSync(await file.path(), "utf8")).messages[1].name, undefined);
  // Each as it is alone.
  await page.locator("#second-voice").selectOption("");
  await page.locator("#voice-list label").first().click();
  await page.locator("#chat-clear").click();
  await ask(page, "Who are you?");
  assert.deepEqual(await answers(page), [base]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a conversation longer than the context forgets its oldest turns, and says so", async () => {
  const page = await openChat();
  await page.evaluate(() => {
    globalThis.said = [];
    new MutationObserver(() => globalThis.said.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true });
  });
  for (let i = 0; i < 6; i++) await ask(page, `This is sentence number ${i} of a rather long conversation about nothing much.`);
  assert.equal((await answers(page)).length, 6);
  assert.ok((await answers(page)).every((each) => each.length > 0));
  assert.equal(await page.isVisible("#error"), false);
  assert.match((await page.evaluate(() => globalThis.said)).join("\n"), /oldest turns? no longer fits?/);
  await page.close();
});

test("what a model writes is Markdown, and never markup", async () => {
  const text = [
    "# Head", "**bold** _it_ `a<b` <img src=x onerror=alert(1)> <script>alert(1)</script>", "",
    "- one", "- [ ] two", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", "```js", "let a = '<b>';", "```", "",
    "[bad](javascript:alert(1)) [good](https://example.org/) ![pic](https://example.org/a.png)", "", "<b>raw</b>",
  ].join("\n");
  const turns = [{ text: "<i>?</i>", chosen: 0, answers: [{ voice: "", title: "<b>Base</b>", hue: "base", text }] }];
  const page = await openChat({ prepare: (page) => page.addInitScript((turns) => localStorage.setItem("lorakeet conversation", JSON.stringify(turns)), turns) });
  const tags = await page.locator("#turns .md *").evaluateAll((all) => [...new Set(all.map(({ localName }) => localName))].sort());
  assert.deepEqual(tags, ["a", "code", "div", "em", "h4", "li", "p", "pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"]);
  assert.deepEqual(await page.locator("#turns a").evaluateAll((all) => all.map(({ href, rel }) => [href, rel])), [["https://example.org/", "noopener noreferrer nofollow"], ["https://example.org/a.png", "noopener noreferrer nofollow"]]);
  const shown = await page.textContent("#turns .md");
  for (const words of ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "let a = '<b>';", "a<b", "☐ two", "<b>raw</b>"]) assert.ok(shown.includes(words), words);
  assert.deepEqual(await violations(page), []);
  // What is kept and is none of it begins anew.
  await page.evaluate(() => localStorage.setItem("lorakeet conversation", '[{"text": 1}]'));
  assert.deepEqual(page.complaints, []);
  await page.close();
});
