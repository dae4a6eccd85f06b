// The JavaScript surface, on both devices: whole and streamed text, batches, cancelling, errors.
// The text itself is judged in page.test.mjs and stories.test.mjs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openApi, start } from "./browser.mjs";

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

for (const device of ["cpu", "webgpu"]) {
  describe(device, () => {
    let page;
    before(async () => {
      page = await openApi(browser);
      await page.evaluate(async (device) => {
        globalThis.engine = await lorakeet.createEngine("/models/demo/", { device, batch: 4 });
        globalThis.create = (request) => engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 24, ...request });
        globalThis.collect = async (stream) => {
          const chunks = [];
          for await (const chunk of stream) chunks.push(chunk);
          return chunks;
        };
      }, device);
    });
    after(() => page?.close());

    test("info tells what it runs on", async () => {
      const { info, device: name, reason } = await page.evaluate(() => ({ info: engine.info, device: engine.device, reason: engine.fallbackReason ?? null }));
      const { adapter, memoryBytes, ...rest } = info;
      assert.deepEqual(rest, { model: "demo", file: undefined, types: [], device, contextLength: 512, batch: 4, vocabSize: 1024, dtype: "f32", kvDtype: "f32", threads: 1, generationConfig: { temperature: 0.8, top_p: 0.95 }, tempLora: { rank: 32, learningRate: 1e-3, epochs: 2, chunkTokens: 128, contextTokens: 128 }, warnings: [] });
      assert.equal(name, device);
      assert.equal(reason, null);
      assert.equal(adapter !== "", device === "webgpu");
      assert.ok(memoryBytes > 4_000_000 && memoryBytes < 100_000_000, `${memoryBytes}`);
    });

    test("streamed text is the whole text", async () => {
      const { whole, chunks } = await page.evaluate(async () => ({
        whole: await create(),
        chunks: await collect(create({ stream: true, stream_options: { include_usage: true } })),
      }));
      const { id, created, ...rest } = whole;
      assert.match(id, /^cmpl-[0-9a-f]{16}$/);
      assert.ok(Math.abs(created - Date.now() / 1000) < 60);
      const { text, token_ids } = rest.choices[0];
      assert.ok(text.length > 10);
      assert.equal(token_ids.length, 24);
      const { prompt_tokens } = rest.usage;
      assert.deepEqual(rest, {
        object: "text_completion",
        model: "demo",
        choices: [{ index: 0, text, token_ids, finish_reason: "length", logprobs: null }],
        usage: { prompt_tokens, completion_tokens: 24, total_tokens: prompt_tokens + 24, prompt_tokens_details: { cached_tokens: 0 } },
      });

      const last = chunks.pop();
      assert.deepEqual(last.choices, []);
      // The prompt is in the cache now, but for its last token.
      assert.deepEqual(last.usage, { ...rest.usage, prompt_tokens_details: { cached_tokens: prompt_tokens - 1 } });
      assert.ok(chunks.length > 2);
      assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), text);
      assert.deepEqual(chunks.flatMap((chunk) => chunk.choices[0].token_ids), token_ids);
      assert.deepEqual(new Set(chunks.map((chunk) => chunk.id)).size, 1);
      const reasons = chunks.map((chunk) => chunk.choices[0].finish_reason);
      assert.deepEqual(reasons, [...Array(chunks.length - 1).fill(null), "length"]);
      assert.ok(chunks.every((chunk) => chunk.usage === null && chunk.object === "text_completion"));
    });

    test("a batch gives each prompt what it gets alone", async () => {
      const prompts = ["The old man", "Once upon a time there was a king", "In the"];
      const [batch, alone, ids] = await page.evaluate(async (prompts) => [
        (await create({ prompt: prompts })).choices,
        await Promise.all(prompts.map(async (prompt) => (await create({ prompt })).choices[0].text)),
        (await create({ prompt: await Promise.all(prompts.map((prompt) => engine.tokenize(prompt))) })).choices.map((choice) => choice.text),
      ], prompts);
      assert.deepEqual(batch.map((choice) => choice.index), [0, 1, 2]);
      assert.deepEqual(batch.map((choice) => choice.text), alone);
      assert.deepEqual(ids, alone);
      assert.equal(new Set(alone).size, 3);
    });

    test("streams side by side take turns", async () => {
      const order = await page.evaluate(async () => {
        const order = [];
        const follow = async (name, prompt) => {
          for await (const _ of create({ prompt, stream: true })) order.push(name);
        };
        await Promise.all([follow("a", "The old man"), follow("b", "Once upon")]);
        return order.join("");
      });
      assert.match(order, /^(ab|ba)(ab|ba)/);
    });

    test("stop strings end the text before them", async () => {
      const [full, stopped, either] = await page.evaluate(async () => {
        const full = (await create()).choices[0].text;
        const stop = full.slice(12, 15);
        return [full, (await create({ stop })).choices[0], (await create({ stop: ["not in there", stop] })).choices[0]];
      });
      assert.equal(stopped.text, full.slice(0, full.indexOf(full.slice(12, 15))));
      assert.equal(stopped.finish_reason, "stop");
      assert.deepEqual(either, stopped);
    });

    test("a seed repeats the text, and no seed does not", async () => {
      const texts = await page.evaluate(async () => {
        const draw = async (seed) => (await create({ temperature: 1.5, seed })).choices[0].text;
        return [await draw(5), await draw(5), await draw(6), await draw(), await draw()];
      });
      assert.equal(texts[0], texts[1]);
      assert.equal(new Set(texts).size, 4);
    });

    test("cancelling mid-stream is `cancelled`, and the next request works", async () => {
      const [error, read, next] = await page.evaluate(async () => {
        const abort = new AbortController();
        let read = 0;
        const error = await failure(async () => {
          for await (const _ of create({ max_tokens: 400, stream: true, signal: abort.signal })) if (++read === 3) abort.abort();
        });
        return [error, read, (await create({ max_tokens: 5 })).usage.completion_tokens];
      });
      assert.deepEqual(error, { kind: "cancelled", message: "the completion was cancelled" });
      assert.equal(read, 3);
      assert.equal(next, 5);
    });

    test("cancelling a whole completion, before and during it", async () => {
      const errors = await page.evaluate(async () => {
        const during = new AbortController();
        const long = failure(() => create({ max_tokens: 400, signal: during.signal }));
        await create({ max_tokens: 2, prompt: "Now" });
        during.abort();
        return [await long, await failure(() => create({ signal: AbortSignal.abort() }))];
      });
      for (const error of errors) assert.deepEqual(error, { kind: "cancelled", message: "the completion was cancelled" });
    });

    test("a timer can cancel", async () => {
      const error = await page.evaluate(() => failure(() => create({ max_tokens: 400, temperature: 1, seed: 2, signal: AbortSignal.timeout(5) })));
      assert.equal(error.kind, "cancelled");
    });

    test("leaving the loop gives the place back", async () => {
      const tokens = await page.evaluate(async () => {
        // More often than there are places.
        for (let i = 0; i < 6; i++) for await (const _ of create({ max_tokens: 400, stream: true })) break;
        return (await create({ prompt: ["a", "b", "c", "d"], max_tokens: 3 })).usage.completion_tokens;
      });
      assert.equal(tokens, 12);
    });

    test("a long prompt reports its progress, and the page stays awake", async () => {
      const { seen, ticks } = await page.evaluate(async () => {
        const seen = [];
        let ticks = 0;
        const timer = setInterval(() => ticks++, 1);
        await create({ prompt: Array.from({ length: 400 }, (_, i) => 100 + i), max_tokens: 60, onPrompt: (each) => seen.push(each) });
        clearInterval(timer);
        return { seen, ticks };
      });
      assert.ok(seen.length > 0);
      assert.deepEqual(seen.at(-1), { loaded: 399, total: 399 });
      assert.deepEqual(seen.map((each) => each.loaded), seen.map((each) => each.loaded).toSorted((a, b) => a - b));
      assert.ok(ticks > 5, `${ticks}`);
    });

    test("an end of the context is an end by length, or a slide", async () => {
      const [full, slid] = await page.evaluate(async () => {
        const prompt = Array.from({ length: 500 }, (_, i) => 100 + i);
        const full = await create({ prompt, max_tokens: undefined, temperature: 1, seed: 1 });
        const slid = await create({ prompt, max_tokens: 40, temperature: 1, seed: 1, overflow: "slide" });
        return [full, slid].map(({ choices, usage }) => [choices[0].finish_reason, usage.completion_tokens]);
      });
      assert.deepEqual(full, ["length", 13]);
      assert.deepEqual(slid, ["length", 40]);
    });

    test("text to tokens and back", async () => {
      const text = "Oh, dear! said the “fox” 🦊";
      assert.equal(await page.evaluate(async (text) => engine.detokenize(await engine.tokenize(text)), text), text);
    });

    test("wrong calls say what is wrong", async () => {
      const long = Array.from({ length: 600 }, () => 5);
      const calls = [
        [{ max_token: 5 }, "argument", "option `max_token`: unknown, did you mean `max_tokens`? Expected one of prompt, max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty, typical_p, top_n_sigma, dry_multiplier, dry_base, xtc_probability, xtc_threshold, mirostat_tau, mirostat_eta, dynatemp_range, dynatemp_exponent, no_repeat_ngram_size, dry_allowed_length, mirostat, logit_bias, dry_penalty_last_n, dry_sequence_breakers, seed, stop, stop_token_ids, n, stream, stream_options, overflow, adapter, signal, onPrompt, model, user, response_format, grammar, regex, adapter_names, logprobs"],
        [{ temperature: -1 }, "argument", "temperature -1, expected 0 or more"],
        [{ temperature: "hot" }, "argument", 'temperature "hot", expected a number'],
        [{ top_p: 0 }, "argument", "top_p 0, expected above 0, at most 1"],
        [{ min_p: 2 }, "argument", "min_p 2, expected 0 to 1"],
        [{ repetition_penalty: 0 }, "argument", "repetition_penalty 0, expected above 0"],
        [{ max_tokens: 0 }, "argument", "max_tokens 0, expected a whole number, at least 1"],
        [{ max_tokens: 1.5 }, "argument", "max_tokens 1.5, expected a whole number, at least 1"],
        [{ seed: -1 }, "argument", "seed -1, expected a whole number, at least 0"],
        [{ stop: [1] }, "argument", "stop [1], expected a string or an array of strings, none of them empty"],
        [{ overflow: "wrap" }, "argument", 'overflow `wrap`, expected error or slide'],
        [{ prompt: [] }, "argument", "prompt [], expected a string, token ids, or an array of either"],
        [{ prompt: [5, "a"] }, "argument", 'prompt [5,"a"], expected a string, token ids, or an array of either'],
        [{ prompt: [1024] }, "argument", "token id 1024, expected below the vocabulary size 1024"],
        [{ prompt: long }, "argument", "prompt of 600 tokens and max_tokens 24 exceed the context of 512"],
        [{ prompt: [[1], [2], [3], [4], [1024]] }, "argument", "token id 1024, expected below the vocabulary size 1024"],
        [{ stop_token_ids: [-1] }, "argument", "stop_token_ids [-1], expected an array of token ids"],
        [{ model: "gpt-4" }, "argument", 'model "gpt-4", expected "demo", or that with a colon and an adapter\'s name'],
        [{ stream_options: { usage: true } }, "argument", "option `usage`: unknown, expected one of include_usage"],
        [{ n: 0 }, "argument", "n 0, expected a whole number, at least 1"],
        [{ logprobs: 21 }, "argument", "logprobs 21, expected a whole number from 0 to 20"],
        [{ best_of: 2 }, "unsupported", "option `best_of` is not supported"],
        [{ logit_bias: { 5: 101 } }, "argument", "logit_bias of 5: 101, expected -100 to 100"],
        [{ presence_penalty: 3 }, "argument", "presence_penalty 3, expected -2 to 2"],
        [{ logit_bias: { x: 1 } }, "argument", "logit_bias: token \"x\", expected a token id"],
        [{ suffix: "end" }, "unsupported", "option `suffix` is not supported"],
      ];
      const errors = await page.evaluate(async (calls) => {
        const errors = [];
        for (const [request] of calls) {
          errors.push(await failure(() => create(request)));
          const streamed = await failure(() => collect(create({ ...request, stream: true })));
          if (streamed.message !== errors.at(-1).message) errors.push(streamed);
        }
        return errors;
      }, calls);
      assert.deepEqual(errors, calls.map(([, kind, message]) => ({ kind, message })));
      // What asks for nothing is no error.
      const tokens = await page.evaluate(async () => (await create({ n: 1, echo: false, logprobs: null, logit_bias: {}, stop: null, user: "me", max_tokens: 2 })).usage.completion_tokens);
      assert.equal(tokens, 2);
    });

    test("two engines on one page, and one outlives the other", async () => {
      const [both, disposed, left] = await page.evaluate(async (device) => {
        const other = await lorakeet.createEngine("/test/fixtures/llama", { device });
        const request = { prompt: [1, 2, 3], max_tokens: 4, temperature: 0 };
        const both = await Promise.all([create({ max_tokens: 4 }), other.completions.create(request)]);
        const unfinished = failure(() => collect(other.completions.create({ ...request, max_tokens: 100, stream: true })));
        await Promise.all([other.dispose(), other.dispose()]);
        const disposed = [await unfinished, await failure(() => other.completions.create(request)), await failure(() => other.tokenize("a"))];
        return [both.map(({ model, usage }) => [model, usage.completion_tokens]), disposed, (await create()).usage.completion_tokens];
      }, device);
      assert.deepEqual(both, [["demo", 4], ["llama", 4]]);
      for (const error of disposed) assert.deepEqual(error, { kind: "argument", message: "the engine is disposed" });
      assert.equal(left, 24);
    });
  });
}

