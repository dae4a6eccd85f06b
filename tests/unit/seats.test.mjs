// Who may generate now: seats, the line of those who wait, and streams that nobody reads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Seats } from "../../dist/thread/seats.js";

const seats = (size, maxQueue = 9, streamIdleTimeout = Infinity) => new Seats(size, { maxQueue, streamIdleTimeout });

test("who came first is served first, also where a later one would fit", async () => {
  const room = seats(3);
  const first = room.takeNow(2, 2);
  const served = [];
  const take = (name, least, most) => room.take(least, most, undefined, name).then((seating) => (served.push(`${name} ${seating.count}`), seating));
  const [wide, narrow] = [take("wide", 3, 3), take("narrow", 1, 1)];
  assert.equal(room.takeNow(1, 1), undefined); // a seat is free, and others were there before
  first.leave();
  first.leave(); // again is no error
  (await wide).leave();
  await narrow;
  assert.deepEqual(served, ["wide 3", "narrow 1"]);
});

test("a request takes as many as there are, up to what it can use", async () => {
  const room = seats(4);
  assert.equal(room.takeNow(1, 3).count, 3);
  assert.equal(room.takeNow(1, 3).count, 1);
  assert.equal(room.takeNow(1, 3), undefined);
});

test("a full line and a request for too much are refused at once", async () => {
  const room = seats(1, 1);
  const taken = room.takeNow(1, 1);
  const waiting = room.take(1, 1, undefined, "b");
  await assert.rejects(room.take(1, 1, undefined, "c"), { kind: "argument", message: "all 1 sequences of this engine are taken and 1 request waits, expected at most 1: the engine's `maxQueue`" });
  await assert.rejects(room.take(2, 2, undefined, "c"), { kind: "argument", message: "c takes 2 sequences at once, expected at most 1: the engine's `batch`" });
  const again = room.take(1, 1, undefined, "a", true); // who was served before is not refused
  taken.leave();
  (await waiting).leave();
  (await again).leave();
});

test("a signal ends the waiting, and the next one moves up", async () => {
  const room = seats(1);
  const taken = room.takeNow(1, 1);
  const abort = new AbortController();
  const [given, next] = [room.take(1, 1, abort.signal, "the completion"), room.take(1, 1, undefined, "d")];
  abort.abort("enough");
  await assert.rejects(given, { kind: "cancelled", message: "the completion was cancelled", cause: "enough" });
  taken.leave();
  assert.equal((await next).count, 1);
});

test("what nobody reads gives its seat to who waits, and says so when it is read", async () => {
  const room = seats(1, 9, 20);
  let ended = false;
  const readAgain = room.takeNow(1, 1).idle(async () => void (ended = true));
  await sleep(40);
  assert.equal(ended, false); // nobody waits
  await room.take(1, 1, undefined, "e");
  assert.equal(ended, true);
  assert.throws(readAgain, { kind: "argument" });
});

test("after the end everybody who waits or comes fails", async () => {
  const room = seats(1);
  room.takeNow(1, 1);
  const waiting = room.take(1, 1, undefined, "f");
  room.close(new Error("over"));
  await assert.rejects(waiting, /over/);
  await assert.rejects(room.take(1, 1, undefined, "g"), /over/);
});
