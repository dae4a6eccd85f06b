// The script of an engine's worker. `createEngine` starts it.
// Where a bundler does not, pass `worker: new Worker(…)` of this module.

import { HABITS } from "./api/habits.js";
import { openEngine } from "./api/open.js";
import { host } from "./thread/host.js";
import { setPage } from "./page.js";

host({ openEngine }, globalThis as unknown as Parameters<typeof host>[1], HABITS, setPage);
