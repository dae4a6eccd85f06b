// Calls of tools in what a model writes: found by the marks that the chat template teaches, text by text as it comes.
// Not what OpenAI makes of them: that is chat.ts's. Not whether a tool of that name is there: the caller knows.

import type { ChatToolCall } from "./tools.js";

/** How calls are marked. */
export interface Mark {
  /** What stands before a call, or before a list of calls; nothing is the very beginning of an answer. */
  open: string;
  /** What stands after it, unless the text ends there. */
  close?: string;
  /** Whether each call has marks of its own, on lines of their own, where a model writes them. */
  isEach?: boolean;
  /** How the name stands before the arguments, where both are not one object. */
  named?: RegExp;
  /** What stands in the place of quotes, where keys have none. */
  quote?: string;
  /** Parts of marks that are tokens of their own. */
  inner?: readonly string[];
}

/** What a template writes in its instructions or before calls, and the marks that its model then writes. */
const FORMATS: readonly (readonly [pattern: RegExp, marks: readonly Mark[]])[] = [
  // Qwen, Hermes, SmolLM3, Granite 4
  [/<tool_call>/, [{ open: "<tool_call>", close: "</tool_call>", isEach: true }]],
  // Mistral: a list of calls, or since 2025 [TOOL_CALLS]name[ARGS]{…}
  [/\[TOOL_CALLS\]/, [{
    open: "[TOOL_CALLS]",
    named: /^\s*([\w.-]+)(?:\[CALL_ID\](\w*))?\[ARGS\]/,
    inner: ["[ARGS]", "[CALL_ID]"],
  }]],
  // Phi-4-mini
  [/<\|tool\|>|<\|\/tool_call\|>/, [{ open: "<|tool_call|>", close: "<|/tool_call|>" }, { open: "functools" }]],
  // Granite 3
  [/<\|tool_call\|>/, [{ open: "<|tool_call|>" }]],
  [/functools\[/, [{ open: "functools" }]],
  // FunctionGemma
  [/<start_function_call>/, [{
    open: "<start_function_call>",
    close: "<end_function_call>",
    named: /^\s*call:([\w.-]+)/,
    quote: "<escape>",
  }]],
  // Llama 3
  [/<\|python_tag\|>|"name": function name/, [{ open: "<|python_tag|>" }, { open: "" }]],
];

/** Marks of a template's calls; none where it is of no kind that is known. */
export function callMarks(template: string): readonly Mark[] {
  return FORMATS.find(([pattern]) => pattern.test(template))?.[1] ?? [];
}

/** The tokens that marks are made of, which are no text otherwise. */
export function markTokens(marks: readonly Mark[]): string[] {
  return marks.flatMap(({ open, close = "", quote = "", inner = [] }) => [open, close, quote, ...inner]).filter((token) => token !== "");
}

/** Calls as a model writes them, for a template that shows none. */
export function written(calls: readonly ChatToolCall[], { open, close = "", isEach }: Mark): string {
  const each = calls.map(({ function: { name, arguments: given } }) => `{"name": ${JSON.stringify(name)}, "arguments": ${given}}`);
  return isEach ? each.map((call) => `${open}\n${call}\n${close}`).join("\n") : `${open}[${each.join(", ")}]${close}`;
}

/** What of a text is known. */
export interface Found {
  /** Text that belongs to no call. */
  text: string;
  calls: ChatToolCall[];
}

/** Tells the calls in a growing text from the rest. What begins like a call and is none comes as text, whole. */
export class CallParser {
  readonly #marks: readonly Mark[];
  readonly #names: readonly string[];
  /** What is not decided yet. */
  #held = "";
  /** The mark that was found, and all that stood before what it marks, from the end of the text on. */
  #mark: { mark: Mark; before: string } | undefined;
  /** Whether a call without a mark may begin here. */
  #isStart = true;
  #hasCalls = false;

  /** A call without a mark must be of a function in `names`: it could be anything. */
  constructor(marks: readonly Mark[], names: readonly string[]) {
    this.#marks = marks;
    this.#names = names;
  }

  /** Takes the next part of the text. */
  push(text: string): Found {
    this.#held += text;
    return this.#look(false);
  }

  /** Gives the rest, as no more comes. */
  end(): Found {
    return this.#look(true);
  }

  #look(isEnd: boolean): Found {
    const found: Found = { text: "", calls: [] };
    for (;;) {
      const current = this.#mark ?? this.#next(found, isEnd);
      if (!current) break;
      this.#mark = current;
      const calls = read(current.mark, this.#held, isEnd);
      if (calls === "more") break;
      this.#mark = undefined;
      const isKnown = calls && (current.mark.open !== "" || calls.list.every(({ function: { name } }) => this.#names.includes(name)));
      if (isKnown) {
        found.calls.push(...calls.list);
        this.#hasCalls = true;
        this.#held = this.#held.slice(calls.end);
        this.#isStart = this.#marks.some(({ open }) => open === "");
      } else {
        found.text += current.before;
        this.#isStart = false;
      }
    }
    return found;
  }

  /** The next mark, and the text before it. What may become a mark is held back, with the spaces before it. */
  #next(found: Found, isEnd: boolean): { mark: Mark; before: string } | undefined {
    const bare = this.#isStart ? this.#marks.find(({ open }) => open === "") : undefined;
    const before = bare && /^[\s;]*/.exec(this.#held)![0]; // Llama parts its calls by semicolons
    if (bare && before === this.#held && !isEnd) return undefined;
    if (bare && this.#held[before!.length] === "{") {
      this.#held = this.#held.slice(before!.length);
      return { mark: bare, before: before! };
    }
    const places = this.#marks.filter(({ open }) => open !== "").map((mark) => ({ mark, at: this.#held.indexOf(mark.open) }));
    const first = places.filter(({ at }) => at >= 0).sort((a, b) => a.at - b.at)[0];
    const end = first ? first.at : isEnd ? this.#held.length : this.#held.length - this.#undecided();
    const isGap = this.#hasCalls && isEnd; // spaces after the last call are nobody's
    const text = first || isGap || !isEnd ? this.#held.slice(0, end).trimEnd() : this.#held.slice(0, end);
    found.text += text;
    if (text !== "") this.#isStart = false;
    if (!first) {
      this.#held = isEnd ? "" : this.#held.slice(text.length);
      return undefined;
    }
    const from = end + first.mark.open.length;
    const marked = { mark: first.mark, before: this.#held.slice(text.length, from) };
    this.#held = this.#held.slice(from);
    return marked;
  }

  /** Length of the longest end of what is held that begins a mark. */
  #undecided(): number {
    const longest = Math.max(0, ...this.#marks.map(({ open }) => open.length - 1));
    for (let length = Math.min(longest, this.#held.length); length > 0; length--) {
      const end = this.#held.slice(-length);
      if (this.#marks.some(({ open }) => open.startsWith(end))) return length;
    }
    return 0;
  }
}

/** The calls that `body` begins with, and where they end; `more` where that is not known yet; undefined where it begins with none. */
function read(mark: Mark, body: string, isEnd: boolean): { list: ChatToolCall[]; end: number } | "more" | undefined {
  const more = isEnd ? undefined : "more";
  if (mark.quote !== undefined) {
    const close = body.indexOf(mark.close!);
    const end = close < 0 ? body.length : close;
    if (close < 0 && !isEnd) return "more";
    const calls = read({ open: mark.open, close: mark.close!, named: mark.named! }, quoted(body.slice(0, end), mark.quote), true);
    return calls && calls !== "more" ? { list: calls.list, end: close < 0 ? end : end + mark.close!.length } : undefined;
  }
  const named = mark.named?.exec(body);
  const start = /^\s*/.exec(body.slice(named?.[0].length ?? 0))![0].length + (named?.[0].length ?? 0);
  if (start === body.length) return more;
  if (body[start] !== "{" && body[start] !== "[") return mark.named && !named && /^\s*[\w.-]+(\[[\w\][]*)?$/.test(body) ? more : undefined;
  const json = scan(body, start);
  if (!json) return more;
  const list = named ? [call(named[1]!, body.slice(start, json.end), named[2])] : callsIn(body.slice(start, json.end));
  if (!list.every((each) => each !== undefined)) return undefined;
  if (mark.close === undefined) return { list, end: json.end };
  const rest = body.slice(json.end).trimStart();
  if (rest.startsWith(mark.close)) return { list, end: body.length - rest.length + mark.close.length };
  if (!mark.close.startsWith(rest)) return undefined;
  return isEnd ? { list, end: body.length } : "more";
}

/** The calls that are the whole of `json`: an object or a list of some. */
function callsIn(json: string): (ChatToolCall | undefined)[] {
  if (!isJson(json)) return [undefined];
  if (json.startsWith("[")) {
    const { parts } = scan(json, 0)!;
    return parts.length === 0 ? [undefined] : parts.flatMap(({ value }) => (value.startsWith("{") ? callsIn(value) : [undefined]));
  }
  const members = new Map(scan(json, 0)!.parts.map(({ key, value }) => [key, value]));
  const inner = members.get("function");
  if (inner?.startsWith("{")) return callsIn(inner);
  const name = members.get("name");
  const given = members.get("arguments") ?? members.get("parameters") ?? "{}";
  const id = members.get("id");
  return [name?.startsWith('"') ? call(JSON.parse(name) as string, given, id?.startsWith('"') ? (JSON.parse(id) as string) : undefined) : undefined];
}

/** A call, its arguments as they were written: numbers keep their digits. */
function call(name: string, given: string, id: string | undefined): ChatToolCall | undefined {
  const json = !given.startsWith('"') ? given : (JSON.parse(given) as string).trim();
  const own = json === "null" ? "{}" : json;
  if (name === "" || !own.startsWith("{") || !isJson(own)) return undefined;
  return { id: id !== undefined && /^[A-Za-z0-9]{9}$/.test(id) ? id : newId(), type: "function", function: { name, arguments: own } };
}

/** A text with its quotes and keys as JSON has them. */
function quoted(text: string, quote: string): string {
  return text.split(quote).map((part, i) => (i % 2 === 1 ? JSON.stringify(part) : part.replace(/([{,]\s*)([\w$-]+)\s*:/g, '$1"$2":'))).join("");
}

/** Nine letters and digits: Mistral's templates take no other id. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => (byte % 36).toString(36)).join("");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The members of the object, or items of the list, at `start`, and where it ends; undefined if it does not end. */
function scan(text: string, start: number): { parts: { key?: string; value: string }[]; end: number } | undefined {
  const parts: { key?: string; value: string }[] = [];
  let depth = 0;
  let from = start + 1;
  let key: string | undefined;
  for (let i = start; i < text.length; i++) {
    const c = text[i]!;
    if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
    } else if (c === "{" || c === "[") {
      depth++;
    } else if (c === ":" && depth === 1) {
      key = text.slice(from, i).trim();
      from = i + 1;
    } else if (c === "," && depth === 1 || (c === "}" || c === "]") && --depth === 0) {
      const value = text.slice(from, i).trim();
      if (value !== "") parts.push(key === undefined ? { value } : { key: unquoted(key), value });
      [from, key] = [i + 1, undefined];
      if (depth === 0) return { parts, end: i + 1 };
    }
  }
  return undefined;
}

function unquoted(key: string): string {
  return isJson(key) ? String(JSON.parse(key)) : key;
}
