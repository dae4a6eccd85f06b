// The page an engine works for: its address, whether it is seen, and who answers its requests.
// A worker is told by the page that has started it.

import { workingFolder } from "./program.js";

export interface Page {
  /** What relative URLs are relative to: the page's address, or a program's folder; undefined where there is neither. */
  base: string | undefined;
  isHidden: boolean;
  /** The script of the service worker that answers the page's requests; undefined if none does. */
  serviceWorker: string | undefined;
}

let told: Page | undefined;

export function page(): Page {
  const { document, location } = globalThis;
  return told ?? { base: document?.baseURI ?? location?.href ?? workingFolder(), isHidden: document?.visibilityState === "hidden", serviceWorker: serviceWorker() };
}

function serviceWorker(): string | undefined {
  try {
    return globalThis.navigator?.serviceWorker?.controller?.scriptURL;
  } catch {
    return undefined; // a sandboxed frame may not ask
  }
}

/** In a worker, whose own address is that of its script. */
export function setPage(page: Page): void {
  told = page;
}
