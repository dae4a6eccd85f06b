// A page that writes: `?model=` is a hub id or the URL of a model's folder.

import { createEngine } from "lorakeet";
import wasm from "lorakeet/lorakeet.wasm"; // a path, by esbuild's loader "file"
import chatWasm from "lorakeet/lorakeet_chat.wasm";
import grammarWasm from "lorakeet/lorakeet_grammar.wasm";

const model = new URLSearchParams(location.search).get("model") ?? "HuggingFaceTB/SmolLM2-135M";
const [form, output] = [document.querySelector("form"), document.querySelector("output")];
const engine = await createEngine(model, {
  worker: new Worker(new URL("./engine-worker.js", import.meta.url), { type: "module" }),
  wasmUrl: new URL(wasm, import.meta.url).href,
  chatWasmUrl: new URL(chatWasm, import.meta.url).href,
  grammarWasmUrl: new URL(grammarWasm, import.meta.url).href,
  onProgress: ({ loaded, total }) => (output.textContent = `${loaded} of ${total} bytes`),
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  output.textContent = "";
  const request = { prompt: form.elements.prompt.value, max_tokens: 64, temperature: 0, stream: true };
  for await (const { choices } of engine.completions.create(request)) output.append(choices[0].text);
});
form.querySelector("button").disabled = false;
