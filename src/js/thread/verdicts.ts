// What is known of a GPU's kernels: each is tried once per GPU, browser and version of this package.
// Not the trial itself, which is Rust's.

import { gpuIdentity } from "./gpu.js";
import { enter } from "./wasm.js";

/** A kernel's name, and whether it is right. */
type Verdict = [name: string, isRight: boolean];

/** A loader or an engine. */
interface Judge {
  verdicts(): unknown;
}

/** `version` of package.json, which a test compares. */
const VERSION = "0.1.0";
const CACHE = "lorakeet-kernels";

/** By GPU, for this page: all there is where the browser has no Cache API. */
const KNOWN = new Map<string, Map<string, boolean>>();

/** Tries the kernels of a loader that are not known. Errors with `device`, naming one that is wrong. */
export async function checkKernels(loader: Judge & { checkKernels(known: Verdict[]): Promise<void> }): Promise<void> {
  const known = await verdicts(await key());
  await keeping(loader, () => loader.checkKernels([...known]));
}

/** Keeps what is known of kernels once `work` has been done, also where it fails. */
export async function keeping<T>(judge: Judge, work: () => Promise<T>): Promise<T> {
  try {
    return await enter(work);
  } finally {
    await keep(judge).catch(() => {}); // they are tried again
  }
}

async function keep(judge: Judge): Promise<void> {
  const found = await enter(() => judge.verdicts() as Verdict[]);
  if (found.length === 0) return;
  const name = await key();
  const known = await verdicts(name);
  const before = known.size;
  for (const [kernel, isRight] of found) known.set(kernel, isRight);
  if (known.size > before) await (await caches.open(CACHE)).put(name, new Response(JSON.stringify([...known])));
}

async function verdicts(name: string): Promise<Map<string, boolean>> {
  let known = KNOWN.get(name);
  if (!known) {
    const kept = (await read(name).catch(() => undefined)) ?? [];
    KNOWN.set(name, (known = KNOWN.get(name) ?? new Map(kept)));
  }
  return known;
}

async function read(name: string): Promise<Verdict[] | undefined> {
  return (await caches.match(name, { cacheName: CACHE }))?.json() as Promise<Verdict[]> | undefined;
}

/** A cache's keys are URLs; nothing is ever asked of this one. */
async function key(): Promise<string> {
  const words = [VERSION, globalThis.navigator?.userAgent ?? "", await gpuIdentity()];
  return `https://lorakeet.invalid/${encodeURIComponent(words.join("\n"))}`;
}
