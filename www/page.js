// The demo page once it is seen: loads a model and its voices, and lets the reader write and talk with them.
// Not an example to copy for its plumbing: the calls that matter are createEngine and create.

import { createEngine } from "./dist/index.js";
import { Blend } from "./blend.js";
import { Chat } from "./chat.js";
import { onChosen } from "./chosen-files.js";
import { Compare } from "./compare.js";
import { Device } from "./device.js";
import { LongText } from "./long.js";
import { showDevice } from "./meters.js";
import { Mix } from "./mix.js";
import { showLoading, showModel, showModelStays, showNoModel } from "./model.js";
import { watchModule } from "./module-progress.js";
import { keepOffline } from "./offline.js";
import { playOverture } from "./overture.js";
import { Pad } from "./pad.js";
import { element } from "./parts.js";
import { Pen } from "./pen.js";
import { offerPicture } from "./picture.js";
import { offerSamples } from "./samples.js";
import { showSliders, suit } from "./sampling.js";
import { offerLink, readLink } from "./share.js";
import { CHAT_MODEL, CHAT_VOICES, HUB, MODEL, MODEL_BYTES, MODEL_TITLE, VOICES } from "./shelf.js";
import { HUB_MODELS, Shelf } from "./shelf-view.js";
import { isHubId, isKept } from "./sources.js";
import { attempt, say, showError } from "./speech.js";
import { Teach } from "./teach.js";
import { hearViews, setFirstView, showView } from "./views.js";
import { Voices } from "./voices.js";
import { t } from "./words.js";
import { Write } from "./write.js";

const query = new URLSearchParams(location.search);
const device = query.get("device") ?? "auto";
const KINDS = { blend: "weights", compare: "several", mix: "weights" };
const GO = { blend: "blend.go", compare: "compare.go", mix: "mix.go" };

let engine;
let loading;
let view;
const pad = new Pad(weigh);
const voices = new Voices({
  onSwitch: () => view === "write" && write.switched(),
  onList(list) {
    pad.voices = list;
    pad.show(voices.weights);
    chat.showVoices();
  },
  onWeights: weigh,
});
const pen = new Pen((prompt) => ({ write, blend, compare, mix })[view].write(prompt));
const [write, blend, compare, mix] = [new Write(pen, voices), new Blend(pen), new Compare(pen, voices), new Mix(pen, voices)];
const chat = new Chat(pen, voices, { offer: HUB_MODELS.find(({ id }) => id === CHAT_MODEL), onFetch: () => change(CHAT_MODEL) });
const shelf = new Shelf({ shipped: { id: MODEL, title: MODEL_TITLE, bytes: MODEL_BYTES }, onModel: change, onVoice: (source) => voices.fetch(source, hub()) });
// The engine learns one thing at a time: each tells the other when it is at it, and can end it.
const long = new LongText({
  beside: () => voices.choice,
  onKept: (name) => voices.taught(name),
  onOpen: (isOpen) => (teach.isBlocked = isOpen),
  stopLesson: () => teach.stop(),
});
const teach = new Teach({
  onTaught: (name) => voices.taught(name),
  voiceOf: (name) => voices.named(name),
  onRunning: (isRunning) => (long.isBlocked = isRunning),
  keepLong: () => long.keep(),
  discardLong: () => long.discard(),
});

const machine = new Device(() => pen.writing || teach.isRunning || long.isOpen);

/** The weights have moved: the text of a blend follows. */
async function weigh(weights) {
  pad.show(weights);
  const isOn = await voices.weigh(weights);
  if (isOn && view === "blend" && weights === voices.weights && engine) await blend.write(element("prompt").value);
}

/** Loads the model that the reader wants; one with an address is in the page's own from now on, so that a refresh keeps it. */
async function change(source) {
  if (!(await load(source))) return;
  const url = new URL(location.href);
  url.searchParams.delete("model");
  if (typeof source === "string" && source !== MODEL) url.searchParams.set("model", source);
  history.replaceState(null, "", url);
  showView((await answers(source)) ? "chat" : view === "chat" ? "write" : view);
}

