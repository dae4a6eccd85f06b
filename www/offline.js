// Keeps the published page for offline use, and offers a new version of it when there is one.
// Not on a page served from its sources, which has no list of files.

import "./site-files.js";
import { element } from "./parts.js";

let isBegun = false;

/** Starts the service worker, once. Without one the page works as before. */
export async function keepOffline() {
  if (isBegun) return;
  isBegun = true;
  if (self.SITE.version === "" || !("serviceWorker" in navigator)) return;
  const registration = await navigator.serviceWorker.register("service-worker.js", { updateViaCache: "none" }).catch(() => null);
  if (registration === null) return;
  navigator.serviceWorker.ready.then(() => (element("offline").hidden = false));
  const offer = () => {
    // The first worker of a page has nothing to take the place of.
    if (registration.waiting && navigator.serviceWorker.controller) element("update").hidden = false;
  };
  offer();
  registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", offer));
  element("update").addEventListener("click", () => {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
    registration.waiting?.postMessage("take over");
  });
}
