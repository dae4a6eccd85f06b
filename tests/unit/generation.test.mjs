// In which order requests reach an engine, which of their prompts run together, and that every batch is ended.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gather, generate } from "../../dist/api/generation.js";
import { LorakeetError } from "../../dist/error.js";
import { checkRequest } from "../../dist/api/request.js";
import { Seats } from "../../dist/thread/seats.js";

/** Turns over an engine that computes a prompt's tokens, then writes it back, one character a step, and notes what it is asked. */
function turns(size, prefill = 0) {
  const calls = [];
  const batches = new Map();
  const engine = {
    adapters: () => [{ name: "poet", weight: 0.5 }, { name: "sql", weight: 0 }],
    prepare: (prompts) => prompts.map((prompt) => Uint32Array.from(prompt, (letter) => letter.charCodeAt(0))),
    start(prompts, { seed, adapter }) {
      const id = batches.size;
      const texts = prompts.map((prompt) => (typeof prompt === "string" ? prompt : String.fromCharCode(...prompt)));
      batches.set(id, { texts, at: 0, pending: prefill });
      calls.push(`start ${id} ${texts.join()} seed ${seed}${adapter ? ` as ${JSON.stringify(adapter)}` : ""}`);
      return id;
    },
    next(id) {
      const batch = batches.get(id);
      if (batch.pending > 0) return { deltas: [], finished: false, pending: --batch.pending };
      const at = batch.at++;
      const open = batch.texts.map((text, index) => ({ text, index })).filter(({ text }) => at < text.length);
      const deltas = open.map(({ text, index }) => ({ index, text: text[at], tokens: [at], logprobs: [], finish: at + 1 === text.length ? "stop" : undefined }));
      return { deltas, finished: batch.texts.every((text) => batch.at >= text.length), pending: 0 };
    },
    pending: (id) => batches.get(id).pending,
    allow: (id, index, mask, ending) => calls.push(`allow ${id} ${index} ${mask} ${ending}`),
    usage: (id, index) => ({ prompt_tokens: batches.get(id).texts[index].length, cached_tokens: 0, completion_tokens: 0 }),
    end: (id) => calls.push(`end ${id}`),
  };
  const seats = new Seats(size, { maxQueue: 9, streamIdleTimeout: Infinity });
  const turns = { seats, closed: false, isTaken: false, take: async (call) => {
    turns.isTaken = true;
    try {
      return call(engine);
    } finally {
      turns.isTaken = false;
    }
  } };
  return { calls, turns };
}

const request = (prompt, options = {}) => checkRequest({ prompt, seed: 7, ...options }, "model");

test("prompts that have room run as one batch", async () => {
  const { calls, turns: two } = turns(2);
  const { texts, counts } = await gather(two, request(["ab", "c"]));
  assert.deepEqual(texts.map(({ text, finish }) => [text, finish]), [["ab", "stop"], ["c", "stop"]]);
  assert.deepEqual(counts.map((each) => each.prompt_tokens), [2, 1]);
  assert.deepEqual(calls, ["start 0 ab,c seed 7", "end 0"]);
});

test("others run when their turn comes, under the adapters and seeds they were asked with", async () => {
  const { calls, turns: two } = turns(2);
  const { texts } = await gather(two, request(["ab", "c", "d"]));
  assert.deepEqual(texts.map(({ text }) => text), ["ab", "c", "d"]);
  assert.deepEqual(calls, ['start 0 ab,c seed 7 as {"poet":0.5}', "end 0", 'start 1 d seed 9 as {"poet":0.5}', "end 1"]);
});

test("requests are served in the order they came", async () => {
  const { calls, turns: one } = turns(1);
  await Promise.all(["a", "b", "c"].map((prompt) => gather(one, request(prompt))));
  assert.deepEqual(calls.map((call) => call.split(" ").slice(0, 3).join(" ")), ["start 0 a", "end 0", "start 1 b", "end 1", "start 2 c", "end 2"]);
});

test("leaving the loop or a signal ends the batch, and the seat is free again", async () => {
  const { calls, turns: one } = turns(1);
  for await (const { deltas } of generate(one, request("abc"))) if (deltas) break;
  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of generate(one, request("abc", { signal: abort.signal }))) abort.abort();
  }, { kind: "cancelled" });
  assert.deepEqual(calls, ["start 0 abc seed 7", "end 0", "start 1 abc seed 7", "end 1"]);
  assert.equal(one.seats.takeNow(1, 1).count, 1);
});

/** A grammar that notes what it is asked, and whether that was in the engine's turn; it fails at token `last`. */
function noting(turns, last = Infinity) {
  const asked = [];
  let frees = 0;
  const constraint = () => ({
    allowed() {
      asked.push(turns.isTaken ? "in the engine's turn" : "asked");
      if (asked.length > last) throw new LorakeetError("argument", "it stopped");
      return { mask: Uint32Array.of(asked.length), ending: "may" };
    },
    accept: (token) => asked.push(`token ${token}`),
  });
  return { asked, frees: () => frees, grammar: async () => ({ constraint, free: () => frees++ }) };
}

test("a constraint is asked once for each token, and not while a prompt is computed", async () => {
  const { calls, turns: one } = turns(1, 3);
  const { asked, frees, grammar } = noting(one);
  await gather(one, { ...request("abc"), grammar });
  assert.deepEqual(asked, ["asked", "token 0", "asked", "token 1", "asked"]);
  assert.deepEqual(calls, ["start 0 abc seed 7", "allow 0 0 1 may", "allow 0 0 3 may", "allow 0 0 5 may", "end 0"]);
  assert.equal(frees(), 1);
});

test("what goes wrong in a constraint ends its request, and is the engine's business no more than that", async () => {
  const { calls, turns: two } = turns(2);
  const { frees, grammar } = noting(two, 2);
  const other = gather(two, request("ab"));
  await assert.rejects(gather(two, { ...request("abc"), grammar }), { kind: "argument", message: "it stopped" });
  assert.equal((await other).texts[0].text, "ab");
  assert.deepEqual(calls.filter((call) => call.startsWith("end")).sort(), ["end 0", "end 1"]);
  assert.equal(frees(), 1);
  assert.equal(two.seats.takeNow(2, 2).count, 2);
});

test("what is wrong in a grammar is told before its request waits", async () => {
  const { calls, turns: one } = turns(1);
  const seating = one.seats.takeNow(1, 1);
  const grammar = async () => {
    throw new LorakeetError("argument", "no grammar");
  };
  await assert.rejects(gather(one, { ...request("abc"), grammar }), { message: "no grammar" });
  seating.leave();
  assert.deepEqual(calls, []);
});
