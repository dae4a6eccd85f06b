// When an engine hears of a stream's other adapters, and in which order a reader gets text and answer.
// What they do to the text is judged in Rust; the engine here notes what it is asked.

import assert from "node:assert/strict";
import { test } from "node:test";
import { generate } from "../../dist/api/generation.js";
import { Switch } from "../../dist/api/text-stream.js";
import { LorakeetError } from "../../dist/error.js";
import { checkRequest } from "../../dist/api/request.js";
import { Connection } from "../../dist/thread/connection.js";
import { host } from "../../dist/thread/host.js";
import { Seats } from "../../dist/thread/seats.js";

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Turns over an engine that writes the name of the adapter at work, a token a step, `length` of them. */
function turns(length = 4, size = 1) {
  const batches = [];
  const calls = [];
  const known = (weights) => {
    for (const name of Object.keys(weights)) if (!["a", "b"].includes(name)) throw new LorakeetError("argument", `adapter \`${name}\` is not loaded`);
    return Object.keys(weights).join("+") || "base";
  };
  const engine = {
    adapters: () => [],
    adapter: (name) => known({ [name]: 1 }),
    prepare: (prompts) => prompts.map(() => Uint32Array.of(1)),
    start(prompts, { adapter = {}, adapters }) {
      calls.push(`start ${prompts.length} ${adapters ? adapters.map(known).join() : known(adapter)}`);
      return batches.push({ n: prompts.length, at: 0, name: known(adapter) }) - 1;
    },
    switch: (id, weights) => (batches[id].name = known(weights)),
    async next(id) {
      const batch = batches[id];
      const { name } = batch;
      await wait(20); // a step takes a while
      const finish = ++batch.at === length ? "length" : undefined;
      return { deltas: Array.from({ length: batch.n }, (_, index) => ({ index, text: name, tokens: [1], logprobs: [], finish })), finished: batch.at === length, pending: 0 };
    },
    pending: () => 0,
    usage: () => ({ prompt_tokens: 1, cached_tokens: 0, completion_tokens: length }),
    end: (id) => calls.push(`end ${id}`),
  };
  let last = Promise.resolve();
  const seats = new Seats(size, { maxQueue: 9, streamIdleTimeout: Infinity });
  return { calls, seats, closed: false, take(call) {
    const turn = last.then(() => call(engine));
    last = turn.catch(() => {});
    return turn;
  } };
}

function open(turns, options = {}) {
  const adapters = new Switch(turns);
  const request = checkRequest({ prompt: "x", seed: 1, ...options }, "model");
  return adapters.of((async function* () {
    for await (const { deltas } of generate(turns, request, adapters)) for (const { text } of deltas ?? []) yield text;
  })());
}

async function rest(stream) {
  const texts = [];
  for await (const text of stream) texts.push(text);
  return texts;
}

test("a reader who waits for the change, and one who waits for text, have the next token by it", async () => {
  const stream = open(turns());
  assert.equal((await stream.next()).value, "base");
  await stream.setAdapter("a");
  assert.equal((await stream.next()).value, "a");
  await stream.setAdapter({ a: 0.5, b: 0.5 });
  await stream.setAdapter(null);
  assert.deepEqual(await rest(stream), ["base", "base"]);
});

test("what is asked for during a step is told after that step's text", async () => {
  const stream = open(turns());
  const order = [];
  await stream.next();
  const text = stream.next().then(({ value }) => order.push(value));
  await wait(5); // the step is under way
  const change = stream.setAdapter("a").then(() => order.push("changed"));
  await Promise.all([text, change]);
  assert.deepEqual(order, ["base", "changed"]);
  assert.deepEqual(await rest(stream), ["a", "a"]);
});

test("a stream that has not begun begins with it, and so does what waits for a seat", async () => {
  const one = turns(2);
  const stream = open(one, { prompt: ["x", "y"], adapter_names: ["a", "b"] });
  await stream.setAdapter("b");
  assert.deepEqual(await rest(stream), ["b", "b", "b", "b"]);
  assert.deepEqual(one.calls, ["start 1 b", "end 0", "start 1 b", "end 1"]);
});

test("what is refused changes nothing, before, within and after a text", async () => {
  const stream = open(turns());
  const refused = () => assert.rejects(stream.setAdapter("nobody"), { kind: "argument", message: /nobody/ });
  await refused();
  await assert.rejects(stream.setAdapter(7), { kind: "argument" });
  await stream.next();
  await refused();
  const during = stream.next();
  await wait(5);
  await refused();
  await during;
  assert.deepEqual(await rest(stream), ["base", "base"]);
  await stream.setAdapter("a"); // nothing is left to change
});

test("leaving a stream answers who waits", async () => {
  const stream = open(turns());
  await stream.next();
  const text = stream.next();
  await wait(5);
  const change = stream.setAdapter("a");
  await Promise.all([text, change, stream.return()]);
});

test("across threads too, in the same order", async () => {
  const { port1, port2 } = new MessageChannel();
  const habits = { streams: { create: "always" }, ofStreams: { create: ["setAdapter"] }, ends: [] };
  host({ create: () => open(turns()) }, port2, habits);
  const connection = new Connection(port1, () => port1.close());
  port1.start();
  port2.start();
  const create = () => connection.stream(0, ["create"], [], habits);
  const stream = create();
  await stream.setAdapter("b"); // before it is read
  assert.equal((await stream.next()).value, "b");
  const order = [];
  const text = stream.next().then(({ value }) => order.push(value));
  await wait(5);
  await Promise.all([text, stream.setAdapter("a").then(() => order.push("changed"))]);
  assert.deepEqual(order, ["b", "changed"]);
  await assert.rejects(stream.setAdapter("nobody"), { name: "LorakeetError", kind: "argument", message: /nobody/ });
  assert.deepEqual(await rest(stream), ["a", "a"]);
  await stream.setAdapter("b"); // it has ended
  connection.end(new Error("over"));
  await assert.rejects(create().setAdapter("a"), /over/);
});
