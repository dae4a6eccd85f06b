// How much work one call does: as much as a budget of milliseconds holds, found while it runs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Slices } from "../../dist/thread/slices.js";

/** The rows asked for in each of `calls` calls, where one row takes `ms(call)` milliseconds of a clock of our own. */
async function asked(budget, calls, ms) {
  const slices = new Slices(budget);
  const rows = [];
  let [clock, done] = [0, 0];
  const now = performance.now;
  performance.now = () => clock;
  try {
    const turns = { take: (call) => call() };
    for (let call = 0; call < calls; call++) {
      const work = async (_, n) => {
        rows.push(n);
        clock += n * ms(call);
        return (done += n);
      };
      await slices.run(turns, work, (at) => at);
    }
  } finally {
    performance.now = now;
  }
  return rows;
}

test("it grows to what fits, at most twice as much at a time", async () => {
  assert.deepEqual(await asked({ visible: 20 }, 7, () => 1), [1, 2, 4, 8, 16, 20, 20]);
});

test("one slow slice makes it careful, for a while", async () => {
  const rows = await asked({ visible: 20 }, 40, (call) => (call === 5 ? 10 : 1));
  assert.equal(rows[6], 2);
  assert.ok(rows[20] > 2 && rows[20] < 20, String(rows));
  assert.equal(rows.at(-1), 20);
});

test("one row is the least", async () => {
  assert.deepEqual(await asked({ visible: 1 }, 3, () => 50), [1, 1, 1]);
});

test("a budget that is none is refused by name", () => {
  assert.throws(() => new Slices({ visible: 0 }), { kind: "argument", message: "budget.visible 0, expected above 0" });
  assert.throws(() => new Slices({ seen: 5 }), { kind: "argument" });
});
