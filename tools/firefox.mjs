// Starts the Firefox in which a test runs, and speaks WebDriver BiDi to it: Playwright knows only its own Firefox.
// Only what that test needs: one page, expressions in it, and what it complains of.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";

const START_LIMIT_MS = 120_000;

/**
 * A headless Firefox, the program at `path`, with a profile of its own. `open(url)` gives the page, on which
 * `evaluate(work, argument)` runs a function there, `until(work, argument)` waits until it gives something,
 * and `complaints` gathers errors of the console and uncaught exceptions.
 */
export async function launchFirefox(path) {
  const profile = mkdtempSync(join(tmpdir(), "firefox-"));
  const child = spawn(path, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "close");
  const end = async () => {
    child.kill();
    await ended;
    rmSync(profile, { recursive: true, force: true });
  };
  try {
    const session = await Session.begin(`${await address(child)}/session`);
    const close = () => session.send("browser.close").catch(() => {}).then(end);
    return { close, open: (url) => openPage(session, url) };
  } catch (error) {
    await end();
    throw error;
  }
}

/** The address that a started Firefox prints. */
async function address(child) {
  let text = "";
  child.stderr.setEncoding("utf8");
  return new Promise((done, failed) => {
    child.stderr.on("data", (part) => {
      text += part;
      const [url] = /ws:\/\/[\w.:[\]]+/.exec(text) ?? [];
      if (url) done(url);
    });
    const fail = (why) => failed(new Error(`Firefox did not start: ${why}\n${text}`));
    child.on("error", (error) => fail(error.message));
    child.on("close", (code) => fail(`exit ${code}`));
    setTimeout(() => fail(`no address after ${START_LIMIT_MS} ms`), START_LIMIT_MS).unref();
  });
}

async function openPage(session, url) {
  const { contexts: [{ context }] } = await session.send("browsingContext.getTree");
  const complaints = [];
  session.onEvent = ({ method, params }) => method === "log.entryAdded" && params.level === "error" && complaints.push(params.text);
  await session.send("session.subscribe", { events: ["log.entryAdded"] });
  await session.send("browsingContext.navigate", { context, url, wait: "complete" });
  const evaluate = async (work, argument) => {
    const expression = `(async () => JSON.stringify((await (${work})(${JSON.stringify(argument)})) ?? null))()`;
    const { result, exceptionDetails } = await session.send("script.evaluate", { expression, awaitPromise: true, target: { context }, userActivation: true });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return JSON.parse(result.value);
  };
  const until = async (work, argument) => {
    for (;;) {
      const value = await evaluate(work, argument);
      if (value) return value;
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  return { evaluate, until, complaints };
}

/** Commands and their answers, over one socket. */
class Session {
  onEvent = () => {};
  #socket;
  #waiting = new Map();
  #lastId = 0;

  static async begin(url) {
    const session = new Session();
    session.#socket = new WebSocket(url);
    session.#socket.on("message", (data) => session.#hear(JSON.parse(data)));
    session.#socket.on("close", () => session.#waiting.forEach(({ failed }) => failed(new Error("Firefox is gone"))));
    await once(session.#socket, "open");
    await session.send("session.new", { capabilities: {} });
    return session;
  }

  send(method, params = {}) {
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return new Promise((done, failed) => this.#waiting.set(id, { done, failed }));
  }

  #hear(message) {
    if (message.type === "event") return this.onEvent(message);
    const { done, failed } = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "success") done(message.result);
    else failed(new Error(`${message.error}: ${message.message}`));
  }
}