for (const device of ["cpu", "webgpu"]) {
  test(`a session outlives its page, on ${device}`, async () => {
    const page = await openApi(browser);
    // Of a page that was just loaded: saves, or restores what the one before has saved, and goes on.
    const goOn = (isSaved) => page.evaluate(async ([device, isSaved]) => {
      const { createEngine } = await import("/dist/index.js");
      const engine = await createEngine("/models/demo/", { device, contextLength: 128, batch: 1 });
      const sessions = await caches.open("sessions");
      const prompt = await engine.tokenize("Once upon a time there was a boy who had a dog");
      if (isSaved) await engine.restoreSession(await (await sessions.match(`/${device}`)).blob());
      else await sessions.put(`/${device}`, new Response(await engine.saveSession(prompt)));
      const next = await engine.tokenize(" and", { add_special_tokens: false });
      const { choices, usage } = await engine.completions.create({ prompt: [...prompt, ...next], max_tokens: 24, temperature: 0 });
      const used = engine.device;
      await engine.dispose();
      return { used, ids: choices[0].token_ids, isCached: usage.prompt_tokens_details.cached_tokens === prompt.length };
    }, [device, isSaved]);
    const before = await goOn(false);
    await page.reload();
    assert.deepEqual(await goOn(true), before);
    assert.deepEqual([before.used, before.isCached, before.ids.length], [device, true, 24]);
    await page.close();
  });
}

