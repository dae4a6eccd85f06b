// Measures the GPU and shows the report. What is measured is the package's `benchGpu`.

import { benchGpu } from "../dist/index.js";

const at = (id) => document.getElementById(id);
let report, stopping;

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  void measure();
});
at("stop").addEventListener("click", () => stopping?.abort());
at("copy").addEventListener("click", async () => {
  const text = JSON.stringify(report, null, 2);
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    tell("This browser does not let pages copy; here it is as a file.");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "lorakeet-gpu.json";
    link.click();
    URL.revokeObjectURL(link.href);
  }
});

async function measure() {
  stopping = new AbortController();
  busy(true);
  try {
    const [layers, vocab, runs] = ["layers", "vocab", "runs"].map((id) => at(id).valueAsNumber);
    report = await benchGpu({ layers, vocab, runs, signal: stopping.signal, onProgress: (next, share) => {
      tell(share < 1 ? `Measuring: ${next}.` : "Measured.");
      at("progress").value = share;
    } });
    show(report);
  } catch (error) {
    tell(error.kind === "cancelled" ? "Stopped." : error.message);
  } finally {
    busy(false);
  }
}

function show({ adapter, version, layers, vocab, dtype, known_answer, measures }) {
  at("device").textContent = adapter || "A GPU that does not tell its name";
  at("answer").textContent = `Lorakeet ${version}; ${layers} layers, vocabulary ${vocab}, ${dtype}; its numbers are ${known_answer}.`;
  at("measures").replaceChildren(...measures.map(({ name, value, unit }) => {
    const row = document.createElement("tr");
    const digits = { maximumFractionDigits: value < 10 ? 3 : 1 };
    for (const text of [name, value.toLocaleString("en", digits), unit]) row.insertCell().textContent = text;
    return row;
  }));
  at("report").hidden = false;
  at("copy").hidden = false;
}

function busy(is) {
  for (const id of ["start", "layers", "vocab", "runs"]) at(id).disabled = is;
  at("stop").hidden = !is;
  at("progress").hidden = !is;
  if (is) at("copy").hidden = at("report").hidden = true;
}

function tell(text) {
  at("status").textContent = text;
}
