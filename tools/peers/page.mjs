// The engines that tools/bench-peers.mjs compares, each behind the same few calls, for a page.
// Not the measuring of memory, nor the order of things: that is the program's.

const PEERS = "/packages/node_modules";

/** Opens what `configuration` names, as `globalThis.engine`, and tells how long that took from the first import on, s. */
export async function load(configuration) {
  const started = performance.now();
  globalThis.engine = await ENGINES[configuration.engine](configuration);
  return seconds(started);
}

/** Draws `tokens` greedy tokens after a prompt, its ids or the text that has them. Seconds to the first, tokens a second after that, and what they are: ids or a text. */
export async function draw(prompt, tokens) {
  const times = [];
  const started = performance.now();
  const drawn = await engine.draw(prompt, tokens, () => times.push(seconds(started)));
  const [first, last] = [times[0], times.at(-1)];
  return { first, decode: times.length > 1 ? (times.length - 1) / (last - first) : null, count: times.length, ...drawn };
}

function seconds(since) {
  return (performance.now() - since) / 1000;
}

const ENGINES = {
  async lorakeet({ url, dtype, device, threads }) {
    const { createEngine } = await import("/dist/index.js");
    const options = { device, threads, contextLength: 1024, batch: 1, cache: false };
    const engine = await createEngine(url, dtype ? { dtype, ...options } : options);
    if (engine.info.threads !== threads) throw new Error(`Lorakeet has ${engine.info.threads} threads, expected ${threads}`);
    const draw = async ({ ids }, tokens, onToken) => {
      const drawn = { ids: [], pieces: [] };
      for await (const { choices: [{ text, token_ids }] } of engine.completions.create({ prompt: ids, max_tokens: tokens, temperature: 0, stream: true })) {
        token_ids.forEach(onToken);
        drawn.ids.push(...token_ids);
        drawn.pieces.push(text);
      }
      return drawn;
    };
    return { draw, lorakeet: engine };
  },

  async transformers({ model, dtype, device, threads }) {
    const { AutoModelForCausalLM, Tensor, env } = await import(`${PEERS}/@huggingface/transformers/dist/transformers.min.js`);
    Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "/models/", useBrowserCache: false, useWasmCache: false });
    Object.assign(env.backends.onnx.wasm, { wasmPaths: `${PEERS}/onnxruntime-web/dist/`, numThreads: threads });
    const loaded = await AutoModelForCausalLM.from_pretrained(model, { device, dtype });
    const tensor = (ids) => new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
    const draw = async ({ ids: prompt }, tokens, onToken) => {
      const ids = [];
      let isPrompt = true; // what a streamer is given first
      const put = ([batch]) => {
        if (!isPrompt) batch.forEach((id) => { onToken(); ids.push(Number(id)); });
        isPrompt = false;
      };
      const inputs = { input_ids: tensor(prompt), attention_mask: tensor(prompt.map(() => 1)) };
      await loaded.generate({ ...inputs, max_new_tokens: tokens, do_sample: false, streamer: { put, end() {} } });
      return { ids };
    };
    return { draw };
  },

  async wllama({ url, threads }) {
    const { Wllama, LoggerWithoutDebug } = await import(`${PEERS}/@wllama/wllama/esm/index.js`);
    const wllama = new Wllama({ default: `${PEERS}/@wllama/wllama/esm/wasm/wllama.wasm` }, { suppressNativeLog: true, logger: LoggerWithoutDebug });
    wllama.setCompat(null); // else it comes from a CDN
    const file = await (await fetch(url)).blob();
    await wllama.loadModel([file], { n_ctx: 1024, n_threads: threads, n_gpu_layers: 0, n_parallel: 1 });
    if (wllama.getNumThreads() !== threads) throw new Error(`wllama has ${wllama.getNumThreads()} threads, expected ${threads}`);
    const draw = async ({ ids, text: prompt }, tokens, onToken) => {
      let text = "";
      const request = { prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, cache_prompt: false, stream: true };
      for await (const { choices: [choice], usage } of await wllama.createCompletion(request)) {
        if (usage && usage.prompt_tokens !== ids.length) throw new Error(`wllama makes ${usage.prompt_tokens} tokens of a prompt, expected ${ids.length}`);
        if (!choice?.text) continue;
        onToken();
        text += choice.text;
      }
      return { text };
    };
    return { draw };
  },
};

/**
 * What adapters cost Lorakeet: load, decode and first token with one on; a switch alone; and a request for one token after a prompt that is
 * not cached, under the adapter of the request before and under the other one.
 */
export async function adapters(prompt, other, tokens) {
  const { lorakeet } = engine;
  const names = ["adapter-0", "adapter-1"];
  const started = performance.now();
  for (const name of names) await lorakeet.loadAdapter(`/models/${name}/`, { name });
  const load = seconds(started) / names.length;
  await lorakeet.setAdapter(names[0]);
  const on = await draw(prompt, tokens);
  const switches = 20;
  const switching = performance.now();
  for (let i = 1; i <= switches; i++) await lorakeet.setAdapter(names[i % 2]);
  const alone = seconds(switching) / switches;
  let asked = 0;
  const request = async (name) => {
    asked++;
    const unseen = { ids: other.ids.map((id) => id + asked) };
    const started = performance.now();
    await lorakeet.setAdapter(name);
    await draw(unseen, 1);
    return seconds(started);
  };
  const [same, switched] = [[], []];
  for (let i = 0; i < 3; i++) {
    await request(names[0]);
    same.push(await request(names[0]));
    switched.push(await request(names[1]));
  }
  await lorakeet.setAdapter(null);
  return { load, on, switch: alone, same: median(same), switched: median(switched) };
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
