// The reference of the types as web pages, by TypeDoc from the comments in src/js.
// Not the manual: tools/manual.mjs writes that. TypeDoc and its TypeScript have a folder of their own, tools/api.

import { join } from "node:path";
import { npmPackages, root, run } from "./setup.mjs";

/** What users import. */
const DOORS = ["index", "react", "server", "tabs", "ai-sdk"];

/** Writes the folder `out`. dist/ is there: its WebAssembly has types. */
export function writeApi(out) {
  const folder = join(root, "tools/api");
  npmPackages(process.env, folder);
  const entries = DOORS.flatMap((name) => ["--entryPoints", join(root, `src/js/${name}.ts`)]);
  const options = ["--name", "Lorakeet", "--readme", "none", "--disableSources", "--githubPages", "false", "--logLevel", "Error"];
  run(process.execPath, [join(folder, "node_modules/typedoc/bin/typedoc"), "--tsconfig", join(root, "tsconfig.json"), ...entries, "--out", out, ...options], {
    why: "the reference of the types",
  });
}
