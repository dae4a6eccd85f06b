// Writes in a terminal: `node main.js [MODEL [PROMPT]]`. On the GPU where the `webgpu` package finds one.

import { createEngine } from "lorakeet";

try {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  globalThis.navigator ??= {}; // before Node 21
  Object.defineProperty(navigator, "gpu", { value: create([]) });
} catch {
  // It is optional, and not made for every system.
}

const [model = "HuggingFaceTB/SmolLM2-135M", prompt = "Once upon a time"] = process.argv.slice(2);
const engine = await createEngine(model, { device: "auto" });
console.error(`on ${engine.device}`);
const request = { prompt, max_tokens: 64, temperature: 0, stream: true };
for await (const { choices } of engine.completions.create(request)) process.stdout.write(choices[0].text);
await engine.dispose();
console.log();
