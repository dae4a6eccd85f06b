// PEFT's spellings of options.

import assert from "node:assert/strict";
import { test } from "node:test";
import { spelled } from "../../dist/api/peft-names.js";
import { checkTempLora } from "../../dist/api/temp-lora-options.js";

test("they stand for the options' own names", () => {
  assert.deepEqual(spelled({ r: 4, lora_alpha: 8, lora_dropout: 0.1, target_modules: ["q_proj"], epochs: 1 }), { rank: 4, alpha: 8, dropout: 0.1, targetModules: ["q_proj"], epochs: 1 });
  const { rank, alpha, targetModules } = checkTempLora({ r: 4, lora_alpha: 8, target_modules: ["q_proj"] });
  assert.deepEqual([rank, alpha, targetModules], [4, 8, ["q_proj"]]);
});

test("both at once are refused, and values are checked under the own name", () => {
  assert.throws(() => spelled({ rank: 4, r: 4 }), { kind: "argument", message: "`rank` and `r` are both given, expected one of them" });
  assert.throws(() => checkTempLora({ r: "4" }), { kind: "argument", message: /^rank "4"/ });
  assert.throws(() => checkTempLora({ lora_alfa: 4 }), { message: /unknown/ });
});
