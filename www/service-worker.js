// The page's service worker: keeps every file of one version, checked against its hash, and answers with those.
// Nothing else passes through it: other addresses, and methods other than GET, go to the network as ever.

const LIST = "site-files.js";
importScripts(LIST);

const { version, files } = self.SITE;
const { scope } = self.registration;
/** Caches belong to the origin, which may hold other sites. */
const FAMILY = `lorakeet ${scope} `;
const CACHE = FAMILY + version;
/** Cross-origin isolation, whatever the server sends: engines on the CPU may then have threads. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("message", ({ data }) => data === "take over" && self.skipWaiting());
addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path !== undefined) event.respondWith(answer(path, event.request));
});

/** All files or none: one that does not come whole leaves the version before in its place. */
async function install() {
  const before = await caches.keys();
  const cache = await caches.open(CACHE);
  try {
    for (const [path, hash] of Object.entries(files)) {
      await cache.put(new URL(path, scope), (await kept(before, path, hash)) ?? (await fetched(path, hash)));
    }
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
}

/** A file that another version has too. */
async function kept(names, path, hash) {
  for (const name of names.filter((each) => each.startsWith(FAMILY))) {
    const response = await (await caches.open(name)).match(new URL(path, scope));
    const whole = response && (await checked(response, hash));
    if (whole) return whole;
  }
  return undefined;
}

async function fetched(path, hash) {
  const response = await fetch(new URL(path, scope), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  const whole = await checked(response, hash);
  if (!whole) throw new Error(`${path}: not the file of version ${version}`);
  return whole;
}

/** A response of its own, with the length the body has and isolated; undefined for other bytes than `hash` is of. */
async function checked(response, hash) {
  const body = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  if (Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") !== hash) return undefined;
  const headers = { "content-type": response.headers.get("content-type") ?? "application/octet-stream", "content-length": body.byteLength, ...ISOLATED };
  return new Response(body, { headers });
}

/** Older versions go; the page that is open is served from now on. */
async function activate() {
  const old = (await caches.keys()).filter((name) => name.startsWith(FAMILY) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** Which of the files a request means, if any. */
function pathOf({ method, url }) {
  const { origin, pathname } = new URL(url);
  const base = new URL(scope);
  if (method !== "GET" || origin !== base.origin || !pathname.startsWith(base.pathname)) return undefined;
  const path = decodeURIComponent(pathname.slice(base.pathname.length)) || "index.html";
  return path === LIST || Object.hasOwn(files, path) ? path : undefined;
}

/** The list, which cannot hold its own hash, is the one the worker began with. The browser may have cleared the cache. */
async function answer(path, request) {
  if (path === LIST) return new Response(`self.SITE = ${JSON.stringify(self.SITE)};`, { headers: { "content-type": "text/javascript" } });
  const cache = await caches.open(CACHE);
  return (await cache.match(new URL(path, scope))) ?? fetch(request);
}
