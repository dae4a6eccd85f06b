// Writes in a terminal, on the CPU: `node main.js [MODEL [PROMPT]]`.

import { createEngine } from "lorakeet";

const [model = "HuggingFaceTB/SmolLM2-135M", prompt = "Once upon a time"] = process.argv.slice(2);
const engine = await createEngine(model, { device: "cpu" });
const request = { prompt, max_tokens: 64, temperature: 0, stream: true };
for await (const { choices } of engine.completions.create(request)) process.stdout.write(choices[0].text);
await engine.dispose();
console.log();
