// What a lesson has done: the loss of a piece that was held back, and a sample, each with the voice and without.
// Not the lesson: that is teach.js's.

import { coloured, element } from "./parts.js";
import { t } from "./words.js";

/** Characters from which on a lesson can spare its end, and what it spares of it. */
const [LEAST, SHARE, MOST] = [600, 0.1, 500];
/** Tokens of that end whose loss is taken: each costs a row of logits as wide as the vocabulary. */
const MOST_TOKENS = 96;
const SAMPLE_TOKENS = 48;
const OPENING_WORDS = 5;

/** A text as what is learned, and the end that is held back, which is empty where the text is short. */
export function holdBack(text) {
  if (text.length < LEAST) return { lesson: text, held: "" };
  const at = text.length - Math.min(MOST, Math.floor(SHARE * text.length));
  const end = text.slice(at).search(/(?<=[.!?]["'”’]?)\s/);
  const cut = end < 0 || end > MOST / 2 ? at : at + end;
  return { lesson: text.slice(0, cut), held: text.slice(cut).trim() };
}

export function hideVerdict() {
  element("teach-result").hidden = true;
}

/** Shows what `voice`, {name, hue}, does to the held-back end of a lesson and to a sample. `signal` ends it. */
export async function showVerdict(engine, voice, parts, sampling, signal) {
  try {
    await judge(engine, voice, parts, sampling, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function judge(engine, voice, { lesson, held }, sampling, signal) {
  const { name, hue } = voice;
  let gain = t("verdict.short");
  if (held !== "") {
    const [without, learned] = [await loss(engine, held, null), await loss(engine, held, name)];
    const percent = Math.round(100 * (1 - learned / without));
    gain = t(percent > 0 ? "verdict.gain" : "verdict.none", { without: without.toFixed(2), learned: learned.toFixed(2), percent });
  }
  const prompt = (held || lesson).trim().split(/\s+/).slice(0, OPENING_WORDS).join(" ");
  const seed = sampling.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
  const request = { ...sampling, seed, max_tokens: SAMPLE_TOKENS, prompt, signal };
  const samples = await Promise.all([null, name].map((adapter) => engine.completions.create({ ...request, adapter })));
  if (signal.aborted) return;
  const [before, after] = samples.map(({ choices: [{ text }] }) => `${prompt}${text}`);
  element("teach-gain").textContent = gain;
  element("teach-before").textContent = before;
  element("teach-after").textContent = after;
  coloured(hue, element("teach-with"));
  element("teach-result").hidden = false;
}

/** Mean over the tokens of a text of −ln p(token | those before it), in nats. */
async function loss(engine, text, adapter) {
  const ids = (await engine.tokenize(text)).slice(0, MOST_TOKENS);
  const logits = await engine.logits(ids, { adapter });
  const nats = ids.slice(1).map((id, i) => {
    const most = Math.max(...logits[i]);
    return most + Math.log(logits[i].reduce((sum, x) => sum + Math.exp(x - most), 0)) - logits[i][id];
  });
  return nats.reduce((sum, each) => sum + each, 0) / nats.length;
}
