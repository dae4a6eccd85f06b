// Markdown as elements, read by marked. What a model writes is never markup: of its tokens only those named here become
// elements, HTML stays the text it is, pictures are links, and links lead to web pages and nowhere else.

import { lexer } from "./vendor/marked.esm.js";
import { make } from "./parts.js";

/** Elements whose tokens hold others. */
const HOLDERS = { paragraph: "p", blockquote: "blockquote", strong: "strong", em: "em", del: "del" };

/** The elements of a Markdown text. */
export function markdown(text) {
  return nodes(lexer(text));
}

function nodes(tokens) {
  return tokens.flatMap((token) => node(token));
}

function node(token) {
  const { type, tokens, text } = token;
  if (type in HOLDERS) return [make(HOLDERS[type], {}, ...nodes(tokens))];
  switch (type) {
    // The page has its own headings above these.
    case "heading": return [make(`h${Math.min(token.depth + 3, 6)}`, {}, ...nodes(tokens))];
    case "list": return [list(token)];
    case "code": return [make("pre", { tabIndex: 0 }, make("code", { textContent: text }))];
    case "codespan": return [make("code", { textContent: text })];
    case "hr": return [make("hr")];
    case "br": return [make("br")];
    case "table": return [table(token)];
    case "link": case "image": return [link(token)];
    case "checkbox": return [token.checked ? "☑ " : "☐ "];
    case "space": case "def": return [];
    default: return tokens ? nodes(tokens) : [text ?? token.raw];
  }
}

function list({ ordered, start, items }) {
  const made = make(ordered ? "ol" : "ul", {}, ...items.map(({ tokens }) => make("li", {}, ...nodes(tokens))));
  if (ordered && start !== 1) made.start = start;
  return made;
}

function table({ header, rows }) {
  const row = (tag, cells) => make("tr", {}, ...cells.map(({ tokens }) => make(tag, {}, ...nodes(tokens))));
  return make("div", { className: "wide", tabIndex: 0 }, make("table", {}, make("thead", {}, row("th", header)), make("tbody", {}, ...rows.map((cells) => row("td", cells)))));
}

function link({ href, tokens, text }) {
  const inside = tokens ? nodes(tokens) : [text];
  if (!/^https?:\/\//i.test(href)) return make("span", {}, ...inside);
  return make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inside);
}
