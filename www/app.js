// The demo page: loads a model and its voices, and lets the reader write with them.
// Not an example to copy for its plumbing: the calls that matter are createEngine and create.

import { createEngine } from "./dist/index.js";
import { Blend } from "./blend.js";
import { onChosen } from "./chosen-files.js";
import { Compare } from "./compare.js";
import { LongText } from "./long.js";
import { showDevice } from "./meters.js";
import { showLoading, showModel, showNoModel } from "./model.js";
import { keepOffline } from "./offline.js";
import { Pad } from "./pad.js";
import { element } from "./parts.js";
import { Pen } from "./pen.js";
import { showSliders } from "./sampling.js";
import { MODEL, VOICES } from "./shelf.js";
import { say, showError } from "./speech.js";
import { Teach } from "./teach.js";
import { showViews } from "./views.js";
import { Voices } from "./voices.js";
import { Write } from "./write.js";

const query = new URLSearchParams(location.search);
const device = query.get("device") ?? "auto";
const GO = { write: "Continue it", blend: "Blend", compare: "Compare" };
const KINDS = { blend: "weights", compare: "several" };

let engine;
let loading;
let view;
const pad = new Pad(mix);
const voices = new Voices({
  onSwitch: () => view === "write" && write.switched(),
  onList: (list) => {
    pad.voices = list;
    pad.show(voices.weights);
  },
  onWeights: mix,
});
const pen = new Pen((prompt) => ({ write, blend, compare })[view].write(prompt));
const [write, blend, compare] = [new Write(pen, voices), new Blend(pen), new Compare(pen, voices)];
const long = new LongText({ beside: () => voices.choice, onKept: (name) => voices.taught(name) });
const teach = new Teach({ onTaught: (name) => voices.taught(name) });

/** The weights have moved: the text follows. */
async function mix(weights) {
  pad.show(weights);
  const isOn = await voices.weigh(weights);
  if (isOn && weights === voices.weights && engine) await blend.write(element("prompt").value);
}

/** Puts another model in the place of the one before, which is freed first: memory may hold only one. */
async function load(source, shipped = []) {
  pen.stop();
  loading?.abort();
  const { signal } = (loading = new AbortController());
  const previous = engine;
  use(undefined);
  voices.expect(shipped);
  showLoading({ loaded: 0, total: 0 });
  await previous?.dispose();
  try {
    // The shipped model is among the files that the service worker keeps.
    const cache = source === MODEL ? false : undefined;
    use(await createEngine(source, { device, cache, signal, onProgress: showLoading }));
  } catch (error) {
    if (error.kind === "cancelled") return; // the next one is on its way
    showNoModel();
    return showError(error);
  }
  showModel(engine);
  recovering(engine);
  await voices.load(shipped);
}

/** Opens the GPU again whenever it is lost, as by a crash of its driver: texts under way go on. */
async function recovering(engine) {
  try {
    for (;;) {
      await engine.lost();
      say("The GPU was lost. Opening it again…");
      await engine.recover();
      say("The GPU is back.");
    }
  } catch (error) {
    showError(error);
  }
}

function use(loaded) {
  engine = loaded;
  for (const part of [voices, write, blend, compare, long, teach]) part.engine = loaded;
  pen.ready = loaded !== undefined;
  showDevice(loaded?.info);
}

showSliders();
showViews((name) => {
  view = name;
  if (name in GO) element("generate").textContent = GO[name];
  voices.choosing(KINDS[name] ?? "one");
});
onChosen({ onModel: load, onAdapters: (folders) => voices.add(folders), fail: showError });
keepOffline();
const asked = query.get("model");
load(asked ?? MODEL, asked ? [] : VOICES);
