// Which files make up the published page, for its service worker. tools/site.mjs writes the real list.
// Here it is empty: a page served from its sources is not kept for offline use.

self.SITE = { version: "", files: {} };
