// Adapters from JavaScript, on both devices: loading, choosing, blending, batches, deleting, refusals.
// Their logits are judged in Rust, by PEFT.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openApi, start } from "./browser.mjs";

let browser;
before(async () => (browser = await start()));
after(() => browser?.close());

const LOADED = ["qv", "all-linear", "dora"];

for (const device of ["cpu", "webgpu"]) {
  describe(device, () => {
    let page;
    before(async () => {
      page = await openApi(browser);
      await page.evaluate(async ([device, names]) => {
        const open = (options) => lorakeet.createEngine("/test/fixtures/llama", { device, batch: 4, ...options });
        globalThis.engine = await open();
        globalThis.folder = (name) => `/test/adapters/llama/${name}`;
        globalThis.create = (request) => engine.completions.create({ prompt: [1, 2, 3, 4, 5], temperature: 0, max_tokens: 16, ...request });
        globalThis.ids = async (request) => (await create(request)).choices.map((choice) => choice.token_ids.join(" "));
        globalThis.alone = async (request) => (await ids(request))[0];
        /** The files of an adapter, in a folder as `webkitdirectory` gives it. */
        globalThis.files = (name, inside = name, of = ["adapter_config.json", "adapter_model.safetensors"]) =>
          Promise.all(of.map(async (each) => {
            const file = new File([await (await fetch(`${folder(name)}/${each}`)).blob()], each);
            if (inside) Object.defineProperty(file, "webkitRelativePath", { value: `${inside}/${each}` });
            return file;
          }));
        globalThis.loaded = async () => (await engine.listAdapters()).map((info) => info.name).join(" ");
        const load = async () => { for (const name of names) await engine.loadAdapter(folder(name)); };
        await load();
        /** Works with an engine on the page's thread, where what it reads and holds can be seen. */
        globalThis.here = async (work) => {
          const usual = engine;
          engine = await open({ worker: false });
          try {
            await load();
            return await work();
          } finally {
            await engine.dispose();
            engine = usual;
          }
        };
      }, [device, LOADED]);
    });
    after(() => page?.close());

    test("what is loaded is listed, and described by name", async () => {
      const [list, one] = await page.evaluate(async () => [await engine.listAdapters(), await engine.getAdapter("qv")]);
      assert.deepEqual(list.map((info) => info.name), LOADED);
      const { peftType, config, ...info } = one;
      assert.deepEqual(list[0], info);
      assert.deepEqual([peftType, config.r, config.target_modules], ["LORA", 4, ["q_proj", "v_proj"]]);
      const { modules, bytes, ...rest } = info;
      assert.deepEqual(rest, { name: "qv", rank: 4, virtualTokens: 0, weight: 0, merged: 0, warnings: [] });
      assert.equal(modules.length, 6);
      assert.ok(modules.every((module) => /\.[qv]_proj$/.test(module)), modules.join());
      assert.equal(bytes % 4, 0);
      assert.ok(bytes > 6000 && bytes < 9000, `${bytes}`);
    });

    test("a stream changes its adapters in mid-sentence, across the worker, and goes on from there", async () => {
      const [alone, switched, kept] = await page.evaluate(async () => {
        const read = async (choice) => {
          const stream = engine.completions.create({ prompt: [1, 2, 3, 4, 5], temperature: 0, max_tokens: 16, adapter: "qv", stream: true });
          const ids = [];
          let cut = 0;
          for await (const { choices: [each] } of stream) {
            ids.push(...each.token_ids);
            if (cut > 0 || ids.length < 3) continue;
            cut = ids.length;
            await stream.setAdapter(choice);
          }
          return [ids.slice(0, cut), ids.slice(cut)];
        };
        const switched = [];
        for (const name of ["prompt", "prefix"]) await engine.loadAdapter(folder(name)); // with virtual tokens
        for (const adapter of ["all-linear", { qv: 0.5, dora: -1 }, null, "prompt", "prefix"]) {
          const [before, after] = await read(adapter);
          const { choices: [rest] } = await create({ prompt: [1, 2, 3, 4, 5, ...before], max_tokens: 16 - before.length, adapter });
          switched.push({ before, after, rest: rest.token_ids });
        }
        for (const name of ["prompt", "prefix"]) await engine.deleteAdapter(name);
        return [await alone({ adapter: "qv" }), switched, (await read("qv")).flat().join(" ")];
      });
      for (const { before, after, rest } of switched) {
        assert.ok(before.length >= 3 && before.length < 12, `${before}`);
        assert.ok(alone.startsWith(before.join(" ")));
        assert.deepEqual(after, rest);
        assert.notEqual([...before, ...after].join(" "), alone);
      }
      assert.equal(kept, alone, "to itself");
    });

    test("an adapter is saved into the folder that the user picks", async () => {
      const [how, names, same, error] = await page.evaluate(async () => {
        const root = await navigator.storage.getDirectory();
        globalThis.showDirectoryPicker = async () => root;
        const how = await lorakeet.saveAdapter(engine, "qv");
        const saved = await root.getDirectoryHandle("qv");
        const names = [];
        for await (const name of saved.keys()) names.push(name);
        const text = await alone({ adapter: "qv" });
        await engine.loadAdapter(saved, { name: "saved" });
        const same = (await alone({ adapter: "saved" })) === text;
        await engine.deleteAdapter("saved");
        await root.removeEntry("qv", { recursive: true });
        globalThis.showDirectoryPicker = async () => { throw new DOMException("The user aborted a request.", "AbortError"); };
        const error = await failure(() => lorakeet.saveAdapter(engine, "qv"));
        delete globalThis.showDirectoryPicker;
        return [how, names.sort(), same, error];
      });
      assert.deepEqual([how, names, same], ["folder", ["adapter_config.json", "adapter_model.safetensors"], true]);
      assert.deepEqual(error, { kind: "cancelled", message: "saveAdapter: The user aborted a request." });
    });

    test("each choice has a text of its own, and the base comes back", async () => {
      const texts = await page.evaluate(async () => {
        const texts = [await alone()];
        for (const choice of ["qv", "all-linear", { qv: -1 }, null, "qv", {}, "qv", "__base__"]) {
          await engine.setAdapter(choice);
          texts.push(await alone());
        }
        await engine.setAdapter("all-linear");
        await engine.disableAdapters();
        return [...texts, await alone()];
      });
      const [base, qv, all, minus, ...rest] = texts;
      assert.equal(new Set([base, qv, all, minus]).size, 4);
      assert.deepEqual(rest, [base, qv, base, qv, base, base]);
    });

    test("a blend is itself in any order, and its weights count", async () => {
      const [one, other, half, infos] = await page.evaluate(async () => {
        await engine.setAdapter({ qv: 0.7, "all-linear": 1.3 });
        const one = await alone();
        await engine.setAdapter({ "all-linear": 1.3, qv: 0.7 });
        const infos = await engine.listAdapters();
        const other = await alone();
        await engine.setAdapter({ "all-linear": -2, qv: 2 });
        const half = await alone();
        await engine.disableAdapters();
        return [one, other, half, infos];
      });
      assert.equal(one, other);
      assert.notEqual(one, half);
      assert.deepEqual(infos.map(({ weight }) => weight), [Math.fround(0.7), Math.fround(1.3), 0]);
    });

    test("10,000 switches take no memory of the module", async () => {
      const [before, after] = await page.evaluate(() => here(async () => {
        const { default: init } = await import("/dist/wasm/lorakeet.js");
        const bytes = async () => (await init()).memory.buffer.byteLength;
        const switches = async (n) => {
          for (let i = 0; i < n; i++) await engine.setAdapter([null, "qv", { qv: i + 1, dora: -1 }, { "all-linear": i, qv: 0.3 }][i % 4]);
        };
        await switches(200);
        const before = await bytes();
        await switches(10_000);
        const after = await bytes();
        return [before, after];
      }));
      assert.equal(after, before);
    });

    test("a batch of adapters gives each prompt what it gets alone", async () => {
      const [batch, single, streamed] = await page.evaluate(async () => {
        const names = ["__base__", "qv", { "all-linear": 0.5, dora: 0.5 }, "all-linear"];
        const prompt = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [7, 8], [1, 2, 3, 4, 5]];
        const single = [];
        for (const [i, adapter] of names.entries()) single.push(await alone({ prompt: prompt[i], adapter }));
        const streamed = prompt.map(() => []);
        for await (const { choices: [choice] } of create({ prompt, adapter_names: names, stream: true })) streamed[choice.index].push(...choice.token_ids);
        return [await ids({ prompt, adapter_names: names }), single, streamed.map((list) => list.join(" "))];
      });
      assert.deepEqual(batch, single);
      assert.deepEqual(streamed, single);
      assert.equal(new Set(batch).size, 4);
    });

    test("a request's adapter is the request's alone", async () => {
      const [before, own, after, weights] = await page.evaluate(async () => {
        await engine.setAdapter("qv");
        const before = await alone();
        const own = [await alone({ adapter: "all-linear" }), await alone({ adapter: null }), await alone({ adapter: "qv" })];
        const after = await alone();
        const weights = (await engine.listAdapters()).map(({ weight }) => weight);
        await engine.disableAdapters();
        return [before, [...own, await alone()], after, weights];
      });
      const [all, base, qv, again] = own;
      assert.equal(before, after);
      assert.equal(qv, before);
      assert.equal(base, again);
      assert.equal(new Set([all, base, qv]).size, 3);
      assert.deepEqual(weights, [1, 0, 0]);
    });

    test("calls take effect in the order they were made", async () => {
      const [texts, expected] = await page.evaluate(async () => {
        const calls = [engine.setAdapter("qv"), alone(), engine.setAdapter("all-linear"), alone(), engine.disableAdapters(), alone()];
        const texts = (await Promise.all(calls)).filter((text) => text !== undefined);
        return [texts, await Promise.all(["qv", "all-linear", null].map((adapter) => alone({ adapter })))];
      });
      assert.deepEqual(texts, expected);
    });

    test("a stream keeps the adapter it began with", async () => {
      const [streamed, qv] = await page.evaluate(async () => {
        await engine.setAdapter("qv");
        const qv = await alone();
        const streamed = [];
        for await (const { choices } of create({ stream: true })) {
          streamed.push(...choices[0].token_ids);
          await engine.disableAdapters();
        }
        return [streamed.join(" "), qv];
      });
      assert.equal(streamed, qv);
    });

    test("every source gives the same adapter, named after its folder", async () => {
      const results = await page.evaluate(async () => {
        const expected = await alone({ adapter: "dora" });
        const [config, weights] = await files("dora", "");
        const transfer = new DataTransfer();
        for (const file of [config, weights]) transfer.items.add(file);
        const bytes = async (file) => new Uint8Array(await file.arrayBuffer());
        const sources = [
          [`${folder("dora")}/`], [new URL(folder("dora"), location.href)], [`${folder("dora")}?token=1`], [`${folder("dora")}/`, "by url"],
          [await files("dora", "chosen")], [await files("dora", "outer/inner")], [transfer.files, "by list"], [[config, weights], "by files"],
          [{ config, weights }, "parts"], [{ config: await bytes(config), weights: new URL(`${folder("dora")}/adapter_model.safetensors`, location.href) }, "mixed"],
        ];
        const results = [];
        for (const [source, name] of sources) {
          const info = await engine.loadAdapter(source, { name });
          results.push([info.name, (await alone({ adapter: info.name })) === expected]);
          if (info.name !== "dora") await engine.deleteAdapter(info.name);
        }
        return results;
      });
      const names = ["dora", "dora", "dora", "by url", "chosen", "inner", "by list", "by files", "parts", "mixed"];
      assert.deepEqual(results, names.map((name) => [name, true]));
    });

    test("folders of mlx-lm and mistral-finetune load from every source, and are exported as PEFT's", async () => {
      const results = await page.evaluate(async () => {
        const [mlx, mistral] = ["/test/adapters/other/llama/mlx-last", "/test/adapters/other/mistral/finetune"];
        const chosen = (home, names, inside) => Promise.all(names.map(async (name) => {
          const file = new File([await (await fetch(`${home}/${name}`)).blob()], name);
          return inside ? Object.defineProperty(file, "webkitRelativePath", { value: `${inside}/${name}` }) : file;
        }));
        const [config, weights] = await chosen(mlx, ["adapter_config.json", "adapters.safetensors"]);
        const wrong = new File(["{}"], "adapter_config.json");
        Object.defineProperty(wrong, "webkitRelativePath", { value: "mine/checkpoint/adapter_config.json" });
        const results = [];
        const load = async (source, options) => {
          const { name, warnings } = await engine.loadAdapter(source, options);
          results.push([name, warnings.length, await alone({ adapter: name })]);
          const [exported] = await engine.exportAdapter(name);
          results.at(-1).push(JSON.parse(await exported.text()).base_model_name_or_path);
          await engine.deleteAdapter(name);
        };
        await load(mlx);
        await load([...(await chosen(mlx, ["adapter_config.json", "adapters.safetensors"], "mine")), wrong]);
        await load([config, weights], { name: "files" });
        await load({ config, weights }, { name: "parts" });
        const usual = engine;
        engine = await lorakeet.createEngine("/test/fixtures/mistral", { device: usual.device, batch: 1 });
        try {
          const names = ["params.json", "lora.safetensors"];
          await load(mistral);
          await load(await chosen(mistral, names, "mine"));
          await load(`${mistral}-alone/`);
          await load(await chosen(`${mistral}-alone`, names.slice(1)), { name: "file" });
          results.push(await failure(() => engine.loadAdapter("/test/adapters/other/llama")));
        } finally {
          await engine.dispose();
          engine = usual;
        }
        return results;
      });
      const texts = results.slice(0, 8).map((each) => each[2]);
      assert.deepEqual([new Set(texts.slice(0, 4)).size, new Set(texts.slice(4, 6)).size, new Set(texts.slice(6)).size], [1, 1, 1]);
      assert.deepEqual(results.slice(0, 8).map(([name, warnings, , base]) => [name, warnings, base]), [
        ["mlx-last", 0, "llama"], ["mine", 0, "llama"], ["files", 0, "llama"], ["parts", 0, "llama"],
        ["finetune", 0, "mistral"], ["mine", 0, "mistral"], ["finetune-alone", 1, "mistral"], ["file", 1, "mistral"],
      ]);
      assert.equal(results[8].kind, "network");
      assert.match(results[8].message, /^adapter_config\.json: not found/);
    });

    test("a name loaded again is the new adapter", async () => {
      const [first, second, expected] = await page.evaluate(async () => {
        await engine.loadAdapter(folder("vo"), { name: "changing" });
        await engine.setAdapter("changing");
        const first = await alone();
        await engine.loadAdapter(folder("mlp"), { name: "changing" });
        const second = await alone();
        await engine.deleteAdapter("changing");
        await engine.loadAdapter(folder("mlp"));
        const expected = await alone({ adapter: "mlp" });
        await engine.deleteAdapter("mlp");
        return [first, second, expected];
      });
      assert.equal(second, expected);
      assert.notEqual(first, second);
    });

    test("an adapter in use is not deleted, and its stream ends well", async () => {
      const result = await page.evaluate(async () => {
        await engine.loadAdapter(folder("vo"));
        const expected = await alone({ adapter: "vo" });
        const aliased = [await alone({ model: `${engine.info.model}:vo` }), await alone({ model: engine.info.model, adapter: "vo" })];
        const errors = [];
        const streamed = [];
        for await (const { choices } of create({ adapter: "vo", stream: true })) {
          streamed.push(...choices[0].token_ids);
          if (errors.length > 0) continue;
          errors.push(await failure(() => engine.deleteAdapter("vo")), await failure(() => engine.loadAdapter(folder("mlp"), { name: "vo" })));
        }
        await engine.setAdapter("vo");
        await engine.deleteAdapter("vo");
        return { expected, aliased, streamed: streamed.join(" "), errors, after: await alone(), base: await alone({ adapter: null }), loaded: await loaded() };
      });
      assert.equal(result.streamed, result.expected);
      assert.deepEqual(result.aliased, [result.expected, result.expected]);
      const refused = { kind: "argument", message: "adapter `vo` is in use by a running generation" };
      assert.deepEqual(result.errors, [refused, refused]);
      assert.equal(result.after, result.base);
      assert.notEqual(result.expected, result.base);
      assert.equal(result.loaded, LOADED.join(" "));
    });

    test("a combination is an adapter, is exported, and loads again", async () => {
      const result = await page.evaluate(async () => {
        await engine.loadAdapter(folder("vo"));
        const info = await engine.addWeightedAdapter("both", { vo: 1.3, qv: 0.7 }, { combinationType: "cat" });
        const texts = [await alone({ adapter: { qv: 0.7, vo: 1.3 } }), await alone({ adapter: "both" })];
        const exported = await engine.exportAdapter("both");
        await engine.loadAdapter(exported, { name: "again" });
        texts.push(await alone({ adapter: "again" }));
        const options = { combinationType: "dare_ties", density: 0.6, majoritySignMethod: "frequency", seed: 1 };
        await engine.addWeightedAdapter("both", { qv: 0.7, vo: 1.3 }, options);
        const dare = await alone({ adapter: "both" });
        await engine.addWeightedAdapter("both", { qv: 0.7, vo: 1.3 }, { ...options, seed: 2 });
        const reseeded = await alone({ adapter: "both" });
        const { config } = await engine.getAdapter("again");
        const original = await files("qv");
        const same = await Promise.all((await engine.exportAdapter("qv")).map(async (file, i) => (await file.text()) === (await original[i].text())));
        for (const name of ["both", "again", "vo"]) await engine.deleteAdapter(name);
        return { info, texts, dare, reseeded, config, same, files: exported.map(({ name, type }) => [name, type]), isFile: exported.every((file) => file instanceof File) };
      });
      const { name, rank, modules } = result.info;
      assert.deepEqual([name, rank, modules.length], ["both", 8, 9]);
      assert.equal(new Set(result.texts).size, 1);
      assert.equal(new Set([result.texts[0], result.dare, result.reseeded]).size, 3);
      assert.deepEqual([result.config.r, result.config.lora_alpha], [8, 8]);
      assert.deepEqual([result.files, result.isFile], [[["adapter_config.json", "application/json"], ["adapter_model.safetensors", "application/octet-stream"]], true]);
      assert.deepEqual(result.same, [true, true]);
    });

    test("a merge writes what a blend does, and unmerging gives the base back", async () => {
      const result = await page.evaluate(async () => {
        const blend = { qv: 0.7, dora: 0.5 };
        const base = await alone();
        const expected = await alone({ adapter: blend });
        await engine.setAdapter("qv");
        await engine.mergeAdapter(blend);
        const infos = (await engine.listAdapters()).map(({ weight, merged }) => [weight, merged]);
        const merged = await alone();
        const onTop = await alone({ adapter: "all-linear" });
        const errors = [
          await failure(() => engine.mergeAdapter("all-linear")), await failure(() => engine.deleteAdapter("qv")),
          await failure(() => engine.setAdapter({ dora: 1 })),
        ];
        for await (const _ of create({ stream: true })) if (errors.length < 4) errors.push(await failure(() => engine.unmergeAdapter()));
        await engine.unmergeAdapter();
        errors.push(await failure(() => engine.unmergeAdapter()), await failure(() => engine.mergeAdapter(null)));
        return { base, expected, infos, merged, onTop, errors, after: await alone() };
      });
      assert.equal(result.merged, result.expected);
      assert.equal(result.after, result.base);
      assert.equal(new Set([result.base, result.merged, result.onTop]).size, 3);
      assert.deepEqual(result.infos, [[0, Math.fround(0.7)], [0, 0], [0, 0.5]]);
      const argument = (message) => ({ kind: "argument", message });
      assert.deepEqual(result.errors, [
        argument("adapters `dora`, `qv` are merged already, unmerge first"),
        argument("adapter `qv` is merged into the weights, unmerge it first"),
        argument("adapter `dora` is merged into the weights, unmerge it first"),
        argument("a generation is running, the weights cannot change under it"),
        argument("no adapter is merged"),
        argument("no adapter to merge"),
      ]);
    });

    test("an unknown adapter is `argument`, with what is loaded, everywhere", async () => {
      const errors = await page.evaluate(async () => [
        await failure(() => engine.setAdapter("poet")),
        await failure(() => engine.setAdapter({ qv: 1, poet: 0 })),
        await failure(() => engine.getAdapter("poet")),
        await failure(() => engine.deleteAdapter("poet")),
        await failure(() => engine.exportAdapter("poet")),
        await failure(() => engine.mergeAdapter("poet")),
        await failure(() => engine.addWeightedAdapter("new", { qv: 1, poet: 1 })),
        await failure(() => create({ adapter: "poet" })),
        await failure(() => create({ prompt: ["a", "b"], adapter_names: ["qv", "poet"] })),
      ]);
      const message = "adapter `poet` is not loaded; loaded are `qv`, `all-linear`, `dora`";
      for (const error of errors) assert.deepEqual(error, { kind: "argument", message });
      assert.deepEqual(await page.evaluate(async () => (await engine.listAdapters()).map(({ weight }) => weight)), [0, 0, 0]);
    });

    test("wrong calls say what is wrong, and change nothing", async () => {
      const errors = await page.evaluate(async () => {
        const two = { prompt: ["a", "b"] };
        const [config, weights] = await files("qv");
        const calls = {
          choice: () => engine.setAdapter(5),
          list: () => engine.setAdapter(["qv"]),
          nothing: () => engine.setAdapter(),
          weight: () => engine.setAdapter({ qv: "1" }),
          notANumber: () => engine.setAdapter({ qv: NaN }),
          request: () => create({ adapter: true }),
          both: () => create({ ...two, adapter: null, adapter_names: ["qv", "qv"] }),
          few: () => create({ ...two, adapter_names: ["qv"] }),
          many: () => create({ adapter_names: ["qv", "qv"] }),
          names: () => create({ adapter_names: "qv" }),
          entry: () => create({ ...two, adapter_names: ["qv", null] }),
          name: () => engine.loadAdapter(folder("qv"), { name: 5 }),
          base: () => engine.loadAdapter(folder("qv"), { name: "__base__" }),
          option: () => engine.loadAdapter(folder("qv"), { nam: "a" }),
          signal: () => engine.loadAdapter(folder("qv"), { signal: 5 }),
          source: () => engine.loadAdapter(undefined),
          parts: () => engine.loadAdapter({ config }),
          bare: () => engine.loadAdapter("sql-lora"),
          ggufs: () => engine.loadAdapter([new File([], "a.gguf"), new File([], "b.gguf")]),
          notGguf: () => engine.loadAdapter(new File(["GGML"], "a.gguf")),
          nameless: () => engine.loadAdapter({ config, weights }),
          noConfig: () => engine.loadAdapter([weights]),
          noWeights: () => engine.loadAdapter([config]),
          none: () => engine.loadAdapter([], { name: "a" }),
          absent: () => engine.loadAdapter("/test/nothing"),
          several: async () => engine.loadAdapter([...(await files("qv", "all/qv")), ...(await files("vo", "all/vo"))]),
          deleted: () => engine.deleteAdapter(),
          exported: () => engine.exportAdapter(5),
          merged: () => engine.mergeAdapter(["qv"]),
          combined: () => engine.addWeightedAdapter("new", "qv"),
          combinedName: () => engine.addWeightedAdapter("__base__", { qv: 1 }),
          combinedOption: () => engine.addWeightedAdapter("new", { qv: 1 }, { combination_type: "cat" }),
          combinedType: () => engine.addWeightedAdapter("new", { qv: 1 }, { combinationType: "slerp" }),
          combinedRank: () => engine.addWeightedAdapter("new", { qv: 1 }, { svdRank: 1.5 }),
          unlike: () => engine.addWeightedAdapter("new", { qv: 1, dora: 1 }),
        };
        const errors = {};
        for (const [name, call] of Object.entries(calls)) errors[name] = await failure(call);
        return errors;
      });
      const argument = (message) => ({ kind: "argument", message });
      assert.deepEqual(errors, {
        choice: argument("adapter 5, expected a name, {name: weight} or null"),
        list: argument('adapter ["qv"], expected a name, {name: weight} or null'),
        nothing: argument("adapter undefined, expected a name, {name: weight} or null"),
        weight: argument('adapter `qv` "1", expected a number'),
        notANumber: argument("adapter `qv`: weight NaN, expected a number"),
        request: argument("adapter true, expected a name, {name: weight} or null"),
        both: argument("`adapter` and `adapter_names` are both given, expected one of them"),
        few: argument("adapter_names of 1 entries, expected 2: one for each prompt"),
        many: argument("adapter_names of 2 entries, expected 1: one for each prompt"),
        names: argument('adapter_names "qv", expected an array, one for each prompt'),
        entry: argument('adapter_names[1] null, expected a name, {name: weight} or "__base__"'),
        name: argument('name 5, expected a string other than "__base__"'),
        base: argument('name "__base__", expected a string other than "__base__"'),
        option: argument("option `nam`: unknown, did you mean `name`? Expected one of name, chatTemplate, signal, revision, subfolder, token, hubUrl"),
        signal: argument("signal 5, expected an AbortSignal"),
        source: argument("adapter undefined, expected a hub id, a URL, files, or {config, weights}"),
        parts: argument('adapter {"config":{}}, expected a hub id, a URL, files, or {config, weights}'),
        bare: argument('adapter "sql-lora", expected a hub id (`org/name`, `org/name@revision`, `org/name/file.gguf` or, of a model, `org/name:Q4_K_M`; the option `subfolder` names a folder in it), or a URL that begins with `./`, `/` or `https:`'),
        ggufs: argument("2 GGUF files, expected one adapter at a time: a.gguf, b.gguf"),
        notGguf: { kind: "format", message: "GGUF file: begins with [71, 71, 77, 76], expected [71, 71, 85, 70]: GGUF" },
        nameless: argument("this adapter comes without a folder's name, expected the option `name`"),
        noConfig: argument("adapter_config.json: not among the 1 file given"),
        noWeights: argument("adapter_model.safetensors: not among the 1 file given"),
        none: argument("adapter_config.json: not among the 0 files given"),
        absent: { kind: "network", message: `adapter_config.json: not found, ${browser.url}test/nothing/adapter_config.json` },
        several: argument("2 files adapter_config.json, expected one adapter at a time: qv, vo"),
        deleted: argument("name undefined, expected a string"),
        exported: argument("name 5, expected a string"),
        merged: argument('adapter ["qv"], expected a name, {name: weight} or null'),
        combined: argument('adapters "qv", expected {name: weight}'),
        combinedName: argument('name "__base__", expected a string other than "__base__"'),
        combinedOption: argument("option `combination_type`: unknown, did you mean `combinationType`? Expected one of combinationType, density, majoritySignMethod, svdRank, svdClamp, seed"),
        combinedType: argument('combinationType `slerp`, expected cat, linear, svd, ties, ties_svd, dare_linear, dare_linear_svd, dare_ties, dare_ties_svd, magnitude_prune or magnitude_prune_svd'),
        combinedRank: argument("svdRank 1.5, expected a whole number, at least 0"),
        unlike: { kind: "unsupported", message: "adapter `dora` cannot be combined: field `use_dora`, expected a plain LoRA" },
      });
      assert.equal(await page.evaluate(() => loaded()), LOADED.join(" "));
    });

    test("a GGUF LoRA is the folder it was made of, from a URL or a file, and carries its warning", async () => {
      const { infos, names, folders, of } = await page.evaluate(async () => {
        const file = new File([await (await fetch("/test/gguf/llama-all-linear.gguf")).blob()], "chosen.gguf");
        const infos = [
          await engine.loadAdapter("/test/gguf/llama-all-linear.gguf?signed=1"),
          await engine.loadAdapter(file),
          await engine.loadAdapter([file, new File(["# read me"], "README.md")], { name: "listed" }),
        ];
        const names = infos.map(({ name }) => name);
        const rows = async (adapter) => (await engine.logits([1, 2, 3, 4, 5], { adapter })).map((row) => [...row]);
        const of = Object.fromEntries(await Promise.all([...names, "all-linear", null].map(async (name) => [name, await rows(name)])));
        for (const name of names) await engine.deleteAdapter(name);
        const folders = (await engine.getAdapter("all-linear")).modules;
        return { infos, names, folders, of };
      });
      assert.deepEqual(names, ["llama-all-linear", "chosen", "listed"]);
      for (const { modules, warnings } of infos) {
        assert.deepEqual(modules.toSorted(), folders.toSorted());
        assert.match(warnings.join(), /cannot say whether it was rsLoRA/);
      }
      for (const name of names) assert.deepEqual(of[name], of["all-linear"]);
      assert.notDeepEqual(of["all-linear"], of.null);
      assert.deepEqual(of.null.map((row) => row.length), [300, 300, 300, 300, 300]);
    });

    test("logits of what is no text are `argument`", async () => {
      const errors = await page.evaluate(() => Promise.all([
        failure(() => engine.logits("ab")),
        failure(() => engine.logits([1.5])),
        failure(() => engine.logits([])),
        failure(() => engine.logits([300])),
        failure(() => engine.logits([1], { adapter: "poet" })),
        failure(() => engine.logits([1], { adaptor: "qv" })),
      ]));
      const words = ['ids "ab", expected', "ids [1.5], expected", "0 tokens, expected 1 to 128", "token id 300, expected below", "adapter `poet` is not loaded", "option `adaptor`: unknown"];
      for (const [i, { kind, message }] of errors.entries()) {
        assert.equal(kind, "argument");
        assert.ok(message.startsWith(words[i]), message);
      }
    });

    test("adapters that cannot be right are refused, and change nothing", async () => {
      const errors = await page.evaluate(async () => {
        const errors = {};
        const load = (name) => engine.loadAdapter(folder(name), { name: "refused" });
        for (const name of ["NEG-bin", "NEG-wrong-base", "NEG-unknown-field"]) errors[name] = await failure(() => load(name));
        const [config] = await files("qv", "");
        errors.binFiles = await failure(() => engine.loadAdapter([config, new File(["PK"], "adapter_model.bin")], { name: "refused" }));
        errors.notWeights = await failure(() => engine.loadAdapter({ config, weights: new Blob(["nothing of the kind"]) }, { name: "refused" }));
        return errors;
      });
      const pickled = "a pickled weight file is not read, for it can run code; convert it in Python with `PeftModel.from_pretrained(base, folder).save_pretrained(folder, safe_serialization=True)`: adapter_model.bin";
      assert.deepEqual(errors["NEG-bin"], { kind: "format", message: pickled });
      assert.deepEqual(errors.binFiles, errors["NEG-bin"]);
      assert.equal(errors["NEG-wrong-base"].kind, "mismatch");
      assert.equal(errors["NEG-unknown-field"].kind, "unsupported");
      assert.equal(errors.notWeights.kind, "format");
      assert.equal(await page.evaluate(() => loaded()), LOADED.join(" "));
    });

    test("an interrupted load leaves nothing, and the next one succeeds", async () => {
      const [errors, left, text] = await page.evaluate(() => here(async () => {
        const base = await alone();
        const interrupted = async (reached) => {
          const abort = new AbortController();
          reached.then(() => abort.abort());
          return failure(() => engine.loadAdapter(folder("vo"), { signal: abort.signal }));
        };
        const asked = (name) => new Promise((done) => {
          const plain = fetch;
          globalThis.fetch = (url, options) => {
            if (!String(url).endsWith(name)) return plain(url, options);
            globalThis.fetch = plain;
            return plain(url, options).then((response) => (done(), response)); // its body is still to come
          };
        });
        const whenRead = async () => {
          const abort = new AbortController();
          const [config, weights] = await files("vo");
          const slice = weights.slice.bind(weights);
          weights.slice = (...range) => (abort.abort(), slice(...range));
          return failure(() => engine.loadAdapter([config, weights], { signal: abort.signal }));
        };
        const errors = [
          await failure(() => engine.loadAdapter(folder("vo"), { signal: AbortSignal.abort() })),
          await interrupted(Promise.resolve()),
          await interrupted(asked("adapter_config.json")),
          await interrupted(asked("adapter_model.safetensors")),
          await whenRead(),
        ];
        const left = [await loaded(), (await alone()) === base];
        await engine.loadAdapter(folder("vo"));
        const text = await alone({ adapter: "vo" });
        return [errors, left, text !== base];
      }));
      for (const error of errors) assert.deepEqual(error, { kind: "cancelled", message: "loading the adapter was cancelled" });
      assert.deepEqual(left, [LOADED.join(" "), true]);
      assert.equal(text, true);
    });
  });
}
