// The demo page: loads a model and adapters, continues the reader's text, and learns from it.
// Not an example to copy for its plumbing: the calls that matter are createEngine and create.

import { createEngine } from "./dist/index.js";
import { Adapters } from "./adapters.js";
import { onChosen } from "./chosen-files.js";
import { offerCompared, readCompared } from "./compared.js";
import { LongText } from "./long.js";
import { showError, showLoading, showModel, showNoModel } from "./model-card.js";
import { Sheet } from "./sheet.js";
import { readSampling, showSliders } from "./sampling.js";
import { Teach } from "./teach.js";
import { showViews } from "./views.js";

const query = new URLSearchParams(location.search);
const device = query.get("device") ?? "auto";
const firstModel = query.get("model") ?? "./models/demo/";

/** Columns that a page has the width for. */
const MOST_COLUMNS = 4;

let engine;
let loading;
let running;
const sheet = new Sheet({ onGenerate: generate, onCompare: compare, onStop: () => running?.abort() });
const adapters = new Adapters({
  onChange: (names) => offerCompared(names, Math.min(MOST_COLUMNS, engine?.info.batch ?? MOST_COLUMNS)),
  fail: showError,
});
const long = new LongText({ beside: () => adapters.choice, onKept: (name) => adapters.choose(name), fail: showError });
const teach = new Teach({ onTaught: (name) => adapters.choose(name), fail: showError });

/** Puts another model in the place of the one before, which is freed first: memory may hold only one. */
async function load(source) {
  running?.abort();
  loading?.abort();
  const { signal } = (loading = new AbortController());
  sheet.ready = false;
  showLoading({ loaded: 0, total: 0 });
  const previous = engine;
  adapters.engine = long.engine = teach.engine = engine = undefined;
  await previous?.dispose();
  try {
    const loaded = await createEngine(source, { device, signal, onProgress: showLoading });
    adapters.engine = long.engine = teach.engine = engine = loaded;
    showModel(loaded);
    sheet.ready = true;
  } catch (error) {
    if (error.kind === "cancelled") return; // the next one is on its way
    showNoModel();
    showError(error);
  }
}

function generate(prompt) {
  return write(prompt, { prompt });
}

/** The same prompt for each adapter, in one batch. */
function compare(prompt) {
  const adapter_names = readCompared();
  if (adapter_names.length === 0) return;
  return write(prompt, { prompt: adapter_names.map(() => prompt), adapter_names });
}

async function write(prompt, request) {
  const { signal } = (running = new AbortController());
  sheet.begin(prompt, request.adapter_names?.map((name) => (name === "__base__" ? "Base" : name)));
  showError(null);
  let reason = "stopped";
  try {
    const onPrompt = ({ loaded, total }) => sheet.read(loaded, total);
    const stream = engine.completions.create({ ...request, stream: true, signal, onPrompt, ...readSampling() });
    for await (const { choices: [choice] } of stream) {
      sheet.write(choice.text, choice.token_ids.length, choice.index);
      reason = choice.finish_reason ?? reason;
    }
  } catch (error) {
    reason = error.kind === "cancelled" ? "you" : "an error";
    if (error.kind !== "cancelled") showError(error);
  }
  sheet.finish({ stop: "the model", length: "its length" }[reason] ?? reason);
}

showSliders();
showViews();
onChosen({ onModel: load, onAdapters: (folders) => adapters.add(folders), fail: showError });
load(firstModel);
