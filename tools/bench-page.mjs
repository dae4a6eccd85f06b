// What adapters cost through the public API, measured in a page: the rounds of `lorakeet bench adapters`.
// Not the table: bench.mjs lays what this returns beside the native figures of the same names.

const ADAPTERS = 8;
const BLENDED = 4;
const LONG_PROMPT = 33; // tokens: a run of 32 rows and the row that is drawn from
const SHORT_PROMPT = 9;
const SWITCHES = 50; // timed together, as a page's clock is coarse

/**
 * Medians of `runs` rounds on `device`, by name. `folder` holds `model/` and `adapter-<index>/`.
 * Throws if a batch of adapters does not draw what each row draws alone.
 */
export async function measure({ device, folder, tokens, runs }) {
  const { createEngine } = await import("/dist/index.js");
  const open = () => createEngine(`${folder}/model/`, { device, worker: false, batch: ADAPTERS, contextLength: 2048 });
  const plain = await open();
  const bank = await open();
  for (let i = 0; i < ADAPTERS; i++) await bank.loadAdapter(`${folder}/${name(i)}/`);
  const bench = new Bench(plain, bank, tokens);
  await bench.checkBatch();
  await bench.round(0); // to warm up
  const rounds = [];
  for (let round = 1; round <= runs; round++) rounds.push(await bench.round(round));
  const adapter = bank.info.adapter;
  await plain.dispose();
  await bank.dispose();
  return { device: adapter || device, measures: summary(rounds) };
}

class Bench {
  constructor(plain, bank, tokens) {
    Object.assign(this, { plain, bank, tokens, prompts: 0 });
  }

  /** A prompt whose first token no recent one had, so that nothing of it is cached. */
  prompt(length) {
    this.prompts++;
    return Array.from({ length }, (_, i) => (this.prompts + i * 7) % this.bank.info.vocabSize);
  }

  async checkBatch() {
    const prompt = this.prompt(SHORT_PROMPT);
    const alone = [];
    for (const adapter of names(ADAPTERS)) alone.push(...(await complete(this.bank, { prompt, adapter, max_tokens: this.tokens })).ids);
    const together = (await complete(this.bank, batch(prompt, this.tokens))).ids;
    alone.forEach((ids, row) => {
      if (String(ids) !== String(together[row])) throw new Error(`row ${row} of a batch: tokens ${together[row]}, expected those it draws alone, ${ids}`);
    });
    if (new Set(alone.map(String)).size === 1) throw new Error("all adapters draw the same tokens, which would prove nothing");
  }

  async round(round) {
    const decode = await this.decode(round);
    const prefill = await this.prefill(round);
    const batch = await this.batchAndAlone(round);
    return { decode, prefill, batch, switch: await this.setAdapter(round), first: await this.firstToken() };
  }

  async decode(round) {
    const prompt = this.prompt(SHORT_PROMPT);
    const blend = Object.fromEntries(names(BLENDED).map((each) => [each, 1 / BLENDED]));
    const choices = [null, null, name(0), blend];
    const ms = [];
    for (const variant of turns(round, choices.length)) {
      const run = await complete(variant === 0 ? this.plain : this.bank, { prompt, max_tokens: this.tokens, adapter: choices[variant] });
      ms[variant] = (run.total - run.prompt) / this.tokens;
    }
    return ms;
  }

  async prefill(round) {
    const ms = [];
    for (const variant of turns(round, 2)) {
      const [engine, adapter] = variant === 0 ? [this.plain, null] : [this.bank, name(0)];
      ms[variant] = (await complete(engine, { prompt: this.prompt(LONG_PROMPT), max_tokens: 1, adapter })).prompt;
    }
    return ms;
  }

  /** Whole requests, prompts included: each adapter alone, in sum; all in one batch. */
  async batchAndAlone(round) {
    const ms = [0, 0];
    for (const variant of turns(round, 2)) {
      const prompt = this.prompt(SHORT_PROMPT);
      const alone = names(ADAPTERS).map((adapter) => ({ prompt, adapter, max_tokens: this.tokens }));
      for (const request of variant === 0 ? alone : [batch(prompt, this.tokens)]) ms[variant] += (await complete(this.bank, request)).total;
    }
    return ms;
  }

  /** Each time a mix that is not on the device. */
  async setAdapter(round) {
    const started = performance.now();
    for (let i = 0; i < SWITCHES; i++) await this.bank.setAdapter({ [name(1)]: 1 + (round * SWITCHES + i) / 65536 });
    return (performance.now() - started) / SWITCHES;
  }

  /** From a call to its first token: the adapter of the call before; another one; another one that has not seen the prompt. */
  async firstToken() {
    const prompt = this.prompt(LONG_PROMPT);
    const first = async (index) => {
      const started = performance.now();
      await this.bank.setAdapter(name(index));
      const switched = performance.now() - started;
      return switched + (await complete(this.bank, { prompt, max_tokens: 1 })).first;
    };
    await first(1);
    const notCached = await first(0);
    const same = await first(0);
    return [same, await first(1), notCached];
  }
}

/** Milliseconds from the call to the end of the prompt, the first token and the end, and the tokens. */
async function complete(engine, request) {
  const started = performance.now();
  let prompt = 0;
  let first;
  const ids = [];
  const onPrompt = () => (prompt = performance.now() - started);
  for await (const { choices: [{ index, token_ids }] } of engine.completions.create({ temperature: 0, stream: true, onPrompt, ...request })) {
    first ??= performance.now() - started;
    (ids[index] ??= []).push(...token_ids);
  }
  return { prompt, first, total: performance.now() - started, ids };
}

function summary(rounds) {
  const value = (of) => median(rounds.map(of));
  const ratio = (of) => value((round) => of(round)[0] / of(round)[1]);
  return {
    "decode, base": value((r) => r.decode[0]),
    "decode, 8 loaded, none on": ratio((r) => [r.decode[1], r.decode[0]]),
    "decode, one adapter": ratio((r) => [r.decode[2], r.decode[0]]),
    "decode, blend of 4": ratio((r) => [r.decode[3], r.decode[0]]),
    "prefill of 32, base": value((r) => r.prefill[0]),
    "prefill of 32, one adapter": ratio((r) => [r.prefill[1], r.prefill[0]]),
    "batch of 8 adapters / 8 alone": ratio((r) => [r.batch[1], r.batch[0]]),
    "set_adapter": 1e3 * value((r) => r.switch),
    "first token, same adapter": value((r) => r.first[0]),
    "first token, switched, cached": value((r) => r.first[1]),
    "first token, switched, not cached": value((r) => r.first[2]),
  };
}

function batch(prompt, tokens) {
  return { prompt: Array(ADAPTERS).fill(prompt), adapter_names: names(ADAPTERS), max_tokens: tokens };
}

/** The variants of a round, first to last and back, so that none always follows the same. */
function turns(round, variants) {
  const order = Array.from({ length: variants }, (_, i) => i);
  return round % 2 === 0 ? order : order.reverse();
}

function name(index) {
  return `adapter-${index}`;
}

function names(count) {
  return Array.from({ length: count }, (_, i) => name(i));
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
