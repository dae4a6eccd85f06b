// What a text is to be like: OpenAI's `response_format`, a grammar or a regular expression, checked.
// Not what they let through: a WebAssembly module of its own knows that.

import { LorakeetError } from "../error.js";
import { checkBoolean, checkNames, checkString, wrong } from "../options.js";
import type { Format } from "../thread/grammar.js";

/** OpenAI's format of an answer. */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: {
        /** What the schema is called. It is not used here. */
        name: string;
        /** It is not used here: tell the model in a message. */
        description?: string;
        /** A JSON schema. Keywords that are not supported are errors. Default: any JSON. */
        schema?: Readonly<Record<string, unknown>>;
        /** A schema is always kept to, so both values mean the same. */
        strict?: boolean | null;
      };
    };

/** What a text is to be like; a request has one of these at most. */
export interface FormatOptions {
  /**
   * `json_object` and `json_schema` make the text JSON, in one line. The model is told nothing of it: say in the prompt
   * what you want. The first such request in a page fetches a WebAssembly module.
   */
  response_format?: ResponseFormat;
  /** A grammar of the whole text, in Lark as llguidance takes it, such as `start: "yes" | "no"`. The name is vLLM's. */
  grammar?: string;
  /** A regular expression that the whole text matches, such as `\d{4}-\d{2}`. */
  regex?: string;
}

/** The names of {@link FormatOptions}. */
export const FORMATS = ["response_format", "grammar", "regex"] as const;

/** What of them is asked for. Errors with `argument`. */
export function checkFormat(given: FormatOptions): Format | undefined {
  const { grammar, regex, response_format: format } = given;
  checkString("grammar", grammar);
  checkString("regex", regex);
  const schema = format === undefined ? undefined : schemaOf(format);
  const asked: Format[] = [];
  if (schema) asked.push(jsonFormat("response_format", schema));
  if (grammar !== undefined) asked.push({ option: "grammar", kind: "lark", text: grammar });
  if (regex !== undefined) asked.push({ option: "regex", kind: "regex", text: regex });
  const [first, second] = asked;
  if (second) throw new LorakeetError("argument", `\`${first!.option}\` and \`${second.option}\` are both given, expected one of them`);
  return first;
}

/** A text that is JSON of this schema; errors name the option. */
export function jsonFormat(option: string, schema: object): Format {
  return { option, kind: "json_schema", text: JSON.stringify(schema) };
}

/** The schema of a format; undefined for plain text. */
function schemaOf(format: ResponseFormat): object | undefined {
  if (typeof format !== "object" || format === null) throw wrong("response_format", format, "an object");
  const { type } = format;
  if (type === "text" || type === "json_object") {
    checkNames(format, ["type"]);
    return type === "text" ? undefined : { type: "object" };
  }
  if (type !== "json_schema") throw wrong("response_format.type", type, "`text`, `json_object` or `json_schema`");
  checkNames(format, ["type", "json_schema"]);
  const { json_schema: inner } = format;
  if (typeof inner !== "object" || inner === null) throw wrong("response_format.json_schema", inner, "{name, schema}");
  checkNames(inner, ["name", "description", "schema", "strict"]);
  const { name, schema = {}, strict } = inner;
  if (typeof name !== "string") throw wrong("response_format.json_schema.name", name, "a string");
  checkBoolean("response_format.json_schema.strict", strict ?? undefined);
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw wrong("response_format.json_schema.schema", schema, "an object");
  return schema;
}