/** Puts another model in the place of the one before, which goes on until the other is ready. Whether it is here. */
async function load(source) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  const shipped = source === MODEL ? VOICES : source === CHAT_MODEL ? CHAT_VOICES : [];
  const show = (progress) => showLoading(progress, engine !== undefined);
  if (!engine) voices.expect(shipped);
  showError(null);
  show({ loaded: 0, total: 0 });
  let next, begun;
  if (!engine) watchModule((progress) => begun || showLoading(progress, false, true));
  const onProgress = (progress) => {
    begun = true;
    show(progress);
  };
  try {
    next = await createEngine(source, { device, signal, onProgress, ...optionsFor(source) });
    signal.throwIfAborted();
  } catch (error) {
    begun = true;
    await next?.dispose();
    if (signal.aborted) return false; // the next one is on its way
    if (engine) showModelStays(engine);
    else {
      showNoModel();
      keepOffline();
    }
    // There may be room for one, and not for two.
    showError(error, engine && error.kind === "memory" ? { words: t("replace"), act: () => replace(source) } : undefined);
    return false;
  }
  await leave();
  document.body.dataset.shipped = String(shipped.length > 0); // there is room for its voices
  voices.expect(shipped);
  use(next, source);
  showModel(engine);
  recovering(engine);
  answers(source).then((isChat) => {
    if (next !== engine) return;
    suit(isChat ? "chat" : "text");
    if (isChat) say(t("ready.chat"));
    setFirstView(isChat ? "chat" : "write");
  });
  voices.load(shipped).then(() => next === engine && onVoices(next));
  return true;
}

/** Whether the model answers. Of the one that came with the page that is known, and it costs a visitor no module to look. */
async function answers(source) {
  return source !== MODEL && chat.look();
}

/** How a source is held. A hub id may be that of safetensors, which are held as q8; a GGUF file stays as it is. */
function optionsFor(source) {
  if (source === MODEL) return { cache: false }; // among the files that the service worker keeps
  if (!isHubId(source)) return {};
  return { ...hub(), kvDtype: "f16", ...(/[:]|\.gguf(@|$)/.test(source) ? {} : { dtype: "q8" }) };
}

/** How the hub is read: with a token, if the reader has given one. */
function hub() {
  return shelf.token === "" ? HUB : { ...HUB, token: shelf.token };
}

/** Lets go of the model that is here before another is loaded, as the reader has chosen. */
async function replace(source) {
  await leave();
  await change(source);
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
      say(t("gpu.lost"));
      await engine.recover();
      say(t("gpu.back"));
    }
  } catch (error) {
    showError(error);
  }
}

function use(loaded, source) {
  engine = loaded;
  for (const part of [voices, write, blend, compare, mix, chat, long, teach, machine]) part.engine = loaded;
  pen.ready = loaded !== undefined;
  if (view === "chat") chat.look();
  shelf.use(loaded, source);
  showDevice(loaded?.info);
}

let link = readLink();

/** All voices of a model are here: what the link asked for, and what was being learned when the page went, goes on. */
async function onVoices() {
  keepOffline(); // from now on the line is free for it
  teach.resume();
  const { prompt, voices: weights } = link;
  link = {};
  if (weights !== undefined) {
    const names = Object.keys(weights);
    const missing = names.find((name) => voices.named(name).name !== name);
    if (missing !== undefined) return showError(new Error(t("share.missing", { name: missing })));
    if (KINDS[view] === "weights") return weigh(weights);
    await voices.choose(names[0] ?? "");
  }
  if (prompt !== undefined && view === "write") await write.write(prompt);
}

showSliders();
offerSamples("prompt");
offerPicture();
offerLink(() => ({
  view,
  prompt: ["write", "blend", "compare", "mix"].includes(view) ? element("prompt").value : "",
  voices: KINDS[view] === "weights" ? voices.weights : view === "write" && voices.speaking.name !== "" ? { [voices.speaking.name]: 1 } : {},
}));
hearViews((name) => {
  view = name;
  element("generate").textContent = t(GO[name] ?? "write.go");
  voices.choosing(KINDS[name] ?? "one");
  if (name === "chat") chat.look();
  if (name === "models") shelf.show();
  if (name === "device") machine.show();
});
element("blend-keep").addEventListener("click", () => {
  showView("mix");
  scrollTo(0, 0); // the button stands at the end of a long view
});
onChosen({
  onModel: (files) => change(files),
  onAdapters: (folders) => voices.add(folders),
  onText(text, name) {
    showView("teach");
    teach.take(text, name);
  },
  fail: showError,
});
addEventListener("beforeunload", (event) => (teach.isRunning || long.isOpen) && event.preventDefault());

if (link.prompt !== undefined) element("prompt").value = link.prompt;
const asked = query.get("model");
attempt(async () => {
  // Nobody's link makes this browser download what it has not got.
  const isAway = isHubId(asked) && !(await isKept(asked));
  const isHere = await load(isAway ? MODEL : (asked ?? MODEL));
  if (isAway) showError(new Error(t("link.model", { model: asked })), { words: t("link.fetch"), act: () => change(asked) });
  if (!isHere || asked !== null || VOICES.length === 0 || view !== "write" || link.prompt !== undefined) return;
  playOverture((prompt) => write.write(prompt), voices);
});
