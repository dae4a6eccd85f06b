// The demo page: loads a model, continues the reader's text.
// Not an example to copy for its plumbing: the two calls that matter are createEngine and create.

import { createEngine } from "./dist/index.js";
import { onModelChosen } from "./model-files.js";
import { showError, showLoading, showModel, showNoModel } from "./model-card.js";
import { Sheet } from "./sheet.js";
import { readSampling, showSliders } from "./sampling.js";

const query = new URLSearchParams(location.search);
const device = query.get("device") ?? "auto";
const firstModel = query.get("model") ?? "./models/demo/";

const sheet = new Sheet({ onGenerate: generate, onStop: () => running?.abort() });
let engine;
let loading;
let running;

/** Puts another model in the place of the one before, which is freed first: memory may hold only one. */
async function load(source) {
  running?.abort();
  loading?.abort();
  const { signal } = (loading = new AbortController());
  sheet.ready = false;
  showLoading({ loaded: 0, total: 0 });
  const previous = engine;
  engine = undefined;
  await previous?.dispose();
  try {
    const loaded = await createEngine(source, { device, signal, onProgress: showLoading });
    engine = loaded;
    showModel(loaded);
    sheet.ready = true;
  } catch (error) {
    if (error.kind === "cancelled") return; // the next one is on its way
    showNoModel();
    showError(error);
  }
}

async function generate(prompt) {
  const { signal } = (running = new AbortController());
  sheet.begin(prompt);
  showError(null);
  let reason = "stopped";
  try {
    const onPrompt = ({ loaded, total }) => sheet.read(loaded, total);
    const stream = engine.completions.create({ prompt, stream: true, signal, onPrompt, ...readSampling() });
    for await (const { choices: [choice] } of stream) {
      sheet.write(choice.text, choice.token_ids.length);
      reason = choice.finish_reason;
    }
  } catch (error) {
    reason = error.kind === "cancelled" ? "you" : "an error";
    if (error.kind !== "cancelled") showError(error);
  }
  sheet.finish({ stop: "the model", length: "its length" }[reason] ?? reason);
}

showSliders();
onModelChosen(load, showError);
load(firstModel);
