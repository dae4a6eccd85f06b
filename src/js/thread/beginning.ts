// What a thread needs to begin, and the word by which all of them know that one has failed.
// Not the starting: that is pool.ts's.

export interface Beginning {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Address of the word. */
  failure: number;
}

/** A thread that has trapped does none of its work any more: the others must not wait for it. */
export function setFailed(beginning: Beginning): void {
  const [words, at] = word(beginning);
  Atomics.store(words, at, 1);
}

export function hasFailed(beginning: Beginning): boolean {
  const [words, at] = word(beginning);
  return Atomics.load(words, at) !== 0;
}

/** Anew each time: memory grows. */
function word({ memory, failure }: Beginning): [Int32Array, number] {
  return [new Int32Array(memory.buffer), failure / Int32Array.BYTES_PER_ELEMENT];
}
