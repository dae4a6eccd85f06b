// Where a model or an adapter that the reader names comes from: the hub, or an address.
// Not the fetching: that is the engine's.

import { ModelCache } from "./dist/files/cache.js";

/** The files of the hub's models in this browser, whichever engine is at work. */
export const cache = new ModelCache(undefined);

/** Whether a source is one of the hub's ids: neither a path nor an address, nor files. */
export function isHubId(source) {
  return typeof source === "string" && !/^(\.{0,2}\/|\w+:\/\/)/.test(source);
}

/** Those of `files`, as the cache lists them, that are of a hub id. */
export function ofHub(id, files) {
  const [name] = id.split(/[:@]/);
  const repository = name.split("/").slice(0, 2).join("/");
  return files.filter(({ key }) => decodeURIComponent(key).includes(`/${repository}/resolve/`));
}

/** Whether files of a hub id are in this browser. */
export async function isKept(id) {
  return ofHub(id, await cache.list().catch(() => [])).length > 0;
}
