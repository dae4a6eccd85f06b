// Writes the page as a static folder, site/, ready for any web server or GitHub Pages, at any path.
// Not the package: `--build` makes that first.
//
//   node tools/site.mjs [--build]

import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { manualPages } from "./manual.mjs";
import { SOURCES } from "./serve.mjs";
import { root } from "./setup.mjs";

/** For people who read the repository. */
const UNUSED = /\/(examples|golden\.json|manual\/.*\.md)$/;
/** The modules, without that of grammars: the page holds no text to a format. */
const MODULES = /(?<!lorakeet_grammar)\.wasm$/;
/** Of the package what the page imports, and the scripts of its workers. */
const SCRIPTS = ["index.js", "files/cache.js", "worker.js", "worker-threads.js", "worker-bench.js", "thread/pool-thread.js"];
/** Of the page's own scripts and sheets: the worker, and what the manual wears. */
const KEPT = /^service-worker\.js$|^plumage\.css$/;
/** Written last: a worker that asks while the folder is written is to find no list, rather than the empty one. */
const LIST = "site-files.js";
const SHEET = "page.css";
/** The worker is the browser's to keep, the list cannot hold its own hash, the page reads no cards of models, the manual can do without its pictures, and the voices of the model that talks come and stay with it. */
const NOT_LISTED = /^(service-worker\.js|site-files\.js|\.nojekyll|screenshots\/.*|adapters\/smollm2\/.*|.*\.md)$/;

/**
 * Writes the folder `out` from `www` and `dist`, with the model and the voices of its shelf and no others.
 * Returns what its site-files.js holds: the version, and a hash for each file.
 */
export async function writeSite({ out = join(root, "site"), www = join(root, "www"), dist = join(root, "dist") } = {}) {
  if (!existsSync(join(dist, "index.js"))) throw new Error("dist/ is not built: `npm run build` first");
  const shipped = await shelf(www);
  const isShipped = (folder) => !/^(models|adapters)\/./.test(folder) || shipped.some((each) => each.startsWith(folder) || folder.startsWith(each));
  rmSync(out, { recursive: true, force: true });
  cpSync(www, out, { recursive: true, filter: (path) => path !== join(www, LIST) && !UNUSED.test(slashed(path)) && isShipped(`${slashed(relative(www, path))}/`) });
  cpSync(dist, join(out, "dist"), { recursive: true, filter: (path) => statSync(path).isDirectory() ? /\/dist(\/wasm)?$/.test(slashed(path)) : MODULES.test(path) });
  await bundlePackage(dist, join(out, "dist"));
  await bundle(www, out);
  for (const [name, html] of manualPages(www)) writeFileSync(join(out, "manual", name), html);
  writeFileSync(join(out, ".nojekyll"), ""); // GitHub would leave out names that begin with _

  const files = Object.fromEntries(list(out).filter((path) => !NOT_LISTED.test(path)).map((path) => [path, hash(readFileSync(join(out, path)))]));
  const worker = hash(readFileSync(join(out, "service-worker.js")));
  const site = { version: hash(JSON.stringify([files, worker])).slice(0, 12), files };
  const first = readFileSync(join(www, LIST), "utf8").split("\n", 1)[0];
  writeFileSync(join(out, LIST), `${first}\n\nself.SITE = ${JSON.stringify(site, null, 2)};\n`);
  return site;
}

/** Puts a script for each of `SCRIPTS`, and a few chunks, in the place of the package's modules: a visitor asks for six files, not for seventy, and again in the worker. */
async function bundlePackage(dist, out) {
  const { build } = await import("esbuild"); // there since set-up
  // What a module finds beside itself it finds from where it was: all that asks for its own address ends up in `out` itself.
  const addresses = {
    name: "addresses",
    setup(build) {
      build.onLoad({ filter: /\.js$/ }, ({ path }) => {
        const own = JSON.stringify(`./${slashed(relative(dist, path))}`);
        return { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", `new URL(${own},import.meta.url).href`) };
      });
    },
  };
  await build({ absWorkingDir: dist, entryPoints: SCRIPTS, outbase: dist, outdir: out, bundle: true, splitting: true, format: "esm", target: "es2022", minify: true, chunkNames: "[name]-[hash]", external: ["node:*"], plugins: [addresses], logLevel: "error" });
}

/** Puts two scripts, that of the first paint and the page's own, and chunks for what not everybody needs, and one style sheet in the place of the page's modules and sheets. */
async function bundle(www, out) {
  for (const path of readdirSync(out).filter((name) => /\.(js|css)$/.test(name) && !KEPT.test(name))) rmSync(join(out, path));
  rmSync(join(out, "words"), { recursive: true, force: true });
  const { build, transform } = await import("esbuild"); // there since set-up
  const elsewhere = {
    name: "elsewhere",
    setup(build) {
      build.onResolve({ filter: /^\.\/(dist\/|site-files\.js$)/ }, ({ path }) => ({ path, external: true }));
      // The names of chunks tell what is in them, and not where this folder lies.
      build.onResolve({ filter: /^\.\/vendor\// }, ({ path }) => ({ path: path.replace("./vendor/", ""), namespace: "vendor" }));
      build.onLoad({ filter: /./, namespace: "vendor" }, ({ path }) => ({ contents: readFileSync(join(SOURCES["/vendor/"], path), "utf8").replace("/**", "/*!") })); // its licence stays
    },
  };
  await build({ absWorkingDir: www, entryPoints: ["./app.js", "./page.js"], outdir: out, bundle: true, splitting: true, format: "esm", target: "es2022", minify: true, chunkNames: "chunks/[name]-[hash]", plugins: [elsewhere], logLevel: "error" });
  const html = readFileSync(join(out, "index.html"), "utf8");
  const links = /( *<link rel="stylesheet" href="([^"]+)">\n)+/;
  const sheets = [...html.match(links)[0].matchAll(/href="([^"]+)"/g)].map(([, name]) => readFileSync(join(www, name), "utf8"));
  writeFileSync(join(out, SHEET), (await transform(sheets.join("\n"), { loader: "css", minify: true, target: "es2022" })).code);
  writeFileSync(join(out, "index.html"), html.replace(links, `  <link rel="stylesheet" href="${SHEET}">\n`));
}

/** Folders below `www` that its shelf.js names, as "models/demo/". Errors if one is not there. */
async function shelf(www) {
  // Not by its path: outside a package Node would not know it for a module.
  const { MODEL, VOICES, CHAT_VOICES } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(join(www, "shelf.js"), "utf8"))}`);
  return [MODEL, ...[...VOICES, ...CHAT_VOICES].map(({ folder }) => folder)].map((folder) => {
    if (!existsSync(join(www, folder))) throw new Error(`shelf.js names ${folder}, which is not there`);
    return folder.replace("./", "");
  });
}

/** Files below a folder, with slashes, in an order that machines agree on. */
function list(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => slashed(relative(folder, join(entry.parentPath, entry.name))))
    .sort();
}

function slashed(path) {
  return path.replaceAll("\\", "/");
}

function hash(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    if (process.argv.includes("--build")) await (await import("./build.mjs")).build();
    const { version, files } = await writeSite();
    (await import("./api.mjs")).writeApi(join(root, "site/api")); // not among what is kept for offline
    console.log(`[site] site/: version ${version}, ${Object.keys(files).length} files`);
  } catch (error) {
    console.error(`[site] ${error.message}`);
    process.exit(1);
  }
}
