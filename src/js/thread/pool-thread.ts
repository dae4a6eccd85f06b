// The script of a thread that computes on the CPU: an instance of the module over the memory of all.
// It says once that it is there, and hears nothing after that: it computes, or sleeps, until it is terminated.

import init, { enlistThread, serveThread } from "../wasm/lorakeet_threads.js";
import { program } from "../program.js";
import { setFailed, type Beginning } from "./beginning.js";

const STACK_BYTES = 1 << 20;

/** A program's workers hear and speak by a port of their own. */
const port = program()?.getBuiltinModule("worker_threads").parentPort;
const say = (data: { error?: string }) => port ? port.postMessage(data) : postMessage(data);

async function begin(data: Beginning): Promise<void> {
  try {
    await init({ module_or_path: data.module, memory: data.memory, thread_stack_size: STACK_BYTES });
    enlistThread();
  } catch (error) {
    return say({ error: String(error) });
  }
  say({});
  try {
    serveThread();
  } catch (error) {
    setFailed(data);
    throw error;
  }
}

if (port) port.once("message", (data) => void begin(data as Beginning));
else addEventListener("message", ({ data }: MessageEvent<Beginning>) => void begin(data), { once: true });
