// The script of a thread that computes on the CPU: an instance of the module over the memory of all.
// It says once that it is there, and hears nothing after that: it computes, or sleeps, until it is terminated.

import init, { enlistThread, serveThread } from "../wasm/lorakeet_threads.js";
import { setFailed, type Beginning } from "./beginning.js";

const STACK_BYTES = 1 << 20;

addEventListener("message", async ({ data }: MessageEvent<Beginning>) => {
  try {
    await init({ module_or_path: data.module, memory: data.memory, thread_stack_size: STACK_BYTES });
    enlistThread();
  } catch (error) {
    return postMessage({ error: String(error) });
  }
  postMessage({});
  try {
    serveThread();
  } catch (error) {
    setFailed(data);
    throw error;
  }
}, { once: true });
