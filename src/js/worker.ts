// The script of an engine's worker. `createEngine` starts it.
// Where a bundler does not, pass `worker: new Worker(…)` of this module.

import { setBaseUrl } from "./base-url.js";
import { openEngine } from "./engine.js";
import { host } from "./host.js";

host({ openEngine }, globalThis as unknown as Parameters<typeof host>[1], setBaseUrl);
