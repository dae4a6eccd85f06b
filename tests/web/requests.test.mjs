// Requests that have to wait: the line for seats, lists larger than the batch, streams that nobody reads, and
// what ends a text. Not the text itself: that is judged elsewhere.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openApi, start } from "./browser.mjs";

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

/** A page with `open(options)`, which gives an engine of one seat, and `create` and `collect` for it. */
async function prepared(worker) {
  const page = await openApi(browser);
  await page.evaluate((worker) => {
    globalThis.worker = worker;
    globalThis.open = (options) => lorakeet.createEngine("/models/demo/", { device: "cpu", contextLength: 128, batch: 1, worker, ...options });
    globalThis.ask = (engine, request) => engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 12, ...request });
    globalThis.text = async (engine, request) => (await ask(engine, request)).choices[0].text;
    globalThis.collect = async (stream) => {
      const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    };
    globalThis.wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    /** A stream that has its seat. */
    globalThis.begun = async (engine, request) => {
      const stream = ask(engine, { stream: true, max_tokens: 100, ...request });
      await stream.next();
      return stream;
    };
  }, worker);
  return page;
}

for (const worker of [false, true]) {
  describe(worker ? "in a worker" : "on the page", () => {
    let page;
    before(async () => (page = await prepared(worker)));
    after(() => page?.close());

    test("requests beyond the batch wait, and who came first is served first", async () => {
      const [alone, texts, order] = await page.evaluate(async () => {
        const engine = await open();
        const prompts = ["The old man", "Once upon a time", "In the", "She said"];
        const alone = [];
        for (const prompt of prompts) alone.push(await text(engine, { prompt }));
        const order = [];
        const texts = await Promise.all(prompts.map(async (prompt, i) => {
          const request = { prompt, onPrompt: () => order.at(-1) === i || order.push(i) }; // it has begun
          await wait(50 * i); // a stream in a worker begins a message later
          if (i % 2 === 0) return text(engine, request);
          return (await collect(ask(engine, { ...request, stream: true }))).map(({ choices }) => choices[0].text).join("");
        }));
        await engine.dispose();
        return [alone, texts, order];
      });
      assert.deepEqual(texts, alone);
      assert.deepEqual(order, [0, 1, 2, 3]);
    });

    test("all that takes a seat waits for it", async () => {
      const [before, done] = await page.evaluate(async () => {
        const engine = await open();
        const stream = await begun(engine);
        const done = [];
        const note = (name) => (value) => (done.push(name), value);
        const temp = await engine.createTempLora({ rank: 2, chunkTokens: 8, contextTokens: 8 });
        const all = [
          engine.embeddings.create({ input: "a fox" }).then(note("embedding")),
          engine.logits([1, 2, 3]).then(note("logits")),
          temp.train("Once upon a time there was a king who had a fox.").then(note("learning")),
          collect(temp.generate({ prompt: "", max_tokens: 20, seed: 1 })).catch((error) => error.message).then(note("generating")),
        ];
        await wait(300);
        const before = [...done];
        await stream.return();
        await Promise.all(all);
        await temp.dispose();
        const again = await begun(engine);
        const steps = collect(engine.trainAdapter({ name: "me", dataset: "A fox ran into the wood and met a wolf.", epochs: 1, rank: 2 })).then(note("training"));
        await wait(300);
        before.push(...done.filter((name) => name === "training"));
        await again.return();
        await steps;
        await engine.dispose();
        return [before, done];
      });
      // The temporary adapter does one thing at a time, and says so at once.
      assert.deepEqual(before, ["generating"]);
      assert.deepEqual(done.slice(1).sort(), ["embedding", "learning", "logits", "training"]);
    });

    test("who waits can give up, and leaves the line", async () => {
      const [error, early, next] = await page.evaluate(async () => {
        const engine = await open({ maxQueue: 2 });
        const stream = await begun(engine);
        const abort = new AbortController();
        const given = failure(() => ask(engine, { signal: abort.signal }));
        const next = text(engine, { prompt: "In the" });
        await wait(50);
        abort.abort(new Error("enough"));
        const error = await given; // while the seat is still taken
        const early = await failure(() => collect(ask(engine, { stream: true, signal: AbortSignal.timeout(20) })));
        await stream.return();
        const it = await next;
        await engine.dispose();
        return [error, early, it];
      });
      assert.deepEqual(error, { kind: "cancelled", message: "the completion was cancelled" });
      assert.deepEqual(early, { kind: "cancelled", message: "the completion was cancelled: its time was up" });
      assert.ok(next.length > 5);
    });

    test("no more than `maxQueue` wait", async () => {
      const [one, none, wrong, served] = await page.evaluate(async () => {
        const fails = async (maxQueue) => {
          const engine = await open({ maxQueue });
          const stream = await begun(engine);
          const waiting = Array.from({ length: maxQueue }, () => text(engine));
          const errors = [await failure(() => ask(engine)), await failure(() => engine.embeddings.create({ input: "a" }))];
          await stream.return();
          const served = await Promise.all(waiting);
          // A list that has begun goes on: it is in nobody's way.
          const list = await ask(engine, { prompt: ["The old man", "In the", "A"], max_tokens: 4 });
          await engine.dispose();
          return [errors, served.length + list.choices.length];
        };
        const [[one, a], [none, b]] = [await fails(1), await fails(0)];
        return [one, none, [await failure(() => open({ maxQueue: -1 })), await failure(() => open({ streamIdleTimeout: "soon" }))], a + b];
      });
      const message = (wait, most) => `all 1 sequences of this engine are taken and ${wait}, expected at most ${most}: the engine's \`maxQueue\``;
      for (const error of one) assert.deepEqual(error, { kind: "argument", message: message("1 request waits", 1) });
      for (const error of none) assert.deepEqual(error, { kind: "argument", message: message("0 requests wait", 0) });
      assert.deepEqual(wrong.map(({ message }) => message), [
        "maxQueue -1, expected a whole number, at least 0",
        'streamIdleTimeout "soon", expected milliseconds, 0 or more',
      ]);
      assert.equal(served, 7);
    });

    test("what can never fit fails at once, and so does what is wrong", async () => {
      const errors = await page.evaluate(async () => {
        const engine = await open();
        const stream = await begun(engine);
        const long = Array(130).fill(5);
        const errors = [
          await failure(() => ask(engine, { prompt: long })),
          await failure(() => ask(engine, { prompt: ["a", long.map(String).join(" ")], max_tokens: 1 })),
          await failure(() => ask(engine, { prompt: long, overflow: "slide" })),
          await failure(() => ask(engine, { adapter: "nobody" })),
          await failure(() => ask(engine, { stop_token_ids: [5000] })),
        ];
        const next = text(engine);
        await stream.return();
        await next;
        await engine.dispose();
        return errors;
      });
      assert.ok(errors.every(({ kind }) => kind === "argument"));
      for (const [i, words] of ["exceed the context of 128", "exceed the context of 128", "slide", "`nobody` is not loaded", "stop_token_ids: token id 5000"].entries()) {
        assert.ok(errors[i].message.includes(words), errors[i].message);
      }
    });

    test("lists and choices beyond the batch run in turns, in their own order and with their own dice", async () => {
      const prompts = ["The old man", "Once upon a time", "In the", "She said", "A"];
      const { lists, streamed, choices } = await page.evaluate(async (prompts) => {
        const lists = [], streamed = [], choices = [];
        for (const batch of [2, 5]) {
          const engine = await open({ batch });
          const request = { prompt: prompts, temperature: 1, seed: 4294967294 };
          const { choices: list, usage } = await ask(engine, request);
          lists.push([list, usage.completion_tokens, usage.prompt_tokens]);
          const chunks = await collect(ask(engine, { ...request, stream: true, stream_options: { include_usage: true } }));
          const parts = prompts.map((_, i) => chunks.flatMap(({ choices }) => choices).filter(({ index }) => index === i));
          const { completion_tokens, prompt_tokens } = chunks.at(-1).usage;
          streamed.push([parts.map((each) => [each.map(({ text }) => text).join(""), each.at(-1).finish_reason]), completion_tokens, prompt_tokens]);
          const drawn = await ask(engine, { n: 5, temperature: 1.2, seed: 3 });
          choices.push([drawn.choices.map(({ text }) => text), drawn.usage.prompt_tokens]);
          await engine.dispose();
        }
        return { lists, streamed, choices };
      }, prompts);
      assert.deepEqual(lists[0], lists[1]);
      assert.deepEqual(lists[0][0].map(({ index }) => index), [0, 1, 2, 3, 4]);
      assert.deepEqual(streamed[0], streamed[1]);
      assert.deepEqual(streamed[0][0], lists[0][0].map(({ text, finish_reason }) => [text, finish_reason]));
      assert.deepEqual(streamed[0].slice(1), lists[0].slice(1));
      assert.deepEqual(choices[0], choices[1]);
      assert.equal(new Set(choices[0][0]).size, 5);
    });

    test("a list takes the seats that are free, and lets others in between its parts", async () => {
      const [order, count] = await page.evaluate(async () => {
        const engine = await open({ batch: 2 });
        const order = [];
        const stream = await begun(engine);
        const list = ask(engine, { prompt: ["a", "b", "c"], max_tokens: 3 }).then(({ choices }) => (order.push("list"), choices.length));
        const single = text(engine).then(() => order.push("single"));
        const count = await list; // the stream has one of the two seats all the time
        await single;
        await stream.return();
        await engine.dispose();
        return [order, count];
      });
      assert.deepEqual(order, ["single", "list"]);
      assert.equal(count, 3);
    });

    test("a stream that nobody reads gives its seat to who waits, and says so", async () => {
      const { waited, error, nested, after } = await page.evaluate(async () => {
        const engine = await open({ streamIdleTimeout: 200 });
        const forgotten = await begun(engine);
        const began = performance.now();
        await text(engine);
        const waited = performance.now() - began;
        const error = await failure(() => forgotten.next());
        const done = await forgotten.next();
        // Who waits for another request within the loop of a stream waits for itself.
        const nested = await failure(async () => {
          for await (const _ of ask(engine, { stream: true, max_tokens: 100 })) await text(engine);
        });
        const temp = await engine.createTempLora({ rank: 2, chunkTokens: 8, contextTokens: 8 });
        const learning = temp.generate({ prompt: "The", max_tokens: 40, seed: 1 });
        await learning.next();
        await text(engine);
        const late = await failure(async () => { for (;;) if ((await learning.next()).done) return; });
        await temp.dispose();
        await engine.dispose();
        return { waited, error, nested, after: [done.done, late] };
      });
      assert.ok(waited >= 150, `${waited} ms`);
      for (const each of [error, nested, after[1]]) {
        assert.equal(each.kind, "argument");
        assert.match(each.message, /^nobody read this stream for 200 ms while others waited, so it was ended: .*`streamIdleTimeout`$/);
      }
      assert.equal(after[0], true);
    });

    test("a slow reader is not hurt while nobody waits, nor one that reads in time", async () => {
      const [slow, whole, steady] = await page.evaluate(async () => {
        const engine = await open({ streamIdleTimeout: 150 });
        const read = async (stream, ms) => {
          let all = "";
          for await (const { choices } of stream) {
            all += choices[0].text;
            await wait(ms);
          }
          return all;
        };
        const slow = await read(ask(engine, { stream: true, max_tokens: 3 }), 400);
        const steady = read(ask(engine, { stream: true, max_tokens: 20 }), 30);
        const next = text(engine);
        const kept = await steady;
        await next;
        const whole = [await text(engine, { max_tokens: 3 }), await text(engine, { max_tokens: 20 })];
        await engine.dispose();
        return [slow, whole, kept];
      });
      assert.deepEqual([slow, steady], whole);
    });

    test("a stream that is read to its last word keeps nobody waiting", async () => {
      const length = await page.evaluate(async () => {
        const engine = await open({ streamIdleTimeout: Infinity });
        const stream = ask(engine, { stream: true, max_tokens: 4 });
        for (let finished = false; !finished; ) finished = (await stream.next()).value.choices[0].finish_reason !== null;
        const { length } = await text(engine);
        await engine.dispose();
        return length;
      });
      assert.ok(length > 0);
    });

    test("who waits keeps the adapters of when it asked, and hears of the engine's end", async () => {
      const [texts, error] = await page.evaluate(async () => {
        const engine = await lorakeet.createEngine("/test/fixtures/llama", { device: "cpu", batch: 1, worker });
        const { name } = await engine.loadAdapter("/test/adapters/llama/qv/", { name: "a" });
        const request = { prompt: [5, 90, 17] };
        const base = await text(engine, request);
        const adapted = await text(engine, { ...request, adapter: name });
        const stream = await begun(engine, request);
        const first = text(engine, request);
        await engine.setAdapter("a");
        const second = text(engine, request);
        await engine.disableAdapters();
        await stream.return();
        const texts = [base, adapted, await first, await second];
        const held = await begun(engine, request);
        const waiting = failure(() => ask(engine, request));
        await wait(20);
        await engine.dispose();
        await held.return().catch(() => {});
        return [texts, await waiting];
      });
      assert.notEqual(texts[0], texts[1]);
      assert.deepEqual(texts.slice(2), texts.slice(0, 2));
      assert.deepEqual(error, { kind: "argument", message: "the engine is disposed" });
    });
  });
}

