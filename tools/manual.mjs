// The manual as web pages: each Markdown file of www/manual, and the results, in the page's colours.
// Where they go is tools/site.mjs's business.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Marked } from "marked";
import { root } from "./setup.mjs";

/** Name of a page -> its HTML. `www` is the folder that has `manual/`. */
export function manualPages(www = join(root, "www")) {
  const folder = join(www, "manual");
  const sources = readdirSync(folder).filter((name) => name.endsWith(".md")).map((name) => [name, readFileSync(join(folder, name), "utf8")]);
  sources.push(["results.md", readFileSync(join(root, "tests/RESULTS.md"), "utf8")]);
  return new Map(sources.map(([name, text]) => [pageName(name), page(text)]));
}

/** The anchor of a heading, as GitHub makes it. */
export function anchor(heading) {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
}

function pageName(markdown) {
  return markdown === "README.md" ? "index.html" : markdown.replace(/\.md$/, ".html");
}

/** Where a link of a Markdown file leads among the pages. */
function target(href) {
  const [, file, hash = ""] = /^([^#]*)(#.*)?$/.exec(href);
  if (file.endsWith("tests/RESULTS.md")) return `results.html${hash}`;
  return /^[\w-]+\.md$/.test(file) ? pageName(file) + hash : href;
}

const marked = new Marked({
  renderer: {
    heading({ tokens, depth, text }) {
      return `<h${depth} id="${anchor(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
    },
    link({ href, tokens }) {
      // The site has no folder of examples: their code stands where the repository has a link to it.
      if (href.startsWith("../examples/")) return `<details><summary>${this.parser.parseInline(tokens)}</summary><pre tabindex="0"><code>${escaped(readFileSync(join(root, "www/manual", href), "utf8"))}</code></pre></details>`;
      return `<a href="${target(href)}">${this.parser.parseInline(tokens)}</a>`;
    },
  },
});

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function page(text) {
  const title = /^# (.*)$/m.exec(text)[1];
  const body = marked.parse(text).replaceAll("<table>", '<div class="wide" tabindex="0"><table>').replaceAll("</table>", "</table></div>").replace(/<p>(<details>[^]*?<\/details>)<\/p>/g, "$1");
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title} · Lorakeet</title>
  <link rel="icon" href="../icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="../plumage.css">
  <link rel="stylesheet" href="manual.css">
</head>
<body data-hue="base">
  <nav aria-label="Manual"><a href="../index.html">Lorakeet</a> <a href="index.html">Manual</a></nav>
  <main>
${body}  </main>
</body>
</html>
`;
}
