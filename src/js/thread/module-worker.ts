// Starts a worker of this package, wherever the package lies.
// It names no script: a bundler that finds a worker's script among what that worker imports looks for ever.

/** What `start` gives; or, where the package is on another server than the page, a worker whose script imports `script`. */
export function moduleWorker(start: () => Worker, script: string): Worker {
  try {
    return start();
  } catch {
    const text = `import ${JSON.stringify(import.meta.url.replace(/[^/]*\/[^/]*$/, script))};`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  }
}
