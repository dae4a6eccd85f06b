// What a page fetches before a first token, beside other packages': gzip of each one's code, as its npm package has it.
// Not the models, nor how fast they run.
//
//   node tools/sizes.mjs

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { root } from "./setup.mjs";

/** The files that a page on WebGPU, or with one thread, fetches of the packages together. */
const PEERS = {
  "web-llm, and a library of each model": { "@mlc-ai/web-llm@0.2.86": ["lib/index.js"] },
  "transformers.js": {
    "@huggingface/transformers@4.3.2": ["dist/transformers.web.min.js"],
    "onnxruntime-web@1.31.0-dev.20260914-8d85527a0": ["dist/ort.webgpu.bundle.min.mjs", "dist/ort-wasm-simd-threaded.asyncify.wasm"],
  },
  wllama: { "@wllama/wllama@3.13.0": ["esm/index.min.js", "esm/wasm/wllama.wasm"] },
  "MediaPipe's tasks-genai": { "@mediapipe/tasks-genai@0.10.29": ["genai_bundle.mjs", "wasm/genai_wasm_internal.js", "wasm/genai_wasm_internal.wasm"] },
};

const folder = mkdtempSync(join(tmpdir(), "sizes-"));
try {
  const { total } = JSON.parse(readFileSync(join(root, "dist/size.json"), "utf8"));
  const rows = [["Lorakeet", total.gzip_bytes], ...Object.entries(PEERS).map(([name, packages]) => [name, sizeOf(packages)])];
  console.log("| | gzip, MB |\n| --- | --- |");
  for (const [name, bytes] of rows) console.log(`| ${name} | ${(bytes / 1e6).toFixed(1)} |`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function sizeOf(packages) {
  let bytes = 0;
  for (const [name, files] of Object.entries(packages)) {
    const archive = execFileSync("npm", ["pack", "--silent", name], { cwd: folder, encoding: "utf8" }).trim();
    execFileSync("tar", ["xzf", archive], { cwd: folder });
    for (const file of files) bytes += gzipSync(readFileSync(join(folder, "package", file)), { level: 9 }).length;
    rmSync(join(folder, "package"), { recursive: true });
  }
  return bytes;
}
