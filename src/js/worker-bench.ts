// The script of a worker that measures the GPU. `benchGpu` starts it.

import { HABITS } from "./api/habits.js";
import { measureGpu } from "./api/measure.js";
import { host } from "./thread/host.js";
import { setPage } from "./page.js";

host({ measureGpu }, globalThis as unknown as Parameters<typeof host>[1], HABITS, setPage);
