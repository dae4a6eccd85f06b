// The page an engine works for: its address, and whether it is seen. A worker is told by the page that has started it.

export interface Page {
  /** What relative URLs are relative to; undefined outside of a page. */
  base: string | undefined;
  isHidden: boolean;
}

let told: Page | undefined;

export function page(): Page {
  const { document, location } = globalThis;
  return told ?? { base: document?.baseURI ?? location?.href, isHidden: document?.visibilityState === "hidden" };
}

/** In a worker, whose own address is that of its script. */
export function setPage(page: Page): void {
  told = page;
}
