// A thousand texts held to JSON schemas, at temperature 1.5: that each parses and is of its schema, and what a token costs.
// The schemas and the judge are the tests'; so is the way: the built package in Node, on the CPU.
//
//   node tools/bench-formats.mjs [--texts N] [--model FILE.gguf]

import { parseArgs } from "node:util";
import { SCHEMAS, fault, open, request } from "../tests/unit/schemas.mjs";

const { values } = parseArgs({ options: { texts: { type: "string", default: "1000" }, model: { type: "string" } } });
const count = Number(values.texts);
/** Of so many texts of each schema the time is taken. */
const COMPARED = 4;
const names = Object.keys(SCHEMAS);
const engine = await open(values.model, { batch: 1 });

/** Milliseconds and tokens of a request's text. */
async function timed(asked) {
  const begin = performance.now();
  const { choices, usage } = await engine.completions.create(asked);
  return { choice: choices[0], ms: performance.now() - begin, tokens: usage.completion_tokens };
}

const faults = [];
/** What is compared: sums of milliseconds and tokens. */
const sums = { held: [0, 0], host: [0, 0], device: [0, 0] };
const add = (name, { ms, tokens }) => {
  sums[name][0] += ms;
  sums[name][1] += tokens;
};
for (let i = 0; i < count; i++) {
  const name = names[i % names.length];
  const asked = request(SCHEMAS[name], i);
  if (i < names.length) await timed({ ...asked, max_tokens: 1 }); // what is compiled at first use is no token's cost
  const held = await timed(asked);
  const wrong = fault(SCHEMAS[name], held.choice);
  if (wrong) faults.push(`${name}, seed ${i}: ${wrong}`);
  if (i >= COMPARED * names.length) continue;
  add("held", held);
  // The same number of tokens without a format, in turns: drawn by the host as those are, and where the model runs.
  const plain = { ...asked, response_format: undefined, max_tokens: Math.max(held.tokens, 1) };
  add("host", await timed({ ...plain, presence_penalty: 1e-6 }));
  add("device", await timed(plain));
}

const each = ([ms, tokens]) => ms / tokens;
const shown = (name) => `${each(sums[name]).toFixed(3)} ms a token (${sums[name][1]} tokens)`;
console.log(`${count - faults.length} of ${count} texts of ${names.length} schemas parse and are of their schema`);
console.log(`held to a schema: ${shown("held")}\nnot held, drawn on the host: ${shown("host")}\nnot held: ${shown("device")}`);
console.log(`the format costs ${(each(sums.held) - each(sums.host)).toFixed(3)} ms a token, compiling it included`);
for (const line of faults) console.error(line);
await engine.dispose();
process.exitCode = faults.length > 0 ? 1 : 0;
