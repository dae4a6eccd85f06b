// What a model's generation_config.json gives a request, and what not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { generationConfig, withDefaults } from "../../dist/api/generation-config.js";
import { checkRequest } from "../../dist/api/request.js";

const read = (file) => generationConfig(new TextEncoder().encode(JSON.stringify(file)));

test("its sampling is taken, and nothing else of it", () => {
  const file = { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 20, repetition_penalty: 1.1, eos_token_id: 2, max_new_tokens: 9, min_p: null, typical_p: "1" };
  assert.deepEqual(read(file), { temperature: 0.6, top_p: 0.9, top_k: 20, repetition_penalty: 1.1 });
  assert.deepEqual(generationConfig(undefined), {});
});

test("a model that is not to sample takes the most probable token, after its penalties", () => {
  assert.deepEqual(read({ do_sample: false, temperature: 0.6, top_k: 50, repetition_penalty: 1.3 }), { temperature: 0, repetition_penalty: 1.3 });
});

test("what a request says stands; undefined and null say nothing", () => {
  const config = { temperature: 0.6, top_p: 0.9, top_k: 20 };
  const { sampling } = checkRequest({ prompt: "a", temperature: 0, top_k: undefined, top_p: null, seed: 1 }, "model", config);
  assert.deepEqual([sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed], [0, 0.9, 20, 1]);
  assert.equal(withDefaults({ adapter: null }, config).adapter, null);
});

test("mirostat takes the place of the filters", () => {
  assert.deepEqual(withDefaults({ mirostat: 2 }, { temperature: 0.6, top_p: 0.9, top_k: 20, min_p: 0.1, repetition_penalty: 1.1 }), { mirostat: 2, temperature: 0.6, repetition_penalty: 1.1 });
});
