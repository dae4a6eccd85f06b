// Training and Temp-LoRA from JavaScript, on both devices: learning, cancelling, living beside requests.
// Gradients and steps are judged in Rust, by PyTorch.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openApi, root, start } from "./browser.mjs";

const story = readFileSync(join(root, "tests/fixtures/training/story.txt"), "utf8");

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

for (const device of ["cpu", "webgpu"]) {
  describe(device, () => {
    /** What is decided above the kernels, which the CPU shows too in a tenth of a software GPU's time. */
    const once = device === "cpu" ? test : () => {};
    let page;
    before(async () => {
      page = await openApi(browser);
      await page.evaluate(async ([device, story]) => {
        globalThis.story = story;
        globalThis.engine = await lorakeet.createEngine("/models/demo/", { device, batch: 3, contextLength: 128 });
        globalThis.greedy = async (adapter) => (await engine.completions.create({ prompt: "Marta Quill", temperature: 0, max_tokens: 16, adapter })).choices[0].text;
        /** Three short windows: a software GPU is slow. */
        globalThis.small = { dataset: story.slice(0, 160), rank: 4, maxLength: 24, learningRate: 3e-3 };
        globalThis.steps = async (options) => {
          const steps = [];
          for await (const step of engine.trainAdapter({ ...small, ...options })) steps.push(step);
          return steps;
        };
        globalThis.weights = async (name) => Array.from(new Uint8Array(await (await engine.exportAdapter(name))[1].arrayBuffer())).join();
        globalThis.names = async () => (await engine.listAdapters()).map((info) => info.name).join(" ");
        globalThis.fingerprint = async (adapter) => {
          const logits = await engine.logits(await engine.tokenize("The ferry at Osselby"), adapter === undefined ? {} : { adapter });
          return new Uint32Array(logits.at(-1).slice().buffer).join();
        };
      }, [device, story]);
    });
    after(() => page?.close());

    test("the loss falls, and every step tells where it is", async () => {
      const [steps, heard] = await page.evaluate(async () => {
        const heard = [];
        return [await steps({ name: "falls", epochs: 4, onStep: ({ step }) => heard.push(step) }), heard];
      });
      const perEpoch = steps.length / 4;
      assert.equal(perEpoch, 3);
      const mean = (epoch) => steps.filter((step) => step.epoch === epoch).reduce((sum, { loss }) => sum + loss, 0) / perEpoch;
      assert.ok(mean(4) < 0.9 * mean(1), `${mean(1)} to ${mean(4)}`);
      steps.forEach(({ step, steps: all, lr, tokensPerSecond, eta }, i) => {
        assert.deepEqual([step, all], [i + 1, steps.length]);
        assert.ok(Math.abs(lr - 3e-3 * (1 - i / steps.length)) < 1e-9);
        assert.ok(tokensPerSecond > 0 && eta >= 0);
      });
      assert.equal(steps.at(-1).eta, 0);
      assert.deepEqual(heard, steps.map(({ step }) => step));
    });

    once("the learning rate rises from 0 and falls as the schedule says", async () => {
      const rates = await page.evaluate(async () =>
        (await steps({ name: "warmed", epochs: 2, schedule: "cosine", warmupSteps: 2 })).map(({ lr }) => lr / 3e-3));
      const want = [0, 0.5, 1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2];
      assert.deepEqual(rates.map((rate) => rate.toFixed(6)), want.map((rate) => rate.toFixed(6)));
    });

    test("what was learned acts, and comes back from its files", async () => {
      const [base, own, again, off] = await page.evaluate(async () => {
        const [base, own] = [await greedy(null), await greedy("falls")];
        await engine.loadAdapter(await engine.exportAdapter("falls"), { name: "again" });
        return [base, own, await greedy("again"), await greedy(null)];
      });
      assert.notEqual(own, base);
      assert.equal(again, own);
      assert.equal(off, base);
    });

    once("an adapter of cores learns, and its files are a LoRA's", async () => {
      const [losses, base, own, again] = await page.evaluate(async () => {
        const losses = (await steps({ name: "cores", variant: "lora-xs", rank: 8, epochs: 4 })).map(({ loss }) => loss);
        await engine.loadAdapter(await engine.exportAdapter("cores"), { name: "cores again" });
        return [losses, await greedy(null), await greedy("cores"), await greedy("cores again")];
      });
      const mean = (losses) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
      assert.ok(mean(losses.slice(-3)) < 0.95 * mean(losses.slice(0, 3)), losses.join());
      assert.notEqual(own, base);
      assert.equal(again, own);
    });

    test("requests between slices change nothing, and see what has been learned so far", async () => {
      const [alone, beside, base, own] = await page.evaluate(async () => {
        const options = { epochs: 1, budget: { visible: 1 } };
        const alone = await steps({ ...options, name: "alone" });
        const [base, own, beside] = [new Set(), new Set(), []];
        let requests;
        for await (const step of engine.trainAdapter({ ...small, ...options, name: "beside" })) {
          own.add(await fingerprint("beside"));
          beside.push(step);
          requests ??= (async () => {
            while (beside.length < alone.length) {
              base.add(await greedy(null));
              own.add(await fingerprint("beside"));
              await greedy("beside");
            }
          })();
          if (step.step === 2) await engine.loadAdapter(await engine.exportAdapter("again"), { name: "meanwhile" });
        }
        await requests;
        const same = (await weights("alone")) === (await weights("beside"));
        return [[...alone.map(({ loss }) => loss), same], [...beside.map(({ loss }) => loss), true], base.size, own.size];
      });
      assert.deepEqual(beside, alone);
      assert.equal(base, 1);
      assert.ok(own >= 3, `${own} versions of the adapter were seen in 3 steps`);
    });

    test("the page lives while an adapter is trained", async () => {
      const [ticks, count] = await page.evaluate(async () => {
        let [ticks, training] = [0, true];
        const tick = () => training && (ticks++, setTimeout(tick));
        tick();
        const { length } = await steps({ name: "lively", epochs: 1, budget: { visible: 1 } });
        training = false;
        return [ticks, length];
      });
      assert.ok(ticks > 2 * count, `${ticks} ticks in ${count} steps`);
    });

    test("leaving the loop and the signal leave the adapter as after the last step", async () => {
      const [error, after1, aborted, left, list, more] = await page.evaluate(async () => {
        const take = async (name, n) => {
          for await (const { step } of engine.trainAdapter({ ...small, name })) if (step === n) break;
          return weights(name);
        };
        const after1 = await take("one", 1);
        const abort = new AbortController();
        const error = await failure(async () => {
          for await (const _ of engine.trainAdapter({ ...small, name: "aborted", budget: { visible: 1 }, signal: abort.signal })) {
            setTimeout(() => abort.abort(), 1); // in the middle of the second step
          }
        });
        const aborted = await weights("aborted");
        const left = await take("left", 2);
        const more = await steps({ name: "left", epochs: 1, resume: true });
        return [error, after1, aborted, left !== after1, await names(), more.length];
      });
      assert.deepEqual(error, { kind: "cancelled", message: "the training was cancelled" });
      assert.equal(aborted, after1);
      assert.equal(left, true);
      assert.match(list, /one aborted left$/);
      assert.ok(more > 2);
    });

    once("a page that has no digests and no place for checkpoints says so", async () => {
      const fresh = await openApi(browser);
      const error = await fresh.evaluate(async (device) => {
        Object.defineProperty(crypto, "subtle", { value: undefined });
        Object.defineProperty(navigator, "storage", { value: undefined });
        const engine = await lorakeet.createEngine("/models/demo/", { device, worker: false });
        return failure(() => engine.trainAdapter({ name: "x", dataset: "The ferry at Osselby", checkpoint: "a" }).next());
      }, device);
      await fresh.close();
      assert.equal(error.kind, "unsupported");
      assert.match(error.message, /^checkpoints need the origin private file system/);
    });

    test("a training that is stopped in its first step leaves nothing", async () => {
      const [error, list] = await page.evaluate(async () => {
        const abort = new AbortController();
        let isOver = false;
        const work = failure(() => steps({ name: "unborn", dataset: story, epochs: 1, batch: 100, budget: { visible: 1 }, signal: abort.signal }))
          .finally(() => (isOver = true));
        while (!isOver && !(await names()).includes("unborn"));
        abort.abort();
        return [await work, await names()];
      });
      assert.equal(error.kind, "cancelled");
      assert.doesNotMatch(list, /unborn/);
    });

    once("examples teach their completions alone, unless asked", async () => {
      const [only, all] = await page.evaluate(async () => {
        const dataset = [{ prompt: "Who hung the lantern?", completion: " Marta Quill did." }, { prompt: "And the dog?", completion: " It sighed." }, { prompt: "", completion: "The ferry." }];
        const losses = async (options) => (await steps({ dataset, epochs: 1, batch: 3, ...options })).map(({ loss }) => loss);
        return [await losses({ name: "only" }), await losses({ name: "all", completionOnly: false })];
      });
      assert.equal(only.length, 1);
      assert.notEqual(only[0], all[0]);
    });

    once("examples of Alpaca and ShareGPT are what they say in the forms of here", async () => {
      const [alpaca, plain, noted, headings, chats] = await page.evaluate(async () => {
        const losses = async (dataset) => (await steps({ name: "forms", dataset, epochs: 1, batch: dataset.length, maxLength: 100 })).map(({ loss }) => loss);
        const loss = async (dataset) => {
          const [first] = await losses(dataset);
          await engine.deleteAdapter("forms");
          return first;
        };
        const [instruction, input, output] = ["Name the dog.", "The dog is Tom.", "Tom."];
        const headed = (prompt) => ({ prompt, completion: output });
        const chats = await failure(() => loss([{ conversations: [{ from: "human", value: "Hi" }, { from: "gpt", value: "Ho" }] }]));
        return [
          await loss([{ instruction, input, output }]),
          await loss([{ instruction, output, input: "" }]),
          await loss([{ instruction, output, input: null, id: 7, text: "### Instruction: Name the dog." }, ""]),
          [
            await loss([headed("### Instruction:\nName the dog.\n\n### Input:\nThe dog is Tom.\n\n### Response:\n")]),
            await loss([headed("### Instruction:\nName the dog.\n\n### Response:\n")]),
          ],
          chats,
        ];
      });
      assert.deepEqual([alpaca, plain], headings);
      assert.notEqual(alpaca, plain);
      assert.equal(noted, plain); // notes and an empty text teach nothing
      assert.match(chats.message, /^chat: the model has no template/); // it is read as a conversation
    });

    once("a dataset is learned as by the terminal program", async () => {
      const json = (name) => JSON.parse(readFileSync(join(root, "tests/fixtures/training", name), "utf8"));
      const losses = await page.evaluate(async (dataset) => {
        const rates = { learningRate: 3e-3, schedule: "cosine", warmupSteps: 1, dropout: 0.1 };
        return (await steps({ name: "as the terminal", dataset, rank: 4, epochs: 2, batch: 2, maxLength: 64, seed: 7, ...rates })).map(({ loss }) => loss);
      }, json("dataset.json"));
      const { losses: want } = json("program.json"); // tests/rust/learning_program.rs has them too
      assert.equal(losses.length, want.length);
      losses.forEach((loss, i) => assert.ok(Math.abs(loss - want[i]) < 1e-5, `step ${i + 1}: ${loss}, expected ${want[i]}`));
    });

    test("a checkpoint goes on where a training was left, and is gone at its end", async () => {
      const [first, rest, kept, base, changed, again] = await page.evaluate(async () => {
        const options = { ...small, epochs: 2, checkpoint: "a/b", checkpointEvery: 2, name: "kept" };
        const first = [];
        for await (const { step } of engine.trainAdapter(options)) {
          first.push(step);
          if (step === 3) break; // the checkpoint is that of step 2
        }
        await engine.deleteAdapter("kept");
        const changed = [await failure(() => steps({ ...options, epochs: 3 })), await failure(() => steps({ ...options, dataset: story.slice(160, 320) }))];
        const others = { rank: 8, alpha: 5, targetModules: ["q_proj"], learningRate: 1e-3, schedule: "cosine", warmupSteps: 1, dropout: 0.1, weightDecay: 0.1 };
        for (const [name, value] of Object.entries(others)) {
          const { kind, message } = await failure(() => steps({ ...options, [name]: value }));
          if (kind !== "argument" || !message.includes(`\`a/b\` is of another training: its ${name === "rank" ? "rank is 4" : `${name} is `}`)) throw new Error(`${name}: ${message}`);
        }
        const rest = (await steps(options)).map(({ step }) => step);
        const again = (await steps({ ...options, name: "fresh" }))[0].step;
        return [first, rest, await fingerprint("kept"), await fingerprint(null), changed, again];
      });
      assert.deepEqual(first, [1, 2, 3]);
      assert.equal(rest[0], 3);
      for (const { kind, message } of changed) {
        assert.equal(kind, "argument");
        assert.match(message, /^checkpoint `a\/b` is of another training, of 6 steps, this one has (9|6): another dataset/);
      }
      assert.notEqual(kept, base);
      assert.equal(again, 1);
    });

    test("errors of training say what is wrong", async () => {
      const errors = await page.evaluate(async () => {
        const fail = (options) => failure(() => steps({ name: "x", epochs: 1, ...options }));
        const errors = [
          await fail({ rnak: 4 }),
          await fail({ dataset: [] }),
          await fail({ dataset: [{ messages: [] }] }),
          await fail({ dataset: ["a b", { text: "c" }] }),
          await fail({ dataset: ["a b", { prompt: "c" }] }),
          await fail({ dataset: [{ completion: "c" }] }),
          await fail({ dataset: [{ instruction: "a", output: "b", inptu: "c" }] }),
          await fail({ dataset: [{ instruction: "a", output: 1 }] }),
          await fail({ dataset: [{ conversations: [{ from: "bot", value: "a" }] }] }),
          await fail({ dataset: [{ conversations: [{ from: "gpt" }] }] }),
          await fail({ dataset: [{ conversations: "a" }] }),
          await fail({ dataset: [{ prompt: "a", completion: "" }] }),
          await fail({ dataset: [{ prompt: "word ".repeat(60), completion: "b" }] }),
          await fail({ completionOnly: true }),
          await fail({ maxLength: 1000 }),
          await fail({ dropout: 1 }),
          await fail({ rank: 0 }),
          await fail({ targetModules: ["no_such_proj"] }),
          await fail({ learningRate: NaN }),
          await fail({ variant: "lora-xl" }),
          await fail({ variant: "lora-xs", checkpoint: "a" }),
          await fail({ variant: "lora-xs", rank: 200 }),
          await failure(() => engine.createTempLora({ variant: "dora" })),
          await failure(() => engine.createTempLora({ variant: "lora-xs", warmStart: "falls" })),
          await fail({ name: "falls" }),
          await fail({ name: "falls", resume: true, rank: 8 }),
          await fail({ name: "falls", resume: true, alpha: 5 }),
          await fail({ name: "falls", resume: true, targetModules: ["q_proj"] }),
          await fail({ budget: { visible: 0 } }),
          await fail({ signal: AbortSignal.abort() }),
        ];
        const meanwhile = [];
        for await (const _ of engine.trainAdapter({ ...small, name: "busy" })) {
          meanwhile.push(await fail({ name: "second" }), await failure(() => engine.createTempLora()), await failure(() => engine.deleteAdapter("busy")));
          break;
        }
        return [...errors, ...meanwhile, await names()];
      });
      const list = errors.pop();
      const expected = [
        ["argument", /^option `rnak`: unknown/],
        ["argument", /^dataset \[\], expected/],
        ["argument", /^dataset\[0\].messages \[\], expected an array of messages/],
        ["argument", /^dataset\[1\] {"text":"c"}, expected a text, {prompt, completion}, {messages}, {instruction, output, input\?}, {conversations}$/],
        ["argument", /^dataset\[1\].completion undefined, expected a text/],
        ["argument", /^dataset\[0\].prompt undefined, expected a text/],
        ["argument", /^dataset\[0\].inptu: unknown, expected instruction, output, input/],
        ["argument", /^dataset\[0\].output 1, expected a text/],
        ["argument", /^dataset\[0\].conversations\[0\].from "bot", expected human, user, gpt/],
        ["argument", /^dataset\[0\].conversations\[0\].value undefined, expected a text/],
        ["argument", /^dataset\[0\].conversations "a", expected an array of messages/],
        ["argument", /^dataset\[0\].completion "", expected a text/],
        ["argument", /^dataset\[0\]: a prompt of \d+ tokens, expected fewer than maxLength 24/],
        ["argument", /^completionOnly true, expected examples/],
        ["argument", /^maxLength 1000, expected 2 to 128, the context/],
        ["argument", /^dropout 1, expected 0 to below 1/],
        ["argument", /^rank 0, expected/],
        ["argument", /^target modules \["no_such_proj"\]: the base has none/],
        ["argument", /^learningRate NaN, expected 0 to 1/],
        ["argument", /^variant `lora-xl`, expected/],
        ["argument", /^variant "lora-xs", expected lora with a checkpoint/],
        ["argument", /^rank 200: module `[^`]+` has \d+ inputs and \d+ outputs, lora-xs takes at most \d+/],
        ["argument", /^variant `dora`, expected/],
        ["argument", /^variant lora-xs and warmStart `falls`/],
        ["argument", /^adapter `falls` is loaded already, expected `resume: true` or another name/],
        ["argument", /^adapter `falls` has rank 4, expected no rank or the same with `resume: true`, got 8/],
        ["argument", /^adapter `falls` has alpha 8, expected/],
        ["argument", /^adapter `falls` has targetModules \[.*, expected/],
        ["argument", /^budget.visible 0, expected above 0/],
        ["cancelled", /^the training was cancelled/],
        ["argument", /^adapter `busy` is being trained, end that first/],
        ["argument", /^adapter `busy` is being trained, end that first/],
        ["argument", /^adapter `busy` is being trained, end that first/],
      ];
      assert.equal(errors.length, expected.length);
      errors.forEach(({ kind, message }, i) => {
        assert.equal(kind, expected[i][0], message);
        assert.match(message, expected[i][1]);
      });
      assert.doesNotMatch(list, /\b(x|second)\b/);
    });

    test("a temporary adapter lowers the loss of a story, and leaves no trace", async () => {
      const [before, during, after, evaluation, list] = await page.evaluate(async (text) => {
        const before = await fingerprint(null);
        const temp = await engine.createTempLora({ rank: 8, chunkTokens: 32, contextTokens: 32, learningRate: 3e-3 });
        const heard = [];
        const evaluation = await temp.evaluate(text, { onTrain: ({ index }) => heard.push(index) });
        evaluation.heard = heard;
        const list = await names();
        const during = await fingerprint(null);
        await temp.dispose();
        await temp.dispose();
        return [before, during, await fingerprint(null), evaluation, [list, await names()]];
      }, device === "cpu" ? story : story.slice(0, 700));
      const { chunks, tokens, heard, basePerplexity, perplexity, mixedPerplexity, meanChunkPerplexity, meanChunkBasePerplexity } = evaluation;
      assert.ok(chunks.length > 4);
      assert.deepEqual(heard, chunks.map((_, i) => i));
      assert.equal(chunks.reduce((sum, chunk) => sum + chunk.tokens, 0), tokens);
      assert.ok(Math.abs(chunks[0].baseLoss - chunks[0].adaptedLoss) < 1e-6, "it has learned nothing before the first chunk");
      assert.ok(perplexity < 0.95 * basePerplexity, `${basePerplexity} to ${perplexity}`);
      assert.ok(mixedPerplexity < basePerplexity && meanChunkPerplexity < meanChunkBasePerplexity);
      assert.ok(chunks.every(({ trainLosses, rolledBack }) => trainLosses.length === 2 && !rolledBack));
      assert.deepEqual([during, after], [before, before]);
      assert.match(list[0], / temp$/);
      assert.equal(`${list[1]} temp`, list[0]);
    });

    once("a temporary core learns too, leaves no trace, and can be kept", async () => {
      const [base, after, { basePerplexity, perplexity }, own, kept] = await page.evaluate(async (text) => {
        const base = await fingerprint(null);
        const temp = await engine.createTempLora({ variant: "lora-xs", rank: 8, chunkTokens: 32, contextTokens: 32, learningRate: 3e-3 });
        const evaluation = await temp.evaluate(text);
        const own = await fingerprint(temp.name);
        await temp.keepAs("core");
        return [base, await fingerprint(null), evaluation, own, await fingerprint("core")];
      }, device === "cpu" ? story : story.slice(0, 700));
      assert.ok(perplexity < 0.98 * basePerplexity, `${basePerplexity} to ${perplexity}`);
      assert.equal(after, base);
      assert.notEqual(own, base);
      assert.equal(kept, own);
    });

    test("generated text goes past the context, is learned, and can be kept", async () => {
      const [tokens, chunks, finish, kept, seen, own, base] = await page.evaluate(async () => {
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 32, contextTokens: 32, scoreGenerated: true, beside: "falls", maxRepetition: 1, epochs: 1 });
        let [tokens, finish, chunks] = [0, null, []];
        await temp.train(story.slice(0, 60));
        for await (const part of temp.generate({ max_tokens: 140, temperature: 1, seed: 3 })) {
          tokens += part.token_ids.length;
          finish = part.finish_reason ?? finish;
          if (part.chunk) chunks.push(part.chunk);
          if (finish === "stop") break;
        }
        await engine.setAdapter(temp.name);
        const taken = await failure(() => temp.keepAs("falls"));
        const kept = await temp.keepAs("mine");
        const seen = [taken, await failure(() => temp.exportAdapter()), await failure(() => temp.train("x"))];
        const own = await fingerprint();
        await engine.disableAdapters();
        return [tokens, chunks, finish, kept, seen, own, await fingerprint()];
      });
      assert.equal(finish, "length");
      assert.equal(tokens, 140);
      assert.equal(chunks.length, 5);
      assert.ok(chunks.every(({ trainLosses, baseLoss, adaptedLoss }) => trainLosses.length === 1 && baseLoss > 0 && adaptedLoss > 0));
      assert.deepEqual([kept.name, kept.rank, kept.weight], ["mine", 4, 1]);
      assert.deepEqual(seen.map(({ kind }) => kind), ["argument", "argument", "argument"]);
      assert.match(seen[0].message, /^adapter `falls`: the name is empty or taken/);
      assert.equal(seen[1].message, "the temporary adapter is disposed");
      assert.notEqual(own, base);
    });

    once("a text drawn from the mix tells what it, and each model alone, made of it", async () => {
      const [chunks, error] = await page.evaluate(async () => {
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 16, contextTokens: 16, learningRate: 1e-2, maxRepetition: 1, epochs: 1 });
        await temp.train(story.slice(0, 100));
        const chunks = [];
        for await (const { chunk } of temp.generate({ mix: true, max_tokens: 48, temperature: 1, seed: 5 })) if (chunk) chunks.push(chunk);
        const error = await failure(() => temp.generate({ mix: 1 }).next());
        await temp.dispose();
        return [chunks, error];
      });
      assert.ok(chunks.length > 0);
      const total = (name) => chunks.reduce((sum, chunk) => sum + chunk.tokens * chunk[name], 0);
      const [base, adapted, mixed] = [total("baseLoss"), total("adaptedLoss"), total("mixedLoss")];
      assert.notEqual(base, adapted);
      assert.ok(mixed <= Math.min(base, adapted) + Math.log(6) + 1e-6, `${mixed} of ${base} and ${adapted} nats`);
      assert.deepEqual(error, { kind: "argument", message: "mix 1, expected true or false" });
    });

    once("a text goes on while its last chunk is learned", async () => {
      const [chunks, tokens, runs, error] = await page.evaluate(async () => {
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 24, contextTokens: 24, kv: "stale", overlap: true, maxRepetition: 1, epochs: 1, budget: { visible: 1 } });
        const [chunks, runs] = [[], []]; // how often a token came after some of a lesson
        let [tokens, taught] = [0, false];
        const onProgress = ({ work }) => (taught ||= work === "train");
        for await (const { token_ids, chunk } of temp.generate({ prompt: "The sea", max_tokens: 80, temperature: 1, seed: 5, onProgress })) {
          if (chunk) chunks.push(chunk);
          else {
            tokens += token_ids.length;
            if (taught) runs.push(tokens);
            taught = false;
          }
        }
        await temp.dispose();
        return [chunks, tokens, runs, await failure(() => engine.createTempLora({ overlap: true, rollBack: true }))];
      });
      assert.deepEqual(chunks.map(({ index }) => index), chunks.map((_, i) => i));
      assert.equal(chunks.reduce((sum, chunk) => sum + chunk.tokens, 0), tokens);
      assert.ok(chunks.every(({ trainLosses }) => trainLosses.length === 1));
      assert.ok(runs.length > 12, `tokens ${runs} came after a part of a lesson`);
      assert.equal(error.kind, "argument");
      assert.match(error.message, /overlap beside rollBack/);
    });

    test("a temporary adapter can be cancelled, and goes on", async () => {
      const [error, busy, learned, left, after] = await page.evaluate(async () => {
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 32, contextTokens: 32, budget: { visible: 1 } });
        const abort = new AbortController();
        const work = failure(() => temp.train(story, { signal: abort.signal, onTrain: () => abort.abort() }));
        const busy = await failure(() => temp.evaluate("x"));
        const error = await work;
        const learned = await temp.train(story.slice(0, 100));
        let left = 0;
        for await (const { token_ids } of temp.generate({ max_tokens: 50 })) if ((left += token_ids.length) > 3) break;
        const running = failure(() => temp.train(story));
        await engine.completions.create({ prompt: "Now", max_tokens: 1 });
        await temp.dispose();
        return [error, busy, learned, left, await running];
      });
      assert.deepEqual(error, { kind: "cancelled", message: "the temporary adapter's work was cancelled" });
      assert.equal(busy.message, "the temporary adapter is busy, expected one call at a time");
      assert.deepEqual(learned.chunks.map(({ index }) => index), learned.chunks.map((_, i) => i + 1));
      assert.ok(left > 3 && left < 50);
      assert.deepEqual(after, { kind: "argument", message: "the temporary adapter is disposed" });
    });

    test("what was generated before a break is gone on from", async () => {
      const [expected, text, drawn] = await page.evaluate(async () => {
        const [beginning, greedily] = [story.slice(0, 60), { temperature: 0, max_tokens: 8 }];
        const temp = await engine.createTempLora({ rank: 4, chunkTokens: 64, contextTokens: 64 });
        await temp.train(beginning);
        const ids = await engine.tokenize(beginning);
        const given = ids.length;
        for await (const { token_ids } of temp.generate({ ...greedily, max_tokens: 40 })) {
          ids.push(...token_ids);
          if (ids.length > given + 3) break;
        }
        const { choices } = await engine.completions.create({ ...greedily, prompt: ids, adapter: temp.name });
        let text = "";
        for await (const part of temp.generate(greedily)) text += part.text;
        await temp.dispose();
        return [choices[0].text, text, ids.length - given];
      });
      assert.ok(drawn > 3 && drawn < 40);
      assert.equal(text, expected);
    });

    once("a temporary adapter begins as another one, under each rule for old keys", async () => {
      const results = await page.evaluate(async () => {
        const results = [];
        for (const kv of ["stale", { resetEvery: 2 }]) {
          const temp = await engine.createTempLora({ preset: "paper", warmStart: "falls", kv, chunkTokens: 16, contextTokens: 16, epochs: 1, maxRepetition: 1 });
          const { chunks: [{ baseLoss, adaptedLoss }] } = await temp.evaluate(story.slice(0, 40));
          let [tokens, learned] = [0, 0];
          for await (const { token_ids, chunk } of temp.generate({ max_tokens: 40, temperature: 0 })) {
            tokens += token_ids.length;
            learned += chunk ? 1 : 0;
          }
          await temp.dispose();
          results.push({ differs: baseLoss !== adaptedLoss, tokens, learned });
        }
        return results;
      });
      for (const { differs, tokens, learned } of results) {
        assert.ok(differs, "it is the base's");
        assert.equal(tokens, 40);
        assert.ok(learned === 3 || learned === 2, `${learned} chunks`); // blocks of 8 tokens may end past a chunk
      }
    });

    test("errors of a temporary adapter say what is wrong", async () => {
      const errors = await page.evaluate(async () => [
        await failure(() => engine.createTempLora({ preset: "large" })),
        await failure(() => engine.createTempLora({ chunkTokens: 200, contextTokens: 200 })),
        await failure(() => engine.createTempLora({ contextTokens: 0 })),
        await failure(() => engine.createTempLora({ kv: "fresh" })),
        await failure(() => engine.createTempLora({ kv: { resetEvery: 0 } })),
        await failure(() => engine.createTempLora({ warmStart: "nobody" })),
        await failure(() => engine.createTempLora({ warmStart: "falls", rank: 8 })),
        await failure(() => engine.createTempLora({ beside: "nobody" })),
        await failure(() => engine.createTempLora({ name: "falls" })),
        await failure(() => engine.createTempLora({ chunk: 3 })),
        await failure(() => engine.createTempLora({ name: "" })),
        await names(),
      ]);
      const list = errors.pop();
      const expected = [
        /^preset `large`, expected paper, small or default/,
        /^chunkTokens 200 and contextTokens 200 exceed the context of 128/,
        /^contextTokens 0, expected at least 1/,
        /^kv `fresh`, expected recompute or stale/,
        /^kv.resetEvery 0, expected/,
        /`nobody`/,
        /^rank, alpha and targetModules are those of `falls`/,
        /`nobody`/,
        /^adapter `falls` is there already/,
        /^option `chunk`: unknown/,
        /^name "", expected a non-empty string/,
      ];
      errors.forEach(({ kind, message }, i) => {
        assert.equal(kind, "argument", message);
        assert.match(message, expected[i]);
      });
      assert.doesNotMatch(list, /\btemp\b/);
    });

    test("the engine takes its temporary adapter with it", async () => {
      const error = await page.evaluate(async () => {
        const temp = await engine.createTempLora({ rank: 4 });
        await engine.dispose();
        await temp.dispose();
        return failure(() => temp.train("x"));
      });
      assert.deepEqual(error, { kind: "argument", message: "the engine is disposed" });
    });
  });
}

test("training for which there is no memory names what fits, and leaves nothing", async () => {
  const page = await openApi(browser);
  const [error, limited, step, temp, largest, list, before, after] = await page.evaluate(async () => {
    const engine = await lorakeet.createEngine("/models/demo/", { device: "cpu", contextLength: 64, batch: 1 });
    const write = async () => (await engine.completions.create({ prompt: "The old man", temperature: 0, max_tokens: 8 })).choices[0].text;
    const before = await write();
    const train = async (options) => {
      for await (const step of engine.trainAdapter({ name: "x", dataset: "Once upon a time", maxLength: 16, ...options })) return step;
    };
    const error = await failure(() => train({ rank: 20_000 })); // of the 4 GiB that WebAssembly has
    const memoryLimit = engine.info.memoryBytes + 12_000_000;
    const limited = await failure(() => train({ rank: 500, memoryLimit }));
    const rank = Number(/a rank of (\d+) would fit/.exec(limited.message)[1]);
    const step = await train({ rank, memoryLimit });
    await engine.deleteAdapter("x");
    const temp = await failure(() => engine.createTempLora({ rank: 500, memoryLimit }));
    const largest = await train({ rank: Number(/a rank of (\d+) would fit/.exec(error.message)[1]) });
    await engine.deleteAdapter("x");
    return [error, limited, step, temp, largest, await engine.listAdapters(), before, await write()];
  });
  assert.equal(error.kind, "memory");
  const [, need, most] = /^training adapter `x`: (\d+) bytes with the model's, expected at most (\d+); a rank of \d+ would fit$/.exec(error.message).map(Number);
  assert.ok(need > 2 ** 32 && most < 2 ** 32 && most > 2 ** 31, error.message); // what is left beside the adapter's files
  assert.equal(limited.kind, "memory");
  assert.ok(step.loss > 0 && largest.loss > 0);
  assert.match(temp.message, /^training adapter `temp`: \d+ bytes with the model's, expected at most \d+; a rank of \d+ would fit$/);
  assert.deepEqual(list, []);
  assert.equal(after, before);
  await page.close();
});
