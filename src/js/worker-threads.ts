// The script of a worker whose engine computes with threads. `createEngine` starts it where the page may share
// memory. Where that fails, worker.ts is there.

import { HABITS } from "./api/habits.js";
import { openEngine } from "./api/open.js";
import { host } from "./thread/host.js";
import { setPage } from "./page.js";
import { startThreads } from "./thread/pool.js";

host({ startThreads, openEngine }, globalThis as unknown as Parameters<typeof host>[1], HABITS, setPage);
