// Tools of a chat as OpenAI has them: their types, and the check of what a caller passed.
// Not how a model writes a call: that is tool-calls.ts's.

import { LorakeetError } from "../error.js";
import { checkBoolean, checkNames, checkString, wrong } from "../options.js";

/** A function that the model may call. */
export interface ChatTool {
  type: "function";
  function: {
    /** Letters, digits, `_` and `-`, at most 64. */
    name: string;
    /** What it does, for the model. */
    description?: string;
    /** JSON schema of its arguments, which are an object. Default: it has none. */
    parameters?: Readonly<Record<string, unknown>>;
    /** Whether a call has to keep to its schema: so it does where `tool_choice` demands one, and nowhere else. */
    strict?: boolean | null;
  };
}

/** A call that the model asks for. */
export interface ChatToolCall {
  /** What the message with the result names as `tool_call_id`: 9 letters and digits, which Mistral's templates demand. */
  id: string;
  type: "function";
  function: {
    name: string;
    /** An object as JSON, as the model wrote it: it may not fit the schema. */
    arguments: string;
  };
}

/** Whether the model may call tools. With `required`, or a function's name, the answer is one call, which fits its schema. */
export type ChatToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

/** A text that an answer is to rest on; what fields it has, the chat template decides. */
export type ChatDocument = Readonly<Record<string, unknown>>;

/** Letters and digits, `_` and `-`: OpenAI's rule for names. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Tools of a request. */
export interface CheckedTools {
  /** Those that the template is to show. */
  tools: readonly ChatTool[] | undefined;
  /** Those of which the answer has to call one. */
  demanded: readonly ChatTool[] | undefined;
}

/** The tools that the template is to show: none where there are none, or none is to be called. Errors with `argument` or `unsupported`. */
export function checkTools(tools: unknown, choice: unknown): CheckedTools {
  if (tools !== undefined && !Array.isArray(tools)) throw wrong("tools", tools, "an array of tools");
  const checked = ((tools ?? []) as unknown[]).map((each, i) => checkTool(`tools[${i}]`, each));
  const names = checked.map((tool) => tool.function.name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new LorakeetError("argument", `tools: \`${twice}\` is there twice, expected a name for each`);
  const demanded = demandedNames(choice, names);
  const strict = demanded ? -1 : ((tools ?? []) as { function: { strict?: unknown } }[]).findIndex((tool) => tool.function.strict);
  if (strict >= 0 && choice !== "none") {
    throw new LorakeetError("unsupported", `tools[${strict}]: \`strict\` needs \`tool_choice\` "required" or a function: nothing else makes the model keep to the schema`);
  }
  return {
    tools: choice !== "none" && checked.length > 0 ? checked : undefined,
    demanded: demanded && checked.filter((tool) => demanded.includes(tool.function.name)),
  };
}

function checkTool(at: string, given: unknown): ChatTool {
  const { type, function: own, ...rest } = object(at, given, "{type: \"function\", function}");
  if (typeof type === "string" && type !== "function") {
    throw new LorakeetError("unsupported", `${at}: a tool of type \`${type}\` is not supported, expected \`function\``);
  }
  if (type !== "function") throw wrong(`${at}: type`, type, '"function"');
  checkNames(rest, []);
  const { name, description, parameters, strict, ...more } = object(`${at}: function`, own, "{name, description, parameters}");
  checkNames(more, []);
  if (typeof name !== "string" || !NAME.test(name)) throw wrong(`${at}: name`, name, "1 to 64 letters, digits, `_` and `-`");
  checkString(`${at}: description`, description ?? undefined);
  checkBoolean(`${at}: strict`, strict ?? undefined);
  const schema = object(`${at}: parameters`, parameters ?? { type: "object", properties: {} }, "a JSON schema of an object");
  if (schema.type !== undefined && schema.type !== "object") throw wrong(`${at}: parameters.type`, schema.type, '"object"');
  return { type, function: { name, ...(typeof description === "string" ? { description } : {}), parameters: schema } };
}

/** The functions one of which has to be called, if one has. Errors with `argument`. */
function demandedNames(choice: unknown, names: readonly string[]): readonly string[] | undefined {
  if (choice === undefined || choice === "none" || choice === "auto") return undefined;
  const named = typeof choice === "object" ? (choice as { type?: unknown; function?: { name?: unknown } }) : undefined;
  const name = named?.type === "function" ? named.function?.name : undefined;
  if (choice !== "required" && typeof name !== "string") {
    throw wrong("tool_choice", choice, '"none", "auto", "required" or {type: "function", function: {name}}');
  }
  if (names.length === 0) throw new LorakeetError("argument", "`tool_choice` is given, expected `tools` with it");
  if (typeof name !== "string") return names;
  if (!names.includes(name)) throw wrong("tool_choice", name, `one of the tools ${names.join(", ")}`);
  return [name];
}

/** Documents for the template. Errors with `argument`. */
export function checkDocuments(documents: unknown): ChatDocument[] | undefined {
  if (documents === undefined) return undefined;
  if (!Array.isArray(documents)) throw wrong("documents", documents, "an array of objects");
  documents.forEach((each, i) => object(`documents[${i}]`, each, "an object such as {title, text}"));
  return documents.length > 0 ? documents : undefined;
}

/** The calls of an answer that is part of a conversation. Errors with `argument` or `unsupported`. */
export function checkCalls(at: string, calls: unknown): ChatToolCall[] {
  if (!Array.isArray(calls)) throw wrong(at, calls, "an array of calls");
  return calls.map((each, i) => {
    const { id, type, function: own } = object(`${at}[${i}]`, each, "{id, type, function}");
    if (typeof type === "string" && type !== "function") {
      throw new LorakeetError("unsupported", `${at}[${i}]: a call of type \`${type}\` is not supported, expected \`function\``);
    }
    if (type !== "function") throw wrong(`${at}[${i}]: type`, type, '"function"');
    if (typeof id !== "string") throw wrong(`${at}[${i}]: id`, id, "a string");
    const { name, arguments: given } = object(`${at}[${i}]: function`, own, "{name, arguments}");
    if (typeof name !== "string") throw wrong(`${at}[${i}]: name`, name, "a string");
    if (typeof given !== "string") throw wrong(`${at}[${i}]: arguments`, given, "a string of JSON");
    return { id, type, function: { name, arguments: given.trim() === "" ? "{}" : given } };
  });
}

function object(at: string, given: unknown, expected: string): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw wrong(at, given, expected);
  return given as Record<string, unknown>;
}
