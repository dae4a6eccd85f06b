// Checks of options: what passes, and the words of what does not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkFunction, checkNames, checkPositive, checkSignal, checkString, checkUrl, checkWhole, isWhole } from "../../dist/options.js";

const refusal = (work) => {
  try {
    work();
  } catch ({ kind, message }) {
    return [kind, message];
  }
  return undefined;
};

test("what is absent passes every check", () => {
  for (const check of [checkFunction, checkPositive, checkString, checkUrl, checkWhole]) assert.equal(refusal(() => check("x", undefined)), undefined);
});

test("a wrong value is named with what was expected", () => {
  assert.deepEqual(refusal(() => checkWhole("seed", -1)), ["argument", "seed -1, expected a whole number, at least 0"]);
  assert.deepEqual(refusal(() => checkPositive("n", 0)), ["argument", "n 0, expected a whole number, at least 1"]);
  assert.deepEqual(refusal(() => checkPositive("n", 2 ** 32)), ["argument", "n 4294967296, expected at most 4294967295"]);
  assert.deepEqual(refusal(() => checkString("pooling", ["mean"])), ["argument", 'pooling ["mean"], expected a string']);
  assert.deepEqual(refusal(() => checkFunction("onStep", 1n)), ["argument", "onStep 1, expected a function"]);
  assert.equal(refusal(() => checkWhole("seed", "a".repeat(99)))[1], `seed "${"a".repeat(59)}…, expected a whole number, at least 0`);
});

test("an unknown name is told with those there are", () => {
  assert.deepEqual(refusal(() => checkNames({ a: 1, c: 2 }, ["a", "b"])), ["argument", "option `c`: unknown, expected one of a, b"]);
  assert.deepEqual(refusal(() => checkNames(null, [])), ["argument", "options null, expected an object"]);
});

test("whole numbers are those of 32 bits", () => {
  assert.deepEqual([0, 4294967295, 4294967296, 0.5, NaN, "1"].map(isWhole), [true, true, false, false, false, false]);
});

test("a signal is known by what it can do", () => {
  assert.equal(refusal(() => checkSignal({ aborted: false, addEventListener() {} })), undefined);
  assert.deepEqual(refusal(() => checkSignal({})), ["argument", "signal {}, expected an AbortSignal"]);
});

test("a name that is nearly one of them, or that one in another spelling, is told first", () => {
  const near = (name, names) => /did you mean `(\w+)`\?/.exec(refusal(() => checkNames({ [name]: 1 }, names))[1])?.[1];
  assert.deepEqual(refusal(() => checkNames({ presence_penality: 1 }, ["presence_penalty", "seed"])),
    ["argument", "option `presence_penality`: unknown, did you mean `presence_penalty`? Expected one of presence_penalty, seed"]);
  assert.equal(near("maxTokens", ["top_k", "max_tokens", "max_completion_tokens"]), "max_tokens");
  assert.equal(near("maxCompletionTokens", ["max_tokens", "max_completion_tokens"]), "max_completion_tokens");
  assert.equal(near("learning_rate", ["rank", "learningRate"]), "learningRate");
  assert.equal(near("MODEL", ["mode", "model"]), "model");
  assert.equal(near("colour", ["seed", "top_k"]), undefined);
  assert.equal(near("x", ["n"]), undefined);
});

test("what is tolerated is no error, and not among what was expected", () => {
  assert.equal(refusal(() => checkNames({ echo: false }, ["seed"], ["echo"])), undefined);
  assert.deepEqual(refusal(() => checkNames({ ecco: 1 }, ["seed"], ["echo"])), ["argument", "option `ecco`: unknown, expected one of seed"]);
});
