// The view of the machine: what browser and engine tell of it, what its GPU does when it is measured, and all of that as a report to copy.
// Not the measuring: that is the package's `benchGpu`.

import { benchGpu } from "./dist/index.js";
import { saveFile } from "./files-out.js";
import { bytes, element, make } from "./parts.js";
import { say, showError, tell } from "./speech.js";
import { t } from "./words.js";

/** Of a GPU's features those that the kernels use, and of its limits those that they come near. */
const FEATURES = ["shader-f16", "subgroups", "timestamp-query"];
const LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupStorageSize", "maxComputeInvocationsPerWorkgroup"];
const STATUS = "measure-status";

export class Device {
  #engine;
  #isBusy;
  #running;
  /** Of the last measuring. */
  #measured;

  /** `isBusy()` tells whether the engine is at something, whose time would be measured too. */
  constructor(isBusy) {
    this.#isBusy = isBusy;
    element("measure").addEventListener("click", () => this.#measure());
    element("measure-stop").addEventListener("click", () => this.#running?.abort());
    element("copy").addEventListener("click", () => this.#copy());
    this.#update();
  }

  /** The engine that is at work; undefined while there is none. */
  set engine(engine) {
    this.#engine = engine;
    this.show();
  }

  /** Shows what is known by now. */
  async show() {
    const { gpu, processor, model, storage } = await known(this.#engine);
    element("known").replaceChildren(
      facts("device.gpu", gpu ? [
        ["device.name", gpu.name || t("gpu")],
        ["device.features", FEATURES.filter((each) => gpu.features.includes(each)).join(", ") || "–"],
        ["device.binding", bytes(gpu.limits.maxStorageBufferBindingSize)],
        ["device.workgroup", t("device.workgroup.most", { n: gpu.limits.maxComputeInvocationsPerWorkgroup, size: bytes(gpu.limits.maxComputeWorkgroupStorageSize) })],
      ] : [["device.name", t("device.no-gpu")]]),
      facts("device.processor", [
        ["device.threads", processor.threads],
        ["device.isolated", t(processor.isIsolated ? "device.isolated.yes" : "device.isolated.no")],
        ...(processor.memory ? [["meter.memory", t("device.memory.least", { size: `${processor.memory} GB` })]] : []),
      ]),
      facts("fact.model", model ? [
        ["device.name", model.model],
        ["fact.device", model.device === "webgpu" ? "WebGPU" : t("device.cpu", { n: model.threads })],
        ["device.weights", `${model.dtype} · ${model.kvDtype}`],
        ["device.memory.now", bytes(model.memoryBytes)],
      ] : [["device.name", "–"]]),
      facts("device.storage", storage ? [
        ["device.used", bytes(storage.usage)],
        ["device.free", bytes(storage.quota - storage.usage)],
      ] : [["device.used", t("device.untold")]]),
    );
  }

  async #measure() {
    if (this.#isBusy()) return tell(STATUS, t("device.busy"));
    const { signal } = (this.#running = new AbortController());
    showError(null);
    this.#update();
    say(t("device.measuring"));
    const onProgress = (next, share) => {
      element("measured").value = share;
      element(STATUS).textContent = next;
    };
    try {
      const [layers, vocab, runs] = ["layers", "vocab", "runs"].map((id) => element(id).valueAsNumber);
      this.#measured = await benchGpu({ layers, vocab, runs, signal, onProgress });
      showMeasures(this.#measured);
      tell(STATUS, t("device.measured"));
    } catch (error) {
      tell(STATUS, t(signal.aborted ? "device.stopped" : "device.failed"));
      if (!signal.aborted) showError(error);
    }
    this.#running = undefined;
    this.#update();
  }

  async #copy() {
    const report = JSON.stringify({ ...(await known(this.#engine)), measured: this.#measured }, null, 2);
    try {
      await navigator.clipboard.writeText(report);
      say(t("device.copied"));
    } catch {
      saveFile(new File([report], "lorakeet-device.json", { type: "application/json" }));
      say(t("device.saved")); // not every browser lets a page copy
    }
  }

  #update() {
    const running = this.#running !== undefined;
    element("measure").disabled = running;
    if (!running && document.activeElement === element("measure-stop")) element("measure").focus(); // it goes with its work
    element("measure-stop").disabled = !running;
    element("measured").hidden = !running;
  }
}

/** All that is known of the machine without measuring; what the browser does not tell is left out. */
async function known(engine) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { vendor, architecture, description } = adapter?.info ?? {};
  const { usage, quota } = (await navigator.storage?.estimate().catch(() => undefined)) ?? {};
  return {
    browser: navigator.userAgent,
    gpu: adapter && {
      name: description || [vendor, architecture].filter(Boolean).join(" "),
      features: [...adapter.features].sort(),
      limits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
    },
    processor: { threads: navigator.hardwareConcurrency, isIsolated: crossOriginIsolated, memory: navigator.deviceMemory },
    model: engine && { ...engine.info, memoryBytes: await engine.memoryBytes().catch(() => engine.info.memoryBytes), fallbackReason: engine.fallbackReason },
    storage: quota === undefined ? undefined : { usage, quota },
  };
}

/** A heading and what is told below it, [key of its name, words]. */
function facts(title, rows) {
  const list = rows.map(([key, words]) => make("div", {}, make("dt", { textContent: t(key) }), make("dd", { textContent: words })));
  return make("section", {}, make("h3", { textContent: t(title) }), make("dl", { className: "facts" }, ...list));
}

function showMeasures({ layers, vocab, dtype, known_answer, measures }) {
  element("measured-what").textContent = t("device.report", { layers, vocab, dtype, answer: known_answer });
  element("measures").replaceChildren(...measures.map(({ name, value, unit }) => {
    const row = make("tr");
    const digits = { maximumFractionDigits: value < 10 ? 3 : 1 };
    for (const text of [name, value.toLocaleString(document.documentElement.lang, digits), unit]) row.insertCell().textContent = text;
    return row;
  }));
  element("measures-box").hidden = false;
}
