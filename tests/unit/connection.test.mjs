// What the two sides of a connection keep of objects that have ended.
// Not the engine: a stand-in answers, in Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { Connection } from "../../dist/thread/connection.js";
import { host } from "../../dist/thread/host.js";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

/** A temporary adapter's outside. */
class Temporary {
  constructor(name) {
    this.name = name;
  }
  async keepAs(name) {
    if (name === "taken") throw new Error("taken");
    return name;
  }
  async dispose() {}
  async exportAdapter() {
    return [this.name];
  }
  async *generate() {
    yield 1;
  }
}

function connected() {
  const made = [];
  const root = {
    make: async (name) => {
      const temporary = new Temporary(name);
      made.push(new WeakRef(temporary));
      return temporary;
    },
  };
  const { port1, port2 } = new MessageChannel();
  host(root, port2, { streams: { generate: "always" }, ofStreams: {}, ends: ["dispose", "keepAs"] });
  const connection = new Connection(port1, () => port1.close());
  port1.start();
  port2.start();
  return { connection, made, make: (name) => connection.call(0, ["make"], [name]) };
}

async function collected(refs) {
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    gc();
    if (refs.every((ref) => ref.deref() === undefined)) return true;
  }
  return false;
}

test("a temporary adapter that has ended is kept by neither side", async () => {
  const { connection, made, make } = connected();
  const [one, two, three] = [await make("one"), await make("two"), await make("three")];
  await one.dispose();
  await assert.rejects(two.keepAs("taken"), /taken/);
  assert.deepEqual(await two.exportAdapter(), ["two"]); // what failed ended nothing
  assert.equal(await two.keepAs("kept"), "kept");
  const gone = { kind: "argument", message: "the temporary adapter is disposed" };
  for (const ended of [one, two]) {
    await ended.dispose();
    await assert.rejects(ended.exportAdapter(), gone);
    await assert.rejects(ended.generate().next(), gone);
  }
  assert.ok(await collected(made.slice(0, 2)), "the other side has let them go");
  assert.equal(made[2].deref()?.name, "three");
  assert.deepEqual(await three.exportAdapter(), ["three"]);
  connection.end(new Error("over"));
});

test("what ended with the engine says so, also once it is disposed", async () => {
  const { connection, make } = connected();
  const one = await make("one");
  connection.end(new Error("over"));
  await one.dispose();
  await assert.rejects(one.exportAdapter(), /over/);
});
