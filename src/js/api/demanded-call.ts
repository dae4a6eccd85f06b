// An answer that has to be a call: a grammar of the call as the model writes it, its arguments by their schema.
// Not how calls are found in a text: that is tool-calls.ts's.

import { LorakeetError } from "../error.js";
import type { Format } from "./grammars.js";
import type { Mark } from "./tool-calls.js";
import type { ChatTool } from "./tools.js";

type Schema = Readonly<Record<string, unknown>>;

/** One line, with a space after `:` and `,` or none, as the module of grammars writes schemas of their own. */
const SPACING = { whitespace_flexible: false, item_separator: ", ?", key_separator: ": ?" };

/** What of a schema others of its parts refer to by a path from the root. */
const SHARED = ["$defs", "definitions"] as const;

/** One call of one of `tools`. Errors with `unsupported` where the template teaches no calls, `argument` for schemas that cannot be in one. */
export function demandedCall(tools: readonly ChatTool[], marks: readonly Mark[], template: string): Format {
  const bare = marks.find(({ open }) => open === "");
  const mark = bare ?? marks[0];
  if (!mark || mark.quote !== undefined) {
    throw new LorakeetError("unsupported", 'tool_choice: how this model writes calls is not known, expected "auto" or "none"');
  }
  const text = (token: (text: string) => string): string => {
    const close = mark.close === undefined ? "" : token(mark.close);
    if (bare) return grammar("call", objects(tools, "parameters"));
    if (mark.named && template.includes("[ARGS]")) {
      const each = tools.map(({ function: { name } }, i) => `${token(mark.open)} ${JSON.stringify(name)} ${token("[ARGS]")} call${i}`);
      return [`start: ${each.join(" | ")}`, ...tools.map((tool, i) => `call${i}: %json ${spaced(argumentsOf(tool))}`)].join("\n");
    }
    const around = mark.isEach ? ['"\\n"', '"\\n"'] : ['"["', '"]"'];
    return grammar([token(mark.open), around[0], "call", around[1], close].join(" "), objects(tools, "arguments"));
  };
  return { option: "tool_choice", kind: "lark", text };
}

function grammar(start: string, call: Schema): string {
  return `start: ${start}\ncall: %json ${spaced(call)}`;
}

function spaced(schema: Schema): string {
  return JSON.stringify({ "x-guidance": SPACING, ...schema });
}

/** A call as an object with the function's name and, as `key`, its arguments. */
function objects(tools: readonly ChatTool[], key: string): Schema {
  const shared: Record<string, Record<string, unknown>> = {};
  const anyOf = tools.map((tool) => {
    const own = { ...argumentsOf(tool) };
    for (const place of SHARED) {
      for (const [name, schema] of Object.entries((own[place] ?? {}) as Schema)) {
        const there = (shared[place] ??= {});
        if (name in there && JSON.stringify(there[name]) !== JSON.stringify(schema)) {
          throw new LorakeetError("argument", `tools: \`${place}/${name}\` is not the same in all schemas, expected one meaning`);
        }
        there[name] = schema;
      }
      delete own[place];
    }
    return { type: "object", properties: { name: { const: tool.function.name }, [key]: own }, required: ["name", key], additionalProperties: false };
  });
  return { ...shared, anyOf };
}

/** The schema of a function's arguments: those that it names, unless it says that there may be others. */
function argumentsOf({ function: { parameters = { type: "object", properties: {} } } }: ChatTool): Record<string, unknown> {
  return { additionalProperties: false, ...parameters };
}
