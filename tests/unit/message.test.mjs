// What is sent to an engine in another thread or tab: arguments written on one side and read on the other.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isStream, pack, unpack } from "../../dist/thread/message.js";

/** Arguments as they arrive on the other side, and what it did to this one. */
function sent(args) {
  const packed = pack(args);
  const calls = [];
  const controllers = [];
  const read = unpack(structuredClone(packed.args), (index, given) => calls.push([index, given]), (index, aborted) => {
    controllers[index] = new AbortController();
    if (aborted) controllers[index].abort();
    return controllers[index].signal;
  });
  return { packed, read, calls, controllers };
}

test("data arrives as it was, arrays of bytes and sparse places included", () => {
  const args = [1, "a", null, undefined, { deep: [{ x: [true] }], none: undefined }, new Uint8Array([1, 2]), Object.create(null)];
  assert.deepEqual(sent(args).read, [1, "a", null, undefined, { deep: [{ x: [true] }], none: undefined }, new Uint8Array([1, 2]), {}]);
});

test("functions are called by their number", () => {
  const { packed, read, calls } = sent([{ onStep() {}, inner: { onPrompt: () => {} } }]);
  assert.equal(packed.functions.length, 2);
  read[0].inner.onPrompt({ loaded: 1 });
  read[0].onStep(2, 3);
  assert.deepEqual(calls, [[1, [{ loaded: 1 }]], [0, [2, 3]]]);
});

test("a signal is one of the other side's own, fired if it has fired here", () => {
  const { packed, read, controllers } = sent([{ signal: AbortSignal.abort() }, new AbortController().signal]);
  assert.deepEqual([read[0].signal.aborted, read[1].aborted], [true, false]);
  assert.equal(packed.signals.length, 2);
  controllers[1].abort();
  assert.equal(read[1].aborted, true);
});

test("URLs, iterables and the folder of a file are kept", () => {
  const { read } = sent([new URL("https://a.example/b?c"), new Set(["x", "y"])]);
  assert.equal(read[0].href, "https://a.example/b?c");
  assert.deepEqual(read[1], ["x", "y"]);
  const file = Object.defineProperty(new File(["a"], "config.json"), "webkitRelativePath", { value: "folder/config.json" });
  const [written] = pack([file]).args;
  const [back] = unpack([written], () => {}, () => {});
  assert.deepEqual([back.name, back.webkitRelativePath], ["config.json", "folder/config.json"]);
});

test("a stream is handed over", () => {
  const stream = new ReadableStream();
  assert.deepEqual(pack([{ weights: stream }]).streams, [stream]);
});

test("a circle is an error, and no endless loop", () => {
  const circle = {};
  circle.self = circle;
  assert.throws(() => pack([circle]), RangeError);
});

test("a method gives a stream always, where it is asked for, or never", () => {
  const habits = { streams: { generate: "always", create: "asked" }, ends: [] };
  const gives = (method, ...args) => isStream(habits, method, args);
  assert.deepEqual([gives("generate"), gives("create", { stream: true }), gives("create", { stream: false }), gives("create")], [true, true, false, false]);
  assert.equal(gives("loadAdapter", new Blob([])), false); // a Blob has a method of that name
  assert.equal(gives("toString", { stream: true }), false);
});