test("`stop_token_ids` and stop strings of special tokens end texts, streams, batches, chats and what is learned", async () => {
  const page = await prepared(false);
  const found = await page.evaluate(async () => {
    const bytes = async (name) => new Uint8Array(await (await fetch(`/test/fixtures/llama/${name}`)).arrayBuffer());
    const files = { config: await bytes("config.json"), weights: await bytes("model.safetensors") };
    const tokenizer = JSON.parse(new TextDecoder().decode(await bytes("tokenizer.json")));
    const options = { device: "cpu", batch: 2, worker: false, chatTemplate: "{{ messages[0].content }}" };
    const make = () => lorakeet.createEngine({ ...files, tokenizer: new TextEncoder().encode(JSON.stringify(tokenizer)) }, options);
    const request = { prompt: [5, 90, 17], max_tokens: 12 };
    const plain = await make();
    const drawn = (await ask(plain, request)).choices[0].token_ids;
    const at = drawn.findIndex((id, i) => i > 2 && !drawn.slice(0, i).includes(id));
    const [content] = Object.entries(tokenizer.model.vocab).find(([, id]) => id === drawn[at]);
    tokenizer.added_tokens.push({ id: drawn[at], content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false });
    const engine = await make();
    const want = await engine.detokenize(drawn.slice(0, at));
    const got = {};
    for (const [name, how] of Object.entries({ ids: { stop_token_ids: [drawn[at]] }, special: { stop: [content] } })) {
      const stopped = { ...request, ...how };
      const { choices } = await ask(engine, { ...stopped, prompt: [request.prompt, request.prompt, request.prompt] });
      const chunks = (await collect(ask(engine, { ...stopped, stream: true }))).flatMap(({ choices }) => choices);
      got[name] = [...choices.map(({ text, finish_reason }) => [text, finish_reason]), [chunks.map(({ text }) => text).join(""), chunks.at(-1).finish_reason]];
      const temp = await engine.createTempLora({ rank: 2, learningRate: 0 });
      const parts = await collect(temp.generate({ ...stopped, temperature: 0 }));
      got[name].push([parts.map(({ text }) => text).join(""), parts.filter(({ finish_reason }) => finish_reason !== null).at(-1)?.finish_reason]);
      await temp.dispose();
    }
    const prompt = await engine.detokenize(request.prompt);
    const messages = [{ role: "user", content: prompt }];
    const chat = async (how) => (await engine.chat.completions.create({ messages, max_tokens: 12, temperature: 0, ...how })).choices[0];
    const free = await chat({});
    const ids = (await ask(engine, { prompt: await engine.tokenize(prompt) })).choices[0].token_ids;
    const chats = [free.finish_reason, await chat({ stop_token_ids: [ids[2]] }), await engine.detokenize(ids.slice(0, ids.indexOf(ids[2])))];
    const error = await failure(() => ask(engine, { stop_token_ids: ["5"] }));
    return { want, got, chats, error };
  });
  for (const [name, texts] of Object.entries(found.got)) {
    assert.equal(texts.length, 5);
    for (const each of texts) assert.deepEqual(each, [found.want, "stop"], name);
  }
  const [free, stopped, before] = found.chats;
  assert.equal(free, "length");
  assert.deepEqual([stopped.message.content, stopped.finish_reason], [before, "stop"]);
  assert.deepEqual(found.error, { kind: "argument", message: 'stop_token_ids ["5"], expected an array of token ids' });
  await page.close();
});