test("a module that stops fails what is under way and what comes after, and hangs nothing", async () => {
  const page = await openApi(browser);
  const errors = await page.evaluate(async () => {
    const { Engine } = await import("/dist/wasm/lorakeet.js");
    const create = (engine) => engine.completions.create({ prompt: "The old man", max_tokens: 5 });
    const [one, other] = [await lorakeet.createEngine("/models/demo/", { device: "cpu", worker: false }), await lorakeet.createEngine("/models/demo/", { device: "cpu", worker: false })];
    // As a trap in the middle of an asynchronous call shows itself: the promise never settles.
    Engine.prototype.next = () => new Promise(() => queueMicrotask(() => { throw new WebAssembly.RuntimeError("unreachable"); }));
    const errors = [await failure(() => create(one)), await failure(() => create(other)), await failure(() => lorakeet.createEngine("/models/demo/", { worker: false }))];
    await one.dispose();
    return errors;
  });
  for (const error of errors) assert.deepEqual(error, { kind: "device", message: "the WebAssembly module stopped: unreachable; reload the page" });
  await page.close();
});

test("a batch that is in the middle of another call is called busy, and one that is gone is not there", async () => {
  const page = await openApi(browser);
  const errors = await page.evaluate(async () => {
    const { Engine } = await import("/dist/wasm/lorakeet.js");
    const engine = await lorakeet.createEngine("/models/demo/", { device: "webgpu", worker: false });
    const { next } = Engine.prototype;
    const message = (error) => error.message ?? String(error);
    const errors = [];
    Engine.prototype.next = async function (id) {
      Engine.prototype.next = next;
      const first = next.call(this, id); // it waits for the GPU
      await next.call(this, id).catch((error) => errors.push(message(error)));
      try {
        this.end(id);
      } catch (error) {
        errors.push(message(error));
      }
      await next.call(this, id + 7).catch((error) => errors.push(message(error)));
      return first;
    };
    const { usage } = await engine.completions.create({ prompt: "The old man", max_tokens: 5, temperature: 0 });
    await engine.dispose();
    return [...errors, usage.completion_tokens];
  });
  assert.equal(errors.length, 4, JSON.stringify(errors));
  assert.match(errors[0], /^batch \d+ is in the middle of another call$/);
  assert.match(errors[1], /in the middle of another call$/);
  assert.match(errors[2], /^no batch \d+$/);
  assert.equal(errors[3], 5);
  await page.close();
});
