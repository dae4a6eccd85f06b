// What relative URLs are relative to: the page's address, also in a worker that the page has started.
// Not the resolving: that is done where a URL is read.

let told: string | undefined;

/** The page's address; undefined outside of one. */
export function baseUrl(): string | undefined {
  return told ?? globalThis.document?.baseURI ?? globalThis.location?.href;
}

/** In a worker, whose own address is that of its script. */
export function setBaseUrl(url: string | undefined): void {
  told = url;
}
