// The demo page: loads a model and its voices, and lets the reader write with them.
// Not an example to copy for its plumbing: the calls that matter are createEngine and create.

import { createEngine } from "./dist/index.js";
import { Blend } from "./blend.js";
import { onChosen } from "./chosen-files.js";
import { Compare } from "./compare.js";
import { LongText } from "./long.js";
import { showDevice } from "./meters.js";
import { showLoading, showModel, showModelStays, showModels, showNoModel } from "./model.js";
import { keepOffline } from "./offline.js";
import { Pad } from "./pad.js";
import { element } from "./parts.js";
import { Pen } from "./pen.js";
import { showSliders } from "./sampling.js";
import { MODEL, VOICES } from "./shelf.js";
import { say, showError } from "./speech.js";
import { Teach } from "./teach.js";
import { showView, showViews } from "./views.js";
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
// The engine learns one thing at a time: each tells the other when it is at it, and can end it.
const long = new LongText({
  beside: () => voices.choice,
  onKept: (name) => voices.taught(name),
  onOpen: (isOpen) => (teach.isBlocked = isOpen),
  stopLesson: () => teach.stop(),
});
const teach = new Teach({
  onTaught: (name) => voices.taught(name),
  onRunning: (isRunning) => (long.isBlocked = isRunning),
  keepLong: () => long.keep(),
  discardLong: () => long.discard(),
});

/** The weights have moved: the text follows. */
async function mix(weights) {
  pad.show(weights);
  const isOn = await voices.weigh(weights);
  if (isOn && weights === voices.weights && engine) await blend.write(element("prompt").value);
}

/** Puts another model in the place of the one before, which goes on until the other is ready. */
async function load(source, shipped = [], dtype) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  const show = (progress) => showLoading(progress, engine !== undefined);
  if (!engine) voices.expect(shipped);
  showError(null);
  show({ loaded: 0, total: 0 });
  let next;
  try {
    // The shipped model is among the files that the service worker keeps.
    const cache = source === MODEL ? false : undefined;
    next = await createEngine(source, { device, dtype, cache, signal, onProgress: show });
    signal.throwIfAborted();
  } catch (error) {
    await next?.dispose();
    if (signal.aborted) return; // the next one is on its way
    if (engine) showModelStays(engine);
    else showNoModel();
    // There may be room for one, and not for two.
    return showError(error, engine && error.kind === "memory" ? () => replace(source, dtype) : undefined);
  }
  await leave();
  voices.expect(shipped);
  use(next);
  showModel(engine);
  recovering(engine);
  await voices.load(shipped);
}

/** Lets go of the model that is here before another is loaded, as the reader has chosen. */
async function replace(source, dtype) {
  await leave();
  await load(source, [], dtype);
}

/** Ends what the model is at, keeps what it was taught, and frees it. */
async function leave() {
  const previous = engine;
  pen.stop();
  use(undefined);
  await teach.settled;
  await previous?.dispose();
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
onChosen({
  onModel: (files) => load(files),
  onAdapters: (folders) => voices.add(folders),
  onText(text, name) {
    showView("teach");
    teach.take(text, name);
  },
  fail: showError,
});
showModels((id) => load(id, [], "q8"));
keepOffline();
const asked = query.get("model");
load(asked ?? MODEL, asked ? [] : VOICES);
