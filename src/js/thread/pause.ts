// A pause in long work on the thread of a page.

/**
 * Lets the page handle input, timers and drawing. Not by `scheduler.yield`, whose continuations go
 * before timers: one that is to cancel would not run before the end.
 */
export function pause(): Promise<void> {
  return new Promise((resume) => {
    const { port1, port2 } = new MessageChannel(); // setTimeout would wait 4 ms
    port1.onmessage = () => {
      port1.close();
      resume();
    };
    port2.postMessage(null);
  });
}
