// JSON schemas of the keywords that people use, and the judge of texts made to them.
// Each bounds its texts, so that a text that ends for want of room is a fault.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import { createEngine } from "../../dist/index.js";
import { root } from "../../tools/setup.mjs";

const object = (properties, rest = {}) => ({ type: "object", properties, required: Object.keys(properties), additionalProperties: false, ...rest });
const word = { type: "string", maxLength: 12 };
const digit = { type: "integer", minimum: 0, maximum: 9 };

/** By what each tries. */
export const SCHEMAS = {
  types: object({ text: word, whole: { type: "integer", minimum: -50, maximum: 2000 }, truth: { type: "boolean" }, nothing: { type: "null" } }),
  "list of types": object({ one: { type: ["string", "null", "boolean"], maxLength: 5 }, two: { type: ["integer", "null"], minimum: 3, maximum: 30 } }),
  enum: { enum: [1, "a", null, true, "b\"c\\d\n", "é😀", -2.5, [1, 2], { a: [] }] },
  const: object({ kind: { const: "point" }, at: { const: { x: 1, y: [2, 3] } } }),
  required: object({ a: digit, b: digit, c: digit, d: digit, e: digit }, { required: ["b", "d"] }),
  "no property needed": object({ a: digit, b: word, c: { type: "boolean" } }, { required: [] }),
  "required, not declared": { type: "object", required: ["ab"], patternProperties: { "^[a-c]{1,3}$": digit }, additionalProperties: false, maxProperties: 3 },
  "names with escapes": object({ 'a"b': digit, "c\\d": digit, "é/ü": digit, "": digit, "two words": digit }),
  additionalProperties: { type: "object", patternProperties: { "^[a-z]{1,4}$": digit }, additionalProperties: false, maxProperties: 4 },
  items: { type: "array", items: digit, minItems: 2, maxItems: 6 },
  "arrays in arrays": { type: "array", items: { type: "array", items: digit, minItems: 3, maxItems: 3 }, minItems: 2, maxItems: 2 },
  prefixItems: { type: "array", prefixItems: [word, digit, { type: "boolean" }], items: false, minItems: 2 },
  "an empty array": { type: "array", items: digit, maxItems: 0 },
  nested: object({ a: object({ b: object({ c: object({ d: { type: "array", items: object({ e: digit }), maxItems: 2 } }) }) }) }),
  $ref: { ...object({ from: { $ref: "#/$defs/place" }, to: { $ref: "#/$defs/place" } }), $defs: { place: object({ x: digit, y: digit, name: { $ref: "#/$defs/word" } }), word } },
  "$ref to itself": { $ref: "#/$defs/node", $defs: { node: object({ value: digit, next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/node" }] } }) } },
  anyOf: { anyOf: [word, digit, { type: "array", items: word, maxItems: 2 }, { type: "null" }] },
  "anyOf of objects": { anyOf: [object({ kind: { const: "circle" }, radius: digit }), object({ kind: { const: "box" }, sides: { type: "array", items: digit, minItems: 2, maxItems: 2 } })] },
  oneOf: { oneOf: [object({ kind: { const: "a" }, n: digit }), object({ kind: { const: "b" }, s: word }), { type: "boolean" }] },
  allOf: { allOf: [object({ a: digit, b: word }), { properties: { a: { minimum: 4 }, b: { minLength: 2 } } }] },
  "minimum and maximum": object({ a: { type: "integer", minimum: -17, maximum: 123 }, b: { type: "integer", exclusiveMinimum: 9, exclusiveMaximum: 12 }, c: { type: "number", minimum: -0.5, maximum: 2.25, multipleOf: 0.25 } }),
  multipleOf: object({ a: { type: "integer", minimum: 0, maximum: 100, multipleOf: 5 }, b: { type: "number", minimum: 0, maximum: 20, multipleOf: 0.01 } }),
  pattern: object({ name: { type: "string", pattern: "^[A-Z][a-z]{2,8}( [A-Z][a-z]{2,8})?$" }, day: { type: "string", pattern: "^\\d{4}-(0[1-9]|1[0-2])-[0-3]\\d$" } }),
  "minLength and maxLength": object({ a: { type: "string", minLength: 5, maxLength: 9 }, b: { type: "string", minLength: 1, maxLength: 1 }, c: { type: "string", maxLength: 0 } }),
  format: object({ day: { type: "string", format: "date" }, id: { type: "string", format: "uuid" } }),
};

const ajv = new Ajv({
  allErrors: true,
  strict: false,
  multipleOfPrecision: 9,
  formats: { date: /^\d{4}-\d{2}-\d{2}$/, uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i },
});

/** What is wrong with a choice of a request for a schema; undefined if nothing is. */
export function fault(schema, { text, finish_reason: finish }) {
  if (finish !== "stop") return `ended by ${finish}: ${text}`;
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `${error.message}: ${text}`;
  }
  return ajv.validate(schema, value) ? undefined : `${ajv.errorsText()}: ${text}`;
}

/** A request for one text, at a temperature at which the model would write nonsense. */
export const request = (schema, seed) => ({
  prompt: "The answer is", seed, temperature: 1.5, max_tokens: 700,
  response_format: { type: "json_schema", json_schema: { name: "answer", schema } },
});

/** The model that ships, or another, on the CPU. */
export async function open(weights = join(root, "www/models/novels/novels-q8_0.gguf"), options = {}) {
  return createEngine([new File([readFileSync(weights)], "model.gguf")], { device: "cpu", contextLength: 1024, ...options });
}
